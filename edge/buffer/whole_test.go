package buffer

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"github.com/klauspost/compress/s2"

	"slipstream/telemetry"
	"slipstream/wire"
)

// reversed is a format of a whole batch: the records' bytes backwards, without
// those of an 'x', which have no place in it.
type reversed struct{ wire.OTLPExports }

func (reversed) AppendBody(dst, records []byte, drop func(string, int)) []byte {
	n := bytes.Count(records, []byte("x"))
	drop("x", n)
	kept := slices.DeleteFunc(slices.Clone(records), func(c byte) bool { return c == 'x' })
	slices.Reverse(kept)
	return append(dst, kept...)
}

func TestSealMakesTheBodyOfAllRecords(t *testing.T) {
	for name, pool := range map[string]*Pool{"heap": {}, "arena": NewPool(t.TempDir(), arenaBytes)} {
		var sealer Sealer
		for range 2 {
			c := pool.Open(Name{Environment: environment, Lane: 1, Sequence: 1}, time.Unix(0, 0))
			for _, text := range []string{"ab", "x", "cd"} {
				c.AppendExport(reversed{}, &telemetry.Export{Records: 1, Body: []byte(text)})
			}
			c.Close(time.Unix(1, 0))
			body, err := sealer.Seal(c, reversed{}, Snappy)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := s2.Decode(nil, body); err != nil || string(got) != "dcba" {
				t.Errorf("%s: %q, %v", name, got, err)
			}
			if c.Records != 2 || c.Dropped["x"] != 1 {
				t.Errorf("%s: %d records, dropped %v", name, c.Records, c.Dropped)
			}
			c.Release()
		}
		c := pool.Open(Name{Environment: environment, Lane: 1, Sequence: 2}, time.Unix(0, 0))
		c.AppendExport(reversed{}, &telemetry.Export{Records: 1, Body: []byte("x")})
		c.Close(time.Unix(1, 0))
		if body, err := sealer.Seal(c, reversed{}, Snappy); err != nil || len(body) > 0 || c.Records > 0 {
			t.Errorf("%s: nothing became %q, %v", name, body, err)
		}
		c.Release()
		if err := pool.Close(); err != nil {
			t.Error(err)
		}
	}
}

// What a kill leaves of a sealed body says how it is compressed.
func TestSnappySurvives(t *testing.T) {
	dir := t.TempDir()
	pool := NewPool(dir, arenaBytes)
	c := pool.Open(Name{Environment: environment, Lane: 1, Sequence: 1}, time.Unix(0, 0))
	c.AppendExport(reversed{}, &telemetry.Export{Records: 3, Body: []byte("abc")})
	c.Close(time.Unix(1, 0))
	var sealer Sealer
	body, err := sealer.Seal(c, reversed{}, Snappy)
	if err != nil {
		t.Fatal(err)
	}
	die(t, pool)
	left, _ := recovered(t, dir)
	if len(left) != 1 || left[0].Encoding != Snappy || !bytes.Equal(left[0].Body, body) || left[0].Records != 3 {
		t.Errorf("left: %+v", left)
	}
}
