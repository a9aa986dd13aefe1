package buffer

import (
	"bytes"
	"encoding/binary"
	"os"
	"testing"

	"slipstream/wire"
)

// FuzzRecover reads an arena that may hold anything: it neither panics nor goes
// on for ever, and what it gives was in the file.
func FuzzRecover(f *testing.F) {
	pool := NewPool(f.TempDir(), 1<<20)
	c := pool.Open(name(1), opened)
	fill(c, 40, 30)
	c.Close(opened)
	var sealer Sealer
	if _, err := sealer.Seal(c, wire.TelemetryEvents(), Gzip); err != nil {
		f.Fatal(err)
	}
	other := pool.Open(name(2), opened)
	fill(other, 4, 3)
	other.Commit()
	arena, err := os.ReadFile(pool.arena.file.Name())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(arena[:4*unitBytes], true)
	f.Add(arena[:20*unitBytes], false)
	f.Add(arena[:20*unitBytes+77], true)
	f.Add([]byte{}, false)
	f.Fuzz(func(t *testing.T, file []byte, repair bool) {
		if repair { // checksums, which no mutation gets right
			for at := 0; at+headBytes <= len(file); at += unitBytes {
				binary.NativeEndian.PutUint64(file[at+headMagic:], magic)
				binary.NativeEndian.PutUint64(file[at+headSum:], uint64(headChecksum(file[at:])))
			}
		}
		skipped := map[string]int{}
		size := 0
		for _, r := range inOrder(scan(snapshot{bytes.NewReader(file)}, int64(len(file)), skipped)) {
			l := r.read(skipped)
			body := []byte(text(l))
			size += len(body)
			if r.twin != nil {
				size += len(text(r.twin.read(skipped)))
			}
			if l.Records <= 0 || l.Missing < 0 || len(l.Environment) != 36 {
				t.Errorf("%+v", l)
			}
			if len(body) > 0 && !bytes.Contains(file, body[:min(len(body), 1000)]) && l.Body != nil {
				t.Error("a body that is not in the file")
			}
		}
		if size > len(file) {
			t.Errorf("%d bytes out of %d", size, len(file))
		}
		for reason, n := range skipped {
			if n < 0 || n > len(file)/unitBytes+1 {
				t.Errorf("%s: %d of %d bytes", reason, n, len(file))
			}
		}
	})
}
