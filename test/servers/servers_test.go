package servers

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestS3KeepsItsDataOverAnOutage(t *testing.T) {
	s := StartS3(t)
	s.CreateBucket(t, "logs")
	if keys := s.List(t, "logs", ""); len(keys) != 0 {
		t.Fatalf("a new bucket holds %v", keys)
	}
	s.Stop(t)
	if _, err := http.Get(s.Endpoint); err == nil {
		t.Fatal("a stopped server answers")
	}
	s.Start(t)
	if keys := s.List(t, "logs", ""); len(keys) != 0 {
		t.Fatalf("the bucket holds %v after the outage", keys)
	}
}

func TestOTLPReceives(t *testing.T) {
	s := StartOTLP(t)
	const body = `{"resourceLogs":[{"resource":{},"scopeLogs":[{"scope":{},"logRecords":[` +
		`{"body":{"stringValue":"hello"}}]}]}]}`
	resp, err := http.Post(s.Endpoint+"/v1/logs", "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	s.Stop(t)
	s.Start(t)
	received := s.Received(t)
	if resp.StatusCode != http.StatusOK || len(received) != 1 {
		t.Fatalf("status %d, %d payloads", resp.StatusCode, len(received))
	}
	if diff := cmp.Diff(body, string(received[0])); diff != "" {
		t.Error(diff)
	}
}
