// Package firehose delivers batches to a stream of Amazon Data Firehose. Use it
// for firehose:// destinations, with line formats and without compression: the
// stream's consumers see the lines one after the other.
package firehose

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	"slipstream/destination"
	"slipstream/destination/awsauth"
)

var _ destination.Destination = (*Client)(nil)

const (
	op = "put records"
	// maxRounds bounds how often one Send tries the records that failed; the
	// caller then decides, with a backoff and a breaker of its own.
	maxRounds = 5
	// maxRemembered bounds how many unfinished batches are remembered.
	maxRemembered = 64
)

// Client puts batches into one stream.
type Client struct {
	config  Config
	aws     *awsauth.Client
	backoff destination.Backoff
	closed  context.Context // ends with Close
	cancel  context.CancelFunc

	mu         sync.Mutex
	unfinished map[string][]bool // by batch id: which records the stream has
	order      []string          // their ids, oldest first
}

// New makes a client. It touches neither network nor credentials before the
// first Send.
func New(c Config) *Client {
	client := &Client{config: c, aws: awsauth.New("firehose://"+c.Stream, c.Getenv), unfinished: map[string][]bool{}}
	client.closed, client.cancel = context.WithCancel(context.Background())
	return client
}

// Close ends the Sends under way and drops the connections.
func (c *Client) Close() error {
	c.cancel()
	return c.aws.Close()
}

// Send puts the batch as records cut at line ends. Of records that the stream
// refuses only these are sent again, within this Send and in the next one with
// the same batch: what is in, is remembered for the last 64 unfinished batches
// (Firehose itself knows no resend). An answer that was lost on the way tells
// nothing, and its records are sent again. A line of more than 1,000 KiB is left
// out and reported as rejected.
func (c *Client) Send(ctx context.Context, b *destination.Batch) error {
	records, tooLong := split(b.Body)
	taken := c.recall(b.ID, len(records))
	for round := 1; ; round++ {
		last, err := c.round(ctx, records, taken)
		if err != nil {
			c.remember(b.ID, taken)
			return err
		}
		if last == (failure{}) {
			break
		}
		var cause error
		if round < maxRounds {
			if cause = c.wait(ctx, round); cause == nil {
				continue
			}
		}
		c.remember(b.ID, taken)
		return c.someFailed(taken, last, cause)
	}
	if tooLong > 0 {
		return &destination.Partial{
			Target: c.target(), Rejected: tooLong, Message: fmt.Sprintf("a line is longer than a record, %d bytes", maxRecord),
		}
	}
	return nil
}

// round puts every record that is not taken yet, once, and marks those that are
// then. It returns the failure of one that is not, if any.
func (c *Client) round(ctx context.Context, records [][]byte, taken []bool) (last failure, err error) {
	tried := make([]bool, len(records))
	for {
		body, which := request(c.config.Stream, records, func(i int) bool { return !taken[i] && !tried[i] })
		if len(which) == 0 {
			return last, nil
		}
		failures, err := c.put(ctx, body, len(which))
		if err != nil {
			return last, err
		}
		for k, i := range which {
			tried[i] = true
			if failures[k] == (failure{}) {
				taken[i] = true
			} else {
				last = failures[k]
			}
		}
	}
}

// put sends one request of n records.
func (c *Client) put(ctx context.Context, body []byte, n int) ([]failure, error) {
	creds, err := c.aws.Credentials(ctx)
	if err != nil {
		return nil, err
	}
	resp, err := c.aws.Do(ctx, &awsauth.Request{
		Op: op, Service: "firehose", Region: c.config.Region, Method: http.MethodPost,
		URL: awsauth.ServiceURL("firehose", c.config.Region, c.config.Endpoint), Body: body,
		Header: http.Header{
			"Content-Type": {"application/x-amz-json-1.1"}, "X-Amz-Target": {"Firehose_20150804.PutRecordBatch"},
		},
	}, creds)
	if err != nil {
		return nil, err
	}
	if resp.Status == http.StatusOK {
		if failures := outcome(resp.Body, n); failures != nil {
			return failures, nil
		}
	}
	return nil, c.refused(resp, creds)
}

// wait is the pause after a round, unless the caller's time or the client ends.
func (c *Client) wait(ctx context.Context, round int) error {
	timer := time.NewTimer(c.backoff.After(round, 0))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-c.closed.Done():
		return destination.ErrClosed
	}
}

// someFailed is the Error for a batch of which the stream has only a part.
func (c *Client) someFailed(taken []bool, last failure, cause error) error {
	open := 0
	for _, t := range taken {
		if !t {
			open++
		}
	}
	err := fmt.Errorf("%d of %d records failed, the last with %s", open, len(taken),
		destination.Excerpt(last.code+": "+last.message))
	if cause != nil {
		err = fmt.Errorf("%w; then %w", err, cause)
	}
	return &destination.Error{
		Op: op, Target: c.target(), Status: http.StatusOK, Err: err, Hint: c.hint(http.StatusOK, last.code),
	}
}

// recall gives what is known of a batch's n records.
func (c *Client) recall(id string, n int) []bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	taken, known := c.unfinished[id]
	if known {
		delete(c.unfinished, id)
		for i, other := range c.order {
			if other == id {
				c.order = append(c.order[:i], c.order[i+1:]...)
				break
			}
		}
	}
	if len(taken) != n {
		return make([]bool, n)
	}
	return taken
}

// remember keeps what the stream has of an unfinished batch, if it has any.
func (c *Client) remember(id string, taken []bool) {
	some := false
	for _, t := range taken {
		some = some || t
	}
	if !some {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.order) == maxRemembered {
		delete(c.unfinished, c.order[0])
		c.order = c.order[1:]
	}
	c.unfinished[id] = taken
	c.order = append(c.order, id)
}

// target names the destination in errors.
func (c *Client) target() string { return "firehose://" + c.config.Stream }
