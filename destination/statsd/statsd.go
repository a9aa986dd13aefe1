// Package statsd delivers StatsD's lines in datagrams. Use it for statsd:// (UDP)
// and statsd+unix:// destinations.
//
// Nobody answers: a batch is delivered when the system has taken its packets. A
// server that is not there is noticed on its own machine only, where the system
// says so; everything else that is lost on the way is lost unseen. A batch that
// failed in its middle is sent again as a whole: what of it has arrived counts
// twice.
package statsd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"time"

	"slipstream/destination"
)

var _ destination.Destination = (*Client)(nil)

// Config says where to send.
type Config struct {
	Network string // udp or unixgram
	Address string // host and port, or a path
}

// maxPacket is the size of a packet that no network cuts: Ethernet's less IPv6's
// and UDP's heads, and some for tunnels. A line that is longer goes alone.
const maxPacket = 1432

// Parse reads statsd://host:8125 or statsd+unix:///path/of/socket. Unknown
// parameters are an error.
func Parse(rawURL string) (Config, error) {
	const usage = "(write statsd://host:8125 or statsd+unix:///path)"
	u, err := url.Parse(rawURL)
	switch {
	case err != nil:
		return Config{}, errors.New("read StatsD destination: that is no URL " + usage)
	case u.RawQuery != "":
		return Config{}, errors.New("read StatsD destination: unknown options " + usage)
	case u.Scheme == "statsd+unix" && u.Host == "" && u.Path != "":
		return Config{Network: "unixgram", Address: u.Path}, nil
	case u.Scheme != "statsd" || u.Hostname() == "" || u.Path != "" && u.Path != "/":
		return Config{}, errors.New("read StatsD destination: scheme, host or path is wrong " + usage)
	}
	port := u.Port()
	if port == "" {
		port = "8125"
	}
	return Config{Network: "udp", Address: net.JoinHostPort(u.Hostname(), port)}, nil
}

// Client sends batches to one server.
type Client struct {
	config Config
	closed context.Context // ends with Close
	cancel context.CancelFunc
}

// New makes a client. It touches no network before the first Send.
func New(c Config) *Client {
	client := &Client{config: c}
	client.closed, client.cancel = context.WithCancel(context.Background())
	return client
}

// Close ends the Sends under way.
func (c *Client) Close() error {
	c.cancel()
	return nil
}

// Send sends the batch's lines, as many in a packet as fit.
func (c *Client) Send(ctx context.Context, b *destination.Batch) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(c.closed, func() { cancel(destination.ErrClosed) })()
	if c.closed.Err() != nil {
		cancel(destination.ErrClosed)
	}
	if err := c.write(ctx, b.Body); err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		return destination.NoAnswer("send packets", "statsd "+c.config.Address, err)
	}
	return nil
}

func (c *Client) write(ctx context.Context, lines []byte) error {
	dialer := net.Dialer{Timeout: 5 * time.Second}
	conn, err := dialer.DialContext(ctx, c.config.Network, c.config.Address)
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	for n := 1; len(lines) > 0; n++ {
		var packet []byte
		packet, lines = next(lines)
		if _, err := conn.Write(packet); err != nil {
			return fmt.Errorf("packet %d: %w", n, err)
		}
	}
	return nil
}

// next gives a packet of whole lines, and the rest.
func next(lines []byte) (packet, rest []byte) {
	if len(lines) <= maxPacket {
		return lines, nil
	}
	end := bytes.LastIndexByte(lines[:maxPacket], '\n') + 1
	if end == 0 {
		if end = bytes.IndexByte(lines, '\n') + 1; end == 0 {
			end = len(lines)
		}
	}
	return lines[:end], lines[end:]
}
