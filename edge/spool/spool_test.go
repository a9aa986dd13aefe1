package spool

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"slipstream/destination"
)

const (
	lane   = uint64(0xfeedfacecafef00d)
	first  = "11111111-3c52-4d6a-9e77-5f1d2c3b4a59"
	second = "00000000-3c52-4d6a-9e77-5f1d2c3b4a59" // later, though its name sorts first
)

var sealed = time.Date(2026, 11, 23, 10, 0, 0, 123456789, time.UTC)

func batch(environment string, sequence uint64) *destination.Batch {
	return &destination.Batch{
		ID: environment + "-" + strconv.FormatUint(sequence, 10), Environment: environment, Sequence: sequence,
		Opened: sealed.Add(-time.Second), Sealed: sealed.Add(time.Duration(sequence) * time.Second), Records: 7,
		Body: bytes.Repeat([]byte{byte(sequence), 0, 0xff, '\n'}, 500), ContentType: "application/x-ndjson", Encoding: "gzip",
	}
}

func open(t *testing.T, dir string, maxBytes int64) *Spool {
	t.Helper()
	s, err := Open(dir, maxBytes)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil && !errors.Is(err, fs.ErrClosed) {
			t.Error(err)
		}
	})
	return s
}

func put(t *testing.T, s *Spool, lane uint64, batches ...*destination.Batch) {
	t.Helper()
	for _, b := range batches {
		if err := s.Put(lane, b); err != nil {
			t.Fatal(err)
		}
	}
}

// restart is the next process.
func restart(t *testing.T, s *Spool, dir string) (*Spool, error) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := Open(dir, s.maxBytes)
	t.Cleanup(func() {
		if err := again.Close(); err != nil && !errors.Is(err, fs.ErrClosed) {
			t.Error(err)
		}
	})
	return again, err
}

func ids(entries []Entry) string {
	var list []string
	for _, e := range entries {
		list = append(list, fmt.Sprintf("%.1s-%d", e.Environment, e.Sequence))
	}
	return strings.Join(list, " ")
}

func TestBatchesComeBackAsTheyWere(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "slipstream", "spool")
	s := open(t, dir, 1<<20)
	bare := &destination.Batch{ID: "x", Environment: second, Sequence: 1 << 63, Body: []byte{}}
	late := batch(second, 3)
	late.Sealed = sealed.Add(time.Hour)
	want := map[string]*destination.Batch{}
	for _, b := range []*destination.Batch{batch(first, 12), batch(first, 2), late} {
		put(t, s, lane, b, b)
		want[b.ID] = b
	}
	put(t, s, 1, bare)
	if u := s.Usage(); u.Batches != 4 || u.Records != 21 || u.Bytes != 4*blockBytes || u.MaxBytes != 1<<20 {
		t.Errorf("%+v", u)
	}
	for _, s := range []*Spool{s, nil} {
		if s == nil {
			var err error
			if s, err = restart(t, open(t, dir, 1<<20), dir); err != nil {
				t.Fatal(err)
			}
		}
		left := s.Left(lane)
		if got := ids(left); got != "1-2 1-12 0-3" {
			t.Errorf("left %s", got)
		}
		for _, e := range left {
			b, err := s.Load(e)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want[b.ID], b); diff != "" {
				t.Error(diff)
			}
			if e.Records != b.Records || !e.Sealed.Equal(b.Sealed) {
				t.Errorf("%+v", e)
			}
		}
		if b, err := s.Load(s.Left(1)[0]); err != nil || !cmp.Equal(b, bare) {
			t.Errorf("%+v, %v", b, err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestRemoveAndDiscard(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, 1<<20)
	put(t, s, lane, batch(first, 1), batch(first, 2))
	put(t, s, 5, batch(first, 1), batch(first, 2), batch(first, 3))
	e := s.Left(lane)[0]
	for range 2 {
		if err := s.Remove(e); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Load(e); !errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrDamaged) {
		t.Errorf("after Remove: %v", err)
	}
	s, err := restart(t, s, dir)
	if err != nil {
		t.Fatal(err)
	}
	if !cmp.Equal(s.Lanes(), []uint64{5, lane}) || ids(s.Left(lane)) != "1-2" {
		t.Errorf("lanes %x, left %s", s.Lanes(), ids(s.Left(lane)))
	}
	if batches, records, err := s.Discard(5); batches != 3 || records != 21 || err != nil {
		t.Errorf("discarded %d, %d, %v", batches, records, err)
	}
	if u := s.Usage(); u.Batches != 1 || u.Bytes != blockBytes || !cmp.Equal(s.Lanes(), []uint64{lane}) {
		t.Errorf("%+v", u)
	}
}

func TestBound(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, 3*blockBytes)
	put(t, s, lane, batch(first, 1), batch(first, 2))
	put(t, s, 5, batch(first, 1)) // all lanes together
	err := s.Put(lane, batch(first, 3))
	if !errors.Is(err, ErrFull) || !strings.Contains(err.Error(), first+"-3") || !strings.Contains(err.Error(), "12288") {
		t.Errorf("over the bound: %v", err)
	}
	put(t, s, lane, batch(first, 2)) // there already
	if err := s.Remove(s.Left(lane)[0]); err != nil {
		t.Fatal(err)
	}
	put(t, s, lane, batch(first, 3))
	big := batch(first, 4)
	big.Body = make([]byte, 3*blockBytes)
	if err := open(t, t.TempDir(), 3*blockBytes).Put(lane, big); !errors.Is(err, ErrFull) {
		t.Errorf("a batch larger than the bound: %v", err)
	}
	if s, err = restart(t, s, dir); err != nil || !errors.Is(s.Put(lane, batch(first, 9)), ErrFull) {
		t.Errorf("the next process does not know that it is full: %v", err)
	}
	if limit := open(t, filepath.Join(dir, "none", "below"), 0).Usage().MaxBytes; limit <= 0 || limit > defaultBytes {
		t.Errorf("default bound %d", limit)
	}
}

func TestPutRefusesWhatItCannotKeep(t *testing.T) {
	s := open(t, t.TempDir(), 1<<20)
	tests := []struct {
		name   string
		change func(b *destination.Batch)
		want   string
	}{
		{"a path", func(b *destination.Batch) { b.Environment = "../../etc/passwd" }, "no file name"},
		{"no environment", func(b *destination.Batch) { b.Environment = "" }, "no file name"},
		{"a long id", func(b *destination.Batch) { b.ID = strings.Repeat("x", 5000) }, "content type"},
		{"less than nothing", func(b *destination.Batch) { b.Records = -1 }, "-1 records"},
	}
	for _, tt := range tests {
		b := batch(first, 1)
		tt.change(b)
		if err := s.Put(lane, b); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	if u := s.Usage(); u.Batches != 0 || u.Bytes != 0 {
		t.Errorf("%+v", u)
	}
}

// Processes that share a folder do not share batches.
func TestTwoProcesses(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "spool")
	one := open(t, dir, 1<<20)
	put(t, one, lane, batch(first, 1))
	two := open(t, dir, 1<<20)
	put(t, two, lane, batch(second, 1))
	if ids(one.Left(lane)) != "1-1" || ids(two.Left(lane)) != "0-1" {
		t.Errorf("%s and %s", ids(one.Left(lane)), ids(two.Left(lane)))
	}
	if err := errors.Join(one.Close(), two.Close()); err != nil {
		t.Fatal(err)
	}
	if one, two = open(t, dir, 1<<20), open(t, dir, 1<<20); ids(one.Left(lane))+ids(two.Left(lane)) != "1-10-1" {
		t.Errorf("the next two: %s and %s", ids(one.Left(lane)), ids(two.Left(lane)))
	}
}

func TestConcurrentUse(t *testing.T) {
	s := open(t, t.TempDir(), 1<<20)
	var group sync.WaitGroup
	for worker := range uint64(4) {
		group.Go(func() {
			for n := range uint64(40) {
				if err := s.Put(worker, batch(first, n)); err != nil {
					t.Error(err)
				}
				for _, e := range s.Left(worker) {
					if _, err := s.Load(e); err != nil {
						t.Error(err)
					}
				}
				if n%4 > 0 {
					if err := s.Remove(s.Left(worker)[0]); err != nil {
						t.Error(err)
					}
				}
				s.Usage()
			}
		})
	}
	group.Wait()
	if u := s.Usage(); u.Batches != 40 || u.Bytes != 40*blockBytes || len(u.Damaged) != 0 {
		t.Errorf("%+v", u)
	}
}

func BenchmarkPutLoadRemove(b *testing.B) {
	s, err := Open(b.TempDir(), 0)
	if err != nil {
		b.Fatal(err)
	}
	kept := batch(first, 1)
	kept.Body = make([]byte, 50<<10)
	b.SetBytes(int64(len(kept.Body)))
	for b.Loop() {
		if err := s.Put(lane, kept); err != nil {
			b.Fatal(err)
		}
		e := s.Left(lane)[0]
		if _, err := s.Load(e); err != nil {
			b.Fatal(err)
		}
		if err := s.Remove(e); err != nil {
			b.Fatal(err)
		}
	}
}
