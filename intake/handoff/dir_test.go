package handoff

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"slipstream/telemetry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// taker keeps what it is given.
type taker struct {
	mu      sync.Mutex
	got     []string // signal and body
	drops   map[string]int
	answer  error // of Take
	refuse  string
	waiting chan struct{} // Take waits for it, if it is there
	asked   chan struct{} // gets a token when Take is called, if it is there
}

func (k *taker) options() Options {
	return Options{
		Take: func(e *telemetry.Export) error {
			if k.waiting != nil {
				<-k.waiting
			}
			k.mu.Lock()
			defer k.mu.Unlock()
			select {
			case k.asked <- struct{}{}:
			default:
			}
			if k.answer == nil {
				k.got = append(k.got, string(e.Signal)+" "+string(e.Body))
			}
			return k.answer
		},
		Prepare: func(dst []byte, _ telemetry.Signal, body []byte) ([]byte, int, error) {
			if k.refuse != "" && string(body) == k.refuse {
				return dst, 0, errors.New("as the test wants it")
			}
			return append(dst, body...), 1, nil
		},
		Drop: func(reason string, n int) {
			k.mu.Lock()
			defer k.mu.Unlock()
			if k.drops == nil {
				k.drops = map[string]int{}
			}
			k.drops[reason] += n
		},
	}
}

func (k *taker) check(t *testing.T, want []string, drops map[string]int) {
	t.Helper()
	k.mu.Lock()
	defer k.mu.Unlock()
	if diff := cmp.Diff(want, k.got); diff != "" {
		t.Errorf("taken (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(drops, k.drops); diff != "" {
		t.Errorf("dropped (-want +got):\n%s", diff)
	}
}

func newDir(t *testing.T, k *taker) *Dir {
	t.Helper()
	d, err := NewDir(filepath.Join(t.TempDir(), "slipstream", "handoff"), k.options())
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func put(t *testing.T, d *Dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(d.path, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func left(t *testing.T, d *Dir) (names []string) {
	t.Helper()
	err := filepath.WalkDir(d.path, func(path string, e os.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			names = append(names, strings.TrimPrefix(path, d.path+"/"))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func scan(t *testing.T, d *Dir, want int) {
	t.Helper()
	if n, err := d.Scan(t.Context(), time.Now()); n != want || err != nil {
		t.Errorf("a scan took %d (%v), want %d", n, err, want)
	}
}

func TestDirTakesFilesInOrder(t *testing.T) {
	k := &taker{}
	d := newDir(t, k)
	put(t, d, "1000-0000000000000002.traces", "second")
	put(t, d, "999-00000000000000ff.logs", "first")
	put(t, d, "1000-anything else.metrics", "third")
	put(t, d, "0000000000000003.logs.tmp", "unfinished")
	scan(t, d, 3)
	scan(t, d, 0)
	k.check(t, []string{"logs first", "traces second", "metrics third"}, nil)
	if diff := cmp.Diff([]string{"0000000000000003.logs.tmp"}, left(t, d)); diff != "" {
		t.Error(diff)
	}
	if info, err := os.Stat(d.path); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the directory: %v, %v, want 0700", info.Mode(), err)
	}
}

func TestDirLeavesWhatHasNoRoom(t *testing.T) {
	for _, answer := range []error{telemetry.ErrNoRoom, telemetry.ErrOver} {
		k := &taker{answer: answer}
		d := newDir(t, k)
		put(t, d, "1-0000000000000001.logs", "a")
		put(t, d, "2-0000000000000002.logs", "b")
		scan(t, d, 0)
		k.check(t, nil, nil)
		k.answer = nil
		scan(t, d, 2)
		k.check(t, []string{"logs a", "logs b"}, nil)
	}
}

func TestDirIsBoundedWhileThereIsNoRoom(t *testing.T) {
	k := &taker{answer: telemetry.ErrNoRoom}
	d := newDir(t, k)
	d.maxFiles, d.maxTotal = 3, 100
	for i := range 5 {
		put(t, d, fmt.Sprintf("%d-%016x.logs", i, i+1), fmt.Sprint(i))
	}
	scan(t, d, 0)
	d.maxTotal = 1
	scan(t, d, 0)
	k.answer = nil
	scan(t, d, 1)
	k.check(t, []string{"logs 4"}, map[string]int{dirFull: 4})
}

func TestDirPutsAwayWhatNobodyCanTake(t *testing.T) {
	k := &taker{refuse: "bad"}
	d := newDir(t, k)
	put(t, d, "1-0000000000000001.logs", "bad")
	put(t, d, "no name", "x")
	put(t, d, "2-0000000000000002.spans", "x")
	put(t, d, "3-0000000000000003.logs", "good")
	put(t, d, "4-0000000000000004.logs", "")
	if err := os.Symlink("/etc/hostname", filepath.Join(d.path, "5-0000000000000005.logs")); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(d.path, "6-0000000000000006.logs"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(filepath.Join(d.path, "no name"), MaxBody+1); err != nil {
		t.Fatal(err)
	}
	put(t, d, "7-0000000000000007.logs", "")
	if err := os.Truncate(filepath.Join(d.path, "7-0000000000000007.logs"), MaxBody+1); err != nil {
		t.Fatal(err)
	}
	scan(t, d, 2) // the good one and the empty one
	k.check(t, []string{"logs good"}, map[string]int{malformed: 5, tooLarge: 1})
	want := []string{"bad/1-0000000000000001.logs", "bad/2-0000000000000002.spans"}
	if diff := cmp.Diff(want, left(t, d)); diff != "" {
		t.Error(diff)
	}
	for i := range 3 * maxBad {
		put(t, d, fmt.Sprintf("9-%016x.logs", i+16), "bad")
	}
	scan(t, d, 0)
	if names := left(t, d); len(names) > maxBad {
		t.Errorf("%d malformed files are kept, at most %d: %q", len(names), maxBad, names)
	}
}

func TestDirRemovesOldTemporaryFiles(t *testing.T) {
	k := &taker{}
	d := newDir(t, k)
	put(t, d, "0000000000000001.logs.tmp", "x")
	now := time.Now()
	for _, at := range []time.Time{now, now.Add(2 * time.Minute)} {
		if n, err := d.Scan(t.Context(), at); n != 0 || err != nil {
			t.Errorf("took %d, %v", n, err)
		}
		if at.Equal(now) && len(left(t, d)) != 1 {
			t.Error("a file that is being written was removed")
		}
	}
	k.check(t, nil, map[string]int{leftOver: 1})
	if names := left(t, d); names != nil {
		t.Errorf("left %q", names)
	}
}

func TestDirTakesNothingTwice(t *testing.T) {
	k := &taker{}
	d := newDir(t, k)
	for range 2 { // as if the file could not be removed, or came on another way before
		put(t, d, "1-0000000000000001.logs", "a")
		put(t, d, "1-other.logs", "b")
		if _, err := d.Scan(t.Context(), time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	k.check(t, []string{"logs a", "logs b"}, nil)
	if names := left(t, d); names != nil {
		t.Errorf("left %q", names)
	}
}

// A file whose payload is being taken on another way stays, and does not stop
// the others.
func TestDirPassesOverWhatIsBeingTaken(t *testing.T) {
	k := &taker{}
	ids := new(IDs)
	o := k.options()
	o.IDs = ids
	d, err := NewDir(t.TempDir(), o)
	if err != nil {
		t.Fatal(err)
	}
	put(t, d, "1-0000000000000001.logs", "a")
	put(t, d, "2-0000000000000002.logs", "b")
	err = ids.Once(1, func() error {
		scan(t, d, 1)
		return telemetry.ErrNoRoom // and so the file is all there is
	})
	if !errors.Is(err, telemetry.ErrNoRoom) {
		t.Error(err)
	}
	scan(t, d, 1)
	k.check(t, []string{"logs b", "logs a"}, nil)
}

func TestDirEndsWithItsContext(t *testing.T) {
	k := &taker{}
	d := newDir(t, k)
	put(t, d, "1-0000000000000001.logs", "a")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if n, err := d.Scan(ctx, time.Now()); n != 0 || err != nil {
		t.Errorf("took %d, %v", n, err)
	}
	scan(t, d, 1)
}

func TestNewDirIsOursAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "open")
	if err := os.Mkdir(path, 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := NewDir(path, Options{}); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if err := os.Chmod(path, 0o777|os.ModeSticky); err != nil {
		t.Fatal(err)
	}
	if _, err := NewDir(path, Options{}); err == nil {
		t.Error("everybody's directory was taken")
	}
	link := path + "link"
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	if _, err := NewDir(link, Options{}); err == nil {
		t.Error("a link was taken for the directory")
	}
}

func TestIDs(t *testing.T) {
	var ids IDs
	calls := 0
	take := func(err error) func() error { return func() error { calls++; return err } }
	if err := ids.Once(7, take(telemetry.ErrNoRoom)); !errors.Is(err, telemetry.ErrNoRoom) || ids.has(7) {
		t.Errorf("not taken: %v, remembered %v", err, ids.has(7))
	}
	err := ids.Once(7, func() error { return errors.Join(take(nil)(), isNoRoom(ids.Once(7, take(nil)))) })
	if err != nil || !ids.has(7) || ids.Once(7, take(errors.New("again"))) != nil || calls != 2 {
		t.Errorf("taken once: %v, remembered %v, %d calls", err, ids.has(7), calls)
	}
	for i := range uint64(2 * remembered) {
		_ = ids.Once(100+i, take(nil))
	}
	if ids.has(7) || len(ids.state) != remembered {
		t.Errorf("%d ids are remembered, want %d", len(ids.state), remembered)
	}
	for range 2 {
		if err := ids.Once(0, take(nil)); err != nil {
			t.Error(err)
		}
	}
	if calls != 2+2*remembered+2 {
		t.Error("no id: not taken each time")
	}
}

func isNoRoom(err error) error {
	if errors.Is(err, telemetry.ErrNoRoom) {
		return nil
	}
	return fmt.Errorf("while it is taken: %v, want no room", err)
}

func FuzzParseName(f *testing.F) {
	for _, name := range []string{"1-0000000000000001.logs", "-.logs", "x.logs.tmp", "9223372036854775808-a.traces"} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		e, ok := parseName(name)
		if ok && (e.time < 0 || signalCode(e.signal) == 0 || e.name != name) {
			t.Errorf("%q: %+v", name, e)
		}
	})
}

func FuzzHeader(f *testing.F) {
	f.Add(appendAnswer(nil, header{signal: telemetry.Logs, id: 1, size: 2}, 0))
	f.Add(slices.Concat([]byte(magic), []byte{3, 1, 0, 0}, make([]byte, 16)))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := parseHeader(b)
		if err != nil {
			return
		}
		again := appendAnswer(nil, h, b[6])
		again[5] = b[5]
		again[7] = b[7]
		if h.size > MaxBody || !bytes.Equal(again, b[:headerBytes]) {
			t.Errorf("%x: %+v", b, h)
		}
	})
}
