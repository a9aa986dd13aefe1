// Package wire turns records into the bytes of one format and back. Use an
// Encoder to fill a batch record by record without building objects; a batch's
// body is AppendHead's bytes followed by the records' bytes.
package wire

import "slipstream/telemetry"

// Encoder writes records in one format. It keeps no state between calls, so
// one Encoder serves any number of open batches.
type Encoder interface {
	// AppendLog appends one record to dst and returns the extended slice.
	AppendLog(dst []byte, l *telemetry.Log) []byte
	// AppendHead appends what stands before size bytes of appended records;
	// nothing for line formats.
	AppendHead(dst []byte, size int) []byte
	// ContentType is the media type of a whole body.
	ContentType() string
	// Extension is the file name ending of a whole body, with its dot.
	Extension() string
}
