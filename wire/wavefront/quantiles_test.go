package wavefront

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"slipstream/rollup"
	"slipstream/telemetry"
	"slipstream/wire/otlpread"
)

// draws are distributions: what draws their values, and how far off these may be
// where they have been through a rollup: over six decades the width of a bucket of
// scale 5; anything is at most as far off as its histogram's buckets are wide.
var draws = []struct {
	name string
	most float64
	draw func(r *rand.Rand, a, b float64) float64 // a and b are between 0 and 1, the same for all values
}{
	{"uniform", 0.022, func(r *rand.Rand, a, b float64) float64 { return 5 + 995*r.Float64() }},
	{"three decades", 0.022, func(r *rand.Rand, a, b float64) float64 { return math.Pow(10, 3*r.Float64()) }},
	{"exponential", 0.022, func(r *rand.Rand, a, b float64) float64 { return 1 + 50*a*r.ExpFloat64() }},
	{"lognormal", 0.022, func(r *rand.Rand, a, b float64) float64 { return math.Exp(9*b + 0.6*a*r.NormFloat64()) }},
	{"bimodal", 0.022, func(r *rand.Rand, a, b float64) float64 {
		return []float64{8, 80 + 600*a}[r.IntN(2)] * math.Exp(0.1*b*r.NormFloat64())
	}},
	{"few values", 0.022, func(r *rand.Rand, a, b float64) float64 {
		return []float64{1, 1 + 40*a, 1 + 900*b}[r.IntN(3)]
	}},
	{"many equal", 0.022, func(r *rand.Rand, a, b float64) float64 {
		if r.Float64() < a {
			return 1 + 99*b
		}
		return 1 + 99*r.Float64()
	}},
	{"at the ends of buckets", 0.022, func(r *rand.Rand, a, b float64) float64 {
		return math.Exp2(float64(r.IntN(300)) / 32)
	}},
	{"both signs and zero", 0.022, func(r *rand.Rand, a, b float64) float64 {
		return []float64{-1, 0, 1, 1, 1}[r.IntN(5)] * math.Exp(9*b+0.6*a*r.NormFloat64())
	}},
	{"six decades", 0.022, func(r *rand.Rand, a, b float64) float64 { return math.Pow(10, 6*r.Float64()) }},
	{"few values of six decades", 0.022, func(r *rand.Rand, a, b float64) float64 {
		return []float64{1, 1 + 900*a, 1 + 1e6*b}[r.IntN(3)]
	}},
	{"any range", math.Inf(1), func(r *rand.Rand, a, b float64) float64 { return math.Exp(20 * a * r.NormFloat64()) }},
	{"any range of both signs", math.Inf(1), func(r *rand.Rand, a, b float64) float64 {
		return r.NormFloat64() * math.Exp(20*a*r.NormFloat64())
	}},
}

// simulate has environments roll the values of a minute up, each its own, and
// write them; width is that of the coarsest histogram's buckets.
func simulate(r *rand.Rand, values []float64) (lines string, width float64) {
	environments, now := make([]*rollup.Rollup, 1+r.IntN(5)), time.Unix(600, 0)
	for i := range environments {
		environments[i] = rollup.New(rollup.Config{})
	}
	for _, v := range values {
		p := telemetry.Point{Kind: telemetry.Distribution, Name: []byte("d"), Value: v, Count: 1}
		environments[r.IntN(len(environments))].Add(&p, now)
	}
	for _, e := range environments {
		for _, b := range e.Close(now, true) {
			x, said := b.AppendExport(nil), ""
			body := New(Options{}).AppendBody(nil, x.Body, func(reason string, _ int) { said += reason + "\n" })
			lines += said + string(body)
			var walk otlpread.Reader
			_ = walk.Metrics(x.Body, func(p *otlpread.Point) {
				width = max(width, math.Exp2(math.Ldexp(1, int(-p.Scale)))-1)
			})
		}
	}
	return lines, width
}

// told gives each value that the distributions' lines tell, as often as it came.
func told(lines string) (values []float64, err error) {
	for line := range strings.Lines(lines) {
		head, rest, _ := strings.Cut(line, ` "d" `)
		words := strings.Fields(head)
		if !strings.HasPrefix(head, "!M 600 #") || rest != "source=\"unknown\"\n" || len(words) > 2+2*maxCentroids {
			return nil, fmt.Errorf("what is %q?", line)
		}
		for i := 2; i < len(words); i += 2 {
			n, err := strconv.Atoi(strings.TrimPrefix(words[i], "#"))
			if err != nil {
				return nil, err
			}
			v, err := strconv.ParseFloat(words[i+1], 64)
			if err != nil {
				return nil, err
			}
			values = append(values, slices.Repeat([]float64{v}, n)...)
		}
	}
	slices.Sort(values)
	return values, nil
}

// off is how far one value is from another, as a part of it.
func off(got, want float64) float64 {
	if got == want {
		return 0
	}
	return math.Abs(got-want) / math.Abs(want)
}

// Whatever the values of a minute, and however many environments had them: the
// lines tell their number, sum, least and greatest, and the nth of all values is
// within a bucket of the nth that was measured. So is each quantile, by whatever
// definition that goes by the values beside its rank.
func TestQuantiles(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("SLIPSTREAM_TEST_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("SLIPSTREAM_TEST_SEED=%d", seed)
	for _, d := range draws {
		t.Run(d.name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 0))
			worst, total, over, judged := 0.0, 0.0, 0, 0
			for range 100 {
				a, b := r.Float64(), r.Float64()
				want := make([]float64, 1+int(math.Pow(1500, r.Float64())))
				for i := range want {
					want[i] = d.draw(r, a, b)
				}
				lines, width := simulate(r, want)
				slices.Sort(want)
				got, err := told(lines)
				if n := len(want); err != nil || len(got) != n || got[0] != want[0] || got[n-1] != want[n-1] {
					t.Fatalf("%d values and not %d, or another least or greatest; %v", len(got), n, err)
				}
				sum, exact, size := 0.0, 0.0, 0.0
				for i, v := range want {
					sum, exact, size = sum+got[i], exact+v, size+math.Abs(v)
					if off(got[i], v) > min(width, d.most)+1e-12 {
						t.Fatalf("%g, number %d of %d, is told as %g: off by %.3g %%; a bucket is %.3g %% wide", v, i+1, len(want),
							got[i], 100*off(got[i], v), 100*width)
					}
				}
				if math.Abs(sum-exact) > 1e-12*size {
					t.Fatalf("%d values: the sum is %g, not %g", len(want), sum, exact)
				}
				for _, q := range []float64{0.5, 0.9, 0.95, 0.99} {
					rank := max(int(math.Ceil(q*float64(len(want))-1e-9))-1, 0) // the nearest
					e := off(got[rank], want[rank])
					worst, total, judged = max(worst, e), total+e, judged+1
					if e > 0.022 {
						over++
					}
				}
			}
			t.Logf("%d quantiles are off by %.2f %% at most, %.2f %% in the mean; %d by more than 2.2 %%",
				judged, 100*worst, 100*total/float64(judged), over)
		})
	}
}
