// Package tail shows what the extension delivers, as it comes: lines for logs and
// spans, a table for metrics. Use a Folder or Listen to get it, and a Lines, JSON or
// Table to show it. Everything is bounded; views serve one goroutine at a time.
package tail

import (
	"bytes"
	"errors"
	"fmt"

	"slipstream/telemetry"
	"slipstream/wire"
	"slipstream/wire/lines"
)

// View is what shows records. All that it is given is borrowed for the call.
type View interface {
	Log(l *telemetry.Log, res *telemetry.Resource)
	Export(x *telemetry.Export) error
	Unknown(line []byte)
}

// prefixes are how a line of OTLP/JSON begins, as the extension writes it.
var prefixes = []struct {
	text   string
	signal telemetry.Signal
}{
	{`{"resourceLogs":`, telemetry.Logs}, {`{"resourceSpans":`, telemetry.Traces},
	{`{"resourceMetrics":`, telemetry.Metrics},
}

// errForm is of a line that no encoder of ours writes.
var errForm = errors.New("neither a record in NDJSON or the platform's form, nor OTLP/JSON")

// Line reads a line of a delivered file and gives it to view: NDJSON, the
// platform's own events or OTLP/JSON. Any other is Unknown, and an error that
// says why.
func Line(view View, line []byte) error {
	line = bytes.TrimSpace(line)
	if len(line) == 0 {
		return nil
	}
	for _, p := range prefixes {
		if !bytes.HasPrefix(line, []byte(p.text)) {
			continue
		}
		body, err := wire.ExportFromJSON(nil, p.signal, line)
		if err == nil {
			err = view.Export(&telemetry.Export{Signal: p.signal, Body: body})
		}
		if err != nil {
			view.Unknown(line)
		}
		return err
	}
	var l telemetry.Log
	var res telemetry.Resource
	if err := lines.Decode(line, &l, &res); err != nil {
		view.Unknown(line)
		return fmt.Errorf("%w: %w", errForm, err)
	}
	view.Log(&l, &res)
	return nil
}
