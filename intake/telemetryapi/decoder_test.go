package telemetryapi

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"slipstream/telemetry"
)

var testNow = time.Date(2026, 10, 1, 9, 0, 0, 0, time.UTC)

// decodeAll runs bodies through one Decoder and tells what came out as lines
// "type request body".
func decodeAll(bodies ...string) (lines []string, total Tally) {
	var d Decoder
	take := func(l *telemetry.Log) {
		lines = append(lines, fmt.Sprintf("%s|%s|%s", l.Type, l.RequestID, l.Body))
	}
	for _, body := range bodies {
		total.add(d.Decode([]byte(body), testNow, take))
	}
	total.add(d.Flush(testNow, take))
	return lines, total
}

func (t *Tally) add(o Tally) {
	t.Records += o.Records
	t.Malformed += o.Malformed
	t.MalformedBytes += o.MalformedBytes
	t.Truncated += o.Truncated
}

const (
	start = `{"time":"2026-10-01T09:00:00.100Z","type":"platform.start",` +
		`"record":{"requestId":"r-1","version":"$LATEST"}}`
	line = `{"time":"2026-10-01T09:00:00.123Z","type":"function","record":"hello\n"}`
	done = `{"time":"2026-10-01T09:00:00.200Z","type":"platform.runtimeDone",` +
		`"record":{"requestId":"r-1","status":"success"}}`
	cutHead = `{"time":"2026-10-01T09:00:00.150Z","type":"function","record":`
)

func TestDecode(t *testing.T) {
	type test struct {
		bodies []string
		want   []string
		tally  Tally
	}
	tests := map[string]test{
		"a batch": {
			[]string{"[" + start + "," + line + "," + done + "]"},
			[]string{
				`platform.start|r-1|{"requestId":"r-1","version":"$LATEST"}`, `function|r-1|"hello\n"`,
				`platform.runtimeDone|r-1|{"requestId":"r-1","status":"success"}`,
			}, Tally{Records: 3},
		},
		"white space anywhere": {
			[]string{"\n[ " + strings.ReplaceAll(line, ":\"f", " :\t\"f") + " \n, " + line + "\r\n] "},
			[]string{`function||"hello\n"`, `function||"hello\n"`}, Tally{Records: 2},
		},
		"empty batch": {[]string{"[]"}, nil, Tally{}},
		"the invocation goes on over bodies": {
			[]string{"[" + start + "]", "[" + line + "]"},
			[]string{`platform.start|r-1|{"requestId":"r-1","version":"$LATEST"}`, `function|r-1|"hello\n"`},
			Tally{Records: 2},
		},
		"a line from before platform.start is not of that invocation": {
			[]string{"[" + start + `,{"time":"2026-10-01T09:00:00.099Z","type":"function","record":"early"}]`},
			[]string{`platform.start|r-1|{"requestId":"r-1","version":"$LATEST"}`, `function||"early"`},
			Tally{Records: 2},
		},
		"unknown type, unknown members, no record, a future shape": {
			[]string{`[{"v":2,"type":"platform.future","time":"2026-10-01T09:00:00Z","x":{"y":[1,2e3,null]}}]`},
			[]string{`platform.future||null`}, Tally{Records: 1},
		},
		"JSON records": {
			[]string{`[{"time":"2026-10-01T09:00:00.1Z","type":"function","record":{"level":"INFO","n":[1,-2.5e+3,true,{}]}}]`},
			[]string{`function||{"level":"INFO","n":[1,-2.5e+3,true,{}]}`}, Tally{Records: 1},
		},
		"not JSON":  {[]string{"hello"}, nil, Tally{Malformed: 1, MalformedBytes: 5}},
		"an object": {[]string{`{"a":1}`}, nil, Tally{Malformed: 1, MalformedBytes: 7}},
		"nothing":   {[]string{""}, nil, Tally{Malformed: 1}},
		"a bad event costs no other": {
			[]string{"[" + line + `,{"time":"x","type":"function","record":{"a" 1}},` + line + "]"},
			[]string{`function||"hello\n"`, `function||"hello\n"`}, Tally{Records: 2, Malformed: 1, MalformedBytes: 48},
		},
		"an event without a type": {
			[]string{`[{"time":"2026-10-01T09:00:00.1Z","record":"x"},` + line + "]"},
			[]string{`function||"hello\n"`}, Tally{Records: 1, Malformed: 1, MalformedBytes: 46},
		},
		"cut string, joined; other events stand in both bodies": {
			[]string{"[" + line + "," + cutHead + `"aaa\`, "[" + cutHead + `nbbb"},` + done + "]"},
			[]string{
				`function||"hello\n"`, `function||"aaa\nbbb"`,
				`platform.runtimeDone|r-1|{"requestId":"r-1","status":"success"}`,
			}, Tally{Records: 3},
		},
		"cut object": {
			[]string{"[" + cutHead + `{"a":{"b":1},"c":`, "[" + cutHead + `{"d":2}}}]`},
			[]string{`function||{"a":{"b":1},"c":{"d":2}}`}, Tally{Records: 1},
		},
		"cut twice": {
			[]string{"[" + cutHead + `"a`, "[" + cutHead + `b`, "[" + cutHead + `c"}]`},
			[]string{`function||"abc"`}, Tally{Records: 1},
		},
		"cut, and the rest never comes": {
			[]string{"[" + cutHead + `"aa\u00`, "[" + done + "]"},
			[]string{`function||"aa"`, `platform.runtimeDone|r-1|{"requestId":"r-1","status":"success"}`},
			Tally{Records: 2, Truncated: 1},
		},
		"cut, and the next body has the same envelope but is whole": {
			[]string{"[" + cutHead + `"aa`, "[" + cutHead + `"bb"}]`},
			[]string{`function||"aa"`, `function||"bb"`}, Tally{Records: 2, Truncated: 1},
		},
		"a cut object at the very end": {
			[]string{"[" + cutHead + `{"a":1`},
			[]string{`function||"{\"a\":1"`}, Tally{Records: 1, Truncated: 1},
		},
		"a cut character": {
			[]string{"[" + cutHead + "\"gr\xc3"}, []string{`function||"gr"`}, Tally{Records: 1, Truncated: 1},
		},
		"too deep": {
			[]string{"[" + cutHead + strings.Repeat("[", 600) + strings.Repeat("]", 600) + "}," + line + "]"},
			[]string{`function||"hello\n"`}, Tally{Records: 1, Malformed: 1, MalformedBytes: 1264},
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			lines, tally := decodeAll(tc.bodies...)
			if diff := cmp.Diff(tc.want, lines); diff != "" {
				t.Errorf("records (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tc.tally, tally); diff != "" {
				t.Errorf("tally (-want +got):\n%s", diff)
			}
		})
	}
}

func TestParseTime(t *testing.T) {
	at := func(text string) time.Time {
		parsed, err := time.Parse(time.RFC3339Nano, text)
		if err != nil {
			t.Fatal(err)
		}
		return parsed.UTC()
	}
	tests := map[string]time.Time{
		"2026-10-01T09:00:00.123Z":       at("2026-10-01T09:00:00.123Z"),
		"2026-10-01T09:00:00Z":           at("2026-10-01T09:00:00Z"),
		"2026-10-01T09:00:00.123456789Z": at("2026-10-01T09:00:00.123456789Z"),
		"2026-10-01T11:00:00.123+02:00":  at("2026-10-01T09:00:00.123Z"),
		"2026-10-01T12:01:23:521Z":       testNow, // as in AWS's own sample
		"2026-13-01T09:00:00.123Z":       testNow,
		"":                               testNow,
	}
	for text, want := range tests {
		if got := parseTime([]byte(text), testNow); !got.Equal(want) {
			t.Errorf("parseTime(%q) = %v, want %v", text, got, want)
		}
	}
}

// TestCutAnywhere cuts a record at every byte of its value and joins it again.
func TestCutAnywhere(t *testing.T) {
	for _, value := range []string{
		`"plain \"quoted\" \\ back\\slashes é 😀 \u00e9\n"`, `{"a":[1,2.5,{"b":"x\\y"}],"c":null,"d":"z"}`, `"\\\\\\"`,
	} {
		for cut := 1; cut < len(value); cut++ {
			lines, tally := decodeAll("["+line+","+cutHead+value[:cut], "["+cutHead+value[cut:]+"},"+line+"]")
			want := []string{`function||"hello\n"`, "function||" + value, `function||"hello\n"`}
			if diff := cmp.Diff(want, lines); diff != "" || tally != (Tally{Records: 3}) {
				t.Errorf("cut at %d of %s: %+v\n%s", cut, value, tally, diff)
			}
		}
	}
}

// TestSkipValueAgreesWithLibrary compares the scanner with encoding/json on
// valid, broken and shortened values.
func TestSkipValueAgreesWithLibrary(t *testing.T) {
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 0))
	bases := []string{
		`{"a":[1,-0.5e-7,true,false,null,"x\u00e9\n\\"],"b":{"c":{}},"d":[]}`, `[[],[[1]],{"k":"v"}]`, `"text \t \/ "`,
		`-12.25E+4`, `0`, `{"":""}`,
	}
	for range 50_000 {
		b := []byte(bases[random.IntN(len(bases))])
		for range random.IntN(3) {
			switch i := random.IntN(len(b)); random.IntN(3) {
			case 0:
				b[i] = `{}[]",:\ 019eE+-.tfnu`[random.IntN(21)]
			case 1:
				b = append(b[:i], b[i+1:]...)
			case 2:
				b = b[:i+1]
			}
			if len(b) == 0 {
				b = []byte("1")
			}
		}
		checkSkip(t, seed, b)
	}
}

// checkSkip holds the scanner against json.Valid.
func checkSkip(t *testing.T, seed uint64, b []byte) {
	t.Helper()
	start := skipSpace(b, 0)
	end, out := skipValue(b, start)
	whole := out == complete && skipSpace(b, end) == len(b)
	if out == truncated && start < len(b) && (b[start] == '-' || b[start] >= '0' && b[start] <= '9') {
		return // a number at the very end may go on
	}
	if whole != json.Valid(b) {
		t.Fatalf("seed %d: %q: scanner says %v, encoding/json %v", seed, b, whole, json.Valid(b))
	}
}

func TestMember(t *testing.T) {
	object := []byte(` { "a" : {"requestId":"no"} , "requestId" : "r-1" , "n":12 }`)
	for key, want := range map[string]string{"requestId": `"r-1"`, "n": "12", "missing": ""} {
		if got := string(Member(object, key)); got != want {
			t.Errorf("Member(%q) = %q, want %q", key, got, want)
		}
	}
	for _, broken := range []string{"", "[]", "{", `{"a"`, `{"a":`, `{"a":1`, `{"a":tru}`, `"x"`} {
		if got := Member([]byte(broken), "b"); got != nil {
			t.Errorf("Member of %q = %q, want none", broken, got)
		}
	}
}

// FuzzDecode: whatever comes, nothing crashes, what is handed on is valid JSON,
// and every byte of a body is accounted for by the bound of the tally.
func FuzzDecode(f *testing.F) {
	f.Add([]byte("["+line+","+done+"]"), []byte("["+start+"]"))
	f.Add([]byte("["+cutHead+`"aaa\`), []byte("["+cutHead+`nbbb"},`+done+"]"))
	f.Add([]byte(`[{"time":1,"type":2,"record":}]`), []byte("{}"))
	f.Fuzz(func(t *testing.T, first, second []byte) {
		var d Decoder
		handed := 0
		take := func(l *telemetry.Log) {
			handed++
			if !json.Valid(l.Body) {
				t.Errorf("handed on %q, which is not JSON", l.Body)
			}
			if l.Type == "" {
				t.Error("handed on a record without a type")
			}
		}
		var total Tally
		for _, body := range [][]byte{first, second} {
			total.add(d.Decode(body, testNow, take))
		}
		total.add(d.Flush(testNow, take))
		if total.Records != handed {
			t.Errorf("tally says %d records, handed on %d", total.Records, handed)
		}
	})
}

func TestDecodeAllocatesNothing(t *testing.T) {
	body := []byte("[" + start + strings.Repeat(","+line, 100) + "," + done + "]")
	var d Decoder
	take := func(*telemetry.Log) {}
	d.Decode(body, testNow, take)
	if n := testing.AllocsPerRun(100, func() { d.Decode(body, testNow, take) }); n > 0 {
		t.Errorf("%v allocations for 102 records, want 0", n)
	}
}

func BenchmarkDecode(b *testing.B) {
	text := `{"time":"2026-10-01T09:00:00.123Z","type":"function","record":"2026-10-01T09:00:00.123Z\t3b0e4c1d\tINFO\t` +
		strings.Repeat("some ordinary text ", 5) + `\n"}`
	body := []byte("[" + start + strings.Repeat(","+text, 1000) + "]")
	var d Decoder
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		d.Decode(body, testNow, func(*telemetry.Log) {})
	}
}
