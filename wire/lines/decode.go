// Package lines reads the line formats of package wire back. Use it where a line of
// NDJSON or TelemetryEvents becomes a record again; the extension only writes them.
package lines

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/go-faster/jx"

	"slipstream/telemetry"
)

// Decode reads one line of NDJSON or TelemetryEvents back into l and res.
// The Log's body borrows from line; that of a structured record that was taken
// apart is its message only, the rest is in Fields. Unknown columns are passed over; what the
// line does not hold stays as it was, so clear l and res between lines. An
// error names the column; a line must be one whole JSON object with a time, a
// type and a message or record.
func Decode(line []byte, l *telemetry.Log, res *telemetry.Resource) error {
	d := jx.GetDecoder()
	defer jx.PutDecoder(d)
	d.ResetBytes(line)
	l.Body = nil
	err := d.ObjBytes(func(d *jx.Decoder, column []byte) error {
		if err := decodeColumn(d, column, l, res); err != nil {
			return fmt.Errorf("column %q: %w", column, err)
		}
		return nil
	})
	if err == nil && d.Skip() != io.EOF {
		err = errors.New("data after the object")
	}
	if err == nil && (l.Time.IsZero() || l.Type == "" || l.Body == nil) {
		err = errors.New("time, type or the record is missing")
	}
	if l.Fields != nil {
		l.Message = l.Body
	}
	if err != nil {
		return fmt.Errorf("decode line of %d bytes: %w", len(line), err)
	}
	return nil
}

func decodeColumn(d *jx.Decoder, column []byte, l *telemetry.Log, res *telemetry.Resource) error {
	switch string(column) {
	case "time":
		text, err := d.Str()
		if err != nil {
			return err
		}
		l.Time, err = time.Parse(time.RFC3339Nano, text)
		l.Time = l.Time.UTC()
		return err
	case "message", "record":
		raw, err := d.Raw()
		l.Body = trim(raw)
		return err
	case "level":
		text, err := d.Str()
		l.Level = levelNamed(text)
		return err
	case "attributes":
		return decodeAttributes(d, l)
	case "adjusted_count":
		n, err := d.UInt32()
		l.AdjustedCount = n
		return err
	}
	var field *string
	switch string(column) {
	case "type":
		field = &l.Type
	case "request_id":
		field = &l.RequestID
	case "function":
		field = &res.FunctionName
	case "version":
		field = &res.FunctionVersion
	case "environment":
		field = &res.EnvironmentID
	case "account_id":
		field = &res.AccountID
	case "region":
		field = &res.Region
	default:
		return d.Skip()
	}
	text, err := d.Str()
	*field = text
	return err
}

// decodeAttributes reads the fields of a record that was taken apart.
func decodeAttributes(d *jx.Decoder, l *telemetry.Log) error {
	l.Fields = l.Fields[:0]
	return d.ObjBytes(func(d *jx.Decoder, key []byte) error {
		raw, err := d.Raw()
		l.Fields = append(l.Fields, telemetry.Field{Key: bytes.Clone(key), Value: trim(raw)})
		return err
	})
}

// levelNamed is the first level of a range, 0 for a name that is none.
func levelNamed(name string) telemetry.Level {
	for level := telemetry.LevelTrace; level <= telemetry.LevelFatal; level += 4 {
		if level.String() == name {
			return level
		}
	}
	return 0
}

// trim takes JSON's white space off both ends.
func trim(value []byte) []byte { return bytes.Trim(value, " \t\r\n") }
