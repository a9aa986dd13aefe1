package platform

import "slipstream/process/jsonview"

// event is what is read of a record. Texts are as they are written, borrowed;
// durations are in seconds, sizes in bytes, -1 where there is none.
type event struct {
	requestID, status, errorType, initType []byte
	metrics                                measures
	spans                                  spans
}

type measures struct {
	duration, billed, init, restore float64
	memorySize, memoryUsed          float64
	produced                        float64
}

type spans struct{ responseLatency, responseDuration, runtimeOverhead, extensionOverhead float64 }

// failed tells whether the status is there and no success.
func (e *event) failed() bool { return len(e.status) > 0 && string(e.status) != "success" }

// read takes what there is: fields that are missing, unknown or of another type are
// passed over.
func (e *event) read(body []byte) {
	*e = event{
		metrics: measures{-1, -1, -1, -1, -1, -1, -1},
		spans:   spans{-1, -1, -1, -1},
	}
	for it := jsonview.Each(body); it.Next(); {
		switch string(it.Key) {
		case "requestId":
			e.requestID, _, _ = jsonview.Inside(it.Value)
		case "status":
			e.status, _, _ = jsonview.Inside(it.Value)
		case "errorType":
			e.errorType, _, _ = jsonview.Inside(it.Value)
		case "initializationType":
			e.initType, _, _ = jsonview.Inside(it.Value)
		case "metrics":
			e.metrics.read(it.Value)
		case "spans":
			e.spans.read(it.Value)
		}
	}
}

const (
	milli    = 1e-3
	megabyte = 1 << 20
	// noMeasure is more than any duration in milliseconds, or size.
	noMeasure = 1e15
)

// measured reads a number that can be measured.
func measured(value []byte) (v float64, ok bool) {
	v, ok = jsonview.Number(value)
	return v, ok && v >= 0 && v < noMeasure
}

func (v *measures) read(object []byte) {
	for it := jsonview.Each(object); it.Next(); {
		number, ok := measured(it.Value)
		if !ok {
			continue
		}
		switch string(it.Key) {
		case "durationMs":
			v.duration = number * milli
		case "billedDurationMs":
			v.billed = number * milli
		case "initDurationMs":
			v.init = number * milli
		case "restoreDurationMs":
			v.restore = number * milli
		case "memorySizeMB":
			v.memorySize = number * megabyte
		case "maxMemoryUsedMB":
			v.memoryUsed = number * megabyte
		case "producedBytes":
			v.produced = number
		}
	}
}

func (s *spans) read(array []byte) {
	for it := jsonview.Each(array); it.Next(); {
		number, ok := measured(jsonview.Member(it.Value, "durationMs"))
		if !ok {
			continue
		}
		name, _, _ := jsonview.Inside(jsonview.Member(it.Value, "name"))
		switch string(name) {
		case "responseLatency":
			s.responseLatency = number * milli
		case "responseDuration":
			s.responseDuration = number * milli
		case "runtimeOverhead":
			s.runtimeOverhead = number * milli
		case "extensionOverhead":
			s.extensionOverhead = number * milli
		}
	}
}
