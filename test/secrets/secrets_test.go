package secrets

import (
	"reflect"
	"testing"
)

// Equal seeds make equal cases, every kind is at every place, and each body has
// its secret in a form that Leaked sees, or in escapes.
func TestCases(t *testing.T) {
	cases := Cases(1, 2000)
	if !reflect.DeepEqual(cases, Cases(1, 2000)) {
		t.Error("the same seed makes other cases")
	}
	if reflect.DeepEqual(cases, Cases(2, 2000)) {
		t.Error("another seed makes the same cases")
	}
	places, seen := map[string]map[string]bool{}, 0
	for _, c := range cases {
		if places[c.Kind] == nil {
			places[c.Kind] = map[string]bool{}
		}
		places[c.Kind][c.Place] = true
		if c.Leaked(c.Body) != "" {
			seen++
		}
		if c.Leaked([]byte("nothing of it")) != "" {
			t.Errorf("%s, %s: seen where it is not", c.Kind, c.Place)
		}
	}
	for _, kind := range Kinds() {
		if len(places[kind]) < 27 {
			t.Errorf("%s is at %d places only", kind, len(places[kind]))
		}
	}
	if seen < len(cases)*9/10 {
		t.Errorf("only %d of %d secrets are seen before redaction", seen, len(cases))
	}
}
