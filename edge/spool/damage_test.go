package spool

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// damages are the files of a batch that are not what Put wrote.
var damages = []struct {
	name   string
	damage func(b []byte) []byte
	reason string
	atOpen bool // the head tells
}{
	{"empty", func(b []byte) []byte { return nil }, "not a batch", true},
	{"shorter than any head", func(b []byte) []byte { return b[:15] }, "truncated", true},
	{"cut in the head", func(b []byte) []byte { return b[:90] }, "truncated", true},
	{"cut in the body", func(b []byte) []byte { return b[:len(b)-1] }, "truncated", true},
	{"longer", func(b []byte) []byte { return append(b, 0) }, "longer than it was", true},
	{"another program's", func(b []byte) []byte { return []byte(strings.Repeat("hello ", 400)) }, "not a batch", true},
	{"a later version", func(b []byte) []byte { b[atVersion]++; return b }, "version", true},
	{"an earlier version", func(b []byte) []byte { b[atVersion]--; return b }, "version", true},
	{"a head of 4 GB", func(b []byte) []byte { binary.LittleEndian.PutUint32(b[atHeadSize:], 1<<32-1); return b },
		"checksum", true},
	{"a bit in the head", func(b []byte) []byte { b[atNumbers+9] ^= 4; return b }, "checksum", true},
	{"a bit in a text", func(b []byte) []byte { b[fixedBytes+4] ^= 4; return b }, "checksum", true},
	{"a bit in the body", func(b []byte) []byte { b[len(b)-700] ^= 1; return b }, "checksum", false},
	{"a body of nothing", func(b []byte) []byte { clear(b[len(b)-2000:]); return b }, "checksum", false},
	{"another batch's", func([]byte) []byte { return fileOf(lane, 9) }, "misnamed", true},
	{"another lane's", func([]byte) []byte { return fileOf(1, 2) }, "misnamed", true},
	{"no environment", func(b []byte) []byte {
		other := batch(first, 2)
		other.Environment = ""
		return append(appendHead(nil, lane, other), b[len(b)-2000:]...)
	}, "length", true},
}

func fileOf(lane, sequence uint64) []byte {
	b := batch(first, sequence)
	return append(appendHead(nil, lane, b), b.Body...)
}

// A file that is not what it was is told of by name and reason, counted,
// removed, and costs no other batch anything: when it is loaded, and when the
// next process finds it.
func TestDamage(t *testing.T) {
	for _, tt := range damages {
		for _, when := range []string{"load", "open"} {
			t.Run(tt.name+"/"+when, func(t *testing.T) {
				dir := t.TempDir()
				s := open(t, dir, 1<<20)
				put(t, s, lane, batch(first, 1), batch(first, 2), batch(first, 3))
				damaged := s.Left(lane)[1]
				path := s.path(&damaged)
				data, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, tt.damage(data), 0o600); err != nil {
					t.Fatal(err)
				}
				if when == "open" {
					s, err = restart(t, s, dir)
				}
				if when == "load" || !tt.atOpen {
					if err != nil {
						t.Fatalf("found too early: %v", err)
					}
					_, err = s.Load(damaged)
				}
				want := path + ": " + wanted(when, tt.reason, data, tt.damage)
				if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), want) {
					t.Errorf("error %v, want %s", err, want)
				}
				checkOthers(t, s, path)
			})
		}
	}
}

// wanted is the reason: Load sees a wrong size first.
func wanted(when, reason string, data []byte, damage func([]byte) []byte) string {
	changed := damage(append([]byte(nil), data...))
	switch {
	case when == "load" && len(changed) < len(data):
		return "truncated"
	case when == "load" && len(changed) > len(data):
		return "longer than it was"
	}
	return reason
}

func checkOthers(t *testing.T, s *Spool, path string) {
	t.Helper()
	if left := ids(s.Left(lane)); left != "1-1 1-3" {
		t.Errorf("left %s", left)
	}
	for _, e := range s.Left(lane) {
		if b, err := s.Load(e); err != nil || !cmp.Equal(b, batch(first, e.Sequence)) {
			t.Errorf("batch %d: %v", e.Sequence, err)
		}
	}
	n := 0
	for _, count := range s.Usage().Damaged {
		n += count
	}
	if _, err := os.Stat(path); n != 1 || s.Usage().Bytes != 2*blockBytes || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%+v, %v", s.Usage(), err)
	}
}

// What the function may do to /tmp.
func TestCleanedAway(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "slipstream", "spool")
	s := open(t, dir, 1<<20)
	put(t, s, lane, batch(first, 1), batch(first, 2))
	if err := os.RemoveAll(filepath.Dir(dir)); err != nil {
		t.Fatal(err)
	}
	left := s.Left(lane)
	if _, err := s.Load(left[0]); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "gone") {
		t.Errorf("loaded: %v", err)
	}
	if err := s.Remove(left[1]); err != nil {
		t.Errorf("removed: %v", err)
	}
	put(t, s, lane, batch(first, 3))
	if b, err := s.Load(s.Left(lane)[0]); err != nil || b.Sequence != 3 || s.Usage().Bytes != blockBytes {
		t.Errorf("%v, %v, %+v", b, err, s.Usage())
	}
}

// Other things in the folder are left alone; what a process did not finish is
// removed.
func TestStrangers(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, 1<<20)
	put(t, s, lane, batch(first, 1))
	folder := filepath.Dir(s.path(&s.Left(lane)[0]))
	for _, name := range []string{"notes", "../notes", "../FEEDFACECAFEF00D", "x.batch.tmp"} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	link, folderToo := filepath.Join(folder, "a.batch"), filepath.Join(folder, "b.batch")
	if err := errors.Join(os.Symlink("/etc/passwd", link), os.Mkdir(folderToo, 0o700)); err != nil {
		t.Fatal(err)
	}
	s, err := restart(t, s, dir)
	for _, path := range []string{link, folderToo} {
		if err == nil || !strings.Contains(err.Error(), path+": not a file") {
			t.Errorf("%v", err)
		}
	}
	if ids(s.Left(lane)) != "1-1" || s.Usage().Damaged["not a file"] != 2 {
		t.Errorf("%s, %+v", ids(s.Left(lane)), s.Usage())
	}
	files, err := os.ReadDir(folder)
	if err != nil || len(files) != 2 {
		t.Errorf("%v, %v", files, err)
	}
}

// FuzzDecode reads a file that may hold anything; what it accepts is what would
// be written.
func FuzzDecode(f *testing.F) {
	for _, tt := range damages {
		f.Add(tt.damage(fileOf(lane, 2)), false)
	}
	f.Add(fileOf(lane, 2), true)
	f.Fuzz(func(t *testing.T, file []byte, repair bool) {
		if repair && len(file) > fixedBytes { // checksums, which no mutation gets right
			copy(file, append([]byte(magic), version))
			e := binary.LittleEndian
			size := min(max(int(e.Uint32(file[atHeadSize:])), fixedBytes), maxHeadBytes, len(file))
			e.PutUint32(file[atHeadSize:], uint32(size))
			e.PutUint64(file[atBodySize:], uint64(len(file)-size))
			e.PutUint32(file[atHeadSum:], crc32.Checksum(file[atHeadSize:size], castagnoli))
			e.PutUint32(file[atSum:], sum(file[:size], file[size:]))
		}
		lane, b, reason := decode(file)
		if reason != "" {
			if b != nil {
				t.Errorf("a batch although %s", reason)
			}
			return
		}
		if again := append(appendHead(nil, lane, b), b.Body...); string(again) != string(file) {
			t.Errorf("%d bytes are written as %d others", len(file), len(again))
		}
	})
}
