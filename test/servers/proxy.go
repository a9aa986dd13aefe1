package servers

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strconv"
	"sync"
	"testing"
	"time"
)

// Trouble is what a Proxy does to one request; the zero value passes it on.
type Trouble struct {
	Wait       time.Duration // before anything else
	Reset      bool          // cut the connection, nothing is passed on
	Hang       bool          // never answer, nothing is passed on
	Status     int           // answer with this instead of passing it on
	RetryAfter int           // seconds, with Status
	Forget     bool          // pass it on, then cut the connection instead of answering
	Truncate   bool          // pass it on, then answer with half of a header
}

// Proxy stands between the extension and a real server and makes trouble as the
// test says.
type Proxy struct {
	Endpoint string // http://127.0.0.1:port

	pass http.Handler

	mu      sync.Mutex
	server  *httptest.Server // nil while nothing listens
	trouble func(request int) Trouble
	seen    int
}

// StartProxy stands before the server at endpoint. It ends with the test.
func StartProxy(t *testing.T, endpoint string) *Proxy {
	t.Helper()
	p, err := NewProxy(endpoint)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

// NewProxy is StartProxy for a program without a test; Close ends it.
func NewProxy(endpoint string) (*Proxy, error) {
	target, err := url.Parse(endpoint)
	if err != nil {
		return nil, fmt.Errorf("stand before %s: %w", endpoint, err)
	}
	p := &Proxy{pass: &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Host = r.In.Host // it is signed
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
	}}
	listener, err := listen()
	if err != nil {
		return nil, fmt.Errorf("stand before %s: %w", endpoint, err)
	}
	p.Endpoint = "http://" + listener.Addr().String()
	p.serve(listener)
	return p, nil
}

// serve answers what comes in at the listener.
func (p *Proxy) serve(listener net.Listener) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.server = &httptest.Server{Listener: listener, Config: &http.Server{Handler: http.HandlerFunc(p.answer)}}
	p.server.Start()
}

// Close ends it: from now on connections are refused.
func (p *Proxy) Close() {
	p.mu.Lock()
	server := p.server
	p.server = nil
	p.mu.Unlock()
	if server != nil {
		server.CloseClientConnections()
		server.Close()
	}
}

// Open listens again, at the same address as before Close.
func (p *Proxy) Open() error {
	listener, err := net.Listen("tcp", p.Endpoint[len("http://"):])
	if err != nil {
		return fmt.Errorf("open the proxy again: %w", err)
	}
	p.serve(listener)
	return nil
}

// Make sets what happens to each request from now on, by its number from 0; nil
// passes all on.
func (p *Proxy) Make(trouble func(request int) Trouble) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.trouble = trouble
}

// Seen counts the requests so far.
func (p *Proxy) Seen() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.seen
}

// next is the trouble for the next request.
func (p *Proxy) next() Trouble {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seen++
	if p.trouble == nil {
		return Trouble{}
	}
	return p.trouble(p.seen - 1)
}

// answer does to one request what the trouble says.
func (p *Proxy) answer(w http.ResponseWriter, r *http.Request) {
	trouble := p.next()
	if trouble.Wait > 0 {
		select {
		case <-time.After(trouble.Wait):
		case <-r.Context().Done():
			return
		}
	}
	switch {
	case trouble.Reset:
		cut(w, "")
	case trouble.Hang:
		_, _ = io.Copy(io.Discard, r.Body) // or the server does not see the client go
		<-r.Context().Done()
	case trouble.Status != 0:
		_, _ = io.Copy(io.Discard, r.Body)
		if trouble.RetryAfter > 0 {
			w.Header().Set("Retry-After", strconv.Itoa(trouble.RetryAfter))
		}
		w.WriteHeader(trouble.Status)
	case trouble.Forget, trouble.Truncate:
		p.pass.ServeHTTP(httptest.NewRecorder(), r)
		if trouble.Truncate {
			cut(w, "HTTP/1.1 200 OK\r\nContent-Le")
			return
		}
		cut(w, "")
	default:
		p.pass.ServeHTTP(w, r)
	}
}

// cut writes the text and resets the connection.
func cut(w http.ResponseWriter, text string) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	_, _ = io.WriteString(conn, text)
	if tcp, ok := conn.(*net.TCPConn); ok && text == "" {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}
