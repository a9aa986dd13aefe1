package secret

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"slipstream/destination"
	"slipstream/destination/awsauth"
)

const (
	// renewAfter is how old a value must be before it is asked for again.
	renewAfter = time.Minute
	// refusedFor is how long a refusal counts: a policy or a name is not put
	// right in a moment, and each question has its price.
	refusedFor = 30 * time.Second
	// forever is older than any age that is asked about.
	forever = time.Hour
)

// Values are secrets in clear, by their references. No message may hold one.
type Values map[Reference]string

// Store asks AWS for secrets, each once, and keeps them in memory. Its methods
// may be called from several goroutines.
type Store struct {
	getenv func(string) string
	now    func() time.Time

	mu      sync.Mutex
	secrets map[source]*kept
}

// kept is one secret, or why there is none.
type kept struct {
	place   chan struct{} // held by the one who reads or asks; it guards the rest
	text    string        // all of it, "" while unknown
	refusal error
	asked   time.Time // when the last answer came
}

// NewStore makes an empty store. getenv gives region, endpoints and credentials,
// asked when they are needed (see package awsauth), and the function's name,
// which Lambda's console binds ciphertexts to.
func NewStore(getenv func(string) string) *Store {
	return &Store{getenv: getenv, now: time.Now, secrets: map[source]*kept{}}
}

// Get gives the values of references. What is not known yet is asked for, all at
// the same time, within ctx. The error names each reference without a value, the
// cause and what to do; it holds no value. Try again with a backoff.
func (s *Store) Get(ctx context.Context, references References) (Values, error) {
	return s.get(ctx, references, func(r Reference, text string, age time.Duration) bool {
		_, err := member(text, r.Member) // it may have got the member by now
		return err != nil && age >= refusedFor
	})
}

// Expand gives a setting's text with the values in the places of its references,
// as Get does. It is for settings that are secret themselves, such as a key.
func (s *Store) Expand(ctx context.Context, text string) (string, error) {
	var references References
	cut, err := references.Cut(text)
	if err != nil || len(references) == 0 {
		return cut, err
	}
	values, err := s.Get(ctx, references)
	if err != nil {
		return "", err
	}
	return references.Expand(cut, func(r Reference) string { return values[r] }), nil
}

// Renew is Get after values were refused by whom they are for: one that is still
// what was refused is asked for again, unless its last answer is younger than a
// minute. Where AWS cannot be asked there is an error, and the old value stays.
func (s *Store) Renew(ctx context.Context, references References, refused Values) (Values, error) {
	return s.get(ctx, references, func(r Reference, text string, age time.Duration) bool {
		value, err := member(text, r.Member)
		return (err != nil || value == refused[r]) && age >= renewAfter
	})
}

// outdated tells whether what a reference is known to stand for, since so long,
// is to be asked for again.
type outdated func(r Reference, text string, age time.Duration) bool

// get gives the values; what is outdated is asked for again, if it may be.
func (s *Store) get(ctx context.Context, references References, old outdated) (Values, error) {
	type answer struct {
		text string
		err  error
	}
	answers := map[source]*answer{}
	for _, r := range references {
		answers[r.source] = &answer{}
	}
	client := awsauth.New("AWS", s.getenv) // for these questions alone: they are rare, and no connection stays behind
	defer client.Close()
	var asking sync.WaitGroup
	for from, a := range answers {
		asking.Go(func() {
			a.text, a.err = s.one(ctx, client, from, func(text string, age time.Duration) bool {
				return slices.ContainsFunc(references, func(r Reference) bool { return r.source == from && old(r, text, age) })
			})
		})
	}
	asking.Wait()
	values := Values{}
	var errs failures
	for _, r := range references {
		value, err := answers[r.source].text, answers[r.source].err
		if err == nil {
			value, err = member(value, r.Member)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", r.Shown(), err))
		}
		values[r] = value
	}
	if len(errs) > 0 {
		return nil, errs
	}
	return values, nil
}

// failures are several errors in one line.
type failures []error

func (f failures) Error() string {
	texts := make([]string, len(f))
	for i, err := range f {
		texts[i] = err.Error()
	}
	return strings.Join(texts, "; ")
}

func (f failures) Unwrap() []error { return f }

// one gives one secret, from memory if it may.
func (s *Store) one(ctx context.Context, client *awsauth.Client, from source,
	outdated func(text string, age time.Duration) bool) (string, error) {
	s.mu.Lock()
	k := s.secrets[from]
	if k == nil {
		k = &kept{place: make(chan struct{}, 1)}
		s.secrets[from] = k
	}
	s.mu.Unlock()
	select {
	case k.place <- struct{}{}:
	case <-ctx.Done():
		return "", fmt.Errorf("wait for the answer to another: %w", ctx.Err())
	}
	defer func() { <-k.place }()
	age := s.now().Sub(k.asked)
	if k.refusal != nil { // what was known before may still do
		age = forever
	}
	switch {
	case k.text != "" && !outdated(k.text, age):
		return k.text, nil
	case k.refusal != nil && s.now().Sub(k.asked) < refusedFor:
		return "", k.refusal
	}
	text, err := ask(ctx, client, from, s.getenv)
	if errors.As(err, new(refusal)) {
		k.refusal, k.asked = err, s.now()
	}
	if err != nil {
		return "", err
	}
	k.text, k.refusal, k.asked = text, nil, s.now()
	return text, nil
}

// member gives one member of the JSON object that a secret is, or all of it.
// Line ends after it are a slip of whoever stored it, and never meant.
func member(text, name string) (string, error) {
	if name == "" {
		return trimmed(text)
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal([]byte(text), &object); err != nil || object == nil { // the cause would quote the secret
		return "", fmt.Errorf("the secret is no JSON object, so it has no member %q (leave #%s out)", name, name)
	}
	raw, ok := object[name]
	if !ok {
		names := destination.Excerpt(strings.Join(slices.Sorted(maps.Keys(object)), ", "))
		if names == "" {
			names = "none"
		}
		return "", fmt.Errorf("the secret has no member %q; it has: %s", name, names)
	}
	var value string
	if err := json.Unmarshal(raw, &value); err == nil {
		return trimmed(value)
	}
	return string(raw), nil // a number, or a document of its own
}

func trimmed(text string) (string, error) {
	text = strings.TrimRight(text, "\r\n")
	if text == "" {
		return "", errors.New("the secret is empty")
	}
	return text, nil
}
