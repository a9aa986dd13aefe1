package tail

import (
	"math"
	"testing"
)

func TestQuantity(t *testing.T) {
	for _, tt := range []struct {
		v    float64
		unit string
		want string
	}{
		{0, "", "0"}, {1, "", "1"}, {999.4, "", "999"}, {999.6, "", "1k"}, {1234, "", "1.23k"}, {0.5, "", "0.5"},
		{0.0123, "", "0.012"}, {0.00123, "", "0.0012"}, {0.0000423, "", "42.3µ"}, {3e-9, "", "3n"}, {1e30, "", "1e+12E"},
		{-3.5, "Cel", "-3.5"}, {math.NaN(), "s", "–"}, {math.Inf(-1), "", "-Inf"},
		{0, "s", "0s"}, {0.0123, "s", "12.3ms"}, {12.345, "ms", "12.3ms"}, {0.9999, "s", "1s"}, {65, "s", "1m05s"},
		{3725, "s", "1h02m"}, {4e5, "s", "4.63d"}, {250, "us", "250µs"}, {40, "ns", "40ns"}, {2, "min", "2m00s"},
		{0, "By", "0B"}, {1536, "By", "1.5KB"}, {1 << 27, "By", "128MB"}, {84, "MBy", "84MB"}, {1023.9, "MBy", "1GB"},
		{1.365e-3, "{USD}", "$0.0014"}, {2.1e-6, "{USD}", "$2.1µ"}, {12.5, "%", "12.5%"},
	} {
		if got := quantity(tt.v, tt.unit); got != tt.want {
			t.Errorf("quantity(%v, %q) = %q, want %q", tt.v, tt.unit, got, tt.want)
		}
	}
	for perSecond, want := range map[float64]string{0: "0/s", 1.833: "1.83/s", 1.0 / 60: "1/min", 6.0 / 3600: "0.1/min",
		3.0 / 3600: "3/h", 1500: "1.5k/s"} {
		if got := rate(perSecond, ""); got != want {
			t.Errorf("rate(%v) = %q, want %q", perSecond, got, want)
		}
	}
}

// A quantity fits its column, whatever its size.
func TestQuantityIsShort(t *testing.T) {
	for unit, from := range map[string]float64{"": 1e-9, "s": 1e-9, "ms": 1e-6, "By": 0.01, "MBy": 1e-6, "{USD}": 1e-9} {
		room := 6
		if unit == "{USD}" {
			room++
		}
		for v := from; v < 1e12; v *= 1.07 {
			if got := quantity(v, unit); len([]rune(got)) > room {
				t.Fatalf("quantity(%v, %q) = %q, which is too long", v, unit, got)
			}
		}
	}
}

func TestSparkline(t *testing.T) {
	gap := math.NaN()
	for _, tt := range []struct {
		values   []float64
		fromZero bool
		want     string
	}{
		{[]float64{0, 1, 2, 3, 4, 5, 6, 7}, true, "▁▂▃▄▅▆▇█"}, {[]float64{gap, 7, gap}, true, " █ "},
		{[]float64{0, 0}, true, "▁▁"}, {[]float64{5, 5}, false, "▄▄"}, {[]float64{100, 107}, false, "▁█"},
		{[]float64{-4, 0}, true, "▁█"}, {[]float64{gap}, false, " "}, {nil, true, ""},
	} {
		if got := sparkline(tt.values, tt.fromZero); got != tt.want {
			t.Errorf("sparkline(%v, %v) = %q, want %q", tt.values, tt.fromZero, got, tt.want)
		}
	}
}
