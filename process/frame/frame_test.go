package frame

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"slipstream/telemetry"
	"slipstream/wire"
)

var _ wire.Encoder = Encoder{}

func logs() []telemetry.Log {
	at := time.Date(2026, 10, 1, 9, 0, 0, 330_000_001, time.UTC)
	return []telemetry.Log{
		{Time: at, Type: "function", RequestID: "a", Body: []byte(`"x"`)},
		{Time: at, Type: "function", RequestID: "a", Body: []byte(`{}`), Level: 9, Message: []byte(`"m"`),
			Fields: []telemetry.Field{{Key: []byte("k"), Value: []byte("1")}, {Key: []byte{}, Value: []byte("null")}}},
		{Time: at, Type: "function", RequestID: "a", Body: []byte(`{}`), Message: []byte{}, Fields: []telemetry.Field{}},
		{Time: time.Time{}, Type: "platform.report", Body: bytes.Repeat([]byte("x"), 300), AdjustedCount: 1 << 31},
	}
}

func TestRoundTrip(t *testing.T) {
	var frames []byte
	for _, l := range logs() {
		frames = Encoder{}.AppendLog(frames, &l)
	}
	rest, err := frames, error(nil)
	var got telemetry.Log
	for _, want := range logs() {
		if rest, err = Decode(rest, &got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
	if len(rest) != 0 {
		t.Errorf("%d bytes are left", len(rest))
	}
	e := Encoder{}
	if e.AppendHead(nil, 5) != nil || !strings.HasPrefix(e.Extension(), ".") || e.ContentType() == "" {
		t.Error("the frames are no body")
	}
}

// Exports stand between log records, and neither is read as the other.
func TestExports(t *testing.T) {
	l := logs()[0]
	exports := []telemetry.Export{{Signal: telemetry.Traces, Records: 3, Body: bytes.Repeat([]byte("x"), 300)},
		{Signal: telemetry.Logs, Body: []byte{}}}
	var frames []byte
	for i := range exports {
		note := Note{At: time.Unix(int64(i), 5).UTC(), Doubtful: i == 0}
		frames = Encoder{}.AppendLog(Encoder{note}.AppendExport(frames, &exports[i]), &l)
	}
	for i, want := range exports {
		var got telemetry.Export
		if !Exported(frames) {
			t.Fatal("an export is not known")
		}
		if _, err := Decode(frames, &telemetry.Log{}); !errors.Is(err, ErrBroken) {
			t.Errorf("read as a record: %v", err)
		}
		note, rest, err := DecodeExport(frames, &got)
		if want := (Note{At: time.Unix(int64(i), 5).UTC(), Doubtful: i == 0}); err != nil || note != want {
			t.Fatalf("%v, %v", note, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		for cut := range len(frames) - len(rest) {
			if _, left, err := DecodeExport(frames[:cut], &got); !errors.Is(err, ErrCut) || len(left) != cut {
				t.Fatalf("cut at %d: %v", cut, err)
			}
		}
		if _, _, err := DecodeExport(rest, &got); !errors.Is(err, ErrBroken) || Exported(rest) {
			t.Errorf("a record read as an export: %v", err)
		}
		if frames, err = Decode(rest, &telemetry.Log{}); err != nil {
			t.Fatal(err)
		}
	}
	if len(frames) != 0 || Exported(frames) {
		t.Errorf("%d bytes are left", len(frames))
	}
}

// Wherever a crash cuts the last frame, the others are read and the cut is seen.
func TestEveryCut(t *testing.T) {
	one := Encoder{}.AppendLog(nil, &logs()[0])
	both := Encoder{}.AppendLog(bytes.Clone(one), &logs()[1])
	for cut := len(one); cut < len(both); cut++ {
		var l telemetry.Log
		rest, err := Decode(both[:cut], &l)
		if err != nil {
			t.Fatal(err)
		}
		if _, err = Decode(rest, &l); !errors.Is(err, ErrCut) {
			t.Fatalf("cut at %d: %v", cut, err)
		}
	}
	broken := bytes.Clone(one)
	broken[0]++
	if _, err := Decode(broken, &telemetry.Log{}); !errors.Is(err, ErrBroken) {
		t.Errorf("another version: %v", err)
	}
}

func TestNoAllocations(t *testing.T) {
	l := logs()[1]
	dst := make([]byte, 0, 1024)
	var got telemetry.Log
	if n := testing.AllocsPerRun(100, func() {
		dst = Encoder{}.AppendLog(dst[:0], &l)
		if _, err := Decode(dst, &got); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// Whatever bytes are read, a record that comes out of them goes in again.
func FuzzDecode(f *testing.F) {
	for _, l := range logs() {
		f.Add(Encoder{}.AppendLog(nil, &l))
	}
	f.Add(Encoder{}.AppendExport(nil, &telemetry.Export{Signal: telemetry.Traces, Records: 1, Body: []byte("x")}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if Exported(b) {
			decodeExportAgain(t, b)
			return
		}
		var l, again telemetry.Log
		rest, err := Decode(b, &l)
		if err != nil {
			if len(rest) != len(b) {
				t.Fatal("an error takes bytes")
			}
			return
		}
		if _, err := Decode(Encoder{}.AppendLog(nil, &l), &again); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(l, again); diff != "" {
			t.Fatalf("(-first +again):\n%s", diff)
		}
	})
}

func decodeExportAgain(t *testing.T, b []byte) {
	var x, again telemetry.Export
	note, rest, err := DecodeExport(b, &x)
	if err != nil {
		if len(rest) != len(b) {
			t.Fatal("an error takes bytes")
		}
		return
	}
	other, _, err := DecodeExport(Encoder{note}.AppendExport(nil, &x), &again)
	if err != nil || other != note {
		t.Fatal(other, err)
	}
	if diff := cmp.Diff(x, again); diff != "" {
		t.Fatalf("(-first +again):\n%s", diff)
	}
}
