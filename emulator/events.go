package emulator

import (
	"crypto/rand"
	"fmt"
	"strings"
	"time"

	"slipstream/emulator/extensionsapi"
)

// The records of the platform's events, as the Telemetry API has them.

type initStartRecord struct {
	InitializationType string `json:"initializationType"`
	Phase              string `json:"phase"`
	FunctionName       string `json:"functionName"`
	FunctionVersion    string `json:"functionVersion"`
	InstanceID         string `json:"instanceId"`
	InstanceMaxMemory  int64  `json:"instanceMaxMemory"` // bytes
}

type initRuntimeDoneRecord struct {
	InitializationType string `json:"initializationType"`
	Phase              string `json:"phase"`
	Status             string `json:"status"`
	ErrorType          string `json:"errorType,omitempty"`
}

type initReportRecord struct {
	InitializationType string      `json:"initializationType"`
	Phase              string      `json:"phase"`
	Status             string      `json:"status"`
	ErrorType          string      `json:"errorType,omitempty"`
	Metrics            initMetrics `json:"metrics"`
}

type initMetrics struct {
	DurationMs float64 `json:"durationMs"`
}

type extensionRecord struct {
	Name      string              `json:"name"`
	State     extensionsapi.State `json:"state"`
	Events    []string            `json:"events"`
	ErrorType string              `json:"errorType,omitempty"`
}

type startRecord struct {
	RequestID string   `json:"requestId"`
	Version   string   `json:"version"`
	TenantID  string   `json:"tenantId,omitempty"`
	Tracing   *tracing `json:"tracing,omitempty"`
}

type runtimeDoneRecord struct {
	RequestID string         `json:"requestId"`
	Status    string         `json:"status"`
	ErrorType string         `json:"errorType,omitempty"`
	TenantID  string         `json:"tenantId,omitempty"`
	Tracing   *tracing       `json:"tracing,omitempty"`
	Spans     []span         `json:"spans,omitempty"`
	Metrics   runtimeMetrics `json:"metrics"`
}

type runtimeMetrics struct {
	DurationMs    float64 `json:"durationMs"`
	ProducedBytes int64   `json:"producedBytes"`
}

type reportRecord struct {
	RequestID string   `json:"requestId"`
	Status    string   `json:"status"`
	ErrorType string   `json:"errorType,omitempty"`
	TenantID  string   `json:"tenantId,omitempty"`
	Tracing   *tracing `json:"tracing,omitempty"`
	Metrics   any      `json:"metrics"` // reportMetrics or sharedMetrics
	Spans     []span   `json:"spans,omitempty"`
}

type reportMetrics struct {
	DurationMs        float64 `json:"durationMs"`
	BilledDurationMs  int64   `json:"billedDurationMs"`
	MemorySizeMB      int     `json:"memorySizeMB"`
	MaxMemoryUsedMB   int     `json:"maxMemoryUsedMB"`
	InitDurationMs    float64 `json:"initDurationMs,omitempty"`
	RestoreDurationMs float64 `json:"restoreDurationMs,omitempty"`
}

// sharedMetrics are all that managed instances report.
type sharedMetrics struct {
	DurationMs float64 `json:"durationMs"`
}

type restoreStartRecord struct {
	FunctionName      string `json:"functionName"`
	FunctionVersion   string `json:"functionVersion"`
	InstanceID        string `json:"instanceId"`
	InstanceMaxMemory int64  `json:"instanceMaxMemory"` // bytes
}

type restoreDoneRecord struct {
	Status    string       `json:"status"`
	ErrorType string       `json:"errorType,omitempty"`
	Metrics   *initMetrics `json:"metrics,omitempty"` // of restoreReport
}

type endRecord struct {
	RequestID string `json:"requestId"`
}

// timeFormat is how the platform writes a time, always in UTC.
const timeFormat = "2006-01-02T15:04:05.000Z"

type tracing struct {
	SpanID string `json:"spanId,omitempty"`
	Type   string `json:"type"`
	Value  string `json:"value"`
}

type span struct {
	Name       string  `json:"name"`
	Start      string  `json:"start"`
	DurationMs float64 `json:"durationMs"`
}

func newSpan(name string, start, end time.Time) span {
	return span{Name: name, Start: start.UTC().Format(timeFormat), DurationMs: milliseconds(end.Sub(start))}
}

// newTracing makes the tracing member; the trace's parent is the span.
func newTracing(header string) *tracing {
	t := &tracing{Type: "X-Amzn-Trace-Id", Value: header}
	for field := range strings.SplitSeq(header, ";") {
		if id, ok := strings.CutPrefix(strings.TrimSpace(field), "Parent="); ok {
			t.SpanID = id
		}
	}
	return t
}

// newTrace is what Lambda makes up when the caller sends no trace: not sampled.
func newTrace(now time.Time) string {
	var b [20]byte
	_, _ = rand.Read(b[:])
	return fmt.Sprintf("Root=1-%08x-%x;Parent=%x;Sampled=0", now.Unix(), b[:12], b[12:])
}

// event hands an event of the platform to the extensions and, in JSON format, to
// the log; debug is its level in the log.
func (e *environment) event(typ string, record any, debug bool) {
	now := time.Now()
	e.hub.Platform(typ, now, record)
	e.log.system(typ, now, record, debug)
}
