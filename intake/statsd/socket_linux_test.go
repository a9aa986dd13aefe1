package statsd

import (
	"fmt"
	"net"
	"runtime"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"slipstream/telemetry"
	"slipstream/wire"
)

// What the kernel drops because nobody reads is counted, each datagram once.
func TestSocketFull(t *testing.T) {
	k := newTaker()
	socket, client := sockets(t)["udp"]()
	if err := socket.(*net.UDPConn).SetReadBuffer(1 << 12); err != nil {
		t.Fatal(err)
	}
	const datagrams = 1000
	for range datagrams {
		send(t, client, "x:1|c")
	}
	s := Serve(socket, k.config())
	k.wait(t, "a drop", func() bool { return k.drops[reasonSocketFull] > 0 })
	send(t, client, "x:1|c")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if k.records < 1 || k.records+k.drops[reasonSocketFull] != datagrams+1 {
		t.Errorf("%d records, drops %v", k.records, k.drops)
	}
}

// cpu is the time that this thread has computed: waiting does not count.
func cpu() time.Duration {
	const threadCPU = 3 // CLOCK_THREAD_CPUTIME_ID
	var at syscall.Timespec
	_, _, errno := syscall.RawSyscall(syscall.SYS_CLOCK_GETTIME, threadCPU, uintptr(unsafe.Pointer(&at)), 0)
	if errno != 0 {
		panic(fmt.Sprint("clock_gettime: ", errno))
	}
	return time.Duration(at.Nano())
}

// bursts are how many datagrams a client sends at once: a Unix socket may take
// only 10 (net.unix.max_dgram_qlen).
var bursts = map[string]int{"udp": 100, "unixgram": 8}

// loaded gives a function that sends datagrams, and one that reads them all.
func loaded(t testing.TB, network, address string, more ...[]byte) (sendAll func(), readAll func() int) {
	socket, err := net.ListenPacket(network, address)
	if err != nil {
		t.Fatal(err)
	}
	client, err := net.Dial(network, socket.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	raw, err := socket.(syscall.Conn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = client.Close(), socket.Close() })
	taken := 0
	s := idle(Config{
		Completion: wire.NewCompletion(&telemetry.Resource{FunctionName: "shop"}),
		Take:       func(e *telemetry.Export) error { taken += e.Records; return nil },
		Drop:       func(reason string, n int) { t.Errorf("dropped %d: %s", n, reason) },
	})
	lines := [][]byte{
		[]byte("shop.orders.placed:1|c|#env:prod,region:eu-central-1,function:checkout"),
		[]byte("shop.request.latency:12.345|ms|@0.5|#env:prod,region:eu-central-1"),
		[]byte("shop.stock.items:1999|g|#env:prod"),
		[]byte("shop.payload.size:2048|d|#env:prod,region:eu-central-1,function:checkout"),
	}
	lines = append(lines, more...)
	buf := make([]byte, maxDatagram+1)
	never := func() bool { return false }
	read := func(fd uintptr) { s.drain(int(fd), buf, never); s.offer() }
	sendAll = func() {
		for i := range bursts[network] {
			if _, err := client.Write(lines[i%len(lines)]); err != nil {
				t.Fatal(err)
			}
		}
	}
	return sendAll, func() int {
		taken = 0
		if err := raw.Control(read); err != nil {
			t.Fatal(err)
		}
		return taken
	}
}

func TestDatagramsAllocateNothing(t *testing.T) {
	for network, address := range map[string]string{"udp": "127.0.0.1:0", "unixgram": t.TempDir() + "/s"} {
		sendAll, readAll := loaded(t, network, address,
			[]byte("a:3:1:2|d|#k:v,k:w"), []byte("users:ada|s\n_e{1,1}:a|b|#k:v,k:w"), []byte("_sc|db|1|m:one\\ntwo"))
		round := func() { sendAll(); readAll() }
		if n := testing.AllocsPerRun(50, round); n != 0 {
			t.Errorf("%s: %v allocations for %d datagrams", network, n, bursts[network])
		}
	}
}

// BenchmarkDatagrams prints datagrams a second of the reading thread's own time,
// from the socket to the taken Export: sending is another's time.
func BenchmarkDatagrams(b *testing.B) {
	for _, network := range []string{"udp", "unixgram"} {
		b.Run(network, func(b *testing.B) {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			address := "127.0.0.1:0"
			if network == "unixgram" {
				address = b.TempDir() + "/s"
			}
			sendAll, readAll := loaded(b, network, address)
			b.ReportAllocs()
			n, spent := 0, time.Duration(0)
			for b.Loop() {
				sendAll()
				start := cpu()
				n += readAll()
				spent += cpu() - start
			}
			b.ReportMetric(float64(n)/spent.Seconds(), "datagrams/s")
			b.ReportMetric(float64(spent.Nanoseconds())/float64(n), "ns/datagram")
		})
	}
}

// BenchmarkLines is the part of it that is ours: no socket.
func BenchmarkLines(b *testing.B) {
	s := idle(Config{
		Completion: wire.NewCompletion(&telemetry.Resource{FunctionName: "shop"}),
		Take:       func(*telemetry.Export) error { return nil },
		Drop:       func(reason string, n int) { b.Errorf("dropped %d: %s", n, reason) },
	})
	line := []byte("shop.request.latency:12.345|ms|@0.5|#env:prod,region:eu-central-1")
	now := time.Now()
	b.ReportAllocs()
	for b.Loop() {
		s.datagram(line, now)
	}
}
