package handoff_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	intake "slipstream/intake/handoff"
	"slipstream/telemetry"
)

// folderVariable makes this program the receiver: the tests kill and stop it as
// a process of its own.
const folderVariable = "SLIPSTREAM_TEST_RECEIVER"

func TestMain(m *testing.M) {
	if folder := os.Getenv(folderVariable); folder != "" {
		if err := receive(folder); err != nil {
			fmt.Fprintln(os.Stderr, "receiver:", err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

// places are where a receiver listens.
type places struct {
	folder, http, directory, ipc, stream, ledger string
	slow                                         string        // a file: while it is there, the receiver takes nothing
	bound                                        time.Duration // of every way of a client; 0 for its own
}

func placesIn(folder string) places {
	at := func(name string) string { return filepath.Join(folder, name) }
	address, _ := os.ReadFile(at("address"))
	return places{folder, string(address), at("files"), at("ipc.sock"), at("stream.sock"), at("ledger"), at("slow"), 0}
}

// receive takes payloads until it is killed, and writes a line for each to the
// ledger before it says that it has it: as the edge's memory, the ledger
// outlives the process.
func receive(folder string) error {
	at := placesIn(folder)
	ledger, err := os.OpenFile(at.ledger, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	o := intake.Options{IDs: new(intake.IDs), Take: func(e *telemetry.Export) error {
		for _, err := os.Stat(at.slow); err == nil; _, err = os.Stat(at.slow) {
			time.Sleep(time.Millisecond)
		}
		name, _, _ := strings.Cut(string(e.Body), " ")
		_, err := fmt.Fprintf(ledger, "%s\n", name)
		return err
	}}
	dir, err := intake.NewDir(at.directory, o)
	if err != nil {
		return err
	}
	for network, path := range map[string]string{"unixpacket": at.ipc, "unix": at.stream} {
		l, err := intake.Listen(network, path)
		if err != nil {
			return err
		}
		intake.Serve(l, o)
	}
	l, err := net.Listen("tcp", at.http)
	if err != nil {
		return err
	}
	go func() { _ = http.Serve(l, http.HandlerFunc(taking(o))) }() // until the end
	fmt.Println("ready")
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		n, err := dir.Scan(context.Background(), time.Now())
		if err != nil {
			return err
		}
		fmt.Println("scanned", n)
	}
	return nil
}

func taking(o intake.Options) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		var id uint64
		_, _ = fmt.Sscanf(r.Header.Get("Slipstream-Id"), "%x", &id) // 0 is none
		signal := telemetry.Signal(strings.TrimPrefix(r.URL.Path, "/v1/"))
		if o.IDs.Once(id, func() error {
			return o.Take(&telemetry.Export{Signal: signal, Records: 1, Body: body})
		}) != nil {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}
}

// receiver is a receiver's process.
type receiver struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

// newPlaces makes a folder for one receiver after another, with a port for all: below
// those that the system hands out, or somebody else has it between two receivers.
func newPlaces(t *testing.T) places {
	t.Helper()
	// A Unix socket's path is short: not every test's own folder is.
	folder, err := os.MkdirTemp("", "handoff")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	l, err := net.Listen("tcp", lowPort())
	for range 100 {
		if err == nil {
			break
		}
		l, err = net.Listen("tcp", lowPort())
	}
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	if err := errors.Join(l.Close(), os.WriteFile(filepath.Join(folder, "address"), []byte(address), 0o600)); err != nil {
		t.Fatal(err)
	}
	return placesIn(folder)
}

func lowPort() string { return fmt.Sprintf("127.0.0.1:%d", 10_000+rand.IntN(20_000)) }

func startReceiver(t *testing.T, at places) *receiver {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), folderVariable+"="+at.folder)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	r := &receiver{cmd, in, bufio.NewReader(out)}
	t.Cleanup(r.kill)
	if line, err := r.out.ReadString('\n'); line != "ready\n" {
		t.Fatalf("the receiver says %q (%v)", line, err)
	}
	return r
}

// scan makes the receiver look for files.
func (r *receiver) scan(t *testing.T) {
	t.Helper()
	if _, err := io.WriteString(r.in, "scan\n"); err != nil {
		t.Fatal(err)
	}
	if line, err := r.out.ReadString('\n'); !strings.HasPrefix(line, "scanned ") {
		t.Fatalf("the receiver says %q (%v)", line, err)
	}
}

// stop stops the receiver, and waits until it has stopped: a signal takes its time.
func (r *receiver) stop(t *testing.T) {
	t.Helper()
	if err := r.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", r.cmd.Process.Pid))
		if err != nil || time.Now().After(end) {
			t.Fatalf("the receiver has not stopped: %s (%v)", text, err)
		}
		if _, state, _ := strings.Cut(string(text), ") "); strings.HasPrefix(state, "T") {
			return
		}
	}
}

func (r *receiver) kill() {
	_ = r.cmd.Process.Kill() // it may be gone
	_ = r.cmd.Wait()
}

// taken counts the ledger's lines.
func taken(t *testing.T, at places) map[string]int {
	t.Helper()
	text, err := os.ReadFile(at.ledger)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	counts := map[string]int{}
	for name := range strings.FieldsSeq(string(text)) {
		counts[name]++
	}
	return counts
}
