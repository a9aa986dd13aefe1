package edge

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"slipstream/edge/buffer"
	"slipstream/telemetry"
)

// judged is an edge with a policy and what it emits, without a destination.
type judged struct {
	*edge
	errs []error
}

func judge(t *testing.T, env map[string]string) *judged {
	t.Helper()
	env["SLIPSTREAM_DESTINATIONS"] = "file:///nowhere" // nothing is sent
	env["SLIPSTREAM_SPOOL_DIR"] = "none"
	c, errs := Load(environment(env))
	j := &judged{edge: &edge{config: c, clock: newClock(nil), changed: make(chan struct{}, 1),
		alive: make(chan struct{}), ready: make(chan struct{})}, errs: errs}
	close(j.alive)
	res := &telemetry.Resource{FunctionName: "shop"}
	j.identify(res)
	j.errs = append(append(j.errs, j.openLanes(res)...), j.openPolicy()...)
	return j
}

// say has a function write a line and gives what is left of it, "" for nothing.
func (j *judged) say(t *testing.T, body string) string {
	t.Helper()
	l := j.lanes[0]
	before := l.count.received
	log := telemetry.Log{Type: "function", RequestID: "r", Body: []byte(body), Time: time.Now()}
	j.now = time.Now()
	j.logs.Take(&log, j.now)
	if l.count.received == before {
		return ""
	}
	return string(log.Body)
}

// Each mistake is told, and what is done instead is on the safe side: more is
// masked, more is kept.
func TestPolicyMistakes(t *testing.T) {
	tests := []struct{ name, value, want, line, left string }{
		{"REDACT", "emial", "there is no emial", `"ann@example.com"`, `"****"`},
		{"REDACT", "none,+emial", "there is no +emial", `"ann@example.com"`, `"****"`},
		{"REDACT_RULES", `[{"name":"r","pattern":"("}]`, "is NOT hidden", `"password=x"`, `"password=****"`},
		{"REDACT_RULES", `[{"pattern":"(","keys":"note"}]`, "whole values of its keys", `{"note":"x"}`, `{"note":"****"}`},
		{"REDACT_RULES", `[{"pattern":"ord","keys":"("}]`, "it holds everywhere", `"an ord"`, `"an ****"`},
		{"REDACT_RULES", `[{"pattern":"ord","action":"kill"}]`, "it masks", `"an ord"`, `"an ****"`},
		{"REDACT_RULES", `[{"name":"r","pattern":"ord"},{"name":"r","pattern":"ord","action":"remove"}]`,
			"two rules have the name", `"an ord."`, `"an ."`},
		{"REDACT_RULES", `ord`, "write a JSON list", `"password=x"`, `"password=****"`},
		{"REDACT_ACTION", "hsh", `"hsh": use mask, hash or remove`, `"ann@example.com"`, `"****"`},
		{"REDACT_ACTION", "email=keep", "use mask, hash or remove", `"ann@example.com"`, `"****"`},
		{"REDACT_ACTION", "mail=mask", "no such detector", `"ann@example.com"`, `"****"`},
		{"REDACT_ACTION", "hash", "hash needs a hash key", `"ann@example.com"`, `"****"`},
		{"REDACT_HASH_KEY", "short", "at least 16 are needed", `"ann@example.com"`, `"****"`},
		{"REDACT_HASH_KEY", "${secretsmanager:}", "what would be hashed is masked", `"ann@example.com"`, `"****"`},
		{"REDACT_KEYS", "na(me", "its text is looked for", `{"a_na(me":"x"}`, `{"a_na(me":"****"}`},
		{"REDACT_KEYS", `["name"`, "not a JSON list", `{"[\"name\"":"x"}`, `{"[\"name\"":"****"}`},
		{"REDACT_ALLOW_KEYS", "(", "they are not allowed", `{"password":"x"}`, `{"password":"****"}`},
		{"REDACT_DOMAINS", "(", "its text is looked for in hosts", `"password=x"`, `"password=****"`},
		{"FILTER", `[{"drop":{}}`, "nothing is dropped", `"x"`, `"x"`},
		{"FILTER", `{"drop":{}}`, "nothing is dropped", `"x"`, `"x"`},
		{"FILTER", `[{"drop":{"levl":"info"}}]`, "it is left out", `"x"`, `"x"`},
		{"FILTER", `[{"keep":{"message":"~("}},{"drop":{}}]`, "keeps whatever gets to it", `"x"`, `"x"`},
		{"FILTER", `[{"drop":{},"keep":{}},{"drop":{}}]`, "keeps whatever gets to it", `"x"`, `"x"`},
		{"RATE_LIMITS", `[{"records":0}]`, "not limited", `"x"`, `"x"`},
		{"RATE_LIMITS", `none`, "nothing is limited", `"x"`, `"x"`},
		{"SAMPLE", "-1", "out of range", `"x"`, `"x"`},
	}
	for _, tt := range tests {
		t.Run(tt.name+" "+tt.value, func(t *testing.T) {
			j := judge(t, map[string]string{"SLIPSTREAM_" + tt.name: tt.value})
			if text := fmt.Sprint(errors.Join(j.errs...)); len(j.errs) == 0 || !strings.Contains(text, tt.want) {
				t.Errorf("told %v, want %q", j.errs, tt.want)
			}
			if got := j.say(t, tt.line); got != tt.left {
				t.Errorf("%s became %s, want %s", tt.line, got, tt.left)
			}
		})
	}
}

// Rules that contradict each other: what is both secret and allowed is secret.
func TestContradictions(t *testing.T) {
	j := judge(t, map[string]string{"SLIPSTREAM_REDACT_KEYS": "name", "SLIPSTREAM_REDACT_ALLOW_KEYS": "name"})
	if text := fmt.Sprint(j.errs); !strings.Contains(text, "both secret and allowed") {
		t.Errorf("told %s", text)
	}
	if got := j.say(t, `{"name":"x"}`); got != `{"name":"****"}` {
		t.Errorf("became %s", got)
	}
}

// Lumigo's limits: what is set there for failures is never less than for the rest.
func TestLumigoLimits(t *testing.T) {
	j := judge(t, map[string]string{"LUMIGO_MAX_ENTRY_SIZE": "5000", "LUMIGO_MAX_SIZE_FOR_REQUEST": "99000000",
		"LUMIGO_MAX_NUMBER_OF_SPANS": "many"})
	l, errs := j.config.limits()
	if l.Body != 5000 || l.BodyOnError != 10_000 || l.Bytes != 99_000_000 || l.BytesOnError < l.Bytes || len(errs) != 1 ||
		l.SpansOnError != 20_000 {
		t.Errorf("%+v, %v", l, errs)
	}
}

// A hash key from AWS: masked until it is there, then equal values have equal
// hashes, in logs and exports. A key that is too short is told when it is known.
func TestHashKeyComesLate(t *testing.T) {
	for key, want := range map[string]string{"0123456789abcdef-key": "hash:", "too-short": "at least 16"} {
		c := newCloud(t, map[string]string{"hash": key})
		j := judge(t, c.env(map[string]string{"SLIPSTREAM_REDACT_ACTION": "email=hash",
			"SLIPSTREAM_REDACT_HASH_KEY": "${secretsmanager:hash}"}))
		if len(j.errs) > 0 {
			t.Fatal(j.errs)
		}
		if got := j.say(t, `"ann@example.com"`); got != `"****"` || c.asked != 0 {
			t.Errorf("before the key it is %s, asked %d times", got, c.asked)
		}
		var log bytes.Buffer
		before := slog.Default()
		slog.SetDefault(slog.New(slog.NewTextHandler(&log, nil)))
		j.awaitHashKey(t.Context())
		slog.SetDefault(before)
		one, two, other := j.say(t, `"ann@example.com"`), j.say(t, `"to ann@example.com"`), j.say(t, `"bob@example.com"`)
		if want == "hash:" {
			if !strings.Contains(one, want) || two != `"to `+strings.TrimPrefix(one, `"`) || other == one || log.Len() > 0 {
				t.Errorf("%s %s %s; log: %s", one, two, other, &log)
			}
			continue
		}
		if one != `"****"` || !strings.Contains(log.String(), want) || strings.Contains(log.String(), key) {
			t.Errorf("%s; log: %s", one, &log)
		}
	}
}

// In a snapshot nothing is asked of AWS.
func TestHashKeyWaitsForTheRestore(t *testing.T) {
	c := newCloud(t, map[string]string{"hash": "0123456789abcdef"})
	j := judge(t, c.env(map[string]string{"SLIPSTREAM_REDACT_HASH_KEY": "${ssm:hash}"}))
	j.alive = make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if j.awaitHashKey(ctx); c.asked != 0 {
		t.Errorf("asked %d times", c.asked)
	}
	close(j.alive)
	if j.awaitHashKey(t.Context()); c.asked != 1 {
		t.Errorf("asked %d times after the restore", c.asked)
	}
}

// A span that failed keeps its invocation: the one that it names, at once, else the
// one under way, when that is over.
func TestFailedSpansKeepTheirInvocation(t *testing.T) {
	for name, tt := range map[string]struct{ attribute, kept string }{
		"under way": {"", "now"}, "named": {`,"attributes":[{"key":"faas.invocation_id","value":{"stringValue":"before"}}]`,
			"before"},
	} {
		j := judge(t, map[string]string{"SLIPSTREAM_SAMPLE": "0"})
		say := func(id string) {
			j.now = time.Now()
			j.logs.Take(&telemetry.Log{Type: "function", RequestID: id, Body: []byte(`"x"`), Time: j.now}, j.now)
		}
		say("before")
		say("now")
		j.invocation.Begin("now", time.Now())
		e := exportOf(t, telemetry.Traces, `{"resourceSpans":[{"scopeSpans":[{"spans":[{"name":"x","status":{"code":2}`+
			tt.attribute+`}]}]}]}`)
		if err := j.takeExport(e); err != nil {
			t.Fatal(err)
		}
		if tt.attribute == "" {
			j.logs.Take(&telemetry.Log{Type: "platform.report", RequestID: "now", Body: []byte(`{"status":"success"}`),
				Time: time.Now()}, j.now)
		}
		for _, id := range []string{"before", "now"} {
			before := j.lanes[0].count.received
			say(id)
			if kept := j.lanes[0].count.received > before; kept != (id == tt.kept) {
				t.Errorf("%s: a line of %q went on at once: %t", name, id, kept)
			}
		}
	}
}

// What a dead process held and nobody can read is told, and costs nothing else.
func TestHeldThatCannotBeRead(t *testing.T) {
	j := judge(t, map[string]string{"SLIPSTREAM_SAMPLE": "0"})
	var log bytes.Buffer
	before := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(&log, nil)))
	defer slog.SetDefault(before)
	name := buffer.Name{Lane: buffer.LaneHash(heldLane)}
	if err := j.adopt(&buffer.Leftover{Name: name, Records: 3, Body: []byte("x")}, time.Now()); err != nil {
		t.Error(err)
	}
	if !strings.Contains(log.String(), "records=3") {
		t.Errorf("the log says %s", &log)
	}
}

// The policy's deadlines are looked at although nothing else happens.
func TestDeadlinesWakeThePace(t *testing.T) {
	j := judge(t, map[string]string{"SLIPSTREAM_REPEATS_MS": "100", "SLIPSTREAM_PARSE": "false"})
	now := time.Now()
	if at := j.tick(now); !at.IsZero() {
		t.Errorf("a deadline at %v, and nothing came", at)
	}
	line := `{"time":"2026-10-01T09:00:00.000Z","type":"function","record":"same"}`
	if !j.take(t.Context(), []byte("["+line+","+line+"]")) {
		t.Fatal("refused")
	}
	select {
	case <-j.changed:
	default:
		t.Error("nobody was told of the deadline")
	}
	at := j.tick(time.Now())
	before := j.lanes[0].count.received
	next := j.tick(at)
	if j.lanes[0].count.received != before+1 {
		t.Errorf("at the deadline %d records came", j.lanes[0].count.received-before)
	}
	if after := j.tick(next); !after.IsZero() {
		t.Errorf("there is a deadline at %v for nothing", after)
	}
}
