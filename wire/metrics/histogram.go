package metrics

// Histogram is OpenTelemetry's exponential histogram: bucket i counts the values
// above base^i and up to base^(i+1), where base is 2^(2^-Scale).
type Histogram struct {
	Scale         int32
	Count, Zeros  uint64 // Zeros are the values that are 0
	Sum, Min, Max float64
	// Positive are the counts of neighbouring buckets, from bucket PositiveLow on;
	// Negative are those of the values below zero, by their size.
	PositiveLow, NegativeLow int32
	Positive, Negative       []uint64
	// NoBuckets says that only Count, Sum, Min and Max are known.
	NoBuckets bool
}
