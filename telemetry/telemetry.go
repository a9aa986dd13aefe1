// Package telemetry holds the nouns that every station speaks: what a log
// record is and whose it is. Use it wherever a record crosses a package; it
// imports the standard library only and knows no wire format.
package telemetry

import "time"

// Log is one record on its way from an intake to the destinations. Its body is
// borrowed from the request that carried it and is valid only until the call
// that passes the Log returns: who wants to keep it, encodes or copies it.
type Log struct {
	// Time is when the platform made the event, in UTC.
	Time time.Time
	// Type is the Telemetry API's event type: function, extension or platform.*.
	Type string
	// RequestID is the invocation the record belongs to, empty during Init.
	RequestID string
	// Body is one complete JSON value (a string, or an object when the function
	// logs JSON), byte for byte as the platform sent it.
	Body []byte
	// Level is what the record says of its severity, 0 where it says nothing.
	Level Level
	// Message is what a record says in words, one JSON value: a structured record's
	// message, or what stands in a line behind what its runtime put before it. Nil
	// where nothing was read out of Body, which is then all there is.
	Message []byte
	// Fields is the rest of a structured record, in its order; nil for any other.
	Fields []Field
	// AdjustedCount is how many records this one stands for where records of its
	// kind were sampled: N for one in N. 0 and 1 are the same: itself.
	AdjustedCount uint32
}

// Field is a member of a structured record: its name, not quoted, and its JSON
// value, both borrowed as Log.Body is.
type Field struct{ Key, Value []byte }

// Level is a severity by OpenTelemetry's numbers: 1 (TRACE) to 24 (FATAL4), four
// for each of TRACE, DEBUG, INFO, WARN, ERROR and FATAL. 0 is unknown.
type Level uint8

// The levels that decisions need by name.
const (
	LevelTrace Level = 1
	LevelDebug Level = 5
	LevelInfo  Level = 9
	LevelWarn  Level = 13
	LevelError Level = 17
	LevelFatal Level = 21
)

// levelNames are those of the ranges, four levels each.
var levelNames = [...]string{"TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"}

// String is the level's range: TRACE to FATAL, empty for unknown.
func (l Level) String() string {
	if l == 0 || int(l) > 4*len(levelNames) {
		return ""
	}
	return levelNames[(l-1)/4]
}

// Attribute is a name and a value of a resource beyond the well-known ones.
type Attribute struct{ Key, Value string }

// Resource says whose records they are. The names behind the fields are those
// of OpenTelemetry's cloud and FaaS semantic conventions.
type Resource struct {
	ServiceName     string // service.name; the function's name unless set
	FunctionName    string // faas.name
	FunctionVersion string // faas.version
	EnvironmentID   string // faas.instance: one execution environment, a UUID
	AccountID       string // cloud.account.id, empty when the platform hides it
	Region          string // cloud.region
	Architecture    string // host.arch: amd64 or arm64
	MemoryMB        int    // faas.max_memory, there in bytes; 0 when unknown
	Attributes      []Attribute
}
