package wavefront

import (
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/wavefronthq/wavefront-sdk-go/event"
	"github.com/wavefronthq/wavefront-sdk-go/histogram"
	"github.com/wavefronthq/wavefront-sdk-go/senders"
)

// sdkWant is what useSDK sends; lines of the SDK's own metrics are left out.
var sdkWant = []string{
	"counter orders 3 @now env=test source=s",
	"distribution latency 1×-1.5,20×30 @2018-08-06T04:32:00+1m0s env=test source=s",
	"distribution latency 1×-1.5,20×30 @2018-08-06T04:00:00+1h0m0s env=test source=s",
	"gauge foo.metric 1.2 @2018-08-06T04:32:57 env=test source=s",
	`gauge odd-name-- 1 @now k=say "hi"\nx source=s t`,
	`log wavefront.event "deploy" @2018-08-06T04:50:13 details=all of it hosts=[s] severity=info ` +
		"tags=[env: prod] wavefront.event.end_time=1533531213000",
	"log wavefront.span_log " + testHex + " @2018-08-06T04:50:13.123456 event=error message=no\nroom",
	"span getAllUsers " + testHex + "<b1d2b7aafdac05b1 link e58da6e2fdad05b1 opentracing.ref_type=follows_from " +
		"@2018-08-06T04:50:13.123+343ms _spanLogs=true application=Wavefront source=s user=[a|b]",
}

// useSDK sends one of everything that the official client can send.
func useSDK(t *testing.T, sender senders.Sender) {
	t.Helper()
	tags := map[string]string{"env": "test"}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Error(err)
		}
	}
	must(sender.SendMetric("foo.metric", 1.2, 1533529977, "s", tags))
	must(sender.SendMetric("odd name()", 1, 0, "s\tt", map[string]string{"k": "say \"hi\"\nx"}))
	must(sender.SendDeltaCounter("orders", 3, "s", tags))
	must(sender.SendDistribution("latency", []histogram.Centroid{{Value: 30, Count: 20}, {Value: -1.5, Count: 1}},
		map[histogram.Granularity]bool{histogram.MINUTE: true, histogram.HOUR: true}, 1533529977, "s", tags))
	must(sender.SendSpan("getAllUsers", 1533531013123, 343, "s", testTrace, testSpan, []string{testParent},
		[]string{testTrace}, []senders.SpanTag{{Key: "application", Value: "Wavefront"}, {Key: "user", Value: "a"},
			{Key: "user", Value: "b"}}, []senders.SpanLog{{Timestamp: 1533531013123456,
			Fields: map[string]string{"event": "error", "message": "no\nroom"}}}))
	must(sender.SendEvent("deploy", 1533531013, 1533531213, "s", map[string]string{"env": "prod"},
		event.Severity("info"), event.Details("all of it")))
	must(sender.Flush())
}

// ours leaves out what the SDK reports of itself, in whatever order it came.
func ours(records []string) (kept []string) {
	for _, r := range records {
		if !strings.Contains(r, " ~sdk.go") {
			kept = append(kept, strings.ReplaceAll(r, "\t", " "))
		}
	}
	slices.Sort(kept)
	return kept
}

// The official client, as to a proxy by HTTP, as to the service itself with a
// token (its events are JSON that says it is gzip), and in lines over TCP.
func TestOfficialSDK(t *testing.T) {
	want := slices.Clone(sdkWant)
	slices.Sort(want)
	for _, login := range []string{"", "token@"} {
		t.Run("http "+login, func(t *testing.T) {
			s, k := serve(t, nil)
			sender, err := senders.NewSender("http://"+login+s.Addr().String(), senders.FlushIntervalSeconds(3600))
			if err != nil {
				t.Fatal(err)
			}
			useSDK(t, sender)
			sender.Close()
			if diff := cmp.Diff(want, ours(k.got())); diff != "" {
				t.Error(diff)
			}
			if len(k.dropped()) > 0 {
				t.Errorf("dropped %v", k.dropped())
			}
		})
	}
	t.Run("lines", func(t *testing.T) {
		s, k := serve(t, nil)
		port := s.Addr().(*net.TCPAddr).Port
		sender, err := senders.NewProxySender(&senders.ProxyConfiguration{Host: "127.0.0.1", MetricsPort: port,
			DistributionPort: port, TracingPort: port, EventsPort: port, FlushIntervalSeconds: 3600})
		if err != nil {
			t.Fatal(err)
		}
		useSDK(t, sender)
		sender.Close()
		eventually(t, "all records", func() bool { return len(ours(k.got())) >= len(want) })
		if diff := cmp.Diff(want, ours(k.got())); diff != "" {
			t.Error(diff)
		}
		if len(k.dropped()) > 0 {
			t.Errorf("dropped %v", k.dropped())
		}
	})
}
