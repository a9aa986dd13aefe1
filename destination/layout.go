package destination

import (
	"crypto/sha256"
	"fmt"
	"strings"
	"time"
)

// Layout says what the object or file of a batch is called. The name derives
// from the batch alone, so every retry has the same one.
type Layout struct {
	Style     string // "native" (also "") or "sample"
	Function  string // the function's name
	Extension string // the encoder's, with its dot; not for the sample style
}

// Key is the batch's name with "/" between folders, relative to the bucket's
// prefix or the folder.
//
// Native, partitioned by the hour (UTC) of sealing as Athena, Glue and Spark
// read it: year=2026/month=10/day=01/hour=09/<function>-<batch id>.ndjson.gz
//
// Sample, as AWS's adaptive batching sample has it:
// 2026-10-01-<environment>/<function in lower case>-<unix ms>-<uuid>.log, where
// date (UTC) and time are those of the first record.
func (l Layout) Key(b *Batch) string {
	function := segment(l.Function)
	if l.Style == "sample" {
		opened := b.Opened.UTC()
		return fmt.Sprintf("%s-%s/%s-%d-%s.log%s", opened.Format(time.DateOnly), segment(b.Environment),
			strings.ToLower(function), opened.UnixMilli(), uuidOf(b.ID), suffix(b.Encoding))
	}
	return b.Sealed.UTC().Format("year=2006/month=01/day=02/hour=15/") +
		function + "-" + segment(b.ID) + l.Extension + suffix(b.Encoding)
}

// suffix is what programs expect after the name of a compressed file.
func suffix(encoding string) string {
	switch encoding {
	case "":
		return ""
	case "gzip":
		return ".gz"
	case "zstd":
		return ".zst"
	}
	return "." + segment(encoding)
}

// segment makes s a part of a file name: whatever could leave the folder or
// needs quoting becomes "_".
func segment(s string) string {
	if s == "" {
		return "unknown"
	}
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', strings.ContainsRune("-_.", r):
			return r
		}
		return '_'
	}, s)
}

// uuidOf derives a UUID (RFC 9562, version 8) from a batch's id.
func uuidOf(id string) string {
	sum := sha256.Sum256([]byte(id))
	u := sum[:16]
	u[6] = u[6]&0x0f | 0x80
	u[8] = u[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", u[:4], u[4:6], u[6:8], u[8:10], u[10:])
}
