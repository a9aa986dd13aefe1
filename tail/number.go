package tail

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// quantity writes a number with its unit (UCUM) in about six columns: 12.3ms,
// 45.2MB, 1.23k.
func quantity(v float64, unit string) string {
	if math.IsNaN(v) {
		return "–"
	}
	if math.IsInf(v, 0) {
		return strconv.FormatFloat(v, 'g', -1, 64)
	}
	if v < 0 {
		return "-" + quantity(-v, unit)
	}
	switch unit {
	case "ns":
		return duration(v / 1e9)
	case "us":
		return duration(v / 1e6)
	case "ms":
		return duration(v / 1e3)
	case "s":
		return duration(v)
	case "min":
		return duration(v * 60)
	case "By":
		return scaled(v, 1024, []string{"B", "KB", "MB", "GB", "TB", "PB"})
	case "KBy", "kBy", "KiBy":
		return quantity(v*(1<<10), "By")
	case "MBy", "MiBy":
		return quantity(v*(1<<20), "By")
	case "GBy", "GiBy":
		return quantity(v*(1<<30), "By")
	case "%":
		return digits(v) + "%"
	case "{USD}":
		return "$" + quantity(v, "")
	}
	if v > 0 && v < 0.001 {
		return scaled(v*1e9, 1000, []string{"n", "µ", "m"})
	}
	return scaled(v, 1000, []string{"", "k", "M", "G", "T", "P", "E"})
}

// scaled writes v with the largest of the prefixes, each step times the one before.
func scaled(v, step float64, prefixes []string) string {
	i := 0
	for ; i < len(prefixes)-1 && v >= step-0.5; i++ {
		v /= step
	}
	return digits(v) + prefixes[i]
}

// digits writes three digits that count, and all before the point.
func digits(v float64) string {
	if v >= 1e6 {
		return strconv.FormatFloat(v, 'g', 3, 64)
	}
	places := 2
	for limit := 9.995; places > 0 && v >= limit; limit *= 10 {
		places--
	}
	for limit := 0.1; places < 5 && v > 0 && v < limit; limit /= 10 {
		places++
	}
	text := strconv.FormatFloat(v, 'f', places, 64)
	if strings.Contains(text, ".") {
		text = strings.TrimRight(strings.TrimRight(text, "0"), ".")
	}
	return text
}

func duration(seconds float64) string {
	switch {
	case seconds == 0:
		return "0s"
	case seconds < 0.9995e-6:
		return digits(seconds*1e9) + "ns"
	case seconds < 0.9995e-3:
		return digits(seconds*1e6) + "µs"
	case seconds < 0.9995:
		return digits(seconds*1e3) + "ms"
	case seconds < 59.95:
		return digits(seconds) + "s"
	case seconds < 3599.5:
		return fmt.Sprintf("%dm%02ds", int(seconds+0.5)/60, int(seconds+0.5)%60)
	case seconds < 100*3600:
		return fmt.Sprintf("%dh%02dm", int(seconds)/3600, int(seconds)/60%60)
	}
	return scaled(seconds/86400, 1000, []string{"d", "kd", "Md", "Gd"})
}

// rate writes so many a second in the unit of time in which it is not tiny.
func rate(perSecond float64, unit string) string {
	switch size := math.Abs(perSecond); {
	case perSecond == 0:
		return "0/s"
	case unit == "{USD}":
		return quantity(perSecond*3600, unit) + "/h"
	case size >= 0.0995 || unit == "s" || unit == "By":
		return quantity(perSecond, unit) + "/s"
	case size*60 >= 0.0995:
		return quantity(perSecond*60, unit) + "/min"
	}
	return quantity(perSecond*3600, unit) + "/h"
}

var bars = []rune("▁▂▃▄▅▆▇█")

// sparkline draws values as bars; NaN is a gap. The lowest bar is zero, or else the
// lowest value; values that are all the same are then drawn in the middle.
func sparkline(values []float64, fromZero bool) string {
	low, high := math.Inf(1), math.Inf(-1)
	for _, v := range values {
		if !math.IsNaN(v) {
			low, high = min(low, v), max(high, v)
		}
	}
	if fromZero {
		low, high = min(low, 0), max(high, 0)
	}
	var b strings.Builder
	for _, v := range values {
		switch at := (v - low) / (high - low); {
		case math.IsNaN(v):
			b.WriteByte(' ')
		case high == low && fromZero:
			b.WriteRune(bars[0])
		case math.IsNaN(at):
			b.WriteRune(bars[len(bars)/2-1])
		default:
			b.WriteRune(bars[min(int(at*float64(len(bars))), len(bars)-1)])
		}
	}
	return b.String()
}
