package otlp

import (
	"bytes"
	"strings"
	"testing"

	"slipstream/telemetry"
	"slipstream/wire"
)

func TestSift(t *testing.T) {
	logs := func(change func(text string) string) []byte {
		request := someLogs(4)
		request.ResourceLogs = append(request.ResourceLogs, someLogs(2).ResourceLogs...)
		scopes := &request.ResourceLogs[0].ScopeLogs
		*scopes = append(*scopes, someLogs(3).ResourceLogs[0].ScopeLogs...)
		return []byte(change(string(marshal(t, request))))
	}
	replace := func(from, to string, which int) func(string) string {
		return func(text string) string {
			at := 0
			for range which {
				at += strings.Index(text[at:], from) + 1
			}
			return text[:at-1] + to + text[at-1+len(to):]
		}
	}
	for _, tt := range []struct {
		name           string
		body           []byte
		kept, rejected int
		ok             bool
	}{
		{"nothing wrong", logs(func(s string) string { return s }), 9, 0, true},
		{"a record", logs(replace("INFO", "\xff", 3)), 8, 1, true},
		{"a record of the second scope", logs(replace("INFO", "\xff", 6)), 8, 1, true},
		{"a record of the last resource", logs(replace("INFO", "\xff", 9)), 8, 1, true},
		{"a scope", logs(replace("test", "\xff", 2)), 6, 3, true},
		{"a resource", logs(replace("shop", "\xff", 1)), 2, 7, true},
		{"no message", []byte("hello"), 0, 0, false},
		{"without end", append(logs(replace("INFO", "\xff", 1)), 0x0a, 0x7f), 0, 1, false},
		{"too much to look at", bytes.Repeat([]byte{0x0a, 0}, maxChecks+2), 0, 0, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, _ := judgedServer(t, Config{})
			d := newDesk(s)
			d.signal = telemetry.Logs
			sifted, rejected, ok := s.sift(d, nil, tt.body)
			kept, err := wire.CheckExport(telemetry.Logs, sifted)
			if ok != tt.ok || rejected != tt.rejected || tt.ok && (kept != tt.kept || err != nil) {
				t.Errorf("kept %d, rejected %d, %v, %v; want %d, %d, %v", kept, rejected, ok, err, tt.kept, tt.rejected, tt.ok)
			}
		})
	}
}
