package tail

import (
	"bufio"
	"fmt"

	"slipstream/telemetry"
	"slipstream/wire"
)

// JSON writes what comes as JSON lines: logs as the extension's NDJSON, exports as
// OTLP/JSON. A line that is not known is left out; an error of Line told of it.
type JSON struct{ out *bufio.Writer }

// NewJSON writes to out, which the caller flushes.
func NewJSON(out *bufio.Writer) *JSON { return &JSON{out} }

// Log writes one record.
func (j *JSON) Log(l *telemetry.Log, res *telemetry.Resource) {
	_, _ = j.out.Write(wire.NDJSON(res).AppendLog(nil, l))
}

// Export writes one request.
func (j *JSON) Export(x *telemetry.Export) error {
	line, err := wire.ExportToJSON(nil, x.Signal, x.Body)
	if err != nil {
		return fmt.Errorf("write %s as JSON: %w", x.Signal, err)
	}
	_, _ = j.out.Write(append(line, '\n'))
	return nil
}

// Unknown passes over the line.
func (*JSON) Unknown([]byte) {}
