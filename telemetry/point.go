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
	// Histogram is a Distribution that was counted already; then Value, Count and
	// Centroids are not used.
	Histogram *Histogram
	Member    []byte // of a Set
	Unit      string // in UCUM, "ms" for StatsD's timers
	Source    []byte // host or source, where the protocol has it
	Tags      []Tag
	// Description and Origin are what OTLP says beside: what the metric means, and
	// whose it is. Points of different origins are different series.
	Description []byte
	Origin      Origin
}

// Origin is the resource and the scope that a point of OTLP came under, as the
// fields of the two messages around it but for the data; empty for our own.
type Origin struct{ Resource, Scope []byte }

// Histogram is OpenTelemetry's exponential histogram: bucket i counts the values
// above base^i and up to base^(i+1), where base is 2^(2^-Scale).
type Histogram struct {
	Scale              int32
	Count, Zeros       uint64 // Zeros are the values that are 0
	Sum, Min, Max      float64
	Positive, Negative Buckets // of the values below zero by their size
	// NoBuckets says that only Count, Sum, Min and Max are known.
	NoBuckets bool
}

// Buckets are counts of neighbouring buckets: Counts[0] is bucket Low.
type Buckets struct {
	Low    int32
	Counts []uint64
}

// Centroid is a value and how often it occurred.
type Centroid struct{ Value, Count float64 }

// Tag is a name and a value of a Point; a tag without value has an empty one.
type Tag struct {
	Key, Value []byte
	// Typed says that Value is no text but an AnyValue of OTLP, in protobuf.
	Typed bool
}
