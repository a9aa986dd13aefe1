package process

import (
	"fmt"
	"strings"
	"testing"

	"slipstream/process/redact"
	"slipstream/telemetry"
)

func point(name, source string, pairs ...string) *telemetry.Point {
	p := &telemetry.Point{Name: []byte(name), Value: 1, Member: []byte("member")}
	if source != "" {
		p.Source = []byte(source)
	}
	for i := 0; i < len(pairs); i += 2 {
		p.Tags = append(p.Tags, telemetry.Tag{Key: []byte(pairs[i]), Value: []byte(pairs[i+1])})
	}
	return p
}

func shown(p *telemetry.Point) string {
	text := fmt.Sprintf("%s from %s:", p.Name, p.Source)
	for _, tag := range p.Tags {
		text += fmt.Sprintf(" %s=%s", tag.Key, tag.Value)
	}
	return text
}

func newPolicy(t testing.TB, action redact.Action) *redact.Policy {
	t.Helper()
	detectors, err := redact.ParseDetectors("all")
	if err != nil {
		t.Fatal(err)
	}
	p, errs := redact.New(redact.Config{Detectors: detectors, Actions: map[string]redact.Action{"key": action}})
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	return p
}

const awsKey = "AKIAIOSFODNN7EXAMPLE"

// Whatever of a point may leave is as it was; names, sources and tags are redacted.
func TestPointsAreRedacted(t *testing.T) {
	for _, tt := range []struct {
		action redact.Action
		point  *telemetry.Point
		want   string
	}{
		{redact.Mask, point("orders.placed", "host-1", "kind", "web"), "orders.placed from host-1: kind=web"},
		{redact.Mask, point("login", "", "password", "hunter2", "kind", "web"), "login from : password=**** kind=web"},
		{redact.Remove, point("login", "", "password", "hunter2", "kind", "web"), "login from : kind=web"},
		{redact.Mask, point("n", awsKey, "id", awsKey), "n from ****: id=****"},
		{redact.Mask, point("by."+awsKey, "s", awsKey, "v"), "by.**** from s: ****=v"},
		{redact.Mask, point("n", "s", "body", `{"password":"x","a":1}`), `n from s: body={"password":"****","a":1}`},
	} {
		x := NewPoints(Policy{Redactor: newPolicy(t, tt.action)})
		before := shown(tt.point)
		if !x.Apply(tt.point) || shown(tt.point) != tt.want || string(tt.point.Member) != "member" {
			t.Errorf("%s became %s, want %s", before, shown(tt.point), tt.want)
		}
		if changed := x.Counts()["redacted"] == 1; changed != (before != tt.want) {
			t.Errorf("%s: %v", before, x.Counts())
		}
	}
	x := NewPoints(Policy{})
	p := point("n", "", "password", "x")
	x.Apply(p)
	x.Redact(newPolicy(t, redact.Mask))
	if again := point("n", "", "password", "x"); !x.Apply(again) || shown(p) == shown(again) {
		t.Errorf("%s, then %s", shown(p), shown(again))
	}
}

// A filter sees a point as it would see the data point.
func TestPointsAreFiltered(t *testing.T) {
	x := NewPoints(Policy{Filter: wanted(func(r Record) bool {
		return r.Signal() == telemetry.Metrics && r.Level() == 0 && r.Body() == nil && r.Attribute("none") == nil &&
			strings.HasPrefix(string(r.Name()), "a") && string(r.Attribute("source")) != "b" &&
			string(r.Attribute("kind")) == "web"
	})})
	for want, p := range map[bool]*telemetry.Point{
		true: point("a", "s", "kind", "web"), false: point("a", "b", "kind", "web")} {
		if x.Apply(p) != want {
			t.Errorf("%s is kept: %v", shown(p), !want)
		}
	}
	if x.Apply(point("b", "", "kind", "web")) || x.Apply(point("a", "", "kind", "x")) || x.Counts()["filtered"] != 3 {
		t.Errorf("%v", x.Counts())
	}
}

func TestPointsAreCheap(t *testing.T) {
	x := NewPoints(Policy{Redactor: newPolicy(t, redact.Mask)})
	p := point("orders.placed", "host-1", "kind", "web", "region", "eu-west-1")
	x.Apply(p)
	if n := testing.AllocsPerRun(100, func() { x.Apply(p) }); n > 0 {
		t.Errorf("%g allocations", n)
	}
	for i := range 2 * maxKeys {
		x.Apply(point("n", "", fmt.Sprint("key", i), "v"))
	}
	if len(x.keys) > maxKeys {
		t.Errorf("%d keys are remembered", len(x.keys))
	}
}
