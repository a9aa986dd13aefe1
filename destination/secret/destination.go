// Package secret resolves references to AWS Secrets Manager, to parameters of
// Systems Manager and to ciphertexts of KMS. Use References and Store for any
// setting that is a secret; use Destination for one whose URL has references in it: it
// asks for them with its first batch, and again when it is refused.
package secret

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"sync"

	"slipstream/destination"
)

var _ destination.Destination = (*Destination)(nil)

// Config says what a Destination needs to know.
type Config struct {
	Name       string // for messages, without secrets
	Store      *Store
	References References
	// Open makes the real destination. Further texts made of the values, such as a
	// host, are to be in no message either; nor are the values in the error's.
	Open func(Values) (to destination.Destination, further []string, err error)
}

// Destination is one whose address or credential is a secret. It touches no
// network before the first Send.
type Destination struct {
	config Config
	closed context.Context // ends with Close
	cancel context.CancelFunc

	mu       sync.Mutex
	current  *opened
	previous *opened // may still have Sends under way
}

// opened is the real destination with the values that it was made of.
type opened struct {
	destination.Destination
	values Values
	cover  cover
}

// New makes a destination.
func New(c Config) *Destination {
	d := &Destination{config: c}
	d.closed, d.cancel = context.WithCancel(context.Background())
	return d
}

// Send resolves the references, if that is not done yet, and sends. When the
// answer is 401 or 403, they are resolved again, at most once a minute; if a
// value has changed, the batch is sent again with it, and if AWS cannot be asked
// the batch waits. A reference that has no value is an Error that may pass.
func (d *Destination) Send(ctx context.Context, b *destination.Batch) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(d.closed, cancel)()
	to, err := d.open(ctx, nil)
	if err != nil {
		return d.fault(err)
	}
	err = to.Send(ctx, b)
	if errors.Is(err, context.Canceled) && d.closed.Err() != nil {
		return d.fault(err) // Close has ended it here before it got there
	}
	if !refusesCredential(err) {
		return to.cover.hideIn(err)
	}
	again, cause := d.open(ctx, to)
	switch {
	case cause != nil:
		return d.fault(failures{errors.New(to.cover.hide(err.Error())), cause})
	case again == to:
		return to.cover.hideIn(err)
	}
	return again.cover.hideIn(again.Send(ctx, b))
}

// refusesCredential tells whether a new secret may help.
func refusesCredential(err error) bool {
	var e *destination.Error
	return errors.As(err, &e) && (e.Status == http.StatusUnauthorized || e.Status == http.StatusForbidden)
}

// open gives the destination as it is now, but for one that was refused: then it
// is made anew if its secrets have changed.
func (d *Destination) open(ctx context.Context, refused *opened) (*opened, error) {
	d.mu.Lock()
	current := d.current
	d.mu.Unlock()
	var values Values
	var err error
	switch {
	case current != refused:
		return current, nil // another Send has done it
	case refused == nil:
		values, err = d.config.Store.Get(ctx, d.config.References)
	default:
		values, err = d.config.Store.Renew(ctx, d.config.References, refused.values)
	}
	if err != nil {
		return nil, err
	}
	if refused != nil && maps.Equal(values, refused.values) {
		return refused, nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.current != refused {
		return d.current, nil
	}
	if d.closed.Err() != nil {
		return nil, destination.ErrClosed
	}
	to, further, err := d.config.Open(values)
	cover := newCover(values, further)
	if err != nil {
		return nil, errors.New(cover.hide(err.Error()))
	}
	if d.previous != nil {
		_ = d.previous.Close() // a Send that is still under way there is made again
	}
	d.previous, d.current = refused, &opened{to, values, cover}
	return d.current, nil
}

// fault is the Error of a secret that is not there.
func (d *Destination) fault(err error) error {
	if d.closed.Err() != nil {
		err = destination.ErrClosed
	}
	return &destination.Error{Op: "send", Target: d.config.Name, Err: err}
}

// hideIn takes what is covered out of a Send's error.
func (c cover) hideIn(err error) error {
	var e *destination.Error
	var p *destination.Partial
	switch {
	case errors.As(err, &e):
		clean := *e
		clean.Target, clean.Hint = c.hide(e.Target), c.hide(e.Hint)
		if text := e.Err.Error(); c.hide(text) != text {
			clean.Err = errors.New(c.hide(text))
		}
		return &clean
	case errors.As(err, &p):
		clean := *p
		clean.Target, clean.Message = c.hide(p.Target), c.hide(p.Message)
		return &clean
	}
	return err
}

// Close ends the Sends under way and closes the real destination.
func (d *Destination) Close() error {
	d.cancel()
	d.mu.Lock()
	defer d.mu.Unlock()
	var errs []error
	for _, to := range []*opened{d.previous, d.current} {
		if to != nil {
			errs = append(errs, to.Close())
		}
	}
	return errors.Join(errs...)
}
