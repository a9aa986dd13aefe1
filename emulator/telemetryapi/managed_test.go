package telemetryapi

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestManagedSubscription: managed instances take the newest schema only, and have
// words of their own for a subscription that comes too late.
func TestManagedSubscription(t *testing.T) {
	r := newReceiver(t, nil)
	h := newHub(t, Config{Managed: true, LogFormat: "JSON"})
	for _, version := range []string{"2022-07-01", "2022-12-13"} {
		status, body := put(h, apiTelemetry, "ext", r.request(`"schemaVersion":"`+version+`"`))
		if status != 400 ||
			!strings.Contains(body, `is not supported, use one of 2025-01-29","errorType":"ValidationError"`) {
			t.Errorf("schema %s: %d %s", version, status, body)
		}
	}
	subscribe(t, h, apiTelemetry, "ext", r.request(`"schemaVersion":"2025-01-29"`))
	h.EndInit()
	status, body := put(h, apiTelemetry, "late", r.request(`"schemaVersion":"2025-01-29"`))
	const want = `{"errorMessage":"Telemetry API subscription is closed","errorType":"Telemetry.SubscriptionClosed"}`
	if status != 403 || strings.TrimSpace(body) != want {
		t.Errorf("after Init: %d %s", status, body)
	}
}

// TestDrain: it returns when everything has been taken, however long the
// subscription would wait, or with its context.
func TestDrain(t *testing.T) {
	r := newReceiver(t, nil)
	h := newHub(t, Config{})
	h.Drain(t.Context()) // nobody subscribes
	subscribe(t, h, apiTelemetry, "ext", r.request(`"buffering":{"timeoutMs":30000}`))
	write(t, h.Output("function"), "one\n")
	h.Drain(t.Context())
	if got := strings.Join(r.got(), ""); !strings.Contains(got, `one\n`) {
		t.Errorf("received after Drain: %s", got)
	}
	h.Drain(t.Context()) // nothing is left
}

func TestDrainGivesUp(t *testing.T) {
	refusing := newReceiver(t, func(http.ResponseWriter, int, []byte) int { return 500 })
	h := newHub(t, Config{})
	subscribe(t, h, apiTelemetry, "ext", refusing.request())
	write(t, h.Output("function"), "one\n")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	h.Drain(ctx)
	if ctx.Err() == nil || len(refusing.got()) > 0 {
		t.Errorf("Drain ended with %v, received %q", ctx.Err(), refusing.got())
	}
}

// TestDrainEndsWithTheSubscription: nobody waits for what will never be taken.
func TestDrainEndsWithTheSubscription(t *testing.T) {
	refusing := newReceiver(t, func(http.ResponseWriter, int, []byte) int { return 500 })
	h := newHub(t, Config{})
	subscribe(t, h, apiTelemetry, "ext", refusing.request())
	write(t, h.Output("function"), "one\n")
	eventually(t, "a try", func() bool { return refusing.tried() > 0 })
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		h.Drain(t.Context())
	}()
	h.Reset()
	select {
	case <-drained:
	case <-time.After(patience):
		t.Error("Drain waits for a subscription that has ended")
	}
}
