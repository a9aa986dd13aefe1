package parse

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"slipstream/telemetry"
)

const (
	id   = "3b0e4c1d-0a53-4a0e-9f5f-2f1f7a6f6a01"
	when = "2026-10-01T09:00:00.330Z"
)

// said is what was found, in comparable form.
type said struct {
	Level   telemetry.Level
	Message string
	Fields  string // name=value, a space between
}

func parsed(p *Parser, body []byte) (said, *telemetry.Log) {
	l := &telemetry.Log{Type: "function", Body: body}
	p.Parse(l)
	var fields []string
	for _, f := range l.Fields {
		fields = append(fields, string(f.Key)+"="+string(f.Value))
	}
	return said{l.Level, string(l.Message), strings.Join(fields, " ")}, l
}

// quoted is a line as the platform sends it.
func quoted(line string) []byte {
	body, err := json.Marshal(line + "\n")
	if err != nil {
		panic(err)
	}
	return body
}

func TestObjects(t *testing.T) {
	tests := []struct {
		body string
		want said
	}{
		{`{"level":30,"time":1,"msg":"hi"}`, said{9, `"hi"`, `time=1`}},
		{`{"level":35,"msg":"hi"}`, said{11, `"hi"`, `level=35`}},
		{`{"level":10,"msg":"x"}`, said{1, `"x"`, ``}},
		{`{"level":60,"msg":"x"}`, said{21, `"x"`, ``}},
		{`{"level":30}`, said{0, ``, `level=30`}}, // of a battery, perhaps
		{`{"level":61,"msg":"x"}`, said{0, `"x"`, `level=61`}},
		{`{"level":"loud","message":"x"}`, said{0, `"x"`, `level="loud"`}},
		{`{"level":"notice","message":"x"}`, said{10, `"x"`, `level="notice"`}},
		{`{"level":"ERROR+2","msg":"x"}`, said{19, `"x"`, `level="ERROR+2"`}},
		{`{"level":"DEBUG-4","msg":"x"}`, said{1, `"x"`, `level="DEBUG-4"`}},
		{`{"level":"INFO+","msg":"x"}`, said{0, `"x"`, `level="INFO+"`}},
		{`{"level":{"a":1},"severity":"warn","message":"x"}`, said{13, `"x"`, `level={"a":1}`}},
		{`{"msg":"a","message":"b"}`, said{0, `"b"`, `msg="a"`}},
		{`{"message":"b","msg":"a"}`, said{0, `"b"`, `msg="a"`}},
		{`{"level":"INFO","message":{"a":[1,{}]}}`, said{9, `{"a":[1,{}]}`, ``}},
		{`{"errorType":"Boom","errorMessage":"no","stackTrace":[]}`,
			said{17, `"no"`, `errorType="Boom" stackTrace=[]`}},
		{`{"errorType":"Boom","errorMessage":"no","level":"INFO","message":"handled"}`,
			said{9, `"handled"`, `errorType="Boom" errorMessage="no"`}},
		{`{"text":"an error"}`, said{0, ``, `text="an error"`}},
		{` { "level" : "warn" , "message" : "x" , "n" : -1.5e+3 , "t":true,"f":false,"z":null } `,
			said{13, `"x"`, `n=-1.5e+3 t=true f=false z=null`}},
		{`{"a\"b":1,"message":"x"}`, said{0, `"x"`, `a"b=1`}},
		{`{}`, said{}},
		{`null`, said{}},
		{`["level","ERROR"]`, said{}},
		{``, said{}},
	}
	for _, tt := range tests {
		for _, body := range [][]byte{[]byte(tt.body), quoted(tt.body)} {
			if tt.body == "" || tt.body[0] == '"' {
				body = []byte(tt.body)
			}
			got, l := parsed(&Parser{}, body)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", body, diff)
			}
			if l.Message != nil && l.Fields == nil {
				t.Errorf("%s: a structured record's Fields are nil", body)
			}
		}
	}
}

func TestLines(t *testing.T) {
	const node = when + "\t" + id
	tests := []struct {
		line string
		want said
	}{
		{node + "\tINFO\thello \"you\"", said{9, `"hello \"you\"\n"`, ``}},
		{node + "\tERROR\tInvoke Error \t{\"errorType\":\"Error\"}",
			said{17, `"Invoke Error \t{\"errorType\":\"Error\"}\n"`, ``}},
		{when + "\tundefined\tERROR\tUncaught Exception \t{}", said{17, `"Uncaught Exception \t{}\n"`, ``}},
		{node + "\tINFO\t{\"level\":\"error\",\"message\":\"in\",\"n\":1}", said{17, `"in"`, `n=1`}},
		{node + "\tWARN\t{\"n\":1}", said{13, ``, `n=1`}},
		{node + "\tWARN\t{ no object }", said{13, `"{ no object }\n"`, ``}},
		{node + "\tWARN\t{\"level\":\"fatal\", broken", said{13, `"{\"level\":\"fatal\", broken\n"`, ``}},
		{"[WARNING]\t" + when + "\t" + id + "\tlow stock", said{13, `"low stock\n"`, ``}},
		{"[INFO]\t" + when + "\t\tin Init", said{9, `"in Init\n"`, ``}},
		{"[ERROR] ValueError: boom\r\nTraceback (most recent call last):", said{17, ``, ``}},
		{"[info] hello", said{9, ``, ``}},
		{"[cache] hello", said{}},
		{"ERROR: broken", said{17, ``, ``}},
		{"WARN\tlow", said{13, ``, ``}},
		{"DEBUG", said{5, ``, ``}},
		{"INFO:root:hello", said{9, ``, ``}},
		{"error: no such order", said{17, ``, ``}},
		{"error in the middle", said{}},
		{"an ERROR in the middle", said{}},
		{"ERRORS were found", said{}},
		{"Error: as a library prints it", said{}},
		{"HTTP request served", said{}},
		{"information is power", said{}},
		{when + " " + id + " Task timed out after 3.00 seconds\n", said{21, ``, ``}},
		{"RequestId: " + id + " Error: Runtime exited without providing a reason", said{21, ``, ``}},
		{"RequestId: " + id + " is done", said{}},
		{"Traceback (most recent call last):", said{17, ``, ``}},
		{"panic: runtime error: index out of range", said{21, ``, ``}},
		{"Unhandled exception. System.Exception: boom", said{17, ``, ``}},
		{`Exception in thread "main" java.lang.Error`, said{17, ``, ``}},
		{"2026/10/01 09:00:00 {\"errorMessage\":\"boom\",\"errorType\":\"errorString\"}",
			said{17, `"boom"`, `errorType="errorString"`}},
		{when + "\t" + id + "\tfail\tfrom .NET", said{17, `"from .NET\n"`, ``}},
		{when + "\t" + id + "\tinfo\tfrom .NET", said{9, `"from .NET\n"`, ``}},
		{when + "\t" + id + "\tno level\tthere", said{}},
		{"W, [2026-10-01T09:00:00.330123 #8]  WARN -- : low", said{13, ``, ``}},
		{"W, [note] WARN", said{}},
		{"A line", said{}},
		{"2026/10/01 09:00:00.123456 ERROR broken", said{17, ``, ``}},
		{"2026-10-01 09:00:00,330 " + id + " WARN  Handler:23 - low", said{13, ``, ``}},
		{"2026-10-01T09:00:00.330123+02:00 [error] broken", said{17, ``, ``}},
		{when + "  INFO my_crate: hello", said{9, ``, ``}},
		{when + " error rates are low", said{}},
		{`time=2026-10-01T09:00:00.330Z level=ERROR msg="no \"stock\" left" order=42`, said{17, ``, ``}},
		{`msg="a \"level=error\" \\" level=warning n=1`, said{13, ``, ``}},
		{`msg="said level=error" n=1`, said{}},
		{`msg=x then level=error`, said{}},
		{`level=info+nonsense msg=x`, said{}},
		{`key="open`, said{}},
		{"", said{}},
		{"{", said{}},
		{`{"level":"error", broken`, said{}},
		{"9", said{}},
		{when, said{}},
		{when + " ", said{}},
		{node, said{}},
	}
	p := &Parser{}
	for _, tt := range tests {
		if got, _ := parsed(p, quoted(tt.line)); got != tt.want {
			t.Errorf("%q (-want +got):\n%s", tt.line, cmp.Diff(tt.want, got))
		}
	}
}

func TestOthersAreLeftAlone(t *testing.T) {
	l := telemetry.Log{Type: "platform.report", Body: []byte(`{"level":"ERROR","message":"x"}`), Level: 3,
		Message: []byte("old"), Fields: []telemetry.Field{{}}}
	new(Parser).Parse(&l)
	if l.Level != 0 || l.Message != nil || l.Fields != nil {
		t.Errorf("a platform event became %+v", l)
	}
}

// A record beyond the bounds stays whole, and keeps its level if it stands in front.
func TestBounds(t *testing.T) {
	long := strings.Repeat("x", maxText)
	for _, tt := range []struct {
		name, text string
		want       telemetry.Level
	}{
		{"level in front", `{"level":"error","message":"` + long + `"}`, telemetry.LevelError},
		{"level behind", `{"message":"` + long + `","level":"error"}`, 0},
		{"many members", `{"level":"error","message":"x"` + strings.Repeat(`,"a":1`, maxFields) + `}`, telemetry.LevelError},
		{"deep", `{"level":"error","message":` + strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + `}`, 0},
	} {
		p := &Parser{}
		got, l := parsed(p, quoted(tt.text))
		if got.Level != tt.want || l.Message != nil || l.Fields != nil {
			t.Errorf("%s: level %d, %d bytes of message, %d fields", tt.name, got.Level, len(l.Message), len(l.Fields))
		}
		if cap(p.text) > 2*maxText {
			t.Errorf("%s: %d bytes are kept", tt.name, cap(p.text))
		}
	}
}

var everyShape = []string{
	`{"level":30,"time":1531171074631,"pid":657,"hostname":"h","msg":"hello \"world\"","order":{"id":42}}`,
	when + "\t" + id + "\tINFO\thello world", "[INFO]\t" + when + "\t" + id + "\thello world", "plain text",
	`time=2026-10-01T09:00:00.330Z level=ERROR msg="no stock"`, "ERROR broken",
}

func TestNoAllocations(t *testing.T) {
	p := &Parser{}
	for _, text := range everyShape {
		l := telemetry.Log{Type: "function", Body: quoted(text)}
		if n := testing.AllocsPerRun(100, func() { p.Parse(&l) }); n != 0 {
			t.Errorf("%v allocations for %s", n, text)
		}
	}
}

// What is found is JSON, and a whole object is taken apart without a loss.
func FuzzParse(f *testing.F) {
	for _, text := range everyShape {
		f.Add(quoted(text))
		f.Add([]byte(text))
	}
	f.Add([]byte(`"{\"a\\u0041\":\"\\ud83d\\ude00\",\"msg\":\"x\"}"`))
	f.Add([]byte(`"msg=\"a \\\"b\\\" \" level=warn"`))
	f.Fuzz(func(t *testing.T, body []byte) {
		p := &Parser{}
		_, l := parsed(p, body)
		if l.Level > telemetry.LevelFatal+3 {
			t.Fatalf("%q: level %d", body, l.Level)
		}
		if !json.Valid(body) {
			return
		}
		if l.Message != nil && !json.Valid(l.Message) {
			t.Fatalf("%q: message %q", body, l.Message)
		}
		for _, field := range l.Fields {
			if !json.Valid(field.Value) {
				t.Fatalf("%q: field %q", body, field.Value)
			}
		}
	})
}

func BenchmarkParse(b *testing.B) {
	p := &Parser{}
	for _, text := range everyShape {
		l := telemetry.Log{Type: "function", Body: quoted(text)}
		name, _, _ := bytes.Cut([]byte(text), []byte(" "))
		b.Run(string(name[:min(len(name), 12)]), func(b *testing.B) {
			b.SetBytes(int64(len(l.Body)))
			for b.Loop() {
				p.Parse(&l)
			}
		})
	}
}
