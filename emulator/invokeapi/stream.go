package invokeapi

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"hash/crc32"
	"io"
	"net/http"
	"sync"
)

// maxChunk bounds one PayloadChunk event, in bytes.
const maxChunk = 1 << 20

// stream answers with an event stream: PayloadChunk events as the function
// writes, then InvokeComplete.
func (h *Handler) stream(w http.ResponseWriter, r *http.Request) {
	req, err := read(w, r, "RequestResponse")
	if err != nil {
		fail(w, err)
		return
	}
	out := &eventStream{w: w, flusher: http.NewResponseController(w)}
	req.Stream = func(contentType string) io.Writer {
		out.begin(contentType, req.Qualifier)
		return out
	}
	resp, err := h.invoker.Invoke(r.Context(), req)
	out.finish(req, resp, err)
}

// eventStream writes Amazon's binary event stream encoding.
type eventStream struct {
	w       http.ResponseWriter
	flusher *http.ResponseController

	mu    sync.Mutex // a function that timed out may still write while the answer ends
	begun bool
	ended bool
}

var errEnded = errors.New("the invocation has ended")

func (s *eventStream) begin(contentType, version string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ended {
		s.head(contentType, version)
	}
}

func (s *eventStream) head(contentType, version string) {
	if version == "" {
		version = "$LATEST"
	}
	head := s.w.Header()
	head.Set("Content-Type", "application/vnd.amazon.eventstream")
	head.Set("X-Amz-Executed-Version", version)
	head.Set("X-Amzn-Remapped-Content-Type", contentType)
	s.w.WriteHeader(http.StatusOK)
	s.begun = true
}

// Write sends the bytes as PayloadChunk events.
func (s *eventStream) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return 0, errEnded
	}
	return len(b), s.chunks(b)
}

func (s *eventStream) chunks(b []byte) error {
	for len(b) > 0 {
		n := min(len(b), maxChunk)
		if err := s.send("PayloadChunk", "application/octet-stream", b[:n]); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// finish ends the answer: with a plain error if nothing was sent, with the whole
// payload if the function did not stream.
func (s *eventStream) finish(req Request, resp Response, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	if err != nil {
		if !s.begun {
			fail(s.w, err)
		}
		return
	}
	if !s.begun {
		s.head("application/octet-stream", resp.ExecutedVersion)
		_ = s.chunks(resp.Payload)
	}
	end := struct {
		ErrorCode    string `json:",omitempty"`
		ErrorDetails string `json:",omitempty"`
		LogResult    string `json:",omitempty"`
	}{ErrorCode: resp.StreamError, ErrorDetails: string(resp.StreamDetails)}
	if resp.FunctionError != "" {
		end.ErrorCode, end.ErrorDetails = resp.FunctionError, string(resp.Payload)
	}
	if req.Tail {
		end.LogResult = base64.StdEncoding.EncodeToString(resp.LogTail)
	}
	body, _ := json.Marshal(end)
	_ = s.send("InvokeComplete", "application/json", body)
}

func (s *eventStream) send(event, contentType string, payload []byte) error {
	if _, err := s.w.Write(encodeEvent(event, contentType, payload)); err != nil {
		return err
	}
	return s.flusher.Flush()
}

// encodeEvent lays out one message: prelude (total and header length) with its
// CRC, headers, payload, CRC of all.
func encodeEvent(event, contentType string, payload []byte) []byte {
	var headers bytes.Buffer
	for _, h := range [][2]string{{":message-type", "event"}, {":event-type", event}, {":content-type", contentType}} {
		const stringValue = 7
		headers.WriteByte(byte(len(h[0])))
		headers.WriteString(h[0])
		headers.WriteByte(stringValue)
		headers.Write(binary.BigEndian.AppendUint16(nil, uint16(len(h[1]))))
		headers.WriteString(h[1])
	}
	const overhead = 16 // prelude 8, its CRC 4, the message's CRC 4
	message := binary.BigEndian.AppendUint32(nil, uint32(overhead+headers.Len()+len(payload)))
	message = binary.BigEndian.AppendUint32(message, uint32(headers.Len()))
	message = binary.BigEndian.AppendUint32(message, crc32.ChecksumIEEE(message))
	message = append(message, headers.Bytes()...)
	message = append(message, payload...)
	return binary.BigEndian.AppendUint32(message, crc32.ChecksumIEEE(message))
}
