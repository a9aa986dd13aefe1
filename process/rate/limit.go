// Package rate keeps a flood of log records from costing what it is worth: a
// Limiter cuts what comes faster than a rule allows, a Repeats says how often a
// line was repeated instead of repeating it. Both count every record that they
// hold back and say so in records of their own.
package rate

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"slices"
	"strings"
	"time"

	"slipstream/process/match"
	"slipstream/telemetry"
)

const (
	// maxRules bounds a list, maxKeys the buckets of all rules together: what has
	// none shares one of its rule.
	maxRules = 100
	maxKeys  = 1024
	// maxKeyBytes is how much of a value or message makes a key.
	maxKeyBytes = 256
	// listed is how many keys a summary names.
	listed = 50
)

// CutType is the event type of the summaries.
const CutType = "slipstream.cut"

// written is a rule as it stands in JSON.
type written struct {
	Limit   json.RawMessage `json:"limit"`
	Records int             `json:"records"`
	Every   string          `json:"every"`
	Burst   int             `json:"burst"`
	Per     string          `json:"per"`
}

// rule limits the records that it is about.
type rule struct {
	number int
	about  *match.Condition // nil: any record
	every  time.Duration    // between two records; 0 in one that could not be read: it limits nothing
	burst  time.Duration    // by which records may be ahead of that
	per    string
	field  match.Name // of per, if it is one
	cut    int
	others *bucket
}

// bucket is what one key has used.
type bucket struct {
	rule *rule
	key  string
	full time.Time // until then it is in use: a token bucket as one time
	cut  int       // since the last summary
}

// Limiter is for one goroutine at a time. It has no clock.
type Limiter struct {
	rules   []*rule
	window  time.Duration
	buckets map[uint64]*bucket
	seed    maphash.Seed
	record  match.Record
	key     []byte
	cleaned time.Time
	due     time.Time // of the next summary, zero: nothing was cut
	at      time.Time // of the last record that was cut, as the platform has it
}

// NewLimiter reads a JSON list of rules:
//
//	{"limit": CONDITION, "records": 100, "every": "1s", "burst": 200, "per": "message"}
//
// with the conditions of match.Parse. So many records are let through in that
// time (1 s) for each key, and burst (as many as records) at once. per is
// "message" for the words of the message, without those that hold a digit;
// "request" for the request id; or the name of a field; without it the rule has
// one key. The first rule that matches a record limits it.
//
// Each error is one rule that cannot be used, and nothing is cut because of it:
// what it is about, or may be about, is not limited. A summary is given at most
// once a window.
func NewLimiter(text string, window time.Duration) (*Limiter, []error) {
	l := &Limiter{window: window, buckets: map[uint64]*bucket{}, seed: maphash.MakeSeed()}
	if strings.TrimSpace(text) == "" {
		return l, nil
	}
	var list []json.RawMessage
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		return l, []error{fmt.Errorf("read the rate limits: %w; nothing is limited "+
			`(write a list as [{"limit":{"level":"<error"},"records":100}])`, err)}
	}
	var errs []error
	if len(list) > maxRules {
		errs = append(errs, fmt.Errorf("read the rate limits: %d of them, at most %d: the others are left out",
			len(list), maxRules))
		list = list[:maxRules]
	}
	for i, raw := range list {
		r, err := readRule(raw)
		if err != nil {
			errs = append(errs, fmt.Errorf("read rate limit %d, %s: %w; until then what gets to it is not limited",
				i+1, raw, err))
			r = &rule{}
		}
		r.number = i + 1
		r.others = &bucket{rule: r, key: "(others)"}
		l.rules = append(l.rules, r)
	}
	return l, errs
}

func readRule(raw json.RawMessage) (*rule, error) {
	w := written{Every: "1s"}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(&w); err != nil {
		return nil, fmt.Errorf("%w (a limit has limit, records, every, burst and per)", err)
	}
	about, err := match.Parse(w.Limit)
	if err != nil {
		return nil, err
	}
	every, err := time.ParseDuration(w.Every)
	switch {
	case err != nil || every < time.Millisecond || every > 24*time.Hour:
		return nil, fmt.Errorf("every %q is no duration from 1ms to 24h, such as 1s", w.Every)
	case w.Records < 1 || w.Records > 1_000_000:
		return nil, fmt.Errorf("records is %d: use 1 to 1000000", w.Records)
	case w.Burst < 0 || w.Burst > 1_000_000:
		return nil, errors.New("burst: use 1 to 1000000, or leave it out")
	case w.Burst == 0:
		w.Burst = w.Records
	}
	r := &rule{about: about, every: every / time.Duration(w.Records), per: w.Per,
		field: match.ParseName(w.Per)}
	r.burst = r.every * time.Duration(w.Burst-1)
	return r, nil
}

// Allow tells whether the record goes on, else it was cut and is counted.
func (l *Limiter) Allow(log *telemetry.Log, now time.Time) bool {
	if len(l.rules) == 0 {
		return true
	}
	l.record.Reset(log)
	for _, r := range l.rules {
		if r.about != nil && !r.about.Holds(&l.record) {
			continue
		}
		b := l.bucket(r, log, now)
		full := b.full
		if full.Before(now) {
			full = now
		}
		if full.Sub(now) <= r.burst {
			b.full = full.Add(r.every)
			return true
		}
		b.cut++
		r.cut++
		l.at = log.Time
		if l.due.IsZero() {
			l.due = now.Add(l.window)
		}
		return false
	}
	return true
}

// bucket finds the record's, or makes one if there is room.
func (l *Limiter) bucket(r *rule, log *telemetry.Log, now time.Time) *bucket {
	l.key = append(l.key[:0], byte(r.number))
	switch r.per {
	case "":
	case "message":
		l.key = appendPattern(l.key, l.record.Text())
	case "request":
		l.key = append(l.key, log.RequestID...)
	default:
		value := l.record.Field(&r.field)
		l.key = append(l.key, value[:min(len(value), maxKeyBytes)]...)
	}
	hash := maphash.Bytes(l.seed, l.key)
	if b := l.buckets[hash]; b != nil {
		return b
	}
	if len(l.buckets) >= maxKeys {
		l.clean(now)
	}
	if len(l.buckets) >= maxKeys {
		return r.others
	}
	b := &bucket{rule: r, key: strings.Trim(strings.ToValidUTF8(string(l.key[1:]), "?"), `"`)}
	l.buckets[hash] = b
	return b
}

// clean removes keys that are as good as new, at most once a second.
func (l *Limiter) clean(now time.Time) {
	if now.Sub(l.cleaned) < time.Second {
		return
	}
	l.cleaned = now
	for hash, b := range l.buckets {
		if b.cut == 0 && !b.full.After(now) {
			delete(l.buckets, hash)
		}
	}
}

// appendPattern appends a message with # for each word that holds a digit, so that
// lines of one place in a program are one.
func appendPattern(dst, text []byte) []byte {
	word, digit := len(dst), false
	for _, c := range text[:min(len(text), maxKeyBytes)] {
		switch {
		case c >= '0' && c <= '9':
			if !digit {
				dst, digit = append(dst[:word], '#'), true
			}
			continue
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c == '-', c == '_', c >= 0x80:
			if digit {
				continue
			}
			dst = append(dst, c)
			continue
		}
		dst = append(dst, c)
		word, digit = len(dst), false
	}
	return dst
}

// Deadline is when Tick is due, zero for never.
func (l *Limiter) Deadline() time.Time { return l.due }

// Tick emits a summary of what was cut, if the window is over.
func (l *Limiter) Tick(now time.Time, emit func(*telemetry.Log)) {
	if !l.due.IsZero() && !now.Before(l.due) {
		l.Finish(emit)
	}
}

// cutKey is a key in a summary.
type cutKey struct {
	Rule    int    `json:"rule"`
	Key     string `json:"key"`
	Records int    `json:"records"`
}

// Finish emits what was cut since the last summary: the number of records, and
// of which keys, those with the most first. Its time is that of the last of them.
func (l *Limiter) Finish(emit func(*telemetry.Log)) {
	if l.due.IsZero() {
		return
	}
	l.due = time.Time{}
	var keys []cutKey
	take := func(b *bucket) {
		if b.cut > 0 {
			keys = append(keys, cutKey{b.rule.number, b.key, b.cut})
			b.cut = 0
		}
	}
	for _, b := range l.buckets {
		take(b)
	}
	for _, r := range l.rules {
		take(r.others)
	}
	slices.SortFunc(keys, func(a, b cutKey) int {
		return cmp.Or(b.Records-a.Records, a.Rule-b.Rule, strings.Compare(a.Key, b.Key))
	})
	all, more := 0, 0
	for i, k := range keys {
		all += k.Records
		if i >= listed {
			more += k.Records
		}
	}
	body, err := json.Marshal(struct {
		Records int      `json:"records"`
		Keys    []cutKey `json:"keys"`
		More    int      `json:"more_records,omitempty"`
	}{all, keys[:min(len(keys), listed)], more})
	if err != nil { // numbers and strings always marshal
		return
	}
	emit(&telemetry.Log{Time: l.at, Type: CutType, Body: body, Level: telemetry.LevelWarn})
}

// Cut is how many records each rule has cut since the start, by its number in
// the list less one.
func (l *Limiter) Cut() []int {
	cut := make([]int, len(l.rules))
	for i, r := range l.rules {
		cut[i] = r.cut
	}
	return cut
}
