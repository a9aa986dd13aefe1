// Command receiver is the extension's side of bench/handoff: it takes payloads
// on every way, copies each as the extension's buffer does, and sums their
// checksums. A line on its input makes it look for files; it answers with the
// number of payloads and the sum.
package main

import (
	"bufio"
	"context"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"slipstream/edge/behind"
	"slipstream/intake/handoff"
	"slipstream/telemetry"
)

// ledger is what has come.
type ledger struct {
	mu     sync.Mutex
	memory []byte
	n      int
	sum    uint64
}

func (l *ledger) take(e *telemetry.Export) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.memory = append(l.memory[:0], e.Body...)
	l.n++
	l.sum += uint64(crc32.ChecksumIEEE(l.memory))
	return nil
}

func main() {
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "bench/handoff/receiver:", err)
		os.Exit(1)
	}
}

func run(folder string) error {
	if err := behind.Step(); err != nil { // as the extension does
		return err
	}
	books := &ledger{memory: make([]byte, 0, 4<<20)}
	options := handoff.Options{Take: books.take, IDs: new(handoff.IDs)}
	dir, err := handoff.NewDir(filepath.Join(folder, "handoff"), options)
	if err != nil {
		return err
	}
	tmpfs, err := handoff.NewDir(os.Args[2], options)
	if err != nil {
		return err
	}
	for network, name := range map[string]string{"unixpacket": "ipc.sock", "unix": "stream.sock"} {
		l, err := handoff.Listen(network, filepath.Join(folder, name))
		if err != nil {
			return err
		}
		handoff.Serve(l, options)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	go func() { _ = http.Serve(l, handler(options)) }() // until the end
	fmt.Println(l.Addr())
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		for _, d := range []*handoff.Dir{dir, tmpfs} {
			if _, err := d.Scan(context.Background(), time.Now()); err != nil {
				return err
			}
		}
		books.mu.Lock()
		fmt.Println(books.n, books.sum)
		books.mu.Unlock()
	}
	return nil
}

// handler is the least of an OTLP receiver: it reads the body into memory that
// it uses again and again.
func handler(o handoff.Options) http.Handler {
	pool := sync.Pool{New: func() any { return new([]byte) }}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body := pool.Get().(*[]byte)
		defer pool.Put(body)
		if r.ContentLength < 0 || r.ContentLength > handoff.MaxBody {
			w.WriteHeader(http.StatusRequestEntityTooLarge)
			return
		}
		if int64(cap(*body)) < r.ContentLength {
			*body = make([]byte, r.ContentLength)
		}
		*body = (*body)[:r.ContentLength]
		if _, err := io.ReadFull(r.Body, *body); err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		var id uint64
		_, _ = fmt.Sscanf(r.Header.Get("Slipstream-Id"), "%x", &id) // 0 is none
		signal := telemetry.Signal(strings.TrimPrefix(r.URL.Path, "/v1/"))
		err := o.IDs.Once(id, func() error { return o.Take(&telemetry.Export{Signal: signal, Records: 1, Body: *body}) })
		if err != nil {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
}
