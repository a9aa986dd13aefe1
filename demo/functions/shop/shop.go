// Package shop is what the demo's three functions have in common: the order,
// numbered log lines, and the call of one function by another. Use New in a
// function's main.
package shop

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"
)

// Variables that the demo gives its functions.
const (
	// EnvLedger names a folder. Each process of a function keeps a file there,
	// named after its instance, with the number of its last line.
	EnvLedger = "DEMO_LEDGER"
	// EnvInvoke is the base URL of the Invoke API for calls of other functions.
	EnvInvoke = "AWS_ENDPOINT_URL_LAMBDA"
)

// maxAnswer bounds what is read of another function's answer.
const maxAnswer = 1 << 20

// throttled is the wait before a throttled call is tried again; the function's
// timeout bounds the tries.
const throttled = 2 * time.Millisecond

// Order is what a customer wants. Its number decides what goes wrong with it.
type Order struct {
	Number int `json:"number"`
	Items  int `json:"items"`
}

// Answer is what a function says about an order.
type Answer struct {
	Order  int    `json:"order"`
	Status string `json:"status"`
}

// Shop is one process of one function.
type Shop struct {
	instance string // "<function>-<8 hex digits>", another one each time the process starts
	out      io.Writer
	ledger   *os.File // nil without a ledger
	client   *http.Client
	invoke   string

	mu   sync.Mutex
	last int // number of the last line
}

// New starts the numbering for the function's process. Errors about the ledger
// are returned: without it lost lines cannot be counted.
func New(function string) (*Shop, error) {
	var id [4]byte
	_, _ = rand.Read(id[:]) // never fails
	s := &Shop{instance: function + "-" + hex.EncodeToString(id[:]), out: os.Stdout,
		client: &http.Client{}, invoke: os.Getenv(EnvInvoke)}
	dir := os.Getenv(EnvLedger)
	if dir == "" {
		return s, nil
	}
	var err error
	if s.ledger, err = os.Create(filepath.Join(dir, s.instance)); err != nil {
		return nil, fmt.Errorf("open the ledger of %s: %w", s.instance, err)
	}
	return s, nil
}

// Text writes a line of plain text with the line's number.
func (s *Shop) Text(level, format string, args ...any) {
	s.write(func(line string) []byte {
		now := time.Now().UTC().Format("2006-01-02T15:04:05.000Z")
		return fmt.Appendf(nil, "%s %s %s line=%s\n", now, level, fmt.Sprintf(format, args...), line)
	})
}

// JSON writes a line that is a JSON object with the line's number.
func (s *Shop) JSON(level, message string, o Order) {
	s.write(func(line string) []byte {
		text, _ := json.Marshal(map[string]any{ // it has nothing that cannot be encoded
			"timestamp": time.Now().UTC(), "level": level, "message": message, "order": o.Number, "line": line,
		})
		return append(text, '\n')
	})
}

// write numbers a line, writes it at once and notes its number in the ledger.
// The ledger comes second: a line that it counts has left the process.
func (s *Shop) write(encode func(line string) []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last++
	if _, err := s.out.Write(encode(s.instance + "-" + strconv.Itoa(s.last))); err != nil {
		fmt.Fprintln(os.Stderr, "shop: write a line:", err)
		s.last--
		return
	}
	if s.ledger == nil {
		return
	}
	if _, err := s.ledger.WriteAt([]byte(strconv.Itoa(s.last)), 0); err != nil {
		fmt.Fprintln(os.Stderr, "shop: keep the ledger:", err)
	}
}

// Call invokes another function with the order and waits for its answer, with
// further tries while that one is throttled, as an SDK does. A function that
// fails is an error with that function's words.
func (s *Shop) Call(ctx context.Context, function string, o Order) (Answer, error) {
	var answer Answer
	event, err := json.Marshal(o)
	if err != nil {
		return answer, err
	}
	for {
		status, body, err := s.post(ctx, function, event)
		switch {
		case err != nil:
			return answer, fmt.Errorf("invoke %s: %w", function, err)
		case status == http.StatusTooManyRequests:
			time.Sleep(throttled)
			continue
		case status != http.StatusOK:
			return answer, fmt.Errorf("invoke %s: %s", function, body)
		}
		if err := json.Unmarshal(body, &answer); err != nil {
			return answer, fmt.Errorf("invoke %s: read its answer: %w", function, err)
		}
		return answer, nil
	}
}

// post gives the status and body of one try; a function's error is a 500.
func (s *Shop) post(ctx context.Context, function string, event []byte) (int, []byte, error) {
	url := s.invoke + "/2015-03-31/functions/" + function + "/invocations"
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(event))
	if err != nil {
		return 0, nil, err
	}
	response, err := s.client.Do(request)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if response.Header.Get("X-Amz-Function-Error") != "" {
		return http.StatusInternalServerError, body, err
	}
	return response.StatusCode, body, err
}
