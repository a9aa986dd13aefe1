package logmetric_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"slipstream/process/logmetric"
)

// document makes an EMF document of one directive, or of what stands for it.
func document(aws, members string) string {
	return `{"_aws":{"Timestamp":1790845200330,"CloudWatchMetrics":` + aws + `}` + members + `}`
}

func directive(dimensions, metrics string) string {
	return `[{"Namespace":"Shop","Dimensions":` + dimensions + `,"Metrics":` + metrics + `}]`
}

func list(n int, item string) string { return strings.TrimSuffix(strings.Repeat(item+",", n), ",") }

func TestEMF(t *testing.T) {
	one := `[{"Name":"n"}]`
	tests := []struct{ name, line, want string }{
		{"the specification's", `{"_aws":{"Timestamp":1790845200330,"CloudWatchMetrics":[{"Namespace":"Shop",
			"Dimensions":[["service","region"],[]],"Metrics":[{"Name":"latency","Unit":"Milliseconds","StorageResolution":60},
			{"Name":"orders"}]}]},"service":"cart","region":"eu-west-1","latency":[13.0,12.5,13],"orders":3,"requestId":"3b0e"}`,
			"distribution Shop.latency{service=cart,region=eu-west-1}=12.5x1,13x2 ms; " +
				"distribution Shop.latency{}=12.5x1,13x2 ms; " +
				"distribution Shop.orders{service=cart,region=eu-west-1}=3x1; distribution Shop.orders{}=3x1; consumed"},
		{"two directives", document(`[{"Namespace":"A","Dimensions":[["d"]],"Metrics":[{"Name":"n","StorageResolution":1}]},
			{"Dimensions":[[]],"Metrics":[{"Name":"m","Unit":"None"}],"Namespace":"B","Other":{}}]`, `,"n":1,"m":[2,2],"d":"v"`),
			"distribution A.n{d=v}=1x1; distribution B.m{}=2x2; consumed"},
		{"a wrong one beside a good one", document(`[{"Namespace":"A","Metrics":[{"Name":"n"}]},
			{"Namespace":"B","Dimensions":[[]],"Metrics":[{"Name":"n"}]}]`, `,"n":1`), "distribution B.n{}=1x1; emf_directive"},
		{"a point is no path", document(directive("[[]]", `[{"Name":"A.a"}]`), `,"A":{"a":1},"A.a":2`),
			"distribution Shop.A.a{}=2x1; consumed"},
		{"escaped names", document(directive(`[["d\u0041"]]`, `[{"Name":"n\n"}]`), `,"\u0064A":"v\"","\u006e\n":1`),
			"distribution Shop.n\n{dA=v\"}=1x1; consumed"},
		{"a member twice", document(directive("[[]]", one), `,"n":1,"n":2`), "distribution Shop.n{}=1x1; consumed"},
		{"no metrics", document(directive("[[]]", "[]"), ""), ""},
		{"no directives", document("[]", ""), ""},
		{"only _aws", `{"_aws":1}`, ""},
		{"a word in a text", `see "_aws" and CloudWatchMetrics`, "emf_json"},
		{"deeper", `{"a":` + document(directive("[[]]", one), `,"n":1`) + `}`, ""},
		{"text before", "INFO " + document(directive("[[]]", one), `,"n":1`), "emf_json"},
		{"cut", document(directive("[[]]", one), `,"n":1`)[:80], "emf_json"},
		{"no time", `{"_aws":{"CloudWatchMetrics":[]}}`, "emf_timestamp"},
		{"a text for a time", `{"_aws":{"Timestamp":"1","CloudWatchMetrics":[]}}`, "emf_timestamp"},
		{"half a millisecond", `{"_aws":{"Timestamp":1.5,"CloudWatchMetrics":[]}}`, "emf_timestamp"},
		{"far away", `{"_aws":{"Timestamp":1e300,"CloudWatchMetrics":[]}}`, "emf_timestamp"},
		{"no list", document(`{}`, ""), "emf_directive"},
		{"a directive that is none", document(`[7]`, ""), "emf_directive"},
		{"no set", document(directive("[]", one), `,"n":1`), "emf_directive"},
		{"namespace", document(`[{"Namespace":"","Dimensions":[[]],"Metrics":[]}]`, ""), "emf_namespace"},
		{"long namespace", document(`[{"Namespace":"`+strings.Repeat("x", 1025)+`","Dimensions":[[]],"Metrics":[]}]`, ""),
			"emf_namespace"},
		{"one bad set", document(directive(`[["d","gone"],["num"],["d"],"d"]`, one), `,"n":1,"num":2,"d":"v"`),
			"distribution Shop.n{d=v}=1x1; emf_dimension; emf_dimension; emf_dimension"},
		{"too many keys", document(directive(`[[`+list(31, `"d"`)+`]]`, one), `,"n":1,"d":"v"`), "emf_dimension"},
		{"long value", document(directive(`[["d"]]`, one), `,"n":1,"d":"`+strings.Repeat("x", 1025)+`"`), "emf_dimension"},
		{"nameless", document(directive("[[]]", `[{"Unit":"Count"},7,{"Name":"n"}]`), `,"n":1`),
			"distribution Shop.n{}=1x1; emf_metric; emf_metric"},
		{"101 metrics", document(directive("[[]]", `[`+list(101, `{"Name":"x"}`)+`]`), ""),
			strings.Repeat("emf_value; ", 100) + "emf_metric"},
		{"unit", document(directive("[[]]", `[{"Name":"n","Unit":"Hours"},{"Name":"n","Unit":7}]`), `,"n":1`),
			"emf_unit; emf_unit"},
		{"resolution", document(directive("[[]]", `[{"Name":"n","StorageResolution":30}]`), `,"n":1`), "emf_resolution"},
		{"values", document(directive("[[]]", `[{"Name":"a"},{"Name":"b"},{"Name":"c"},{"Name":"d"},{"Name":"e"}]`),
			`,"a":"1","b":[],"c":[1,"2"],"d":[[1]],"e":null`), list(5, " emf_value")},
		{"100 values", document(directive("[[]]", one), `,"n":[`+list(100, "1")+`]`),
			"distribution Shop.n{}=1x100; consumed"},
		{"101 values", document(directive("[[]]", one), `,"n":[`+list(101, "1")+`]`), "emf_value"},
		{"too many points", document(directive("["+list(10_001, "[]")+"]", one), `,"n":1`), "emf_points; emf_points"},
	}
	tests[len(tests)-1].want = strings.TrimSuffix(strings.Repeat("distribution Shop.n{}=1x1; ", 10_000),
		"; ") + "; emf_points"
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newStage(t, "", logmetric.Consume, logmetric.Off)
			want := strings.TrimSpace(strings.ReplaceAll(tt.want, ", emf", "; emf"))
			if diff := cmp.Diff(want, s.take(quote(tt.line+"\n"))); diff != "" {
				t.Errorf("as a text: %s", diff)
			}
			if json.Valid([]byte(tt.line)) {
				if diff := cmp.Diff(want, s.take(tt.line)); diff != "" {
					t.Errorf("as an object: %s", diff)
				}
			}
			s = newStage(t, "", logmetric.Keep, logmetric.Off)
			if diff := cmp.Diff(strings.TrimSuffix(want, "; consumed"), s.take(tt.line)); diff != "" && tt.line[0] == '{' {
				t.Errorf("kept: %s", diff)
			}
			if got := newStage(t, "", logmetric.Off, logmetric.Off).take(quote(tt.line)); got != "" {
				t.Errorf("off gives %s", got)
			}
		})
	}
	big := document(directive("[[]]", one), `,"n":1,"x":"`+strings.Repeat("x", 1<<20)+`"`)
	if got := newStage(t, "", logmetric.Consume, logmetric.Off).take(big); got != "emf_size" {
		t.Errorf("a large document gives %s", got)
	}
}

// oracleDocument is the format as encoding/json sees it.
type oracleDocument struct {
	AWS struct {
		Timestamp         int64
		CloudWatchMetrics []struct {
			Namespace  string
			Dimensions [][]string
			Metrics    []struct{ Name, Unit string }
		}
	} `json:"_aws"`
}

// oracle gives the points of a document without faults, by other means.
func oracle(t *testing.T, text string) (points []string) {
	t.Helper()
	var doc oracleDocument
	var members map[string]any
	if err := json.Unmarshal([]byte(text), &doc); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(text), &members); err != nil {
		t.Fatal(err)
	}
	units := map[string]string{"": "", "Milliseconds": " ms", "Bytes/Second": " By/s", "Count": " {count}"}
	for _, d := range doc.AWS.CloudWatchMetrics {
		for _, m := range d.Metrics {
			counts := map[float64]int{}
			switch v := members[m.Name].(type) {
			case float64:
				counts[v]++
			case []any:
				for _, one := range v {
					counts[one.(float64)]++
				}
			}
			var values []float64
			for v := range counts {
				values = append(values, v)
			}
			sort.Float64s(values)
			var texts []string
			for _, v := range values {
				texts = append(texts, fmt.Sprintf("%vx%d", v, counts[v]))
			}
			for _, set := range d.Dimensions {
				var tags []string
				for _, key := range set {
					tags = append(tags, key+"="+members[key].(string))
				}
				points = append(points, fmt.Sprintf("distribution %s.%s{%s}=%s%s @%s", d.Namespace, m.Name, strings.Join(tags, ","),
					strings.Join(texts, ","), units[m.Unit], time.UnixMilli(doc.AWS.Timestamp).UTC().Format(time.RFC3339Nano)))
			}
		}
	}
	return points
}

// Documents of any make give what encoding/json finds in them.
func TestEMFProperty(t *testing.T) {
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 1))
	s := newStage(t, "", logmetric.Keep, logmetric.Off)
	for range 500 {
		members := map[string]any{"text": "a \"quoted\" é", "service": "shop", "region": "eu\tx", "n\u00e9": "v"}
		var directives []any
		for d := range random.IntN(4) {
			var sets [][]string
			for range 1 + random.IntN(3) {
				keys := []string{"service", "region", "n\u00e9", "text"}
				random.Shuffle(len(keys), func(i, k int) { keys[i], keys[k] = keys[k], keys[i] })
				sets = append(sets, keys[:random.IntN(len(keys)+1)])
			}
			var metrics []any
			for m := range random.IntN(5) {
				name := fmt.Sprintf("m%d/%d\n", d, m)
				metric := map[string]any{"Name": name}
				if unit := []string{"", "Milliseconds", "Bytes/Second", "Count"}[random.IntN(4)]; unit != "" {
					metric["Unit"] = unit
				}
				members[name] = random.NormFloat64()
				if random.IntN(2) == 0 {
					var values []int
					for range 1 + random.IntN(100) {
						values = append(values, random.IntN(10))
					}
					members[name] = values
				}
				metrics = append(metrics, metric)
			}
			directives = append(directives, map[string]any{"Namespace": "NS", "Dimensions": sets,
				"Metrics": append([]any{}, metrics...)})
		}
		members["_aws"] = map[string]any{"Timestamp": random.Int64N(2e12), "CloudWatchMetrics": append([]any{},
			directives...)}
		text, err := json.Marshal(members)
		if err != nil {
			t.Fatal(err)
		}
		for _, body := range []string{string(text), quote(string(text))} {
			if diff := cmp.Diff(strings.Join(oracle(t, string(text)), "; "), s.take(body)); diff != "" {
				t.Fatalf("seed %d: %s\n%s", seed, body, diff)
			}
		}
	}
}
