// Command client is the function's side of bench/handoff, in Go: for each line
// of its input it hands a megabyte over and prints the nanoseconds, the
// payload's checksum, and the ways that were taken.
package main

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"slipstream/handoff"
)

const size = 1 << 20

func main() {
	if err := run(os.Args[1], os.Args[2], os.Args[3], os.Args[4]); err != nil {
		fmt.Fprintln(os.Stderr, "bench/handoff/client:", err)
		os.Exit(1)
	}
}

func run(way, address, directory, folder string) error {
	// Every call tries its way, whatever became of the one before.
	c := handoff.New(handoff.Options{HTTP: address, Directory: directory, Socket: filepath.Join(folder, "ipc.sock"),
		Rest: 1, Acknowledge: way == "ipc_ack"})
	body := make([]byte, size)
	random := rand.New(rand.NewPCG(1, 2))
	for i := 0; i < size; i += 8 {
		binary.LittleEndian.PutUint64(body[i:], random.Uint64())
	}
	lines := bufio.NewScanner(os.Stdin)
	for n := uint64(1); lines.Scan(); n++ {
		binary.LittleEndian.PutUint64(body, n)
		took, err := once(c, way, body)
		if err != nil {
			return err
		}
		s := c.Stats()
		fmt.Println(took.Nanoseconds(), crc32.ChecksumIEEE(body), s.HTTP, s.File, s.IPC)
	}
	return c.Close()
}

// once times one hand-off, from when the payload is ready in its buffer.
func once(c *handoff.Client, way string, body []byte) (time.Duration, error) {
	if way == "ipc" || way == "ipc_ack" {
		b, err := c.Buffer(size)
		if err != nil {
			return 0, err
		}
		copy(b.Bytes(), body)
		begin := time.Now()
		err = b.Send(handoff.Traces, size)
		return time.Since(begin), err
	}
	begin := time.Now()
	var err error
	switch way {
	case "http":
		err = c.Post(handoff.Traces, body)
	case "file":
		err = c.Write(handoff.Traces, body)
	case "ipc_copy":
		err = c.Send(handoff.Traces, body)
	default:
		err = fmt.Errorf("no way is called %q", way)
	}
	return time.Since(begin), err
}
