package servers

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"testing"
	"time"
)

// readyWithin is generous: test machines are small and busy.
const readyWithin = 60 * time.Second

// process is a server's, which can be stopped and started again.
type process struct {
	path   string
	args   []string
	ready  string // URL that answers anything once the server is up; empty for none: the caller waits
	cmd    *exec.Cmd
	ended  chan struct{} // closed when cmd is gone
	output output
}

// start runs the server, waits until it answers, and has the test's end stop it.
func (p *process) start(t testing.TB) {
	t.Helper()
	if p.cmd != nil {
		t.Fatalf("servers: %s is running already", p.path)
	}
	p.cmd = exec.Command(p.path, p.args...)
	// Nothing else of the environment: it could configure the server.
	p.cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.TempDir()}
	p.cmd.Stdout, p.cmd.Stderr = &p.output, &p.output
	dieWithParent(p.cmd)
	if err := p.launch(); err != nil {
		t.Fatalf("servers: %v", err)
	}
	t.Cleanup(p.stop)
	if p.ready == "" {
		return
	}
	client := http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	for deadline := time.Now().Add(readyWithin); ; time.Sleep(10 * time.Millisecond) {
		resp, err := client.Get(p.ready)
		if err == nil {
			resp.Body.Close()
			return
		}
		if time.Now().After(deadline) {
			p.stop()
			t.Fatalf("servers: %s does not answer: %v\n%s", p.path, err, p.output.String())
		}
	}
}

// launch starts the server from a thread that lives as long as the server. The
// kernel's "die with the parent" means the parent's thread, and a thread that
// the emulator has used for a namespace ends before the test does.
func (p *process) launch() error {
	cmd, started, ended := p.cmd, make(chan error), make(chan struct{})
	p.ended = ended
	go func() {
		defer close(ended)
		runtime.LockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // killed: that is how every server ends
		}
	}()
	return <-started
}

// stop kills the server, as an outage would.
func (p *process) stop() {
	if p.cmd == nil {
		return
	}
	_ = p.cmd.Process.Kill()
	<-p.ended
	p.cmd = nil
}

// freeAddress is a loopback address that nothing listens on now.
func freeAddress(t testing.TB) string {
	t.Helper()
	listener, err := listen()
	if err != nil {
		t.Fatalf("servers: %v", err)
	}
	_ = listener.Close()
	return listener.Addr().String()
}

// listen takes a port below those that the system hands out by itself: else
// somebody may have it before a server does, or while it is stopped.
func listen() (listener net.Listener, err error) {
	const lowest, ports = 10_000, 20_000
	for range 100 {
		listener, err = net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", lowest+rand.IntN(ports)))
		if err == nil {
			return listener, nil
		}
	}
	return nil, fmt.Errorf("find a free port: %w", err)
}

// output keeps the first 64 KiB of what a server prints, for a failure's report.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.buf.Write(b[:min(len(b), max(0, 64<<10-o.buf.Len()))])
	return len(b), nil
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}
