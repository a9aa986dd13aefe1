package tail

import (
	"context"
	"fmt"
	"net"
	"sync"

	"slipstream/intake/otlp"
	"slipstream/telemetry"
)

// Receiver is an OTLP endpoint, over HTTP and gRPC, that an extension delivers to.
type Receiver struct {
	server  *otlp.Server
	address string
	mu      sync.Mutex
	dropped map[string]int
}

// Listen receives on address, host:port, until Close. take is called by several
// goroutines at once and keeps nothing of the export. Its error asks the sender to
// try again.
func Listen(address string, take func(*telemetry.Export) error) (*Receiver, error) {
	socket, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w (is another program there? choose another port)", address, err)
	}
	r := &Receiver{address: socket.Addr().String(), dropped: map[string]int{}}
	// An extension's batch may be larger than what an SDK may send to it.
	r.server = otlp.Serve(otlp.Config{Take: take, Drop: r.drop, MaxBody: otlp.MaxExport}, socket)
	return r, nil
}

func (r *Receiver) drop(reason string, n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.dropped[reason] += n
}

// Address is where it listens.
func (r *Receiver) Address() string { return r.address }

// Close ends it when what was begun is taken, or with ctx, and gives what could not
// be taken, by reason.
func (r *Receiver) Close(ctx context.Context) (dropped map[string]int, err error) {
	err = r.server.Shutdown(ctx)
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.dropped, err
}
