//go:build !linux

package statsd

// serveSocket is for Linux, where the extension runs.
func (*Server) serveSocket() bool { return false }
