package edge

import (
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strings"
)

// The local listeners.
const (
	listenOTLP     = "otlp"
	listenGRPC     = "otlp-grpc"
	listenStatsD   = "statsd"
	listenLines    = "wavefront"
	listenMinutes  = "wavefront-minute"
	listenHandoff  = "handoff"
	handoffFolder  = "/tmp/slipstream"
	standardListen = listenOTLP + "," + listenHandoff
)

// localListener is one that SLIPSTREAM_LISTEN can name.
type localListener struct {
	name string
	port string // on loopback; empty for a folder
	doc  string
}

var localListeners = []localListener{
	{listenOTLP, "4318", "OTLP over HTTP: protobuf and JSON; the hand-off over HTTP, and SLIPSTREAM_FORWARD, use it too"},
	{listenGRPC, "4317", "OTLP over gRPC"},
	{listenStatsD, "8125", "StatsD and DogStatsD over UDP, or at an absolute path over a Unix datagram socket"},
	{listenLines, "2878", "Wavefront's lines over TCP and HTTP, as its proxy takes them"},
	{listenMinutes, "40001", "Wavefront's scalars for minute histograms; `wavefront` brings it along"},
	{listenHandoff, "", "the folder `handoff` and the socket `ipc.sock` below `/tmp/slipstream`, or below another folder"},
}

// listenAt is a listener and where it was moved to, empty for its usual place.
type listenAt struct{ name, address string }

// setListen reads SLIPSTREAM_LISTEN.
func setListen(c *Config, text string) error {
	var list []listenAt
	words := fields(text)
	for _, word := range words {
		name, address, moved := strings.Cut(word, "=")
		switch {
		case name == "none" && len(words) == 1 && !moved:
			c.Listen = nil
			return nil
		case name == "all" && !moved:
			for _, l := range localListeners {
				list = addListener(list, listenAt{name: l.name})
			}
			continue
		}
		i := slices.IndexFunc(localListeners, func(l localListener) bool { return l.name == name })
		if i < 0 {
			return fmt.Errorf("unknown listener %q (use otlp, otlp-grpc, statsd, wavefront, wavefront-minute, handoff, "+
				"all, or none alone)", name)
		}
		if moved {
			if err := localListeners[i].allows(address); err != nil {
				return fmt.Errorf("%s: %w", word, err)
			}
		}
		list = addListener(list, listenAt{name, address})
		if name == listenLines {
			list = addListener(list, listenAt{name: listenMinutes})
		}
	}
	c.Listen = list
	return nil
}

// addListener adds a listener once; an address of its own wins.
func addListener(list []listenAt, at listenAt) []listenAt {
	i := slices.IndexFunc(list, func(other listenAt) bool { return other.name == at.name })
	if i < 0 {
		return append(list, at)
	}
	if at.address != "" {
		list[i].address = at.address
	}
	return list
}

// allows tells whether the listener can be moved to an address: what everybody
// on a network could reach is refused.
func (l localListener) allows(address string) error {
	if filepath.IsAbs(address) {
		if l.name == listenStatsD || l.name == listenHandoff {
			return nil
		}
		return errors.New("a path; write host:port")
	}
	if l.name == listenHandoff {
		return errors.New("not the absolute path of a folder")
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil || port == "" {
		return errors.New("not host:port, such as 127.0.0.1:" + l.port)
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return errors.New("not a loopback address: only the function may reach it")
	}
	return nil
}

// listener gives where a listener is, or false when it is off.
func (c *Config) listener(name string) (address string, on bool) {
	i := slices.IndexFunc(c.Listen, func(at listenAt) bool { return at.name == name })
	if i < 0 {
		return "", false
	}
	if c.Listen[i].address != "" {
		return c.Listen[i].address, true
	}
	return c.usual(name), true
}

// usual is where a listener is unless it is moved.
func (c *Config) usual(name string) string {
	i := slices.IndexFunc(localListeners, func(l localListener) bool { return l.name == name })
	if localListeners[i].port == "" {
		return handoffFolder
	}
	return net.JoinHostPort(c.loopback(), localListeners[i].port)
}

// loopback is the environment's own loopback address: 127.0.0.1 on Lambda. In
// the emulator, whose environments share one network, it is that of its APIs.
func (c *Config) loopback() string {
	host, _, err := net.SplitHostPort(c.RuntimeAPI)
	if ip := net.ParseIP(host); err == nil && ip != nil && ip.IsLoopback() {
		return host
	}
	return "127.0.0.1"
}

// collects tells whether anything but the platform's telemetry is taken.
func (c *Config) collects() bool { return len(c.Listen) > 0 }
