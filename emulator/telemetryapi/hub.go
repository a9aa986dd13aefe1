// Package telemetryapi is the emulator's Telemetry API and Logs API: it takes
// subscriptions, buffers events for each subscriber and delivers them as the
// platform does. Use one Hub per execution environment.
package telemetryapi

import (
	"context"
	"io"
	"net"
	"net/http"
	"time"

	"slipstream/emulator/fault"
)

// Config says how a Hub works.
type Config struct {
	LogFormat  string
	Identify   func(w http.ResponseWriter, r *http.Request) (name string, ok bool)
	Dial       func(ctx context.Context, network, address string) (net.Conn, error)
	Fault      func(fault.Post) fault.Verdict
	Observe    func(Delivery)
	LimitBytes int
}

// Delivery is one answered POST.
type Delivery struct {
	Extension string
	API       string
	Body      []byte
	Records   int
	Tries     int
	Status    int
	At        time.Time
	Took      time.Duration
}

// Stats counts records.
type Stats struct {
	Accepted, Delivered, Dropped, Lost int64
	DeliveredBytes, Deliveries, Retries int64
}

// Hub is the two APIs of one environment.
type Hub struct{}

func New(Config) *Hub                                              { return &Hub{} }
func (*Hub) ServeTelemetry(w http.ResponseWriter, r *http.Request) {}
func (*Hub) ServeLogs(w http.ResponseWriter, r *http.Request)      {}
func (*Hub) Platform(typ string, at time.Time, record any)         {}
func (*Hub) Output(source string) io.WriteCloser                   { return nil }
func (*Hub) EndInit()                                              {}
func (*Hub) Freeze()                                               {}
func (*Hub) Thaw()                                                 {}
func (*Hub) Flush()                                                {}
func (*Hub) Reset()                                                {}
func (*Hub) Stats() Stats                                          { return Stats{} }
func (*Hub) Close()                                                {}
