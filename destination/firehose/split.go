package firehose

import (
	"bytes"
	"encoding/base64"
)

// The service's limits. A request's 4 MiB are counted as they go over the wire,
// which is safe whichever way the service counts.
const (
	maxRecord  = 1000 << 10 // bytes, before base64
	maxRecords = 500        // in a request
	maxRequest = 4 << 20    // bytes
)

// split cuts a body at line ends into records as large as they may be: the
// service charges for a record as if it had 5 KB at least, and its consumers run
// the records together. A line that no record can hold is left out and counted.
func split(body []byte) (records [][]byte, tooLong int) {
	start, end := 0, 0 // of the record that grows
	closeRecord := func() {
		if end > start {
			records = append(records, body[start:end])
		}
		start = end
	}
	for end < len(body) {
		line := len(body) - end
		if i := bytes.IndexByte(body[end:], '\n'); i >= 0 {
			line = i + 1
		}
		switch {
		case line > maxRecord:
			closeRecord()
			tooLong++
			end += line
			start = end
			continue
		case end-start+line > maxRecord:
			closeRecord()
		}
		end += line
	}
	closeRecord()
	return records, tooLong
}

const recordHead, recordTail = `{"Data":"`, `"},`

// request makes the body of one PutRecordBatch of the records that are still
// open, and says which they are. Nothing is left when it names none.
func request(stream string, records [][]byte, open func(int) bool) (body []byte, which []int) {
	head := `{"DeliveryStreamName":"` + stream + `","Records":[` // a stream's name needs no escapes
	size := len(head) + len("]}")
	for i, record := range records {
		if !open(i) {
			continue
		}
		more := len(recordHead) + base64.StdEncoding.EncodedLen(len(record)) + len(recordTail)
		if size+more > maxRequest || len(which) == maxRecords {
			break
		}
		size += more
		which = append(which, i)
	}
	body = append(make([]byte, 0, size), head...)
	for _, i := range which {
		body = append(body, recordHead...)
		body = base64.StdEncoding.AppendEncode(body, records[i])
		body = append(body, recordTail...)
	}
	return append(bytes.TrimSuffix(body, []byte(",")), "]}"...), which
}
