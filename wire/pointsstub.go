package wire

import "slipstream/telemetry"

// Completion is what is added to a resource.
type Completion struct{ resource []byte }

// NewCompletion completes resources with res.
func NewCompletion(res *telemetry.Resource) *Completion {
	return &Completion{resource: appendResource(nil, res)}
}

// CompleteExport completes a body of one resource that has none yet.
func CompleteExport(dst []byte, _ telemetry.Signal, _ []byte, c *Completion) []byte {
	dst, m := openField(dst, fieldResourceMetrics, len(c.resource))
	return closeField(append(dst, c.resource...), m)
}
