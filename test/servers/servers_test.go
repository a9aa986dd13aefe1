package servers

import (
	"bytes"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsfirehose "github.com/aws/aws-sdk-go-v2/service/firehose"
	"github.com/aws/aws-sdk-go-v2/service/firehose/types"
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

func TestFirehoseWritesEachRequest(t *testing.T) {
	f := StartFirehose(t)
	f.CreateStream(t, "logs")
	f.CreateStream(t, "others")
	for _, text := range []string{"a\n", "b\n"} {
		if _, err := f.client.PutRecordBatch(t.Context(), &awsfirehose.PutRecordBatchInput{
			DeliveryStreamName: aws.String("logs"), Records: []types.Record{{Data: []byte(text)}, {Data: []byte(text)}},
		}); err != nil {
			t.Fatal(err)
		}
	}
	got := strings.Split(string(bytes.Join(f.Delivered(t, "logs"), []byte("|"))), "|")
	slices.Sort(got)
	if diff := cmp.Diff([]string{"a\na\n", "b\nb\n"}, got); diff != "" {
		t.Error(diff)
	}
	if others := f.Delivered(t, "others"); len(others) != 0 {
		t.Errorf("another stream holds %q", others)
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

func TestProxyRefusesWhileItIsClosed(t *testing.T) {
	served := 0
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { served++ }))
	defer server.Close()
	proxy, err := NewProxy(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer proxy.Close()
	alone := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	get := func() error {
		response, err := alone.Get(proxy.Endpoint)
		if err == nil {
			err = response.Body.Close()
		}
		return err
	}
	if err := get(); err != nil {
		t.Error(err)
	}
	proxy.Close()
	if err := get(); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("closed: %v, want a refused connection", err)
	}
	if err := proxy.Open(); err != nil {
		t.Fatal(err)
	}
	if err := get(); err != nil || served != 2 || proxy.Seen() != 2 {
		t.Errorf("open again: %v, %d requests served, %d seen, want 2", err, served, proxy.Seen())
	}
}
