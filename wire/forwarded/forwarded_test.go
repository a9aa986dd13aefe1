package forwarded

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func request() *Request {
	return &Request{
		Route: 2, Method: "POST", Target: "/v1/data?x=%2F&x=2",
		Header: []Field{{"Authorization", "ApiKey 7"}, {"X-A", "1"}, {"X-A", ""}},
		Body:   []byte("\x1f\x8b\x00"),
	}
}

// golden is what request is in bytes: spools written by one version are read by
// another.
const golden = "66776431" + "0000003c" + "00000003" + // magic, head, body
	"02" + "04504f5354" + "12" + "2f76312f646174613f783d25324626783d32" + // route, method, target
	"03" + "0d417574686f72697a6174696f6e" + "084170694b65792037" + // fields
	"03582d41" + "0131" + "03582d41" + "00" + "1f8b00"

func TestGolden(t *testing.T) {
	frame := Append([]byte("before"), request())
	if got := hex.EncodeToString(frame[len("before"):]); got != golden {
		t.Errorf("other bytes:\n%s, want\n%s", got, golden)
	}
	got, rest, err := Parse(frame[len("before"):])
	if err != nil || len(rest) > 0 {
		t.Fatal(err, rest)
	}
	if diff := cmp.Diff(*request(), got); diff != "" {
		t.Error(diff)
	}
}

func TestFramesOneAfterTheOther(t *testing.T) {
	a, b, c := request(), &Request{Method: "PUT"}, request()
	c.Body = bytes.Repeat([]byte("x"), 100_000)
	frames := Append(Append(nil, a), b)
	start := len(frames)
	frames = append(Begin(frames, c), c.Body...) // in two steps as in one
	End(frames, start)
	for i, want := range []*Request{a, b, c} {
		got, rest, err := Parse(frames)
		if err != nil {
			t.Fatal(err)
		}
		if got.Target != want.Target || len(got.Header) != len(want.Header) || !bytes.Equal(got.Body, want.Body) {
			t.Errorf("frame %d: %q, %d fields, %d bytes", i, got.Target, len(got.Header), len(got.Body))
		}
		frames = rest
	}
	if len(frames) > 0 {
		t.Errorf("%d bytes are left", len(frames))
	}
}

func TestParseRefuses(t *testing.T) {
	raw := func(edit func(r *Request)) []byte {
		r := request()
		edit(r)
		return Append(nil, r)
	}
	patched := func(at int, b byte) []byte {
		frame := Append(nil, request())
		frame[at] = b
		return frame
	}
	for want, frame := range map[string][]byte{
		"no frame":    []byte("fwd2........"),
		"is no frame": []byte("fwd1......."),
		"cut short":   Append(nil, request())[:74],
		"a head of 16777276 bytes, at most 262144":          patched(4, 1),
		"head: it is cut short":                             patched(7, 0x3b),
		"head: something follows it":                        append(patched(7, 0x3d), 0),
		"the target is no path":                             raw(func(r *Request) { r.Target = "x" }),
		"target is no path with a query":                    raw(func(r *Request) { r.Target = "/a HTTP/1.1" }),
		"the target is no path with a query":                raw(func(r *Request) { r.Target = "/a\r\nX: y" }),
		"method is none":                                    raw(func(r *Request) { r.Method = "POST /x" }),
		"the method is none":                                raw(func(r *Request) { r.Method = "" }),
		"name or value holds what it must not":              raw(func(r *Request) { r.Header[1].Name = "a:b" }),
		"a header's name or value holds what it must not":   raw(func(r *Request) { r.Header[1].Value = "a\r\nb" }),
		"header's name or value holds what it must not":     raw(func(r *Request) { r.Header[1].Name = "" }),
		"a number is too large":                             raw(func(r *Request) { r.Route = 1 << 40 }),
		"read a forwarded request's head: a number is too ": patched(prefix+1+5+19, 0x7f),
		"a number is written too long": append([]byte("fwd1\x00\x00\x00\x06\x00\x00\x00\x00"),
			"\x80\x00\x01P\x00\x00"...),
	} {
		r, rest, err := Parse(frame)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "ApiKey") {
			t.Errorf("%q: %v", want, err)
		}
		if rest != nil || r.Body != nil || r.Header != nil {
			t.Errorf("%q: gives %+v and %q", want, r, rest)
		}
	}
}

func TestAppendAllocates(t *testing.T) {
	r, dst := request(), make([]byte, 0, 1024)
	if n := testing.AllocsPerRun(100, func() { dst = Append(dst[:0], r) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// What Parse takes is one frame and nothing else: writing it again gives the
// same bytes.
func FuzzParse(f *testing.F) {
	f.Add(Append(nil, request()))
	f.Add(Append(Append(nil, &Request{Method: "PUT", Target: "/", Body: []byte("{}")}), request()))
	f.Add([]byte("fwd1\x00\x00\x00\x05\x00\x00\x00\x01\x00\x01P\x00\x00x"))
	f.Add([]byte("fwd1\xff\xff\xff\xff\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, frames []byte) {
		r, rest, err := Parse(frames)
		if err != nil {
			return
		}
		if again := Append(nil, &r); !bytes.Equal(again, frames[:len(frames)-len(rest)]) {
			t.Errorf("%q is written again as %q", frames[:len(frames)-len(rest)], again)
		}
		for _, field := range r.Header {
			if strings.ContainsAny(field.Name+field.Value, "\r\n\x00") {
				t.Errorf("a field breaks out: %q", field)
			}
		}
		if strings.ContainsAny(r.Method+r.Target, " \r\n\x00") {
			t.Errorf("the first line breaks out: %q %q", r.Method, r.Target)
		}
	})
}
