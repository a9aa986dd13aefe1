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
