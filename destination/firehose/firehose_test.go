package firehose

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/firehose"
	"github.com/aws/aws-sdk-go-v2/service/firehose/types"
	"github.com/google/go-cmp/cmp"

	"slipstream/destination"
	"slipstream/destination/conformance"
	"slipstream/test/servers"
)

var keys = []string{"AWS_ACCESS_KEY_ID=AKIDTEST", "AWS_SECRET_ACCESS_KEY=the-secret", "AWS_SESSION_TOKEN=the-token"}

func dial(t *testing.T, rawURL string, env ...string) *Client {
	t.Helper()
	c, err := Parse(rawURL, conformance.Environment(env...))
	if err != nil {
		t.Fatal(err)
	}
	client := New(c)
	client.backoff.Rand = func() float64 { return 0 } // tests need not wait
	t.Cleanup(func() { client.Close() })
	return client
}

func TestConformance(t *testing.T) {
	server := servers.StartFirehose(t)
	env := server.Env()
	stories := 0
	conformance.Run(t, func(t *testing.T) conformance.Case {
		stories++
		stream := fmt.Sprintf("story-%d", stories)
		server.CreateStream(t, stream)
		return conformance.Case{
			New: func(t *testing.T, front string) destination.Destination {
				return dial(t, "firehose://"+stream+"?endpoint="+url.QueryEscape(front), env...)
			},
			Backend:   server.Endpoint,
			Delivered: func(t *testing.T) [][]byte { return joined(server.Delivered(t, stream)) },
			Repeats:   true,
			Permanent: []int{413},
			Secrets:   []string{conformance.Environment(env...)("AWS_SECRET_ACCESS_KEY")},
		}
	})
}

// joined puts the second request of a batch that needed two behind the first:
// the suite has one such, and every body of its begins with "batch".
func joined(requests [][]byte) (bodies [][]byte) {
	var rest []byte
	for _, r := range requests {
		if bytes.HasPrefix(r, []byte("batch ")) {
			bodies = append(bodies, r)
		} else {
			rest = append(rest, r...)
		}
	}
	if len(rest) > 0 {
		i := 0
		for k := range bodies {
			if len(bodies[k]) > len(bodies[i]) {
				i = k
			}
		}
		bodies[i] = append(bodies[i], rest...)
	}
	return bodies
}

// stream is a Firehose that answers as the test says: for each request the
// indices of the records that it refuses. After the list it takes everything.
type stream struct {
	*httptest.Server
	refuse [][]int

	mu       sync.Mutex
	heads    []http.Header
	bodies   []string
	requests [][]string // the records of each request
	taken    []string   // the records that it has
}

func newStream(t *testing.T, refuse ...[]int) *stream {
	s := &stream{refuse: refuse}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

func (s *stream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	body, _ := io.ReadAll(r.Body)
	var in sdk.PutRecordBatchInput // AWS's own type reads what we write
	if err := json.Unmarshal(body, &in); err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	var refused []int
	if n := len(s.requests); n < len(s.refuse) {
		refused = s.refuse[n]
	}
	var records, answers []string
	for i, record := range in.Records {
		records = append(records, string(record.Data))
		if slices.Contains(refused, i) {
			answers = append(answers, `{"ErrorCode":"ServiceUnavailableException","ErrorMessage":"Slow down."}`)
			continue
		}
		answers = append(answers, fmt.Sprintf(`{"RecordId":"%d"}`, i))
		s.taken = append(s.taken, string(record.Data))
	}
	s.heads, s.bodies = append(s.heads, r.Header), append(s.bodies, string(body))
	s.requests = append(s.requests, records)
	fmt.Fprintf(w, `{"Encrypted":false,"FailedPutCount":%d,"RequestResponses":[%s]}`, len(refused),
		strings.Join(answers, ","))
}

// What the SDK's client sends for the same records is what we send.
func TestTheRequestIsTheSDKs(t *testing.T) {
	s := newStream(t)
	c := dial(t, "firehose://my_stream.1-x?region=eu-west-1&endpoint="+s.URL, keys...)
	const lines = "{\"a\":\"ü\"}\n{}\n"
	if err := c.Send(context.Background(), &destination.Batch{ID: "e-1", Body: []byte(lines)}); err != nil {
		t.Fatal(err)
	}
	theirs := sdk.New(sdk.Options{BaseEndpoint: aws.String(s.URL), Region: "eu-west-1",
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: "AKIDTEST", SecretAccessKey: "the-secret", SessionToken: "the-token"}, nil
		})})
	if _, err := theirs.PutRecordBatch(context.Background(), &sdk.PutRecordBatchInput{
		DeliveryStreamName: aws.String("my_stream.1-x"), Records: []types.Record{{Data: []byte(lines)}},
	}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(s.bodies[1], s.bodies[0]); diff != "" {
		t.Errorf("body (-theirs +ours):\n%s", diff)
	}
	for _, name := range []string{"X-Amz-Target", "Content-Type", "X-Amz-Security-Token"} {
		if ours, theirs := s.heads[0].Get(name), s.heads[1].Get(name); ours != theirs || ours == "" {
			t.Errorf("%s is %q, not %q", name, ours, theirs)
		}
	}
	ours, _, _ := strings.Cut(s.heads[0].Get("Authorization"), ",")
	if want, _, _ := strings.Cut(s.heads[1].Get("Authorization"), ","); ours != want {
		t.Errorf("authorization %s, not %s", ours, want)
	}
}

// big makes n lines of almost a record's size each.
func big(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "line %d %s\n", i, strings.Repeat(string(rune('a'+i)), 600<<10))
	}
	return b.String()
}

func TestOnlyFailedRecordsAreSentAgain(t *testing.T) {
	body := big(7) // seven records, five a request
	for name, tt := range map[string]struct {
		refuse [][]int
		want   []int // records of each request
	}{
		"none fails":         {nil, []int{5, 2}},
		"some, twice":        {[][]int{{1, 3}, {0}, {1, 2}}, []int{5, 2, 3, 2}},
		"all of one request": {[][]int{{0, 1, 2, 3, 4}}, []int{5, 2, 5}},
	} {
		s := newStream(t, tt.refuse...)
		c := dial(t, "firehose://s?endpoint="+s.URL, keys...)
		if err := c.Send(context.Background(), &destination.Batch{ID: "e-1", Body: []byte(body)}); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var counts []int
		for _, r := range s.requests {
			counts = append(counts, len(r))
		}
		if diff := cmp.Diff(tt.want, counts); diff != "" {
			t.Errorf("%s: records a request:\n%s", name, diff)
		}
		slices.Sort(s.taken)
		if strings.Join(s.taken, "") != body {
			t.Errorf("%s: something is missing or doubled", name)
		}
		if len(c.unfinished) != 0 || len(c.order) != 0 {
			t.Errorf("%s: %d batches are remembered", name, len(c.unfinished))
		}
	}
}

// Over Sends too: what is in, stays in, and is not sent again.
func TestTakenRecordsAreRemembered(t *testing.T) {
	body := big(3)
	refuse := make([][]int, maxRounds+1)
	for i := range refuse {
		refuse[i] = []int{0} // the first that is still open
	}
	refuse[0] = []int{1}
	s := newStream(t, refuse...)
	c := dial(t, "firehose://s?endpoint="+s.URL, keys...)
	b := &destination.Batch{ID: "e-1", Body: []byte(body), Records: 3}
	err := c.Send(context.Background(), b)
	var e *destination.Error
	if !errors.As(err, &e) || e.Permanent || !strings.Contains(err.Error(), "1 of 3 records failed") ||
		!strings.Contains(err.Error(), "Slow down") || !strings.Contains(e.Hint, "quota") {
		t.Fatalf("after %d rounds: %v", maxRounds, err)
	}
	if err := c.Send(context.Background(), &destination.Batch{ID: "e-2", Body: []byte("other\n")}); err != nil {
		if !strings.Contains(err.Error(), "1 of 1") {
			t.Fatal(err)
		}
	}
	if err := c.Send(context.Background(), b); err != nil {
		t.Fatal(err)
	}
	slices.Sort(s.taken)
	if got := strings.Join(s.taken, ""); got != body+"other\n" {
		t.Errorf("the stream holds %d bytes in %d records", len(got), len(s.taken))
	}
	if len(c.unfinished) != 0 || len(c.order) != 0 {
		t.Errorf("%d batches are remembered", len(c.unfinished))
	}
}

func TestMemoryOfBatchesIsBounded(t *testing.T) {
	c := New(Config{Stream: "s"})
	defer c.Close()
	for n := range 3 * maxRemembered {
		c.remember(fmt.Sprint(n), []bool{true, false})
		c.remember(fmt.Sprint("nothing in ", n), []bool{false})
	}
	if len(c.unfinished) != maxRemembered || len(c.order) != maxRemembered {
		t.Fatalf("%d and %d are remembered", len(c.unfinished), len(c.order))
	}
	if taken := c.recall(fmt.Sprint(3*maxRemembered-1), 2); !taken[0] || taken[1] {
		t.Errorf("recalled %v", taken)
	}
	if taken := c.recall("0", 2); taken[0] || taken[1] {
		t.Errorf("the oldest is still there: %v", taken)
	}
}

func TestSendEndsWithItsTime(t *testing.T) {
	s := newStream(t, []int{0}, []int{0}, []int{0}, []int{0}, []int{0})
	c := dial(t, "firehose://s?endpoint="+s.URL, keys...)
	c.backoff = destination.Backoff{Base: 1 << 60, Max: 1 << 60, Rand: func() float64 { return 1 }}
	b := &destination.Batch{ID: "e-1", Body: []byte("x\n")}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- c.Send(ctx, b) }()
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) || destination.Permanent(err) {
		t.Errorf("cancelled: %v", err)
	}
	go func() { done <- c.Send(context.Background(), b) }()
	c.Close()
	if err := <-done; !errors.Is(err, destination.ErrClosed) || destination.Permanent(err) {
		t.Errorf("closed: %v", err)
	}
}

func TestLongLinesAreRejected(t *testing.T) {
	long := strings.Repeat("x", maxRecord) // with its end one byte too long
	for body, want := range map[string]struct {
		rejected int
		taken    string
	}{
		"a\n" + long + "\nb\n":                 {1, "a\nb\n"},
		long + "\n" + long + "\n":              {2, ""},
		long[1:] + "\n" + long:                 {0, long[1:] + "\n" + long},
		"a\n" + long + "y":                     {1, "a\n"},
		"":                                     {0, ""},
		strings.Repeat("\n", 10) + long + "\n": {1, strings.Repeat("\n", 10)},
	} {
		s := newStream(t)
		err := dial(t, "firehose://s?endpoint="+s.URL, keys...).
			Send(context.Background(), &destination.Batch{ID: "e-1", Body: []byte(body)})
		var p *destination.Partial
		rejected := 0
		if errors.As(err, &p) {
			rejected = p.Rejected
		} else if err != nil {
			t.Fatal(err)
		}
		if rejected != want.rejected || strings.Join(s.taken, "") != want.taken {
			t.Errorf("a body of %d bytes: %d rejected, %d records taken", len(body), rejected, len(s.taken))
		}
	}
}

func TestLimits(t *testing.T) {
	var many [][]byte
	for range 1200 {
		many = append(many, []byte("x"))
	}
	left := 0
	_, which := request("s", many, func(int) bool { left++; return true })
	if len(which) != maxRecords {
		t.Errorf("%d records in a request", len(which))
	}
	body, which := request("s", [][]byte{make([]byte, maxRecord), make([]byte, maxRecord), make([]byte, maxRecord),
		make([]byte, maxRecord)}, func(int) bool { return true })
	if len(which) != 3 || len(body) > maxRequest {
		t.Errorf("%d records, %d bytes in a request", len(which), len(body))
	}
	const none = `{"DeliveryStreamName":"s","Records":[]}`
	if body, which := request("s", nil, nil); len(which) != 0 || string(body) != none {
		t.Errorf("%s", body)
	}
}

func TestParse(t *testing.T) {
	for raw, want := range map[string]Config{
		"firehose://My_stream.1":                {Stream: "My_stream.1", Region: "eu-west-2"},
		"firehose://s/?region=x":                {Stream: "s", Region: "x"},
		"firehose://s?endpoint=http://h:1/base": {Stream: "s", Region: "eu-west-2", Endpoint: "http://h:1/base"},
	} {
		got, err := Parse(raw, conformance.Environment("AWS_REGION=eu-west-2"))
		if got.Getenv = nil; err != nil || !cmp.Equal(want, got) {
			t.Errorf("%s: %+v, %v", raw, got, err)
		}
	}
	c, err := Parse("firehose://s", conformance.Environment("AWS_ENDPOINT_URL=http://b",
		"AWS_ENDPOINT_URL_FIREHOSE=http://a"))
	if err != nil || c.Endpoint != "http://a" || c.Region != "us-east-1" {
		t.Errorf("%+v, %v", c, err)
	}
	for raw, want := range map[string]string{
		"s3://s":                                "scheme",
		"firehose://":                           "stream is missing",
		"firehose://u:secret@s":                 "no stream's name",
		"firehose://s:80":                       "no stream's name",
		"firehose://" + strings.Repeat("s", 65): "no stream's name",
		"firehose://a b":                        "no URL",
		"firehose://s/path":                     "has no path",
		"firehose://s?%zz":                      "malformed",
		"firehose://s?prefix=secret":            "unknown option prefix",
		"firehose://s?endpoint=h:1":             "endpoint is no URL",
	} {
		_, err := Parse(raw, conformance.Environment())
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v, want %q in it", raw, err, want)
		}
	}
}

func TestRefusals(t *testing.T) {
	for _, tt := range []struct {
		status     int
		body, want string
		permanent  bool
	}{
		{400, `{"__type":"ResourceNotFoundException","message":"no s of the-secret"}`,
			"no s of *** (create the stream", false},
		{400, `{"__type":"AccessDeniedException"}`, "check firehose:PutRecordBatch on arn:aws:firehose:us-east-1:*:", false},
		{400, `{"__type":"ExpiredTokenException"}`, "have expired", false},
		{503, `{"__type":"ServiceUnavailableException","message":"Slow down."}`, "quota", false},
		{413, ``, "status 413", true},
		{200, `{"FailedPutCount":0,"RequestResponses":[{"Reco`, "a part of one", false},
		{200, `{"RequestResponses":[{"RecordId":"1"}]}`, "no answer of Firehose", false},
		{200, `{"FailedPutCount":1,"RequestResponses":[]}`, "no answer of Firehose", false},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(tt.status)
			io.WriteString(w, tt.body)
		}))
		err := dial(t, "firehose://s?endpoint="+server.URL, keys...).
			Send(context.Background(), &destination.Batch{ID: "e-1", Body: []byte("x\n")})
		server.Close()
		if err == nil || !strings.Contains(err.Error(), tt.want) || destination.Permanent(err) != tt.permanent ||
			strings.Contains(err.Error(), "the-secret") {
			t.Errorf("%s: %v, want %q in it", tt.body, err, tt.want)
		}
	}
}

func FuzzOutcome(f *testing.F) {
	f.Add([]byte(`{"FailedPutCount":1,"RequestResponses":[{"ErrorCode":"x","ErrorMessage":"y"},{"RecordId":"1"}]}`), 2)
	f.Fuzz(func(t *testing.T, body []byte, n int) {
		if n = n & 15; len(outcome(body, n)) != n && outcome(body, n) != nil {
			t.Error("not one failure a record")
		}
	})
}

func FuzzSplit(f *testing.F) {
	f.Add([]byte("a\nb"))
	f.Fuzz(func(t *testing.T, body []byte) {
		records, tooLong := split(body)
		if tooLong == 0 && !bytes.Equal(bytes.Join(records, nil), body) {
			t.Error("not all of the body")
		}
		for _, r := range records {
			if len(r) == 0 || len(r) > maxRecord {
				t.Errorf("a record of %d bytes", len(r))
			}
		}
	})
}
