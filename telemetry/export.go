package telemetry

// Signal is one of OpenTelemetry's kinds of data.
type Signal string

// The signals, by their names in OTLP's paths.
const (
	Logs    Signal = "logs"
	Traces  Signal = "traces"
	Metrics Signal = "metrics"
)

// Export is what the function, or something in it, handed to a local listener:
// whatever it spoke, it is OTLP from here on. Like a Log it is borrowed, until
// the call that passes it returns.
type Export struct {
	Signal Signal
	// Records is how many log records, spans or metric data points it has.
	Records int
	// Body is an Export{Logs,Trace,Metrics}ServiceRequest in protobuf: nothing
	// but Resource{Logs,Spans,Metrics} fields and unknown ones, so that two bodies
	// written one after the other are one valid body.
	Body []byte
}

// Answers of whoever takes an Export.
const (
	// ErrNoRoom asks the sender to keep it and to try again later.
	ErrNoRoom = refusal("no room: try again later")
	// ErrOver says that the environment is ending: nothing is taken any more.
	ErrOver = refusal("the environment is ending")
)

// refusal is why an Export is not taken.
type refusal string

func (r refusal) Error() string { return string(r) }
