package destination

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unicode"
)

const (
	dialTimeout     = 5 * time.Second  // also for TLS; ctx may end it earlier
	headerTimeout   = 30 * time.Second // for a Send without a deadline
	idleTimeout     = 10 * time.Second // shorter than load balancers', so that they do not close first
	maxConnections  = 8                // Sends at once beyond that wait for a connection
	maxResponseBody = 64 << 10         // bytes read of an answer
	maxExcerpt      = 300              // bytes of an answer that go into an error
)

// HTTPClient is what the HTTP destinations share: HTTP/1.1 over kept
// connections, as many as Sends go at once and at most 8, TLS 1.2 or newer, HTTPS_PROXY honoured, redirects not
// followed, answers bounded. Nothing is dialled before the first request.
type HTTPClient struct {
	client http.Client
	closed context.Context // ends with Close
	cancel context.CancelFunc
}

// NewHTTPClient makes a client of its own for one destination.
func NewHTTPClient() *HTTPClient {
	c := &HTTPClient{}
	c.closed, c.cancel = context.WithCancel(context.Background())
	dialer := &net.Dialer{Timeout: dialTimeout, KeepAlive: 15 * time.Second}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	c.client = http.Client{
		Transport: &http.Transport{
			Proxy:                 proxy,
			DialContext:           dialer.DialContext,
			Protocols:             protocols,
			TLSClientConfig:       &tls.Config{MinVersion: tls.VersionTLS12},
			TLSHandshakeTimeout:   dialTimeout,
			ResponseHeaderTimeout: headerTimeout,
			IdleConnTimeout:       idleTimeout,
			MaxConnsPerHost:       maxConnections,
			MaxIdleConns:          maxConnections,
			MaxIdleConnsPerHost:   maxConnections,
			DisableCompression:    true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return c
}

// proxy is the environment's, but never for link-local addresses: there the
// platform hands out credentials.
func proxy(r *http.Request) (*url.URL, error) {
	if ip, err := netip.ParseAddr(r.URL.Hostname()); err == nil && ip.IsLinkLocalUnicast() {
		return nil, nil
	}
	return http.ProxyFromEnvironment(r)
}

// Response is a backend's answer.
type Response struct {
	Status int
	Header http.Header
	Body   []byte // its first 64 KiB
}

// Do sends r and reads the answer, bounded by ctx and ended by Close. The
// status decides: an answer whose body breaks off is no error. Errors do not
// hold the URL, which may carry secrets.
func (c *HTTPClient) Do(ctx context.Context, r *http.Request) (*Response, error) {
	if c.closed.Err() != nil {
		return nil, ErrClosed
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(c.closed, cancel)
	defer stop()
	resp, err := c.client.Do(r.WithContext(ctx))
	if err != nil {
		var wrapped *url.Error
		if errors.As(err, &wrapped) {
			err = wrapped.Err
		}
		if c.closed.Err() != nil {
			err = ErrClosed
		}
		return nil, err
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxResponseBody))
	return &Response{Status: resp.StatusCode, Header: resp.Header, Body: body}, nil
}

// Post sends a batch with the user's headers and those that describe it. Its
// id is the Idempotency-Key: a backend that looks at it knows a resend.
func (c *HTTPClient) Post(ctx context.Context, u *url.URL, h Headers, b *Batch) (*Response, error) {
	req := &http.Request{
		Method: http.MethodPost, URL: u, Host: u.Host, Header: http.Header(h).Clone(),
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, ContentLength: int64(len(b.Body)),
		GetBody: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b.Body)), nil },
	}
	req.Body, _ = req.GetBody()
	req.Header.Set("Content-Type", b.ContentType)
	req.Header.Set("Idempotency-Key", b.ID)
	req.Header.Set("User-Agent", "slipstream")
	if b.Encoding != "" {
		req.Header.Set("Content-Encoding", b.Encoding)
	}
	return c.Do(ctx, req)
}

// Close ends a Do under way and drops the connections.
func (c *HTTPClient) Close() error {
	c.cancel()
	c.client.CloseIdleConnections()
	return nil
}

// IsPage tells whether the answer is a whole web page: a login form or the like
// stands where the backend should be. Many a small endpoint says "ok" as
// text/html; that is no page.
func (r *Response) IsPage() bool {
	if !strings.HasPrefix(strings.ToLower(r.Header.Get("Content-Type")), "text/html") {
		return false
	}
	start := bytes.ToLower(bytes.TrimSpace(r.Body[:min(len(r.Body), 256)]))
	return bytes.HasPrefix(start, []byte("<!doctype html")) || bytes.HasPrefix(start, []byte("<html"))
}

// RetryAfter reads the header of that name, in seconds or as an HTTP date; 0
// without one.
func (r *Response) RetryAfter(now time.Time) time.Duration {
	text := strings.TrimSpace(r.Header.Get("Retry-After"))
	const most = 24 * time.Hour
	if n, err := strconv.Atoi(text); err == nil {
		return time.Duration(min(max(n, 0), int(most/time.Second))) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil {
		return min(max(at.Sub(now), 0), most)
	}
	return 0
}

// Excerpt is text from outside made fit for an error: one line, bounded, with
// the secrets taken out should the backend have echoed them.
func Excerpt(text string, secrets ...string) string {
	secrets = slices.Clone(secrets) // the longest first: a part of one must not hide the whole
	slices.SortFunc(secrets, func(a, b string) int { return len(b) - len(a) })
	for _, s := range secrets {
		if s != "" {
			text = strings.ReplaceAll(text, s, "***")
		}
	}
	text = strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) || !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, " "))
	text = strings.Join(strings.Fields(text), " ")
	if len(text) > maxExcerpt {
		text = strings.ToValidUTF8(text[:maxExcerpt], "") + "…"
	}
	return text
}

// NoAnswer is the Error for a request that brought no answer: trying again may
// help, and the hint says what else.
func NoAnswer(op, target string, err error) *Error {
	e := &Error{Op: op, Target: target, Err: err}
	var dns *net.DNSError
	var authority x509.UnknownAuthorityError
	var name x509.HostnameError
	var record tls.RecordHeaderError
	switch {
	case errors.Is(err, context.DeadlineExceeded), os.IsTimeout(err):
		e.Hint = "no answer in time; check that the network lets the function reach it"
	case errors.As(err, &dns):
		e.Hint = "check the host name, and the DNS of the function's VPC"
	case errors.Is(err, syscall.ECONNREFUSED):
		e.Hint = "nothing listens there; check host and port"
	case errors.As(err, &authority), errors.As(err, &name):
		e.Hint = "check the server's certificate; SSL_CERT_FILE names further authorities"
	case errors.As(err, &record):
		e.Hint = "the server does not speak TLS there; check scheme and port"
	}
	return e
}
