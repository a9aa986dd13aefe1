package process

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"slipstream/process/captured"
	"slipstream/process/limit"
	"slipstream/process/redact"
	"slipstream/telemetry"
	"slipstream/wire"
)

// rules is a Redactor: the word hunter2 is a secret, as is what stands below
// some keys.
type rules struct{}

func (rules) Suspect(b []byte) bool { return bytes.Contains(b, []byte("hunter2")) }

func (rules) Key(path []byte) redact.Action {
	switch name := path[bytes.LastIndexByte(path, '.')+1:]; string(name) {
	case "password", "authorization":
		return redact.Mask
	case "gone":
		return redact.Remove
	case "hashed":
		return redact.Hash
	}
	return redact.Keep
}

func (rules) Text(dst, text []byte) ([]byte, bool) {
	if !bytes.Contains(text, []byte("hunter2")) {
		return dst, false
	}
	return append(dst, bytes.ReplaceAll(text, []byte("hunter2"), []byte("****"))...), true
}

func (r rules) Value(dst, key, text []byte) ([]byte, bool) {
	switch r.Key(key) {
	case redact.Mask:
		return append(dst, "****"...), true
	case redact.Hash:
		return fmt.Appendf(dst, "#%d", len(text)), true
	}
	return r.Text(dst, text)
}

func (rules) JSON(dst, value []byte) ([]byte, bool) {
	before, after, ok := bytes.Cut(value, []byte(`"password":"`))
	if !ok {
		return dst, false
	}
	_, after, _ = bytes.Cut(after, []byte(`"`))
	return append(append(append(dst, before...), `"password":"****"`...), after...), true
}

func (rules) Domain(host []byte) bool { return strings.HasPrefix(string(host), "secretsmanager.") }

// attributes is OTLP/JSON's for names and values, a value as JSON if it begins
// with a brace.
func attributes(pairs ...string) string {
	var all []string
	for i := 0; i < len(pairs); i += 2 {
		value := pairs[i+1]
		if !strings.HasPrefix(value, `{"`) || !strings.Contains(value, "Value") {
			value = fmt.Sprintf(`{"stringValue":%q}`, value)
		}
		all = append(all, fmt.Sprintf(`{"key":%q,"value":%s}`, pairs[i], value))
	}
	return `"attributes":[` + strings.Join(all, ",") + `]`
}

func logText(records ...string) string {
	return `{"resourceLogs":[{"scopeLogs":[{"logRecords":[{` + strings.Join(records, "},{") + `}]}]}]}`
}

func spanText(spans ...string) string {
	return `{"resourceSpans":[{"scopeSpans":[{"spans":[{` + strings.Join(spans, "},{") + `}]}]}]}`
}

func export(t testing.TB, signal telemetry.Signal, text string) *telemetry.Export {
	t.Helper()
	body, err := wire.ExportFromJSON(nil, signal, []byte(text))
	if err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	n, err := wire.CheckExport(signal, body)
	if err != nil {
		t.Fatal(err)
	}
	return &telemetry.Export{Signal: signal, Records: n, Body: body}
}

// applied is the export after x, as JSON.
func applied(t testing.TB, x *Exports, signal telemetry.Signal, text string) string {
	t.Helper()
	e := export(t, signal, text)
	x.Apply(e, "r", time.Unix(0, 0))
	if n, err := wire.CheckExport(signal, e.Body); err != nil || n != e.Records {
		t.Fatalf("%d records, %d checked, %v", e.Records, n, err)
	}
	line, err := wire.ExportToJSON(nil, signal, e.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(line)
}

// What a redactor says is done in every kind of place and of value.
func TestRedaction(t *testing.T) {
	list := func(values string) string { return `{"arrayValue":{"values":[` + values + `]}}` }
	for name, tt := range map[string]struct{ in, want string }{
		"a line":       {`"body":{"stringValue":"is hunter2"}`, `"body":{"stringValue":"is ****"}`},
		"a clean line": {`"body":{"stringValue":"is clean"}`, `"body":{"stringValue":"is clean"}`},
		"JSON in a line": {`"body":{"stringValue":" {\"password\":\"x\",\"a\":[1]}"}`,
			`"body":{"stringValue":" {\"password\":\"****\",\"a\":[1]}"}`},
		"no JSON": {`"body":{"stringValue":"{\"password\":\"x\""}`, `"body":{"stringValue":"{\"password\":\"x\""}`},
		"a structured body": {
			`"body":{"kvlistValue":{"values":[{"key":"user","value":{"kvlistValue":{"values":[` +
				`{"key":"password","value":{"intValue":"7"}}]}}}]}}`,
			`"body":{"kvlistValue":{"values":[{"key":"user","value":{"kvlistValue":{"values":[` +
				`{"key":"password","value":{"stringValue":"****"}}]}}}]}}`},
		"by key":          {attributes("password", "x", "b", "x"), attributes("password", "****", "b", "x")},
		"a number by key": {attributes("password", `{"doubleValue":1.5}`), attributes("password", "****")},
		"a list by key":   {attributes("password", list(`{"stringValue":"x"}`)), attributes("password", "****")},
		"a hash":          {attributes("hashed", "abc"), attributes("hashed", "#3")},
		"a number's":      {attributes("hashed", `{"intValue":"-12"}`), attributes("hashed", "#3")},
		"a list's":        {attributes("hashed", list(`{}`)), attributes("hashed", "****")},
		"removed":         {attributes("a", "b", "gone", "x"), attributes("a", "b") + `,"droppedAttributesCount":1`},
		"a header": {attributes("http.request.header.authorization", list(`{"stringValue":"x"}`)),
			attributes("http.request.header.authorization", "****")},
		"in a list": {attributes("a", list(`{"stringValue":"hunter2"},{"boolValue":true}`)),
			attributes("a", list(`{"stringValue":"****"},{"boolValue":true}`))},
		"bytes":   {attributes("a", `{"bytesValue":"aHVudGVyMg=="}`), attributes("a", `{"bytesValue":"KioqKg=="}`)},
		"a name":  {`"severityText":"hunter2","eventName":"x hunter2"`, `"severityText":"****","eventName":"x ****"`},
		"the key": {attributes("my hunter2", "x"), attributes("my ****", "x")},
	} {
		x := NewExports(Policy{Redactor: rules{}})
		if diff := cmp.Diff(logText(tt.want), applied(t, x, telemetry.Logs, logText(tt.in))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if changed := x.Counts()["redacted"] > 0; changed != (tt.in != tt.want) {
			t.Errorf("%s: counts are %v", name, x.Counts())
		}
	}
}

// everything is a Redactor to which each value is a secret.
type everything struct{ rules }

func (everything) Suspect([]byte) bool      { return false }
func (everything) Key([]byte) redact.Action { return redact.Mask }
func (everything) Value(dst, _, _ []byte) ([]byte, bool) {
	return append(dst, "****"...), true
}

// A part of a call may have rules of its own, for all below it.
func TestPartsHaveTheirOwnRules(t *testing.T) {
	x := NewExports(Policy{Redactor: rules{}, Parts: map[captured.Part]Redactor{captured.RequestHeader: everything{}}})
	members := `{"kvlistValue":{"values":[{"key":"accept","value":{"stringValue":"x"}}]}}`
	in := attributes("http.request.header.accept", "x", "http.response.header.accept", "x", "password", "x",
		"http.request.headers", members)
	want := attributes("http.request.header.accept", "****", "http.response.header.accept", "x", "password", "****",
		"http.request.headers", "****")
	if diff := cmp.Diff(logText(want), applied(t, x, telemetry.Logs, logText(in))); diff != "" {
		t.Error(diff)
	}
}

// Of a call to a scrubbed domain nothing is told but that it took place.
func TestScrubbedDomain(t *testing.T) {
	call := func(key, value string) string {
		return `"name":"call",` + attributes("a", "b", key, value, "http.request.body", "x",
			"http.response.body", `{"kvlistValue":{"values":[{"key":"x","value":{"stringValue":"y"}}]}}`,
			"http.request.header.accept", `{"arrayValue":{"values":[{"stringValue":"y"}]}}`, "url.query", "q", "url.path", "/")
	}
	const host = "secretsmanager.eu-west-1.amazonaws.com"
	bodies := []string{"http.request.body", unavailable, "http.response.body", unavailable}
	for key, value := range map[string]string{
		"server.address": host, "http.host": host + ":443", "net.peer.name": host,
		"url.full": "https://" + host + "/x?y", "http.url": "https://u@" + host, "url": "http://" + host,
	} {
		x := NewExports(Policy{Limits: limit.Default(), Redactor: rules{}})
		want := `"name":"call",` + attributes(append([]string{"a", "b", key, value}, bodies...)...) +
			`,"droppedAttributesCount":3`
		if strings.Contains(key, "url") {
			want = `"name":"call",` + attributes(append([]string{"a", "b"}, bodies...)...) + `,"droppedAttributesCount":4`
		}
		other := call("server.address", "example.com")
		got := applied(t, x, telemetry.Traces, spanText(call(key, value), other))
		if diff := cmp.Diff(spanText(want, other), got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", key, diff)
		}
		if n := x.Counts()["domain_scrubbed"]; n != 1 {
			t.Errorf("counts are %v", x.Counts())
		}
	}
}

func TestLimits(t *testing.T) {
	l := limit.Limits{Attribute: 60, Body: 30, BodyOnError: 40, Record: 300}
	long := func(n int) string { return strings.Repeat("x", n) }
	cut := func(n int) string { return long(n-13) + "...[too long]" }
	const mark = `,{"key":"slipstream.truncated","value":{"boolValue":true}}]`
	marked := func(s string) string { return strings.TrimSuffix(s, "]") + mark }
	list := func(n int, s string) string {
		one := `{"stringValue":"` + s + `"}`
		return `{"arrayValue":{"values":[` + strings.TrimSuffix(strings.Repeat(one+",", n), ",") + `]}}`
	}
	for name, tt := range map[string]struct{ in, want, why string }{
		"short":     {attributes("a", long(60)), attributes("a", long(60)), ""},
		"attribute": {attributes("a", long(61)), marked(attributes("a", cut(60))), "attribute_too_long"},
		"body": {attributes("http.request.body", long(31)), marked(attributes("http.request.body", cut(30))),
			"body_too_long"},
		"header": {attributes("http.request.header.x", list(1, long(50))),
			marked(attributes("http.request.header.x", list(1, cut(30)))), "body_too_long"},
		"body on error": {`"severityNumber":17,` + attributes("faas.event", long(41)),
			`"severityNumber":17,` + marked(attributes("faas.event", cut(40))), "body_too_long"},
		"a line": {`"body":{"stringValue":"` + long(301) + `"},` + attributes("a", "b"),
			`"body":{"stringValue":"` + cut(300) + `"},` + marked(attributes("a", "b")), "record_too_long"},
		"a list": {attributes("a", list(9, long(10)), "ab", long(50)),
			marked(attributes("a", list(6, long(10)), "ab", long(50))), "attribute_too_long"},
		"a record": {attributes("a", long(60), "b", long(60), "c", long(60), "d", long(60), "e", long(50), "f", long(50)),
			marked(attributes("a", long(60), "b", long(60), "c", long(60), "d", long(60), "e", long(50),
				"f", "...[too lo")), "record_too_long"},
	} {
		x := NewExports(Policy{Limits: l})
		got := applied(t, x, telemetry.Logs, logText(tt.in))
		if diff := cmp.Diff(logText(tt.want), got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if n := x.Counts()[tt.why]; tt.why != "" && n == 0 || tt.why == "" && len(x.Counts()) > 0 {
			t.Errorf("%s: counts are %v", name, x.Counts())
		}
		if again := applied(t, x, telemetry.Logs, got); again != got && name != "a record" {
			t.Errorf("%s: the second time it became %s", name, again)
		}
	}
}

// A limit on error that is not set is no smaller one; what is known of a record
// is not said of what stands behind it.
func TestWhatALimitIsFor(t *testing.T) {
	x := NewExports(Policy{Limits: limit.Limits{Body: 30}, Redactor: rules{}})
	body := attributes("faas.event", strings.Repeat("x", 30))
	long := logText(`"severityNumber":17,` + attributes("faas.event", strings.Repeat("x", 31)))
	if got := applied(t, x, telemetry.Logs, long); !strings.Contains(got, "xx...[too long]") {
		t.Errorf("a body is longer than any limit: %s", got)
	}
	scrubbed := spanText(attributes("server.address", "secretsmanager.x"))
	resource := `{"resource":{` + body + `},"scopeSpans":[]}`
	in := strings.TrimSuffix(scrubbed, "]}") + "," + resource + "]}"
	if got := applied(t, x, telemetry.Traces, in); !strings.Contains(got, body) {
		t.Errorf("a resource lost its attribute: %s", got)
	}
}

// Keys without number cost no memory without end.
func TestKeysAreBounded(t *testing.T) {
	x := NewExports(Policy{Redactor: rules{}})
	var pairs []string
	for i := range 3 * maxKeys {
		pairs = append(pairs, fmt.Sprint("key.", i), "x")
	}
	pairs = append(pairs, strings.Repeat("k", maxKey+1), "x")
	if text := logText(attributes(pairs...)); applied(t, x, telemetry.Logs, text) != text {
		t.Error("it changed")
	}
	if n := len(x.keys); n == 0 || n > maxKeys || x.keys[strings.Repeat("k", maxKey+1)] != (treatment{}) {
		t.Errorf("%d keys are remembered", n)
	}
}

// Half a secret would not be recognised: redaction comes first.
func TestRedactionBeforeLimits(t *testing.T) {
	x := NewExports(Policy{Limits: limit.Limits{Attribute: 40}, Redactor: rules{}})
	text := strings.Repeat("x", 24) + "hunter2" + strings.Repeat("y", 20)
	got := applied(t, x, telemetry.Logs, logText(attributes("a", text, "faas.event", `{"password":"hunter2"}`)))
	want := strings.Repeat("x", 24) + "***...[too long]"
	if !strings.Contains(got, want) || strings.Contains(got, "hunt") {
		t.Errorf("became %s", got)
	}
}

// The defaults leave plain lines alone that Lambda takes.
func TestDefaultsCutNoLine(t *testing.T) {
	x := NewExports(Policy{Limits: limit.Default()})
	e := export(t, telemetry.Logs, logText(`"body":{"stringValue":"`+strings.Repeat("x", 1<<20)+`"},`+
		attributes("exception.stacktrace", strings.Repeat("at f\n", 5000))))
	body := e.Body
	x.Apply(e, "r", time.Unix(0, 0))
	if len(x.Counts()) > 0 || &e.Body[0] != &body[0] {
		t.Errorf("counts are %v", x.Counts())
	}
}

// An invocation's budget: bodies go first, then ordinary spans; metrics never.
func TestBudgetOfSpans(t *testing.T) {
	span := func(more string) string { return `"parentSpanId":"eee19b7ec3c1b174","name":"n",` + more }
	body := attributes("http.request.body", strings.Repeat("x", 500))
	x := NewExports(Policy{Limits: limit.Limits{Bytes: 4000, BytesOnError: 8000, Spans: 1000, SpansOnError: 1000}})
	var spans []string
	for range 200 {
		spans = append(spans, span(body))
	}
	e := export(t, telemetry.Traces, spanText(spans...))
	x.Apply(e, "r", time.Unix(0, 0))
	line, _ := wire.ExportToJSON(nil, telemetry.Traces, e.Body)
	whole, bare := strings.Count(string(line), "xxx\""), strings.Count(string(line), markBare)
	if whole != 5 || bare < 10 || e.Records != whole+bare || x.Counts()["spans_over_budget"] != 200-whole-bare {
		t.Errorf("%d whole, %d bare, %d records, %v", whole, bare, e.Records, x.Counts())
	}
	for name, text := range map[string]string{
		"failed": span(body + `,"status":{"code":2}`), "server": span(`"kind":2,` + body), "root": `"name":"n",` + body,
		"remote":  span(body + `,"flags":768`),
		"trigger": span(attributes("faas.trigger", "http", "http.request.body", strings.Repeat("x", 500))),
	} {
		if got := applied(t, x, telemetry.Traces, spanText(text)); got != spanText(text) {
			t.Errorf("%s has no reserve: %s", name, got)
		}
	}
	if got := applied(t, x, telemetry.Traces, spanText(span(body))); strings.Contains(got, "name") {
		t.Errorf("a span beyond the budget became %s", got)
	}
	const points = `{"resourceMetrics":[{"scopeMetrics":[{"metrics":[` +
		`{"name":"n","gauge":{"dataPoints":[{"asInt":"1"}]}}]}]}]}`
	if got := applied(t, x, telemetry.Metrics, points); got != points {
		t.Errorf("a metric became %s", got)
	}
	x.Done("r")
	if got := applied(t, x, telemetry.Traces, spanText(span(body))); got != spanText(span(body)) {
		t.Errorf("the next invocation's span became %s", got)
	}
}

type wanted func(Record) bool

func (f wanted) Keep(r Record) bool { return f(r) }

func TestFilter(t *testing.T) {
	in := logText(`"severityNumber":5,"body":{"stringValue":"debug"}`, `"severityNumber":9,"body":{"stringValue":"noise"}`,
		`"severityNumber":9,"body":{"stringValue":"news"},`+attributes("status", `{"intValue":"500"}`))
	for name, tt := range map[string]struct {
		keep wanted
		want string
	}{
		"level": {func(r Record) bool { return r.Level() >= telemetry.LevelInfo }, `"noise" "news"`},
		"text":  {func(r Record) bool { return !bytes.Contains(r.Body(), []byte("noise")) }, `"debug" "news"`},
		"field": {func(r Record) bool { return string(r.Attribute("status")) == "500" }, `"news"`},
		"all": {func(r Record) bool { return r.Signal() == telemetry.Logs && len(r.Name()) == 0 },
			`"debug" "noise" "news"`},
		"none": {func(r Record) bool { return false }, ``},
	} {
		x := NewExports(Policy{Limits: limit.Default(), Redactor: rules{}, Filter: tt.keep})
		got := applied(t, x, telemetry.Logs, in)
		var left []string
		for _, word := range []string{`"debug"`, `"noise"`, `"news"`} {
			if strings.Contains(got, word) {
				left = append(left, word)
			}
		}
		if s := strings.Join(left, " "); s != tt.want || x.Counts()["filtered"] != 3-len(left) {
			t.Errorf("%s: %s are left, not %s; %v", name, s, tt.want, x.Counts())
		}
	}
}

// In protobuf the byte behind a text may be a digit or a letter, and the one
// before it too: a number is found all the same.
func TestNeighboursInProtobuf(t *testing.T) {
	policy, errs := redact.New(redact.Config{})
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	for _, secret := range []string{"015-50-9075", "6216526774804406", "GB82 WEST 1234 5698 7654 32",
		"AKIAIOSFODNN7EXAMPLE"} {
		for size := range 80 { // of the text, so that its length is each letter and digit
			text := strings.Repeat(".", size) + secret
			in := `"body":{"stringValue":"` + text + `"},` + attributes("a", text)
			x := NewExports(Policy{Redactor: policy})
			if got := applied(t, x, telemetry.Logs, logText(in)); strings.Contains(got, secret) {
				t.Fatalf("%s behind %d bytes: %s", secret, size, got)
			}
		}
	}
}

// A text that is the name of the value beside it speaks for that, as in JSON.
func TestNameAndValue(t *testing.T) {
	pair := func(name, key, text, value string) string {
		return attributes("env", `{"arrayValue":{"values":[{"kvlistValue":{"values":[{"key":"`+name+
			`","value":{"stringValue":"`+key+`"}},{"key":"`+text+`","value":`+value+`}]}}]}}`)
	}
	const clear, masked = `{"stringValue":"x"}`, `{"stringValue":"****"}`
	deep := func(inner string) string {
		return `{"kvlistValue":{"values":[{"key":"stringValue","value":` + inner + `}]}}`
	}
	for name, tt := range map[string]struct{ in, want string }{
		"a name":         {pair("name", "password", "value", clear), pair("name", "password", "value", masked)},
		"a key":          {pair("key", "password", "value", clear), pair("key", "password", "value", masked)},
		"a number":       {pair("key", "password", "value", `{"intValue":"7"}`), pair("key", "password", "value", masked)},
		"a hash":         {pair("key", "hashed", "value", clear), pair("key", "hashed", "value", `{"stringValue":"#1"}`)},
		"OTLP":           {pair("key", "password", "value", deep(clear)), pair("key", "password", "value", masked)},
		"another member": {pair("name", "password", "values", clear), pair("name", "password", "values", clear)},
		"another name":   {pair("name", "zone", "value", clear), pair("name", "zone", "value", clear)},
	} {
		x := NewExports(Policy{Redactor: rules{}})
		if diff := cmp.Diff(logText(tt.want), applied(t, x, telemetry.Logs, logText(tt.in))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
