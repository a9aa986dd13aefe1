package logmetric

import "strings"

// unitOf gives a unit of CloudWatch in UCUM, "" for None; ok is false for others.
func unitOf(unit string) (ucum string, ok bool) {
	// The switch keeps both forms as constants: a unit of each point costs nothing.
	switch unit {
	case "", "None":
		return "", true
	case "Seconds":
		return "s", true
	case "Microseconds":
		return "us", true
	case "Milliseconds":
		return "ms", true
	case "Percent":
		return "%", true
	}
	of, rate := strings.CutSuffix(unit, "/Second")
	for i := range amounts {
		if amounts[i].unit == of {
			if rate {
				return amounts[i].rate, true
			}
			return amounts[i].ucum, true
		}
	}
	return "", false
}

// amounts are the units that there are by the second, too.
var amounts = [...]struct{ unit, ucum, rate string }{
	{"Count", "{count}", "{count}/s"},
	{"Bytes", "By", "By/s"}, {"Kilobytes", "kBy", "kBy/s"}, {"Megabytes", "MBy", "MBy/s"},
	{"Gigabytes", "GBy", "GBy/s"}, {"Terabytes", "TBy", "TBy/s"},
	{"Bits", "bit", "bit/s"}, {"Kilobits", "kbit", "kbit/s"}, {"Megabits", "Mbit", "Mbit/s"},
	{"Gigabits", "Gbit", "Gbit/s"}, {"Terabits", "Tbit", "Tbit/s"},
}
