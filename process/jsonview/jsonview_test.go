package jsonview_test

import (
	"bytes"
	"encoding/json"
	"math"
	"strconv"
	"strings"
	"testing"

	"slipstream/process/jsonview"
)

func TestMember(t *testing.T) {
	const object = ` { "a" : 1 , "b.c":{"x":[1,{"y":"\""}]}, "t\u0061g":"v", "a":2, "e":"" } `
	for name, want := range map[string]string{
		"a": "1", "b.c": `{"x":[1,{"y":"\""}]}`, "tag": `"v"`, "e": `""`, "": "", "x": "",
	} {
		if got := jsonview.Member([]byte(object), name); string(got) != want {
			t.Errorf("Member(%q) = %q, want %q", name, got, want)
		}
	}
	if got := jsonview.Member([]byte(`["a",1]`), "a"); got != nil {
		t.Errorf("an array has no members, got %q", got)
	}
}

func TestEach(t *testing.T) {
	for value, want := range map[string]string{
		`[1, [2,3] ,"x"]`: `1|[2,3]|"x"`, `[]`: "", `{}`: "", `7`: "", "": "", `[1,2`: "1|2", `[1 ?]`: "1", `[,1]`: "",
		`{"a":1,"b":[]}`: "1|[]", `{"a" 1}`: "", `{"a":1,}`: "1",
	} {
		var got []string
		for it := jsonview.Each([]byte(value)); it.Next(); {
			got = append(got, string(it.Value))
		}
		if strings.Join(got, "|") != want {
			t.Errorf("elements of %s: %q, want %q", value, got, want)
		}
	}
}

func TestText(t *testing.T) {
	for raw, want := range map[string]string{
		`"plain"`: "plain", `"\"\\\/\b\f\n\r\t"`: "\"\\/\b\f\n\r\t", `"\u00e9\ud83d\ude00"`: "é😀",
		`"\ud83d"`: "\ufffd", `"\ud83dx"`: "\ufffdx", `"\ud83d\u0041"`: "\ufffdA", `""`: "",
	} {
		if text, _, ok := jsonview.Text([]byte(raw), nil); !ok || string(text) != want {
			t.Errorf("Text(%s) = %q, want %q", raw, text, want)
		}
	}
	if _, _, ok := jsonview.Text([]byte("12"), nil); ok {
		t.Error("a number is no text")
	}
	_, buf, _ := jsonview.Text([]byte(`"a\n"`), nil)
	second, _, _ := jsonview.Text([]byte(`"b\n"`), buf)
	if string(buf) != "a\n" || string(second) != "b\n" {
		t.Errorf("two texts in one buffer: %q and %q", buf, second)
	}
}

// Where a value ends, or where it was seen that it is none.
func TestSkip(t *testing.T) {
	for _, tt := range []struct {
		text string
		end  int
		ok   bool
	}{
		{`{"a":[1]} x`, 9, true}, {`"a\u00e9\n" `, 11, true}, {`01`, 1, true}, {`-0.5e+3,`, 7, true}, {`[[[]]]`, 6, true},
		{`truth`, 0, false}, {`{"a" 1}`, 5, false}, {`[1 2]`, 3, false}, {`{"a":1,}`, 7, false}, {"\"a\nb\"", 2, false},
		{`"\x"`, 2, false}, {`"\u00g0"`, 2, false}, {`"\`, 2, false}, {`[1.]`, 3, false}, {`[[[1]]]`, 3, false},
		{"", 0, false}, {`"a`, 2, false},
	} {
		if end, ok := jsonview.Skip([]byte(tt.text), 0, 2); end != tt.end || ok != tt.ok {
			t.Errorf("Skip(%q) = %d %v, want %d %v", tt.text, end, ok, tt.end, tt.ok)
		}
	}
	if text := jsonview.AppendText(nil, []byte(`a\q\u12\n\`)); string(text) != "a\\q\\u12\n\\" {
		t.Errorf("broken escapes become %q", text)
	}
}

func TestNumber(t *testing.T) {
	for text, want := range map[string]float64{
		"0": 0, "12": 12, "-1.5": -1.5, "+2": 2, "1e+3": 1000, "0.563928": 0.563928, "123456789012345678": 123456789012345678,
	} {
		if v, ok := jsonview.Number([]byte(text)); !ok || v != want {
			t.Errorf("Number(%s) = %v %v, want %v", text, v, ok, want)
		}
	}
	for _, text := range []string{"", "NaN", "inf", "0x10", "1_0", "1e999", "-", "1-2", "1 ", strings.Repeat("1", 65)} {
		if v, ok := jsonview.Number([]byte(text)); ok {
			t.Errorf("Number(%q) = %v, want none", text, v)
		}
	}
}

// FuzzValid compares with encoding/json: what is JSON, what a string stands for.
func FuzzValid(f *testing.F) {
	for _, seed := range []string{
		`{"a":[1,-0.5e+3,true,false,null,"x\u00e9\ud83d\ude00"]}`, `[`, `{"a"}`, `"\x"`, "01", "-", "[1,]", `"\ud83d"`, " 1 ",
		strings.Repeat("[", 600),
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if got := jsonview.Valid(b); got != json.Valid(b) && !tooDeep(b) {
			t.Fatalf("Valid(%q) = %v", b, got)
		}
		value := bytes.TrimSpace(b)
		var want string
		if json.Unmarshal(value, &want) == nil && len(value) > 0 && value[0] == '"' {
			text, _, ok := jsonview.Text(value, nil)
			if got := strings.ToValidUTF8(string(text), "\ufffd"); !ok || got != strings.ToValidUTF8(want, "\ufffd") {
				if !bytes.ContainsRune(text, '\ufffd') && !strings.ContainsRune(want, '\ufffd') {
					t.Fatalf("Text(%q) = %q, want %q", value, text, want)
				}
			}
		}
		if v, ok := jsonview.Number(b); ok {
			want, err := strconv.ParseFloat(string(b), 64)
			if err != nil || v != want || math.IsNaN(v) || math.IsInf(v, 0) {
				t.Fatalf("Number(%q) = %v, want %v %v", b, v, want, err)
			}
		}
		for it := jsonview.Each(b); it.Next(); {
			if !jsonview.Valid(it.Value) {
				t.Fatalf("an element of %q is %q", b, it.Value)
			}
		}
	})
}

func tooDeep(b []byte) bool { return bytes.Count(b, []byte("["))+bytes.Count(b, []byte("{")) > 512 }

func TestNoAllocation(t *testing.T) {
	doc := []byte(`{"a":1,"t\u0061g":"v","list":[1.5,2,3],"z":"x\ny"}`)
	buf := make([]byte, 0, 64)
	if n := testing.AllocsPerRun(100, func() {
		jsonview.Member(doc, "tag")
		text, b, _ := jsonview.Text(jsonview.Member(doc, "z"), buf[:0])
		buf = b
		for it := jsonview.Each(jsonview.Member(doc, "list")); it.Next(); {
			jsonview.Number(it.Value)
		}
		_ = text
	}); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
}

// AppendText is what encoding/json makes of a string.
func FuzzAppendText(f *testing.F) {
	f.Add(`a\u00e9\ud83d\ude00\ud800x\n\"\\\/`)
	f.Add(`\ud800\u0041`)
	f.Fuzz(func(t *testing.T, text string) {
		var want string
		if strings.ToValidUTF8(text, "") != text || json.Unmarshal([]byte(`"`+text+`"`), &want) != nil {
			return
		}
		if got := jsonview.AppendText(nil, []byte(text)); string(got) != want {
			t.Fatalf("%q became %q, not %q", text, got, want)
		}
	})
}
