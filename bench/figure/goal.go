package figure

// Goal is a budget: what a figure may be at most, and what it was when the
// budget was set. Raising AtMost needs a reason in Why.
type Goal struct {
	Figure   string
	AtMost   float64
	Unit     string
	Measured float64
	Date     string
	Why      string
}

// Met tells whether a value keeps the goal; a figure that could not be
// measured does not.
func (g Goal) Met(value float64) bool { return value <= g.AtMost }

// Goals is every budget of the project.
func Goals() []Goal {
	return []Goal{
		{"start_ratio", 1.5, "x", 1.22, "2026-11-20", "each millisecond before next is cold start"},
		{"binary_size", 9.5, "MB", 7.64, "2026-11-20", "Lambda reads the file before it runs"},
		{"layer_size", 4, "MB", 3.26, "2026-11-20", "Lambda downloads and unzips it at each cold start"},
		{"50x100/file/peak_memory", 16, "MiB", 11.5, "2026-11-20", "the function pays for the memory"},
		{"50x100/s3/peak_memory", 16, "MiB", 11.9, "2026-11-20", "the function pays for the memory"},
		{"lines_lost", 0, "lines", 0, "2026-11-20", "promise 2: nothing lost"},
		{"lines_doubled", 0, "lines", 0, "2026-11-20", "promise 2: nothing doubled"},
	}
}

// GoalOf gives the goal of a figure, or of the last part of its name after a
// slash: "50x100/file/lines_lost" has the goal of lines_lost.
func GoalOf(name string) (Goal, bool) {
	for _, g := range Goals() {
		if g.Figure == name || len(name) > len(g.Figure) && name[len(name)-len(g.Figure)-1:] == "/"+g.Figure {
			return g, true
		}
	}
	return Goal{}, false
}
