package match

import (
	"strings"
	"testing"

	"slipstream/telemetry"
)

func log() *telemetry.Log {
	return &telemetry.Log{Type: "function", Level: telemetry.LevelWarn + 3, Body: []byte(`{}`),
		Message: []byte(`"no \"stock\" left\n"`), Fields: []telemetry.Field{
			{Key: []byte("path"), Value: []byte(`"/health"`)}, {Key: []byte("status"), Value: []byte("503")},
			{Key: []byte("http.verb"), Value: []byte(`"G\u0045T"`)}, {Key: []byte("ok"), Value: []byte("false")},
			{Key: []byte("user"), Value: []byte(` {"id":{"n":7},"tags":["a"]} `)}, {Key: []byte("nil"), Value: []byte("null")},
		}}
}

func report() *telemetry.Log {
	return &telemetry.Log{Type: "platform.report", Body: []byte(` {"status":"timeout","metrics":{"durationMs":3000.5}} `)}
}

func plain() *telemetry.Log { return &telemetry.Log{Type: "extension", Body: []byte(`"a\tline\r\n"`)} }

func TestConditions(t *testing.T) {
	tests := []struct {
		condition string
		of        string // which of f(unction), r(eport), e(xtension) it holds of
	}{
		{`{}`, "fre"},
		{`{"type":"function"}`, "f"},
		{`{"type":["extension","function"]}`, "fe"},
		{`{"type":"platform.*"}`, "r"},
		{`{"type":"start/end/report"}`, "r"},
		{`{"type":"platform.start"}`, ""},
		{`{"level":"warn"}`, "f"}, {`{"level":" >= Warn"}`, "f"}, {`{"level":">=info"}`, "f"}, {`{"level":">warn"}`, ""},
		{`{"level":"<warn"}`, ""}, {`{"level":"<error"}`, "f"}, {`{"level":"<=warn"}`, "f"}, {`{"level":"=info"}`, ""},
		{`{"level":"<trace"}`, ""}, {`{"level":">fatal"}`, ""}, {`{"level":"<=fatal"}`, "f"},
		{`{"message":"no \"stock\""}`, "f"}, {`{"message":"a\tline"}`, "e"}, {`{"message":"~^a\\sline$"}`, "e"},
		{`{"message":"~left$"}`, "f"}, {`{"message":"status"}`, "r"},
		{`{"field":"path","equals":"/health"}`, "f"}, {`{"field":"path","equals":"/health/"}`, ""},
		{`{"field":"http.verb","equals":"GET"}`, "f"}, {`{"field":"http.verb","contains":"ET"}`, "f"},
		{`{"field":"http.verb","matches":"^G.T$"}`, "f"},
		{`{"field":"status","equals":503}`, "f"}, {`{"field":"status","equals":"503"}`, ""},
		{`{"field":"status","equals":5.03e2}`, "f"}, {`{"field":"status","atLeast":500,"below":600}`, "f"},
		{`{"field":"status","above":503}`, ""}, {`{"field":"status","atLeast":503}`, "f"},
		{`{"field":"status","below":503}`, ""},
		{`{"field":"status","atMost":503}`, "f"}, {`{"field":"path","above":0}`, ""},
		{`{"field":"status","matches":"^5"}`, "f"}, {`{"field":"status","equals":"timeout"}`, "r"},
		{`{"field":"metrics.durationMs","above":3000}`, "r"},
		{`{"field":"user.id.n","equals":7}`, "f"}, {`{"field":"user.id.n.x","exists":true}`, ""},
		{`{"field":"user.tags","contains":"\"a\""}`, "f"},
		{`{"field":"ok","equals":false}`, "f"}, {`{"field":"ok","equals":true}`, ""}, {`{"field":"nil","equals":null}`, "f"},
		{`{"field":"nil","exists":true}`, "f"}, {`{"field":"none","exists":false}`, "fre"},
		{`{"field":"none","equals":null}`, ""},
		{`{"type":"function","level":">=warn","field":"path","equals":"/health","message":"stock"}`, "f"},
		{`{"type":"function","level":">=error","field":"path","equals":"/health"}`, ""},
	}
	r := &Record{}
	for _, tt := range tests {
		c, err := Parse([]byte(tt.condition))
		if err != nil {
			t.Errorf("%s: %v", tt.condition, err)
			continue
		}
		of := ""
		for _, l := range []struct {
			name string
			log  *telemetry.Log
		}{{"f", log()}, {"r", report()}, {"e", plain()}} {
			r.Reset(l.log)
			if c.Holds(r) {
				of += l.name
			}
			if n := testing.AllocsPerRun(20, func() { r.Reset(l.log); c.Holds(r) }); n != 0 {
				t.Errorf("%s: %v allocations of %s", tt.condition, n, l.name)
			}
		}
		if of != tt.of {
			t.Errorf("%s holds of %q, not %q", tt.condition, of, tt.of)
		}
	}
}

func TestBadConditions(t *testing.T) {
	for condition, want := range map[string]string{
		`null`: "is no condition", `[]`: "is no condition", `{"levl":"warn"}`: "levl", `{"level":5}`: "level",
		`{"level":"loud"}`: "trace, debug", `{"level":"~warn"}`: "unknown", `{"level":"><warn"}`: "no comparison",
		`{"type":"START"}`: "platform.start", `{"type":[]}`: "a list", `{"type":null}`: "unknown", `{"type":5}`: "a list",
		`{"message":""}`: "empty", `{"message":"~("}`: "RE2", `{"field":"a","matches":"(?=x)"}`: "RE2",
		`{"field":"a"}`: "without a comparison", `{"equals":1}`: `without "field"`, `{"field":"","exists":true}`: "empty",
		`{"field":"a","equals":{}}`: "cannot be compared", `{"field":"a","equals":1e999}`: "range",
		`{"field":"a","above":"x"}`: "above",
	} {
		if _, err := Parse([]byte(condition)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want one with %q", condition, err, want)
		}
	}
}

// No record and no condition is ever too odd.
func FuzzConditions(f *testing.F) {
	f.Add([]byte(`{"field":"a.b","equals":"x","message":"~y"}`), []byte(`{"a":{"b":"x"}}`), []byte(`"y\n"`))
	f.Add([]byte(`{"field":"a","above":1,"level":">=warn"}`), []byte(`"text"`), []byte(``))
	f.Fuzz(func(t *testing.T, condition, body, message []byte) {
		c, err := Parse(condition)
		if err != nil {
			return
		}
		r := &Record{}
		for range 2 {
			r.Reset(&telemetry.Log{Type: "function", Body: body, Message: message})
			first := c.Holds(r)
			if c.Holds(r) != first {
				t.Fatal("a condition changes its mind")
			}
		}
	})
}

// exported is a record of an export.
type exported struct {
	signal     telemetry.Signal
	level      telemetry.Level
	name, body string
	attributes map[string]string
}

func (x exported) Signal() telemetry.Signal { return x.signal }
func (x exported) Level() telemetry.Level   { return x.level }
func (x exported) Name() []byte             { return []byte(x.name) }
func (x exported) Body() []byte             { return optional(x.body, x.body != "") }
func (x exported) Attribute(key string) []byte {
	text, ok := x.attributes[key]
	return optional(text, ok)
}

func optional(text string, there bool) []byte {
	if !there {
		return nil
	}
	return []byte(text)
}

// The same conditions hold of what a function exports: its type is the signal, its
// message the body or else the name, and its attributes are text.
func TestExportedConditions(t *testing.T) {
	span := exported{telemetry.Traces, telemetry.LevelError, "GET /health", "", map[string]string{"http.status": "503",
		"path": "/health", "ok": "true"}}
	line := exported{telemetry.Logs, telemetry.LevelInfo, "event", "no stock\n", nil}
	r := &Record{}
	for condition, want := range map[string]string{
		`{}`: "sl", `{"type":"traces"}`: "s", `{"type":["logs","metrics"]}`: "l", `{"type":"function"}`: "",
		`{"level":">=error"}`: "s", `{"level":"info"}`: "l",
		`{"message":"~^GET /health"}`: "s", `{"message":"stock"}`: "l", `{"message":"event"}`: "",
		`{"field":"path","equals":"/health"}`: "s", `{"field":"http.status","atLeast":500}`: "s",
		`{"field":"http.status","equals":503}`: "s", `{"field":"http.status","equals":"503"}`: "s",
		`{"field":"ok","equals":true}`: "s", `{"field":"path","exists":false}`: "l",
	} {
		c, err := Parse([]byte(condition))
		if err != nil {
			t.Errorf("%s: %v", condition, err)
			continue
		}
		of := ""
		for _, x := range []struct {
			name   string
			record exported
		}{{"s", span}, {"l", line}} {
			r.ResetExported(x.record)
			if c.Holds(r) {
				of += x.name
			}
		}
		if of != want {
			t.Errorf("%s holds of %q, not %q", condition, of, want)
		}
	}
	r.Reset(log()) // and a log after an export is a log again
	if c, _ := Parse([]byte(`{"type":"function","message":"stock"}`)); !c.Holds(r) {
		t.Error("a log is taken for an export")
	}
}
