// Command client is the function's side of bench/handoff, in Go: for each line
// of its input it hands a megabyte over and prints the nanoseconds by
// the clock and of the processor, the payload's checksum, and the ways that were taken.
package main

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"time"
	"unsafe"

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
		took, used, err := once(c, way, body)
		if err != nil {
			return err
		}
		s := c.Stats()
		fmt.Println(took.Nanoseconds(), used.Nanoseconds(), crc32.ChecksumIEEE(body), s.HTTP, s.File, s.IPC)
	}
	return c.Close()
}

// once times one hand-off, from when the payload is ready in its buffer, by the
// clock and by what the thread used of the processor.
func once(c *handoff.Client, way string, body []byte) (took, used time.Duration, err error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	hand := map[string]func(handoff.Signal, []byte) error{
		"http": c.Post, "file": c.Write, "ipc_copy": c.Send}[way]
	if hand == nil {
		b, err := c.Buffer(size)
		if err != nil {
			return 0, 0, err
		}
		copy(b.Bytes(), body)
		hand = func(s handoff.Signal, body []byte) error { return b.Send(s, len(body)) }
	}
	begin, before := time.Now(), threadTime()
	err = hand(handoff.Traces, body)
	return time.Since(begin), threadTime() - before, err
}

// threadTime is the processor time of this thread (clock_gettime(2)).
func threadTime() time.Duration {
	const threadCPU = 3
	var t syscall.Timespec
	_, _, _ = syscall.Syscall(syscall.SYS_CLOCK_GETTIME, threadCPU, uintptr(unsafe.Pointer(&t)), 0)
	return time.Duration(t.Nano())
}
