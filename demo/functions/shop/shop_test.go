package shop

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestLinesAreNumberedAndTheLedgerCounts(t *testing.T) {
	dir := t.TempDir()
	t.Setenv(EnvLedger, dir)
	s, err := New("payment")
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	s.out = &out
	s.Text("INFO", "asking the bank for %d", 7)
	s.JSON("INFO", "paid", Order{Number: 7})
	for _, want := range []string{"INFO asking the bank for 7 line=" + s.instance + "-1\n",
		`"line":"` + s.instance + `-2"`, `"order":7`} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("lines %q lack %q", out.String(), want)
		}
	}
	if text, err := os.ReadFile(filepath.Join(dir, s.instance)); err != nil || string(text) != "2" {
		t.Errorf("ledger %q, %v; want 2", text, err)
	}
}

func TestAMissingLedgerIsAnError(t *testing.T) {
	t.Setenv(EnvLedger, filepath.Join(t.TempDir(), "missing"))
	if _, err := New("payment"); err == nil || !strings.Contains(err.Error(), "ledger") {
		t.Errorf("error %v, want one about the ledger", err)
	}
}

func TestCall(t *testing.T) {
	busy := 2
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/2015-03-31/functions/payment/invocations":
			if busy--; busy >= 0 {
				w.WriteHeader(http.StatusTooManyRequests)
				return
			}
			_, _ = w.Write([]byte(`{"order":7,"status":"paid"}`))
		case "/2015-03-31/functions/broken/invocations":
			w.Header().Set("X-Amz-Function-Error", "Unhandled")
			_, _ = w.Write([]byte(`{"errorMessage":"declined"}`))
		default:
			_, _ = w.Write([]byte(`garbage`))
		}
	}))
	defer server.Close()
	t.Setenv(EnvInvoke, server.URL)
	s, err := New("checkout")
	if err != nil {
		t.Fatal(err)
	}
	if answer, err := s.Call(t.Context(), "payment", Order{Number: 7}); err != nil || answer.Status != "paid" {
		t.Errorf("payment answers %v, %v", answer, err)
	}
	for function, want := range map[string]string{"broken": "declined", "other": "read its answer"} {
		if _, err := s.Call(t.Context(), function, Order{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want one with %q", function, err, want)
		}
	}
}
