package telemetry

import "time"

// PointKind says how the values of one series go together.
type PointKind uint8

const (
	// Gauge is a value that replaces the one before.
	Gauge PointKind = iota
	// GaugeChange is added to the value before.
	GaugeChange
	// Counter is what was counted since the last point: points add up.
	Counter
	// Distribution is a value, or several, of which the distribution matters.
	Distribution
	// Set counts different members: Point.Member is one.
	Set
)

// Point is one value of one metric, as StatsD and Wavefront write them. All its
// bytes are borrowed until the call that passes it returns.
type Point struct {
	Kind PointKind
	Name []byte
	// Time is when it was measured; zero for now.
	Time time.Time
	// Bin is the time that a Distribution covers from Time on; zero for a moment.
	Bin   time.Duration
	Value float64
	// Count is how many values a Distribution's Value stands for, or by how many
	// a sampled Counter was multiplied: Value has that already. 1 mostly.
	Count float64
	// Centroids are several values of a Distribution, in rising order; then
	// Value and Count are not used.
	Centroids []Centroid
	Member    []byte // of a Set
	Unit      string // in UCUM, "ms" for StatsD's timers
	Source    []byte // host or source, where the protocol has it
	Tags      []Tag
	// Description, Resource and Scope are what OTLP says beside: what the metric
	// means, and whose it is, as the fields of ResourceMetrics and ScopeMetrics but
	// for the data; the latter are empty for our own. Points of different resources
	// or scopes are different series.
	Description, Resource, Scope []byte
}

// Centroid is a value and how often it occurred.
type Centroid struct{ Value, Count float64 }

// Tag is a name and a value of a Point; a tag without value has an empty one.
type Tag struct {
	Key, Value []byte
	// Typed says that Value is no text but an AnyValue of OTLP, in protobuf.
	Typed bool
}
