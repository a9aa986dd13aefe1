package buffer

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"slipstream/telemetry"
	"slipstream/wire"
)

// plain decodes a body of the given encoding.
func plain(t *testing.T, body []byte, encoding string) string {
	t.Helper()
	var r io.Reader = bytes.NewReader(body)
	switch encoding {
	case Gzip:
		unzip, err := gzip.NewReader(r)
		if err != nil {
			t.Fatal(err)
		}
		r = unzip
	case Zstd:
		decoder, err := zstd.NewReader(r)
		if err != nil {
			t.Fatal(err)
		}
		defer decoder.Close()
		r = decoder
	}
	text, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func log(text string) *telemetry.Log {
	return &telemetry.Log{Time: time.Unix(0, 0).UTC(), Type: "function", Body: []byte(`"` + text + `"`)}
}

func TestSealGivesWhatWasAppended(t *testing.T) {
	var pool Pool
	var sealer Sealer
	enc := wire.TelemetryEvents()
	for round := range 3 { // compressors and pages are used again
		for _, encoding := range []string{Plain, Gzip, Zstd} {
			t.Run(fmt.Sprintf("%s%d", encoding, round), func(t *testing.T) {
				c := pool.Open(Name{}, time.Unix(0, 0))
				var want []byte
				for i := range 2000 {
					text := strings.Repeat(fmt.Sprint(i), i%300+1)
					if i%500 == 7 {
						text = strings.Repeat("large ", 20_000) // more than a page
					}
					l := log(text)
					before := len(want)
					want = enc.AppendLog(want, l)
					if size := c.Append(enc, l); size != len(want)-before {
						t.Fatalf("record %d: size %d, want %d", i, size, len(want)-before)
					}
				}
				if c.Records != 2000 || c.Size != len(want) || c.Held() < c.Size {
					t.Errorf("records %d, size %d, held %d", c.Records, c.Size, c.Held())
				}
				body, err := sealer.Seal(c, enc, encoding)
				if err != nil {
					t.Fatal(err)
				}
				if got := plain(t, body, encoding); got != string(want) {
					t.Errorf("%d bytes differ from the %d that were appended", len(got), len(want))
				}
				c.Release()
				if c.Held() != 0 || cap(body) > len(body)+len(body)/4+64 {
					t.Errorf("chunk still holds %d bytes; body has %d of %d", c.Held(), len(body), cap(body))
				}
			})
		}
	}
	if len(pool.free) > keptPages {
		t.Errorf("%d pages kept, at most %d", len(pool.free), keptPages)
	}
}

// headed is a format whose head counts the records' bytes.
type headed struct{ wire.Encoder }

func (headed) AppendHead(dst []byte, size int) []byte { return fmt.Appendf(dst, "<%d>", size) }

func TestSealPutsTheHeadInFront(t *testing.T) {
	var pool Pool
	var sealer Sealer
	c := pool.Open(Name{}, time.Unix(0, 0))
	enc := headed{wire.TelemetryEvents()}
	n := c.Append(enc, log("x"))
	body, err := sealer.Seal(c, enc, Plain)
	if err != nil || !strings.HasPrefix(string(body), fmt.Sprintf("<%d>{", n)) {
		t.Errorf("%q, %v", body, err)
	}
}

func TestSealKnowsItsEncodings(t *testing.T) {
	var pool Pool
	var sealer Sealer
	c := pool.Open(Name{}, time.Unix(0, 0))
	c.Append(wire.TelemetryEvents(), log("x"))
	if _, err := sealer.Seal(c, wire.TelemetryEvents(), "rar"); err == nil || c.Records != 1 {
		t.Errorf("error %v, %d records left", err, c.Records)
	}
}

func TestAppendAllocatesNothing(t *testing.T) {
	for where, pool := range map[string]*Pool{"heap": {}, "arena": NewPool(t.TempDir(), arenaBytes)} {
		c := pool.Open(name(1), opened)
		enc, l := wire.TelemetryEvents(), log("hello")
		c.Append(enc, l)
		if n := testing.AllocsPerRun(100, func() { c.Append(enc, l); c.Commit() }); n > 0 {
			t.Errorf("%s: %v allocations a record, want 0", where, n)
		}
	}
}

func BenchmarkAppendAndSeal(b *testing.B) {
	for _, encoding := range []string{Plain, Gzip, Zstd} {
		b.Run("encoding="+encoding, func(b *testing.B) {
			var pool Pool
			var sealer Sealer
			enc, l := wire.TelemetryEvents(), log(strings.Repeat("some ordinary text ", 8))
			b.ReportAllocs()
			for b.Loop() {
				c := pool.Open(Name{}, time.Unix(0, 0))
				for c.Size < 256<<10 {
					c.Append(enc, l)
				}
				b.SetBytes(int64(c.Size))
				if _, err := sealer.Seal(c, enc, encoding); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
