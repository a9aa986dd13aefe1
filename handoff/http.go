package handoff

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

// conn is a connection that is kept between calls.
type conn struct {
	net.Conn
	reader *bufio.Reader
}

// post sends one request, by hand: it is the only one that there is, and a
// small function's processor time is dear.
func (c *Client) post(id uint64, signal Signal, body []byte, deadline time.Time) error {
	dial := func() (*conn, error) {
		k, err := (&net.Dialer{Deadline: deadline}).Dial("tcp", c.options.HTTP)
		if err != nil {
			return nil, err
		}
		return &conn{k, bufio.NewReaderSize(k, 1<<10)}, nil
	}
	return c.http.use(dial, func(k *conn) (again bool, err error) {
		if err := k.SetDeadline(deadline); err != nil {
			return false, err
		}
		head := fmt.Appendf(nil, "POST /v1/%s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/x-protobuf\r\n"+
			"Slipstream-Id: %016x\r\nContent-Length: %d\r\n\r\n", signal, c.options.HTTP, id, len(body))
		parts := net.Buffers{head, body}
		if _, err := parts.WriteTo(k); err != nil {
			return false, err
		}
		status, again, err := readAnswer(k.reader)
		switch {
		case err != nil || status == 200:
			return again, err
		case status == 400 || status == 413 || status == 415:
			return again, fmt.Errorf("%w: status %d", ErrRefused, status)
		}
		return again, fmt.Errorf("status %d", status)
	})
}

// readAnswer reads an HTTP answer and tells whether the connection can be used
// again: that needs a body whose length is known.
func readAnswer(r *bufio.Reader) (status int, again bool, err error) {
	line, err := readLine(r)
	if err != nil {
		return 0, false, err
	}
	version, rest, _ := strings.Cut(line, " ")
	code, _, _ := strings.Cut(rest, " ")
	if status, err = strconv.Atoi(code); err != nil || !strings.HasPrefix(version, "HTTP/1.") {
		return 0, false, fmt.Errorf("not an HTTP answer: %q", line)
	}
	length, again := int64(-1), version == "HTTP/1.1"
	for lines := 0; ; lines++ {
		line, err := readLine(r)
		if err != nil || lines > 64 {
			return status, false, nil // the status counts
		}
		if line == "" {
			break
		}
		switch name, value, _ := strings.Cut(line, ":"); strings.ToLower(name) {
		case "content-length":
			if length, err = strconv.ParseInt(strings.TrimSpace(value), 10, 64); err != nil {
				again = false
			}
		case "connection":
			again = again && !strings.EqualFold(strings.TrimSpace(value), "close")
		}
	}
	if length < 0 || length > 64<<10 || !again {
		return status, false, nil
	}
	_, err = io.CopyN(io.Discard, r, length)
	return status, err == nil, nil
}

func readLine(r *bufio.Reader) (string, error) {
	line, err := r.ReadSlice('\n')
	return strings.TrimRight(string(line), "\r\n"), err
}
