package lambda

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// api is a platform that answers with one handler.
func api(t *testing.T, handle http.HandlerFunc) *Client {
	t.Helper()
	server := httptest.NewServer(handle)
	c := New(server.Listener.Addr().String(), nil)
	t.Cleanup(func() {
		c.Close()
		server.Close()
	})
	return c
}

func TestRegister(t *testing.T) {
	c := api(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got := fmt.Sprint(r.Method, " ", r.URL.Path, " ", r.Header.Get("Lambda-Extension-Name"), " ",
			r.Header.Get("Lambda-Extension-Accept-Feature"), " ", string(body))
		if want := `POST /2020-01-01/extension/register x accountId {"events":["INVOKE","SHUTDOWN"]}`; got != want {
			t.Errorf("request %s", got)
		}
		w.Header().Set("Lambda-Extension-Identifier", "id-1")
		_, _ = io.WriteString(w, `{"functionName":"shop","functionVersion":"7","handler":"h","accountId":"1"}`)
	})
	r, err := c.Register(t.Context(), "x", []string{EventInvoke, EventShutdown})
	if diff := cmp.Diff(Registration{"shop", "7", "1"}, r); err != nil || diff != "" || c.id != "id-1" {
		t.Errorf("%v, id %q\n%s", err, c.id, diff)
	}
}

func TestNext(t *testing.T) {
	tests := map[string]struct {
		answer string
		want   Event
	}{
		"invoke": {
			`{"eventType":"INVOKE","deadlineMs":1790000003000,"requestId":"r","invokedFunctionArn":"a","tracing":{}}`,
			Event{Type: EventInvoke, RequestID: "r", Deadline: time.UnixMilli(1790000003000)},
		},
		"shutdown": {
			`{"eventType":"SHUTDOWN","deadlineMs":1790000002000,"shutdownReason":"SPINDOWN"}`,
			Event{Type: EventShutdown, ShutdownReason: "spindown", Deadline: time.UnixMilli(1790000002000)},
		},
		"an event of the future": {`{"eventType":"RESTORE"}`, Event{Type: "RESTORE", Deadline: time.UnixMilli(0)}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			c := api(t, func(w http.ResponseWriter, r *http.Request) {
				if r.Header.Get("Lambda-Extension-Identifier") != "id-1" {
					t.Error("no identifier")
				}
				w.Header().Set("Content-Type", "text/plain; charset=utf-8") // as the service does for SHUTDOWN
				_, _ = io.WriteString(w, tc.answer)
			})
			c.id = "id-1"
			got, err := c.Next(t.Context())
			if diff := cmp.Diff(tc.want, got); err != nil || diff != "" {
				t.Errorf("%v\n%s", err, diff)
			}
		})
	}
}

func TestNextEndsWithItsContext(t *testing.T) {
	asked := make(chan struct{})
	release := make(chan struct{})
	c := api(t, func(http.ResponseWriter, *http.Request) {
		close(asked)
		<-release
	})
	defer close(release)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-asked
		cancel()
	}()
	if _, err := c.Next(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want canceled", err)
	}
}

func TestSubscribe(t *testing.T) {
	base := Subscription{
		SchemaVersion: "2022-12-13", Types: []string{"platform"}, MaxItems: 1000, MaxBytes: 262144,
		Timeout: 100 * time.Millisecond, URI: "http://sandbox.localdomain:1/x",
	}
	logs := base
	logs.Logs, logs.SchemaVersion = true, "2020-08-15"
	for path, s := range map[string]Subscription{"/2022-07-01/telemetry": base, "/2020-08-15/logs": logs} {
		c := api(t, func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			want := `{"buffering":{"maxBytes":262144,"maxItems":1000,"timeoutMs":100},"destination":{"URI":` +
				`"http://sandbox.localdomain:1/x","protocol":"HTTP"},"schemaVersion":"` + s.SchemaVersion +
				`","types":["platform"]}`
			if r.Method != http.MethodPut || r.URL.Path != path || string(body) != want {
				t.Errorf("%s %s %s", r.Method, r.URL.Path, body)
			}
			_, _ = io.WriteString(w, `"OK"`)
		})
		if err := c.Subscribe(t.Context(), s); err != nil {
			t.Error(err)
		}
	}
}

// A 202 is AWS's emulator saying that nothing will ever be delivered.
func TestSubscribeWithoutTelemetry(t *testing.T) {
	c := api(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusAccepted)
		_, _ = io.WriteString(w, `{"errorMessage":"Telemetry API is not supported","errorType":"Telemetry.NotSupported"}`)
	})
	var missing *NotSupportedError
	if err := c.Subscribe(t.Context(), Subscription{}); !errors.As(err, &missing) ||
		!strings.Contains(err.Error(), "Telemetry.NotSupported") {
		t.Errorf("error %v", err)
	}
}

func TestErrorsNameWhatThePlatformSays(t *testing.T) {
	c := api(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(w, `{"errorMessage":"Empty extension name","errorType":"Extension.InvalidExtensionName"}`)
	})
	_, err := c.Register(t.Context(), "", nil)
	if err == nil || !strings.Contains(err.Error(), "status 403") ||
		!strings.Contains(err.Error(), "Extension.InvalidExtensionName") {
		t.Errorf("error %v", err)
	}
}

func TestInitError(t *testing.T) {
	c := api(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if got := r.Header.Get("Lambda-Extension-Function-Error-Type") + string(body); got !=
			`Extension.ConfigInvalid{"errorMessage":"no","errorType":"Extension.ConfigInvalid"}` {
			t.Error(got)
		}
		w.WriteHeader(http.StatusAccepted)
	})
	if err := c.InitError(t.Context(), "Extension.ConfigInvalid", errors.New("no")); err != nil {
		t.Error(err)
	}
}

// A server that closes after each answer is dialled again.
func TestConnectionsMayEnd(t *testing.T) {
	calls := 0
	c := api(t, func(w http.ResponseWriter, _ *http.Request) {
		calls++
		w.Header().Set("Connection", "close")
		_, _ = io.WriteString(w, `{"eventType":"INVOKE"}`)
	})
	for range 3 {
		if _, err := c.Next(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if calls != 3 {
		t.Errorf("%d calls", calls)
	}
}

func TestNobodyListens(t *testing.T) {
	c := New("127.0.0.1:1", nil)
	if _, err := c.Register(t.Context(), "x", nil); err == nil || !strings.Contains(err.Error(), `register as "x"`) {
		t.Errorf("error %v", err)
	}
}
