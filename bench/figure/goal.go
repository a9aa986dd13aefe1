package figure

// Goal is a budget: what a figure may be at most, and what it was when the
// budget was set. Raising AtMost needs a reason in Why.
type Goal struct {
	Figure   string
	AtMost   float64
	Aim      float64 // what we want to reach, 0 for no more than AtMost
	Unit     string
	Measured float64
	Date     string
	Why      string
}

// Met tells whether a value keeps the goal; a figure that could not be
// measured does not.
func (g Goal) Met(value float64) bool { return value <= g.AtMost }

// Goals is every budget of the project. Package budget has a test for each.
func Goals() []Goal {
	return []Goal{
		{"start_ratio", 1.5, 1.25, "x", 1.17, "2026-11-23", "each millisecond before next is cold start"},
		{"binary_size", 9.5, 0, "MB", 7.65, "2026-11-23", "Lambda reads the file before it runs"},
		{"layer_size", 4, 0, "MB", 3.26, "2026-11-23", "Lambda downloads and unzips it at each cold start"},
		{"50x100/file/peak_memory", 16, 0, "MiB", 12.1, "2026-11-23", "the function pays for the memory"},
		{"50x100/s3/peak_memory", 16, 0, "MiB", 12.4, "2026-11-23", "the function pays for the memory"},
		{"lines_lost", 0, 0, "lines", 0, "2026-11-23", "promise 2: nothing lost"},
		{"lines_doubled", 0, 0, "lines", 0, "2026-11-23", "promise 2: nothing doubled"},
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
