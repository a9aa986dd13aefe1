// Command handoff prints how long a function is kept by handing a megabyte over
// to the extension: by HTTP, as a file and in sealed memory, with the Go, Node
// and Python clients, with the whole processor and with a small function's
// share of it. Each payload's arrival is proved by its checksum.
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"slipstream/bench/figure"
	"slipstream/deploy/layer"
)

func main() {
	only := flag.String("only", "", "measure only what begins with this `NAME`, as go/unthrottled")
	figure.Main("handoff", func(ctx context.Context) ([]figure.Figure, error) { return measure(ctx, *only) })
}

const (
	warm     = 10 // rounds that are not counted: just-in-time compilers, first pages
	rounds   = 100
	pause    = 2 * time.Millisecond // before each round, so that both processes wait
	patience = 10 * time.Second     // for a payload to arrive
)

// ways are each client's. Node cannot pass descriptors: stream moves the bytes
// through a Unix socket, file_tmpfs writes them to memory and renames.
var ways = []struct {
	client string
	ways   []string
}{
	{"go", []string{"http", "file", "ipc", "ipc_copy", "ipc_ack"}},
	{"node", []string{"http", "file", "stream", "file_tmpfs"}},
	{"python", []string{"http", "file", "ipc", "ipc_copy"}},
}

func measure(ctx context.Context, only string) ([]figure.Figure, error) {
	receiver, err := layer.Program(ctx, "./bench/handoff/receiver", runtime.GOARCH)
	if err != nil {
		return nil, err
	}
	goClient, err := layer.Program(ctx, "./bench/handoff/client", runtime.GOARCH)
	if err != nil {
		return nil, err
	}
	source := filepath.Dir(filepath.Dir(filepath.Dir(filepath.Dir(receiver)))) // of .cache/build/linux-arch/receiver
	commands := map[string][]string{
		"go":     {goClient},
		"node":   {"node", filepath.Join(source, "bench", "handoff", "client.js")},
		"python": {"python3", filepath.Join(source, "bench", "handoff", "client.py")},
	}
	var figures []figure.Figure
	for _, memoryMB := range []int{0, 128, 256, 512} {
		for _, w := range ways {
			for _, way := range w.ways {
				t := trial{memoryMB, w.client, way, receiver, commands[w.client]}
				if !strings.HasPrefix(t.name(), only) {
					continue
				}
				more, err := t.run(ctx)
				if err != nil {
					return nil, fmt.Errorf("%s: %w", t.name(), err)
				}
				figures = append(figures, more...)
			}
		}
	}
	return figures, nil
}

// trial is one client on one way.
type trial struct {
	memoryMB    int // 0 for no limit
	client, way string
	receiver    string
	command     []string
}

// name begins the names of its figures.
func (t trial) name() string {
	share := "unthrottled"
	if t.memoryMB > 0 {
		share = fmt.Sprintf("%dMB", t.memoryMB)
	}
	return t.client + "/" + share + "/" + t.way
}

func (t trial) run(ctx context.Context) (figures []figure.Figure, err error) {
	folder, err := os.MkdirTemp("", "handoff")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
	tmpfs, err := os.MkdirTemp("/dev/shm", "handoff")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(tmpfs)) }()
	g, err := newGroup(t.memoryMB)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, g.remove()) }()
	receiver, err := start(ctx, t.receiver, folder, filepath.Join(tmpfs, "handoff"))
	if err != nil {
		return nil, err
	}
	defer receiver.end()
	var address string
	if _, err := fmt.Fscanln(receiver.out, &address); err != nil {
		return nil, fmt.Errorf("start the receiver: %w", err)
	}
	directory := filepath.Join(folder, "handoff")
	if t.way == "file_tmpfs" {
		directory = filepath.Join(tmpfs, "handoff")
	}
	client, err := start(ctx, append(t.command, t.way, address, directory, folder)...)
	if err != nil {
		return nil, err
	}
	defer client.end()
	m := meter{trial: t, receiver: receiver, client: client}
	for round := range warm + rounds {
		if round == 1 { // both have started
			if err := errors.Join(g.join(receiver.cmd.Process.Pid), g.join(client.cmd.Process.Pid)); err != nil {
				return nil, err
			}
		}
		if err := m.once(round >= warm); err != nil {
			return nil, fmt.Errorf("round %d: %w", round, err)
		}
		time.Sleep(pause)
		if g != nil { // an invocation begins with a processor that is not used up
			time.Sleep(3*period + time.Duration(round%19)*time.Millisecond)
		}
	}
	return m.figures(), nil
}

// meter counts one trial.
type meter struct {
	trial
	receiver, client *process
	sent             int
	sum              uint64
	took, used       []float64 // microseconds by the clock, and of the client's processor
	elsewhere        int       // payloads that went another way than they should
	byWay            [3]int
}

// once lets the client hand over one payload and waits until the receiver has it.
func (m *meter) once(counts bool) error {
	var nanoseconds, used int64
	var sum uint32
	var byWay [3]int
	if _, err := io.WriteString(m.client.in, "go\n"); err != nil {
		return err
	}
	if _, err := fmt.Fscanln(m.client.out, &nanoseconds, &used, &sum, &byWay[0], &byWay[1], &byWay[2]); err != nil {
		return fmt.Errorf("the client: %w", err)
	}
	m.sent++
	m.sum += uint64(sum)
	wanted := map[string]int{"http": 0, "file": 1, "file_tmpfs": 1}[m.way]
	if wanted == 0 && m.way != "http" {
		wanted = 2
	}
	if counts {
		m.took, m.used = append(m.took, float64(nanoseconds)/1e3), append(m.used, float64(used)/1e3)
		if byWay[wanted] != m.byWay[wanted]+1 {
			m.elsewhere++
		}
	}
	m.byWay = byWay
	for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		var n int
		var got uint64
		if _, err := io.WriteString(m.receiver.in, "scan\n"); err != nil {
			return err
		}
		if _, err := fmt.Fscanln(m.receiver.out, &n, &got); err != nil {
			return fmt.Errorf("the receiver: %w", err)
		}
		switch {
		case n == m.sent && got == m.sum:
			return nil
		case n > m.sent || n == m.sent:
			return fmt.Errorf("the receiver has %d payloads with the sum %d, sent were %d with %d", n, got, m.sent, m.sum)
		case time.Now().After(end):
			return fmt.Errorf("lost: the receiver has %d payloads of %d", n, m.sent)
		}
	}
}

func (m *meter) figures() []figure.Figure {
	name := m.name()
	return []figure.Figure{
		figure.Of(name+"_p50", "µs", m.took),
		figure.Quantile(name+"_p99", "µs", 0.99, m.took),
		figure.Of(name+"_cpu", "µs", m.used),
		{Name: name + "_other_way", Unit: "payloads", Value: float64(m.elsewhere), Runs: len(m.took),
			Min: float64(m.elsewhere), Max: float64(m.elsewhere)},
	}
}

// process is a program that answers lines.
type process struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

func start(ctx context.Context, command ...string) (*process, error) {
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return &process{cmd, in, bufio.NewReader(out)}, nil
}

// end closes its input, at which it ends by itself; a kill hurries it.
func (p *process) end() {
	_ = p.in.Close()
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait() // it was killed
}
