// Package forward sends requests on that agents have made to a local listener:
// each to its route's target with the method, headers and body that it came
// with. Use it for the lane that intake/forward fills.
package forward

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"

	"slipstream/destination"
	"slipstream/wire/forwarded"
)

var _ destination.Destination = (*Client)(nil)

// maxProgress bounds the batches of which is known how far they got: more than
// any edge sends at once.
const maxProgress = 64

// Config says where the requests of each route go.
type Config struct {
	// Targets are those of the routes, by their numbers: scheme, host and path,
	// after which comes the request's own, and a query that goes before the
	// request's own. nil is a route that this client does not serve.
	Targets []*url.URL
}

// Client sends to the targets of some routes. One target that is down holds up
// the requests for others that are in the same batch: give each route batches
// of its own where that matters.
type Client struct {
	targets []*url.URL
	http    *destination.HTTPClient

	mu       sync.Mutex
	progress []progress // the batches that failed on the way, the latest last
}

// progress is how far a batch got.
type progress struct {
	batch    string
	done     int // requests, from the first one
	rejected int // among those
}

// New makes a client. It touches no network before the first Send.
func New(c Config) *Client {
	return &Client{targets: slices.Clone(c.Targets), http: destination.NewHTTPClient()}
}

// Close ends the Sends under way and drops the connections.
func (c *Client) Close() error { return c.http.Close() }

// Send replays the requests in the batch's body, which are frames of package
// wire/forwarded one after the other, uncompressed. Any 2xx says that a request
// is taken. After 408, 425, 429, any status that is neither 2xx nor 4xx, or no
// answer at all, Send gives up with an Error to try again, and the next Send of
// the batch goes on at that request: as long as the process lives and no more
// than 64 other batches have failed since, no request that was answered is sent
// twice. Each has an Idempotency-Key, unless the agent gave it one: the batch's
// id, and after it a point and its number in the batch, from 1, but for the
// first. Other 4xx answers are for good; such requests are the Rejected of a
// Partial, or of an Error that is permanent when there is nothing else.
func (c *Client) Send(ctx context.Context, b *destination.Batch) error {
	if b.Encoding != "" {
		return &destination.Error{Op: "forward request", Target: "the collector", Permanent: true,
			Err: fmt.Errorf("the batch is encoded as %q", b.Encoding), Hint: "set compression=none for this lane"}
	}
	from := c.resume(b.ID)
	rejected := from.rejected
	var last *destination.Error // of the requests rejected
	rest, n := b.Body, 0
	for ; len(rest) > 0; n++ {
		r, after, err := forwarded.Parse(rest)
		if err != nil {
			rejected += max(b.Records-n, 1) // nobody knows where the next one begins
			last = &destination.Error{Op: "forward request", Target: "the collector", Permanent: true, Err: err,
				Hint: "the spool was written by something else, or is damaged"}
			n = max(b.Records, n+1)
			break
		}
		rest = after
		if n < from.done {
			continue
		}
		switch e := c.forward(ctx, &r, key(b.ID, n)); {
		case e == nil:
		case e.Permanent:
			rejected, last = rejected+1, e
		default:
			c.remember(progress{batch: b.ID, done: n, rejected: rejected})
			return e
		}
	}
	switch {
	case rejected == 0:
		return nil
	case rejected >= n && last != nil:
		return last
	}
	p := &destination.Partial{Target: "the collector", Rejected: rejected, Message: "some requests were rejected earlier"}
	if last != nil {
		p.Target, p.Message = last.Target, last.Err.Error()
	}
	return p
}

// resume takes out how far a batch got.
func (c *Client) resume(batch string) progress {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := slices.IndexFunc(c.progress, func(p progress) bool { return p.batch == batch })
	if i < 0 {
		return progress{}
	}
	p := c.progress[i]
	c.progress = slices.Delete(c.progress, i, i+1)
	return p
}

func (c *Client) remember(p progress) {
	if p.done == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.progress) >= maxProgress {
		c.progress = slices.Delete(c.progress, 0, 1)
	}
	c.progress = append(c.progress, p)
}

// key names request n, from 0, of a batch for ever.
func key(batch string, n int) string {
	if n == 0 {
		return batch
	}
	return batch + "." + strconv.Itoa(n+1)
}

// forward sends one request and judges the answer. What the answer says may
// hold what the request held, so no message has it.
func (c *Client) forward(ctx context.Context, r *forwarded.Request, key string) *destination.Error {
	if r.Route >= len(c.targets) || c.targets[r.Route] == nil {
		return &destination.Error{Op: "forward request", Target: fmt.Sprintf("route %d", r.Route), Permanent: true,
			Err: errors.New("there is no such route"), Hint: "has SLIPSTREAM_FORWARD changed since?"}
	}
	target := c.targets[r.Route]
	name := target.Scheme + "://" + target.Host
	req, err := request(target, r, key)
	if err != nil {
		return &destination.Error{Op: "forward request", Target: name, Permanent: true, Err: err}
	}
	resp, err := c.http.Do(ctx, req)
	if err != nil {
		if strings.Contains(err.Error(), "malformed") { // it quotes what came
			err = errors.New("the answer is not HTTP")
		}
		return destination.NoAnswer("forward request", name, err)
	}
	if resp.Status/100 == 2 && !resp.IsPage() {
		return nil
	}
	return resp.Refused("forward request", name, &advice, nil)
}

// request makes the request again, for the target.
func request(target *url.URL, r *forwarded.Request, key string) (*http.Request, error) {
	where := join(target, r.Target)
	u, err := url.ParseRequestURI(where)
	if err != nil {
		return nil, errors.New("the request's path is none")
	}
	u.Scheme, u.Host = target.Scheme, target.Host
	if u.RequestURI() != where && !strings.HasPrefix(where, "//") { // with // Opaque would be a host
		u = &url.URL{Scheme: target.Scheme, Host: target.Host, Opaque: where} // or net/http would escape it anew
	}
	req := &http.Request{
		Method: r.Method, URL: u, Header: make(http.Header, len(r.Header)+2),
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, ContentLength: int64(len(r.Body)),
		GetBody: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(r.Body)), nil },
	}
	for _, f := range r.Header {
		name := http.CanonicalHeaderKey(f.Name)
		req.Header[name] = append(req.Header[name], f.Value)
	}
	if len(r.Body) == 0 {
		req.GetBody = func() (io.ReadCloser, error) { return http.NoBody, nil }
	}
	req.Body, _ = req.GetBody()
	if len(req.Header["Idempotency-Key"]) == 0 {
		req.Header["Idempotency-Key"] = []string{key}
	}
	if len(req.Header["User-Agent"]) == 0 {
		req.Header["User-Agent"] = []string{""} // or net/http adds its own
	}
	return req, nil
}

// join puts what follows a route's prefix after the target's path, and its
// query after the target's.
func join(target *url.URL, rest string) string {
	path, query, hasQuery := strings.Cut(rest, "?")
	base := target.EscapedPath()
	if path != "" {
		base = strings.TrimRight(base, "/")
	}
	if path = base + path; path == "" {
		path = "/"
	}
	switch own := target.RawQuery; {
	case own != "" && query != "":
		return path + "?" + own + "&" + query
	case own != "":
		return path + "?" + own
	case hasQuery:
		return path + "?" + query
	}
	return path
}

// advice is for a vendor's collector.
var advice = destination.Advice{
	Credential: "the collector wants another credential than the agent gives; check the agent's key",
	Path:       "the collector has nothing there; check SLIPSTREAM_FORWARD's target and the agent's URL",
	Size:       "the collector takes no request as large; let the agent send smaller ones",
	Request:    "the collector says that the agent's request is wrong",
	Place:      "that was a web page, not a collector; check SLIPSTREAM_FORWARD's target",
	Quiet:      true,
}
