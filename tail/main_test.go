package tail

import (
	"bytes"
	"context"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"slipstream/telemetry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// An extension's request arrives; what is no OTLP is refused and counted.
func TestListen(t *testing.T) {
	var mu sync.Mutex
	var got []string
	r, err := Listen("127.0.0.1:0", func(x *telemetry.Export) error {
		mu.Lock()
		defer mu.Unlock()
		got = append(got, string(x.Signal))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	post := func(path, body string) int {
		t.Helper()
		answer, err := client.Post("http://"+r.Address()+path, "application/json", bytes.NewBufferString(body))
		if err != nil {
			t.Fatal(err)
		}
		_ = answer.Body.Close()
		return answer.StatusCode
	}
	if code := post("/v1/logs", `{"resourceLogs":[{"scopeLogs":[{"logRecords":[{}]}]}]}`); code != 200 {
		t.Errorf("logs are answered %d", code)
	}
	if code := post("/v1/metrics", "no JSON"); code != 400 {
		t.Errorf("what is no JSON is answered %d", code)
	}
	if _, err := Listen(r.Address(), nil); err == nil || !strings.Contains(err.Error(), "choose another port") {
		t.Errorf("a port that is taken: %v", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	dropped, err := r.Close(ctx)
	if err != nil || dropped["malformed"] != 1 || len(got) != 1 || got[0] != "logs" {
		t.Errorf("got %v, dropped %v: %v", got, dropped, err)
	}
}

// Whatever a line is, it is shown or told.
func FuzzLine(f *testing.F) {
	for _, line := range []string{
		`{"time":"2026-10-01T09:00:00Z","type":"function","message":"x"}`, `{"resourceLogs":[{}]}`,
		`{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"name":"a","gauge":{"dataPoints":[{"asDouble":1}]}}]}]}]}`,
		`{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"name":"a","exponentialHistogram":{"dataPoints":[{"count":"3",` +
			`"sum":2,"scale":1,"positive":{"offset":9,"bucketCounts":["3"]}}]}}]}]}]}`} {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		made, err := NewTable(TableConfig{Now: func() time.Time { return at }})
		if err != nil {
			t.Fatal(err)
		}
		if Line(made, []byte(line)) != nil {
			return
		}
		for _, drawn := range made.Draw(Size{Columns: 80}, false) {
			if n := len([]rune(drawn)); n > 80 || strings.ContainsFunc(drawn, unsafe) {
				t.Errorf("%d columns: %q", n, drawn)
			}
		}
		if _, err := made.AppendJSON(nil); err != nil {
			t.Error(err)
		}
	})
}
