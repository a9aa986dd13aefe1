package statsd

import (
	"net"
	"path/filepath"
	"slices"
	"testing"
	"time"

	datadog "github.com/DataDog/datadog-go/v5/statsd"
	cactus "github.com/cactus/go-statsd-client/v5/statsd"
	"github.com/google/go-cmp/cmp"
)

// listen opens a socket and gives the address by which Datadog's client knows it.
func listen(t *testing.T, network string) (socket net.PacketConn, address string) {
	t.Helper()
	name, prefix := "127.0.0.1:0", ""
	if network == "unixgram" {
		name, prefix = filepath.Join(t.TempDir(), "s"), "unixgram://"
	}
	socket, err := net.ListenPacket(network, name)
	if err != nil {
		t.Fatal(err)
	}
	return socket, prefix + socket.LocalAddr().String()
}

// compare waits for as many lines and compares them without their order.
func compare(t *testing.T, k *taker, s *Server, want []string) {
	t.Helper()
	k.wait(t, "the client's lines", func() bool { return k.records >= len(want) })
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	slices.Sort(want)
	slices.Sort(k.lines)
	if diff := cmp.Diff(want, k.lines); diff != "" || len(k.drops) > 0 {
		t.Errorf("drops %v (-want +got):\n%s", k.drops, diff)
	}
}

func must(t *testing.T, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestDatadogClient(t *testing.T) {
	for _, network := range []string{"udp", "unixgram"} {
		k := newTaker()
		socket, address := listen(t, network)
		s := Serve(socket, k.config())
		c, err := datadog.New(address, datadog.WithNamespace("shop"), datadog.WithTags([]string{"env:prod"}),
			datadog.WithoutTelemetry(), datadog.WithExtendedClientSideAggregation(),
			datadog.WithContainerID("83c0a99c0a54c0c187f461c7980e9b57f3f6a8b0c918c8d93df19a9de6f3fe1d"))
		must(t, err)
		at := time.Unix(1565657600, 0)
		event := datadog.NewEvent("deploy|ed", "line\nnext")
		event.AlertType, event.Tags = datadog.Error, []string{"team:a", "team:b"}
		check := datadog.NewServiceCheck("db", datadog.Warn)
		check.Message, check.Timestamp = "slow m:\nvery", at
		must(t,
			c.Count("orders", 2, nil, 1), c.Count("orders", 3, nil, 1), c.Gauge("stock", 12.5, []string{"a", "b:c"}, 1),
			c.Distribution("size", 3, nil, 1), c.Distribution("size", 1, nil, 1), c.Distribution("size", 2, nil, 1),
			c.Histogram("height", 7, nil, 1), c.Timing("latency", 320*time.Millisecond, nil, 1),
			c.Set("users", "ada:1", nil, 1), c.CountWithTimestamp("old", 5, nil, 1, at),
			c.GaugeWithTimestamp("old", 6, nil, 1, at), c.Event(event), c.ServiceCheck(check), c.Flush(), c.Close())
		compare(t, k, s, []string{
			"counter shop.orders 5 env=prod",
			"gauge shop.stock 12.5 env=prod a= b=c",
			"histogram shop.size [1 2 3]×[1 1 1] env=prod",
			"histogram shop.height [7]×[1] env=prod",
			"histogram shop.latency [320]×[1]ms env=prod",
			"counter shop.users 1 set.member=ada:1 env=prod",
			"counter shop.old 5 T1565657600 env=prod",
			"gauge shop.old 6 T1565657600 env=prod",
			`statsd.event ERROR 17 "line\nnext" statsd.event.title=deploy|ed statsd.event.alert_type=error env=prod team=a;b;`,
			`statsd.service_check WARN 13 "slow m:\nvery" T1565657600 statsd.service_check.name=db ` +
				"statsd.service_check.status=1 env=prod",
		})
	}
}

// A sampled line stands for as many as its rate says.
func TestDatadogSampling(t *testing.T) {
	k := newTaker()
	socket, address := listen(t, "udp")
	s := Serve(socket, k.config())
	c, err := datadog.New(address, datadog.WithoutTelemetry(), datadog.WithoutClientSideAggregation(),
		datadog.WithoutOriginDetection())
	must(t, err)
	for range 200 {
		must(t, c.Count("n", 3, nil, 0.25), c.Timing("t", time.Second, nil, 0.25))
	}
	must(t, c.Close())
	k.wait(t, "a sampled line", func() bool { return k.records > 0 })
	must(t, s.Close())
	for _, line := range k.lines {
		if line != "counter n 12" && line != "histogram t [1000]×[4]ms" {
			t.Errorf("%q", line)
		}
	}
	if len(k.drops) > 0 || !slices.Contains(k.lines, "counter n 12") {
		t.Errorf("%d lines, drops %v", len(k.lines), k.drops)
	}
}

func TestCactusClient(t *testing.T) {
	for _, buffered := range []bool{false, true} {
		k := newTaker()
		socket, address := listen(t, "udp")
		s := Serve(socket, k.config())
		c, err := cactus.NewClientWithConfig(&cactus.ClientConfig{Address: address, Prefix: "shop", UseBuffered: buffered,
			FlushInterval: time.Millisecond, TagFormat: cactus.SuffixOctothorpe})
		must(t, err)
		tag := cactus.Tag{"env", "prod"}
		must(t,
			c.Inc("orders", 2, 1, tag), c.Dec("orders", 1, 1), c.Gauge("stock", 9, 1), c.GaugeDelta("stock", 3, 1),
			c.GaugeDelta("stock", -4, 1), c.Timing("latency", 320, 1), c.TimingDuration("latency", 1500*time.Microsecond, 1),
			c.Set("users", "ada", 1), c.SetInt("users", 7, 1), c.Raw("raw", "1.5|g", 1), c.Close())
		compare(t, k, s, []string{
			"counter shop.orders 2 env=prod", "change shop.orders -1", "gauge shop.stock 9", "change shop.stock 3",
			"change shop.stock -4", "histogram shop.latency [320]×[1]ms", "histogram shop.latency [1.5]×[1]ms",
			"counter shop.users 1 set.member=ada", "counter shop.users 1 set.member=7", "gauge shop.raw 1.5",
		})
	}
}
