package wavefront

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"time"

	"slipstream/destination"
)

// closeWait is how long a proxy may take to close its side when it has all.
const closeWait = 2 * time.Second

// proxy writes lines to a TCP port.
type proxy struct {
	config Config
	dialer net.Dialer
	closed context.Context // ends with Close
	cancel context.CancelFunc
}

func newProxy(c Config) *proxy {
	p := &proxy{config: c, dialer: net.Dialer{Timeout: 5 * time.Second}}
	p.closed, p.cancel = context.WithCancel(context.Background())
	return p
}

// Close ends the Sends under way.
func (p *proxy) Close() error {
	p.cancel()
	return nil
}

// Send writes the batch over a connection of its own.
func (p *proxy) Send(ctx context.Context, b *destination.Batch) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(p.closed, func() { cancel(destination.ErrClosed) })()
	if p.closed.Err() != nil {
		cancel(destination.ErrClosed)
	}
	if err := p.write(ctx, b.Body); err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		return destination.NoAnswer("write lines", p.config.target(), err)
	}
	return nil
}

func (p *proxy) write(ctx context.Context, lines []byte) error {
	conn, err := p.dialer.DialContext(ctx, "tcp", p.config.URL.Host)
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	if _, err := conn.Write(lines); err != nil {
		return err
	}
	half, ok := conn.(interface{ CloseWrite() error })
	if !ok {
		return errors.New("the connection cannot be closed by half")
	}
	if err := half.CloseWrite(); err != nil {
		return err
	}
	_ = conn.SetReadDeadline(time.Now().Add(closeWait))
	_, err = io.Copy(io.Discard, io.LimitReader(conn, 64<<10)) // it says nothing
	if errors.Is(err, os.ErrDeadlineExceeded) && ctx.Err() == nil {
		return nil
	}
	return err
}
