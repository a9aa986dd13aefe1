package servers

import (
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

	mu      sync.Mutex
	trouble func(request int) Trouble
	seen    int
}

// StartProxy stands before the server at endpoint. It ends with the test.
func StartProxy(t *testing.T, endpoint string) *Proxy {
	t.Helper()
	target, err := url.Parse(endpoint)
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{}
	pass := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Host = r.In.Host // it is signed
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { p.serve(w, r, pass) }))
	t.Cleanup(func() { server.CloseClientConnections(); server.Close() })
	p.Endpoint = server.URL
	return p
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

func (p *Proxy) serve(w http.ResponseWriter, r *http.Request, pass http.Handler) {
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
		pass.ServeHTTP(httptest.NewRecorder(), r)
		if trouble.Truncate {
			cut(w, "HTTP/1.1 200 OK\r\nContent-Le")
			return
		}
		cut(w, "")
	default:
		pass.ServeHTTP(w, r)
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
