package sdk_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// records counts records, by everything about them but their resource. Each has
// the attributes of its resources.
type records map[record][]map[string]string

// record is a span, a log record or a metric with all its points.
type record struct{ signal, scope, content string }

// added are the attributes of the function that the extension adds to a resource
// that does not have them.
var added = []string{"cloud.account.id", "cloud.platform", "cloud.provider", "cloud.region", "faas.instance",
	"faas.max_memory", "faas.name", "faas.version", "host.arch", "service.name"}

// lists are the names of the lists from the resources down to the records.
var lists = map[string][2]string{
	"resourceSpans": {"scopeSpans", "spans"}, "resourceLogs": {"scopeLogs", "logRecords"},
	"resourceMetrics": {"scopeMetrics", "metrics"},
}

type object = map[string]any

// add takes one line of OTLP JSON.
func (r records) add(t *testing.T, line []byte) {
	t.Helper()
	decoder := json.NewDecoder(bytes.NewReader(line))
	decoder.UseNumber()
	var export map[string][]object
	if err := decoder.Decode(&export); err != nil {
		t.Fatalf("%.300s: %v", line, err)
	}
	for signal, resources := range export {
		names, known := lists[signal]
		if !known {
			t.Fatalf("%s in %.300s", signal, line)
		}
		for _, one := range resources {
			attributes := map[string]string{}
			resource, _ := one["resource"].(object)
			for _, a := range list(resource["attributes"]) {
				key := fmt.Sprint(a["key"])
				if _, twice := attributes[key]; twice {
					t.Errorf("%s: two attributes of a resource are called %s", signal, key)
				}
				attributes[key] = text(t, a["value"])
			}
			for _, scope := range list(one[names[0]]) {
				for _, item := range list(scope[names[1]]) {
					from := object{"resource's schema": one["schemaUrl"], "scope": scope["scope"], "schema": scope["schemaUrl"]}
					id := record{signal, text(t, from), text(t, item)}
					r[id] = append(r[id], attributes)
				}
			}
		}
	}
}

// list is a list of objects.
func list(value any) (all []object) {
	items, _ := value.([]any)
	for _, item := range items {
		o, _ := item.(object)
		all = append(all, o)
	}
	return all
}

// text writes a value in one way only. Fields with their default value are left
// out: of them OTLP says that absent and present are the same.
func text(t *testing.T, value any) string {
	t.Helper()
	b, err := json.Marshal(plain(value))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// plain brings a value into the one form: numbers as text, without defaults.
func plain(value any) any {
	switch v := value.(type) {
	case json.Number:
		return number(v)
	case []any:
		all := make([]any, len(v))
		for i, item := range v {
			all[i] = plain(item)
		}
		return all
	case object:
		o := object{}
		for name, item := range v {
			one := plain(item)
			if strings.HasSuffix(name, "Value") || name == "asInt" || name == "asDouble" || !isDefault(one) {
				o[name] = one
			}
		}
		return o
	}
	return value
}

// number writes 1e3 as 1000.
func number(n json.Number) string {
	if f, err := n.Float64(); err == nil && strings.ContainsAny(n.String(), ".eE") {
		return fmt.Sprint(f)
	}
	return n.String()
}

func isDefault(value any) bool {
	switch v := value.(type) {
	case nil:
		return true
	case string:
		return v == "" || v == "0"
	case bool:
		return !v
	case []any:
		return len(v) == 0
	case object:
		return len(v) == 0
	}
	return false
}

// count is how many different records there are of a signal.
func (r records) count(signal string) (n int) {
	for id := range r {
		if id.signal == signal {
			n++
		}
	}
	return n
}

// expectSame checks that other has the same records once each, with resources
// that have all their own attributes, and those that the extension adds.
func (r records) expectSame(t *testing.T, where string, other records) {
	t.Helper()
	if diff := cmp.Diff(r.sorted(), other.sorted()); diff != "" {
		t.Errorf("%s has other records (-sent +received):\n%.6000s", where, diff)
	}
	for id, resources := range other {
		if len(resources) != 1 || len(r[id]) != 1 {
			t.Errorf("%s has it %d times, it was sent %d times: %s", where, len(resources), len(r[id]), id)
			continue
		}
		want := maps.Clone(r[id][0])
		for _, name := range added {
			if _, own := want[name]; own {
				continue
			}
			value := resources[0][name]
			if len(value) < len(`{"stringValue":"x"}`) {
				t.Errorf("%s: the resource has %s=%q: %s", where, name, value, id)
			}
			want[name] = value
		}
		if diff := cmp.Diff(want, resources[0]); diff != "" {
			t.Errorf("%s: resource (-want +got) of %s\n%s", where, id, diff)
		}
	}
}

// sorted lists the records.
func (r records) sorted() []string {
	var all []string
	for id := range r {
		all = append(all, fmt.Sprint(id))
	}
	slices.Sort(all)
	return all
}
