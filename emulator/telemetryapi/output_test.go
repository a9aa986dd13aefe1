package telemetryapi

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

// records are the record values that a subscriber of this schema gets when out
// is used.
func records(t *testing.T, format, api, schema string, n int, use func(h *Hub)) []string {
	t.Helper()
	h, r := newHub(t, Config{LogFormat: format}), newReceiver(t, nil)
	subscribe(t, h, api, "e", r.request(`"types":["function"]`, `"schemaVersion":"`+schema+`"`))
	use(h)
	h.Flush()
	eventually(t, "delivery", func() bool { return h.counted().Delivered >= int64(n) })
	h.Close()
	all, err := join(r.got())
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range all {
		got = append(got, string(e.Record))
	}
	return got
}

func TestJSONLinesAreObjectsOnlyWhereTheyShould(t *testing.T) {
	const input = ` {"level":"INFO", "message":"a"} ` + "\n[1]\n" + `{"open":` + "\n{\"a\":\"\xff\"}\nplain\n"
	text := []string{`" {\"level\":\"INFO\", \"message\":\"a\"} \n"`, `"[1]\n"`, `"{\"open\":\n"`,
		`"{\"a\":\"` + "\ufffd" + `\"}\n"`, `"plain\n"`}
	objects := append([]string{`{"level":"INFO", "message":"a"}`}, text[1:]...)
	for _, c := range []struct {
		format, api, schema string
		want                []string
	}{
		{"JSON", apiTelemetry, "2022-07-01", text},
		{"JSON", apiTelemetry, "2022-12-13", objects},
		{"JSON", apiTelemetry, "2025-01-29", objects},
		{"JSON", apiLogs, "2021-03-18", text},
		{"Text", apiTelemetry, "2022-12-13", text},
		{"", apiTelemetry, "2025-01-29", text},
	} {
		t.Run(c.format+c.api+c.schema, func(t *testing.T) {
			got := records(t, c.format, c.api, c.schema, 5, func(h *Hub) { write(t, h.Output("function"), input) })
			if d := cmp.Diff(c.want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestOutputIsSplitIntoLines(t *testing.T) {
	x := func(n int) string { return strings.Repeat("x", n) }
	for _, c := range []struct {
		name   string
		writes []string
		want   []string
	}{
		{"lines", []string{"a\nb\n"}, []string{"a\n", "b\n"}},
		{"empty lines", []string{"\n\na\n"}, []string{"\n", "\n", "a\n"}},
		{"a line in parts", []string{"a", "b", "c\nd", "\n"}, []string{"abc\n", "d\n"}},
		{"no newline at the end", []string{"a\nb"}, []string{"a\n", "b"}},
		{"carriage returns stay", []string{"a\r\n"}, []string{"a\r\n"}},
		{"the longest line", []string{x(maxLine) + "\n"}, []string{x(maxLine) + "\n"}},
		{"the longest line in two writes", []string{x(maxLine), "\n"}, []string{x(maxLine) + "\n"}},
		{"one byte more", []string{x(maxLine+1) + "\n"}, []string{x(maxLine), "x\n"}},
		{"three pieces", []string{x(2*maxLine + 5)}, []string{x(maxLine), x(maxLine), x(5)}},
		{"pieces of many writes", strings.SplitAfter(strings.Repeat("yy ", maxLine/2)+"\n", " "),
			[]string{strings.Repeat("yy ", maxLine/2)[:maxLine], strings.Repeat("yy ", maxLine/2)[maxLine:] + "\n"}},
		{"characters stay whole", []string{"x" + strings.Repeat("é", maxLine/2) + "\n"},
			[]string{"x" + strings.Repeat("é", maxLine/2-1), "é\n"}},
		{"bytes that are no characters", []string{strings.Repeat("\x80", maxLine+2) + "\n"},
			[]string{strings.Repeat("\ufffd", maxLine-3), strings.Repeat("\ufffd", 5) + "\n"}},
		{"what is written once more", []string{"a\n", x(10), "\n"}, []string{"a\n", x(10) + "\n"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got []string
			for _, r := range records(t, "", apiTelemetry, "2022-12-13", len(c.want), func(h *Hub) {
				out := h.Output("function")
				for _, w := range c.writes {
					write(t, out, w)
				}
				if err := out.Close(); err != nil {
					t.Error(err)
				}
			}) {
				var s string
				if err := json.Unmarshal([]byte(r), &s); err != nil {
					t.Fatal(err)
				}
				got = append(got, s)
			}
			if len(got) != len(c.want) {
				t.Fatalf("%d records, want %d", len(got), len(c.want))
			}
			for i := range got {
				if got[i] != c.want[i] {
					t.Errorf("record %d has %d bytes, want %d", i, len(got[i]), len(c.want[i]))
				}
			}
		})
	}
}

func TestPlatformRecordThatIsNoJSON(t *testing.T) {
	h, r := newHub(t, Config{}), newReceiver(t, nil)
	subscribe(t, h, apiTelemetry, "e", r.request())
	h.Platform("platform.start", told, func() {})
	eventually(t, "delivery", func() bool { return h.counted().Delivered == 2 })
	const want = "encode record of platform.start: json: unsupported type"
	if got := strings.Join(r.got(), ""); !strings.Contains(got, want) {
		t.Error(got)
	}
}

func FuzzAppendString(f *testing.F) {
	for _, s := range []string{"", "plain", "a\"b\\c\n\t\r\x00\x1f\x7f", "é€😀\ufffd", "\xff\xc3", "\xed\xa0\x80"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		got := appendString(nil, text)
		var s string
		if err := json.Unmarshal(got, &s); err != nil {
			t.Fatalf("%q encodes as %s: %v", text, got, err)
		}
		if want := strings.ToValidUTF8(string(text), "\ufffd"); utf8.Valid(text) && s != want {
			t.Errorf("%q comes back as %q", text, s)
		}
		var want string
		b, err := json.Marshal(string(text))
		if err != nil || json.Unmarshal(b, &want) != nil || s != want {
			t.Errorf("%q comes back as %q, by encoding/json as %q", text, s, want)
		}
	})
}
