package edge

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"

	toforward "slipstream/destination/forward"
	"slipstream/edge/buffer"
	"slipstream/intake/forward"
	"slipstream/intake/handoff"
	"slipstream/intake/otlp"
	"slipstream/intake/statsd"
	"slipstream/intake/wavefront"
	"slipstream/telemetry"
	"slipstream/wire"
)

// openListeners opens what SLIPSTREAM_LISTEN names. One that cannot be opened is
// a warning: the function runs, the others work.
func (e *edge) openListeners(forwarded http.Handler) {
	for _, open := range []struct {
		name string
		open func(name, address string) error
	}{
		{listenOTLP, func(name, address string) error { return e.openOTLP(name, address, forwarded) }},
		{listenGRPC, func(name, address string) error { return e.openOTLP(name, address, nil) }},
		{listenStatsD, e.openStatsD},
		{listenLines, e.openWavefront},
		{listenMinutes, e.openWavefront},
		{listenHandoff, e.openHandoff},
	} {
		address, on := e.config.listener(open.name)
		if open.name == listenOTLP && !on && forwarded != nil {
			address, on = e.config.usual(listenOTLP), true
		}
		if !on {
			continue
		}
		if err := open.open(open.name, address); err != nil {
			slog.Warn("a local listener stays closed: what the function sends there is not taken",
				"listener", open.name, "address", address, "error", err,
				"hint", "another extension may have the address; move this one with SLIPSTREAM_LISTEN="+open.name+"=ADDRESS")
		}
	}
}

// atEnd has a listener closed at SHUTDOWN.
func (e *edge) atEnd(closer func(context.Context) error) {
	e.collector.closers = append(e.collector.closers, closer)
}

// listen opens a TCP listener.
func (e *edge) listen(address string) (net.Listener, error) {
	if e.config.Outside.Listen != nil {
		return e.config.Outside.Listen("tcp", address)
	}
	return net.Listen("tcp", address)
}

// openOTLP serves HTTP and gRPC, whichever a client speaks.
func (e *edge) openOTLP(name, address string, other http.Handler) error {
	socket, err := e.listen(address)
	if err != nil {
		return err
	}
	c := otlp.Config{Take: e.takeExport, Drop: e.dropExport(name), Other: other, Once: e.collector.ids.Once}
	if _, on := e.config.listener(name); !on { // it is open for the forwarded requests alone
		c.Take = func(*telemetry.Export) error { return errNotOn }
	}
	e.atEnd(otlp.Serve(c, socket).Shutdown)
	return nil
}

var errNotOn = errors.New("SLIPSTREAM_LISTEN does not name otlp")

// openStatsD serves UDP, or a Unix datagram socket where the address is a path.
func (e *edge) openStatsD(name, address string) error {
	network := "udp"
	if filepath.IsAbs(address) {
		network = "unixgram"
		if err := makeWay(address); err != nil {
			return err
		}
	}
	socket, err := net.ListenPacket(network, address)
	if err != nil {
		return err
	}
	if network == "unixgram" {
		if err := os.Chmod(address, 0o600); err != nil {
			return errors.Join(err, socket.Close())
		}
	}
	c := statsd.Config{Completion: plain(), Take: e.takeExport, Drop: e.dropExport(name)}
	if t := e.newTaker(); t != nil {
		c.Points = t
	}
	server := statsd.Serve(socket, c)
	e.atEnd(func(context.Context) error { return server.Close() })
	return nil
}

// makeWay prepares the folder of a socket and takes away the one that an earlier
// process has left.
func makeWay(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode().Type() != fs.ModeSocket:
		return fmt.Errorf("%s is there and is no socket", path)
	}
	return os.Remove(path)
}

// openWavefront serves lines, and what the SDKs post.
func (e *edge) openWavefront(name, address string) error {
	socket, err := e.listen(address)
	if err != nil {
		return err
	}
	o := wavefront.Options{
		Completion: plain(), Take: e.takeExport, Drop: e.dropExport(name), Minute: name == listenMinutes,
	}
	if t := e.newTaker(); t != nil {
		o.Points = t
	}
	e.atEnd(wavefront.Serve(socket, o).Shutdown)
	return nil
}

// openHandoff opens the folder and the socket below a folder.
func (e *edge) openHandoff(name, folder string) error {
	o := handoff.Options{Take: e.takeExport, Drop: e.dropExport(name), IDs: &e.collector.ids, Prepare: checked}
	dir, err := handoff.NewDir(filepath.Join(folder, "handoff"), o)
	if err != nil {
		return err
	}
	e.collector.scan = dir.Scan
	var errs []error
	for network, file := range map[string]string{"unixpacket": "ipc.sock", "unix": "stream.sock"} {
		socket, err := handoff.Listen(network, filepath.Join(folder, file))
		if err != nil {
			errs = append(errs, err)
			continue
		}
		e.atEnd(handoff.Serve(socket, o).Shutdown)
	}
	return errors.Join(errs...)
}

// checked is what becomes of a payload that nobody has looked at.
func checked(dst []byte, signal telemetry.Signal, body []byte) ([]byte, int, error) {
	records, err := wire.CheckExport(signal, body)
	if err != nil {
		return dst, 0, err
	}
	return append(dst, body...), records, nil
}

// plain completes nothing: takeExport does, for the environment that it is then.
func plain() *wire.Completion { return wire.NewCompletion(&telemetry.Resource{}) }

// openForward makes a lane of each route of SLIPSTREAM_FORWARD, each request a
// batch of its own, and gives the handler for the port of OTLP, nil where there
// is no route.
func (e *edge) openForward(res *telemetry.Resource, sealer *buffer.Sealer) (http.Handler, error) {
	routes, err := forward.Parse(e.config.Forward, e.config.Function.Region)
	if err != nil || len(routes) == 0 {
		return nil, err
	}
	own, _ := e.config.listener(listenOTLP)
	own = cmp.Or(own, e.config.usual(listenOTLP))
	for _, route := range routes {
		if sameAddress(route.Target.Host, own) {
			return nil, fmt.Errorf("read SLIPSTREAM_FORWARD, %s: it leads to our own listener on %s, round and round",
				route.Prefix, own)
		}
	}
	lanes := make([]*lane, len(routes))
	for i, route := range routes {
		targets := make([]*url.URL, len(routes))
		targets[i] = route.Target
		c := e.config.laneConfig(res)
		c.name, c.hash = "forward "+route.Prefix, buffer.LaneHash("forward "+route.Prefix+" "+route.Target.String())
		c.signal = telemetry.Signal("forward " + strconv.Itoa(i)) // nothing else gets there
		c.encoder, c.encoding, c.limits.Bytes = unread{}, buffer.Plain, 1
		c.reencode = func(*telemetry.Resource) wire.Encoder { return nil }
		l := newLane(c, toforward.New(toforward.Config{Targets: targets}), e.pool, sealer)
		e.addLane(l)
		lanes[i] = l
		l.sequence = lanes[0].sequence // two routes may lead to one host
	}
	return forward.New(forward.Options{Routes: routes, Drop: e.dropExport("forward"),
		Take: func(route int, frame []byte) error { return e.takeForwarded(lanes[route], frame) }}), nil
}

// sameAddress tells whether two loopback addresses have one port: on one machine
// they are as good as the same.
func sameAddress(a, b string) bool {
	loopback := func(address string) (port string, ok bool) {
		host, port, err := net.SplitHostPort(address)
		ip := net.ParseIP(host)
		return port, err == nil && (host == "localhost" || ip != nil && ip.IsLoopback())
	}
	one, ok := loopback(a)
	other, too := loopback(b)
	return ok && too && one == other
}

// takeForwarded puts one request into its lane. When it returns nil, it survives
// the process.
func (e *edge) takeForwarded(l *lane, frame []byte) error {
	e.exports.mu.Lock()
	defer e.exports.mu.Unlock()
	if e.exports.over {
		return telemetry.ErrOver
	}
	if full, _ := l.full(); full {
		return telemetry.ErrNoRoom
	}
	l.appendExport(unread{}, &telemetry.Export{Records: 1, Body: frame}, e.clock.now())
	l.commit()
	return nil
}

// unread is the encoder of a lane whose records nobody looks into: an export's
// body is appended as it is. Logs have no place there.
type unread struct{}

func (unread) AppendExport(dst []byte, x *telemetry.Export) []byte { return append(dst, x.Body...) }
func (unread) AppendLog(dst []byte, _ *telemetry.Log) []byte       { return dst }
func (unread) AppendHead(dst []byte, _ int) []byte                 { return dst }
func (unread) ContentType() string                                 { return "application/octet-stream" }
func (unread) Extension() string                                   { return ".bin" }
