package rollup

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"slipstream/telemetry"
)

// BenchmarkAdd is for finding where the time goes; bench/rollup has the figures.
func BenchmarkAdd(b *testing.B) {
	random := rand.New(rand.NewPCG(1, 1))
	for _, kind := range []telemetry.PointKind{telemetry.Counter, telemetry.Distribution, telemetry.Set} {
		b.Run(fmt.Sprint(kind), func(b *testing.B) {
			r := New(Config{Journal: true})
			points := make([]*telemetry.Point, 1000)
			for i := range points {
				points[i] = point(kind, "http.server.requests", math.Exp(3+random.NormFloat64()), "region", "eu-west-1",
					"kind", "web", "route", fmt.Sprint("/orders/", i))
				points[i].Member = fmt.Append(nil, "user-", i)
			}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				p := points[i*7919%1000]
				p.Member = points[i%997].Member
				r.Add(p, minute.Add(time.Duration(i)))
				if i%64 == 0 {
					r.Flush(func(*Bin, []byte, int) {})
				}
			}
		})
	}
}
