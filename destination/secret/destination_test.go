package secret

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"slipstream/destination"
	"slipstream/destination/conformance"
	"slipstream/destination/https"
)

// endpoint takes batches with the token that is good now.
type endpoint struct {
	*httptest.Server
	taken  conformance.Recorder
	mu     sync.Mutex
	token  string
	tokens []string // of every request
}

func newEndpoint(t *testing.T) *endpoint {
	e := &endpoint{}
	e.Server = httptest.NewServer(e)
	t.Cleanup(e.Close)
	return e
}

func (e *endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	e.mu.Lock()
	good := token == e.token
	e.tokens = append(e.tokens, token)
	e.mu.Unlock()
	if good {
		e.taken.ServeHTTP(w, r)
	} else {
		http.Error(w, "no entry with "+token, http.StatusUnauthorized)
	}
}

func (e *endpoint) set(token string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.token = token
}

// saw gives the tokens since the last time.
func (e *endpoint) saw() (tokens []string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	tokens, e.tokens = e.tokens, nil
	return tokens
}

// posts is a destination that posts to a URL with a token of the store.
func posts(t *testing.T, url, text string, store *Store) *Destination {
	t.Helper()
	l := references(t, text)
	d := New(Config{Name: "https://h/" + text, Store: store, References: l,
		Open: func(values Values) (destination.Destination, []string, error) {
			c, err := https.Parse(url + "/?token=" + values[l[0]])
			if err != nil {
				return nil, nil, err
			}
			return https.New(c), nil, nil
		}})
	t.Cleanup(func() { d.Close() })
	return d
}

func batch(id string) *destination.Batch { return &destination.Batch{ID: id, Body: []byte("x")} }

// The whole life of a credential that is rotated.
func TestRotation(t *testing.T) {
	c, e, now := newCloud(t), newEndpoint(t), time.Unix(1e9, 0)
	d := posts(t, e.URL, "${secretsmanager:token}", c.store(&now))
	e.set("first-value")
	c.set("token", "first-value")
	step := func(name string, asked int, permanent bool, want ...string) error {
		t.Helper()
		err := d.Send(t.Context(), batch(name))
		if (err != nil) != permanent || destination.Permanent(err) != permanent {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil && strings.Contains(err.Error(), "value") {
			t.Errorf("%s: the value is in %v", name, err)
		}
		if diff := cmp.Diff(want, e.saw()); diff != "" || c.count("token") != asked {
			t.Errorf("%s: asked %d times, tokens %s", name, c.count("token"), diff)
		}
		return err
	}
	step("the first batch resolves", 1, false, "first-value")
	step("the next one does not", 1, false, "first-value")
	e.set("second-value")
	step("refused while young", 1, true, "first-value")
	now = now.Add(renewAfter)
	step("unchanged", 2, true, "first-value")
	step("unchanged and young", 2, true, "first-value")
	now = now.Add(renewAfter)
	c.set("token", "second-value")
	step("changed", 3, false, "first-value", "second-value")
	step("from now on", 3, false, "second-value")
	e.set("third-value")
	now = now.Add(renewAfter)
	c.set("token", "!400 AccessDeniedException")
	if err := d.Send(t.Context(), batch("x")); err == nil || destination.Permanent(err) ||
		!strings.Contains(err.Error(), "AccessDenied") || !strings.Contains(err.Error(), "no entry with ***") {
		t.Errorf("AWS cannot be asked: %v", err)
	}
	if err := d.Send(t.Context(), batch("x")); err == nil || destination.Permanent(err) || c.count("token") != 4 {
		t.Errorf("nor at once again: %v", err)
	}
	e.saw()
	now = now.Add(refusedFor)
	c.set("token", "third-value")
	step("after a while", 5, false, "second-value", "third-value")
}

// Sends at once that are refused bring one question, and each is sent again.
func TestRefusedAtOnce(t *testing.T) {
	c, e, now := newCloud(t), newEndpoint(t), time.Unix(1e9, 0)
	d := posts(t, e.URL, "${ssm:token}", c.store(&now))
	e.set("first-value")
	c.set("token", "first-value")
	if err := d.Send(t.Context(), batch("a")); err != nil {
		t.Fatal(err)
	}
	e.set("second-value")
	c.set("token", "second-value")
	now = now.Add(renewAfter)
	var sends sync.WaitGroup
	for _, id := range []string{"b", "c", "d", "e"} {
		sends.Go(func() {
			if err := d.Send(t.Context(), batch(id)); err != nil {
				t.Error(err)
			}
		})
	}
	sends.Wait()
	if n := len(e.taken.Batches(t)); n != 5 || c.count("token") != 2 {
		t.Errorf("%d batches, asked %d times", n, c.count("token"))
	}
}

// A secret that is not there fails the send, for a while; nothing reaches the
// endpoint, and Close ends the wait.
func TestNoSecret(t *testing.T) {
	c, e := newCloud(t), newEndpoint(t)
	c.set("token", `{"a":"s3cret","b":"s3cret"}`)
	d := posts(t, e.URL, "${secretsmanager:token#x}", c.store(nil))
	err := d.Send(t.Context(), batch("a"))
	want := `send to https://h/${secretsmanager:token#x}: ${secretsmanager:token#x}: ` +
		`the secret has no member "x"; it has: a, b`
	if err == nil || err.Error() != want || destination.Permanent(err) {
		t.Errorf("%v, want %s", err, want)
	}
	c.set("bad", "s3cret\x01value")
	err = posts(t, e.URL, "${ssm:bad}", c.store(nil)).Send(t.Context(), batch("a"))
	if err == nil || strings.Contains(err.Error(), "s3cret") || destination.Permanent(err) {
		t.Errorf("a value that is no token: %v", err)
	}
	entered, gone := make(chan struct{}), make(chan struct{})
	c.judge = func(r *http.Request, _ []byte) { close(entered); <-r.Context().Done(); close(gone) }
	hangs := posts(t, e.URL, "${ssm:other}", c.store(nil))
	go func() { <-entered; hangs.Close() }()
	if err := hangs.Send(context.Background(), batch("a")); !errors.Is(err, destination.ErrClosed) {
		t.Errorf("closed: %v", err)
	}
	<-gone
	if len(e.saw()) > 0 {
		t.Error("something was sent")
	}
}

// The suite of every destination.
func TestConformance(t *testing.T) {
	conformance.Run(t, func(t *testing.T) conformance.Case {
		c, e := newCloud(t), newEndpoint(t)
		c.set("token", "resolved-secret")
		e.set("resolved-secret")
		return conformance.Case{
			New: func(t *testing.T, front string) destination.Destination {
				return posts(t, front, "${ssm:token}", c.store(nil))
			},
			Backend:   e.URL,
			Delivered: e.taken.Batches,
			Permanent: []int{400, 401, 403, 404, 413},
			Secrets:   []string{"resolved-secret"},
		}
	})
}

// stuck sends until its context ends, and says so as any client would.
type stuck struct {
	destination.Destination
	entered chan struct{}
}

func (s stuck) Send(ctx context.Context, _ *destination.Batch) error {
	close(s.entered)
	<-ctx.Done()
	return &destination.Error{Op: "post", Target: "h", Err: ctx.Err()}
}

func (stuck) Close() error { return nil }

// A send that Close ends says so, whoever of both hears of it first; one that its
// own context ends does not.
func TestCloseEndsSend(t *testing.T) {
	send := func(ctx context.Context, end func(*Destination)) error {
		s := stuck{entered: make(chan struct{})}
		d := New(Config{Name: "h", Open: func(Values) (destination.Destination, []string, error) { return s, nil, nil },
			Store: newCloud(t).store(nil)})
		go func() { <-s.entered; end(d) }()
		defer d.Close()
		return d.Send(ctx, batch("a"))
	}
	if err := send(t.Context(), func(d *Destination) { d.Close() }); !errors.Is(err, destination.ErrClosed) {
		t.Errorf("closed: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	err := send(ctx, func(*Destination) { cancel() })
	if !errors.Is(err, context.Canceled) || errors.Is(err, destination.ErrClosed) {
		t.Errorf("cancelled: %v", err)
	}
}
