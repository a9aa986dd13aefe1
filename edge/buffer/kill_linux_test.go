package buffer

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"slipstream/telemetry"
	"slipstream/wire"
)

// childVariable makes the test binary one of the processes that tests start.
const childVariable = "SLIPSTREAM_BUFFER_TEST_CHILD"

func TestMain(m *testing.M) {
	switch role, dir, _ := strings.Cut(os.Getenv(childVariable), " "); role {
	case "":
		os.Exit(m.Run())
	case "append":
		appendForEver(dir)
	case "full":
		os.Exit(runOnFullDisk(dir))
	}
}

// startChild starts the test binary in a role, with dir for its files.
func startChild(t *testing.T, role, dir string) (*exec.Cmd, io.ReadCloser) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childVariable+"="+role+" "+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, out
}

// record is what the child appends as its nth.
func record(n int) []byte { return wire.TelemetryEvents().AppendLog(nil, nth(n)) }

func appendRecord(c *Chunk, n int) { c.Append(wire.TelemetryEvents(), nth(n)) }

// sameBody tells whether this process seals the same records to the same bytes
// as the one that was killed.
func sameBody(l *Leftover, again *Chunk) string {
	if l.Body == nil {
		return ""
	}
	var sealer Sealer
	body, err := sealer.Seal(again, wire.TelemetryEvents(), l.Encoding)
	if err != nil || !bytes.Equal(body, l.Body) {
		return fmt.Sprintf("batch %d: sealed to other bytes with %q: %v", l.Sequence, l.Encoding, err)
	}
	return ""
}

func nth(n int) *telemetry.Log {
	size := n * 7919 % 400
	switch {
	case n%97 == 0:
		size = 70_000 // more than a page
	case n%31 == 0:
		size = 9_000
	}
	return log(fmt.Sprintf("%d:%s", n, strings.Repeat("x", size)))
}

// appendForEver fills chunk after chunk. It says "c SEQUENCE FIRST LAST" when
// the records FIRST to LAST of a batch are committed, and "r SEQUENCE" when it
// is about to release one.
func appendForEver(dir string) {
	pool := NewPool(dir, 8<<20)
	var sealer Sealer
	var held []*Chunk
	n := 0
	for sequence := 1; ; sequence++ {
		c := pool.Open(name(uint64(sequence)), time.Now())
		first := n
		for range 1 + sequence%7 { // telemetry requests
			for range 1 + n*31%60 {
				appendRecord(c, n)
				n++
			}
			c.Commit()
			fmt.Printf("c %d %d %d\n", sequence, first, n-1)
		}
		if held = append(held, c); len(held) > 3 {
			fmt.Printf("r %d\n", sequence-3)
			held[0].Release()
			held = held[1:]
		}
		if sequence%3 > 0 {
			c.Close(time.Now())
			encoding := []string{Plain, Gzip, Zstd}[sequence%9/3]
			if _, err := sealer.Seal(c, wire.TelemetryEvents(), encoding); err != nil {
				panic(err)
			}
		}
		if pool.Usage().Heap > 0 {
			panic(pool.Usage().Err)
		}
	}
}

// What is committed when the process is killed is there afterwards, once, in
// order and whole; at most the tail that was not committed is missing.
func TestCommittedRecordsSurviveKill(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("SLIPSTREAM_TEST_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("SLIPSTREAM_TEST_SEED=%d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	batches, sealed, tails := 0, 0, 0
	for kill := range 200 {
		dir := filepath.Join(t.TempDir(), "slipstream")
		said := killAtRandom(t, dir, random)
		left, r := recovered(t, dir)
		if len(r.Skipped) > 0 || r.Files != 1 {
			t.Fatalf("kill %d: %+v", kill, r)
		}
		batches += len(left)
		for _, l := range left {
			if l.Body != nil {
				sealed++
			}
		}
		tail, problem := said.compare(t, left)
		if problem != "" {
			t.Fatalf("kill %d: %s", kill, problem)
		}
		tails += tail
	}
	t.Logf("%d batches, %d of them sealed; %d records beyond the last word", batches, sealed, tails)
	if batches < 200 || sealed < 20 {
		t.Error("too little was left to judge by")
	}
}

// account is what a child has said.
type account struct {
	committed map[uint64][2]int // by batch: first and last record
	released  map[uint64]bool
	last      int
}

// killAtRandom runs a child, kills it after some lines and some time, and gives
// what it has said until then.
func killAtRandom(t *testing.T, dir string, random *rand.Rand) account {
	t.Helper()
	cmd, out := startChild(t, "append", dir)
	said := account{committed: map[uint64][2]int{}, released: map[uint64]bool{}, last: -1}
	lines := bufio.NewScanner(out)
	until, wait := random.IntN(60), time.Duration(random.IntN(2_000_000))
	for i := 0; lines.Scan(); i++ {
		var sequence uint64
		var first, last int
		if n, _ := fmt.Sscanf(lines.Text(), "c %d %d %d", &sequence, &first, &last); n == 3 {
			said.committed[sequence] = [2]int{first, last}
			said.last = last
		} else if n, _ := fmt.Sscanf(lines.Text(), "r %d", &sequence); n == 1 {
			said.released[sequence] = true
		}
		if i == until {
			time.Sleep(wait) // the moment, not a wait for anything
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := cmd.Wait(); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Fatalf("the child ended by itself: %v", err)
	}
	return said
}

// compare judges what is left against what was said. tail is how many records
// are there although the child was killed before it could say so.
func (a account) compare(t *testing.T, left []*Leftover) (tail int, problem string) {
	t.Helper()
	found := map[uint64]bool{}
	last := -1
	for _, l := range left {
		if l.Missing != 0 || found[l.Sequence] {
			return 0, fmt.Sprintf("batch %d: %d pages missing, or handed out twice", l.Sequence, l.Missing)
		}
		found[l.Sequence] = true
		said, known := a.committed[l.Sequence]
		n := said[0]
		if !known {
			n = max(last, a.last) + 1
		}
		first := n
		again := (&Pool{}).Open(l.Name, l.Opened)
		for _, line := range strings.SplitAfter(plain(t, []byte(text(l)), l.Encoding), "\n") {
			if line == "" {
				continue
			}
			if line != string(record(n)) {
				return 0, fmt.Sprintf("batch %d: record %d is %.60q", l.Sequence, n, line)
			}
			appendRecord(again, n)
			n++
		}
		if problem := sameBody(l, again); problem != "" {
			return 0, problem
		}
		if n-first != l.Records || known && n <= said[1] || first <= last {
			return 0, fmt.Sprintf("batch %d: records %d to %d after %d, of %d, committed until %d", l.Sequence, first, n-1,
				last, l.Records, said[1])
		}
		last = n - 1
		tail += max(0, last-max(said[1], a.last))
	}
	for sequence := range a.committed {
		if !found[sequence] && !a.released[sequence] {
			return 0, fmt.Sprintf("batch %d is lost", sequence)
		}
	}
	return tail, ""
}
