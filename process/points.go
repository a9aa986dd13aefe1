package process

import (
	"slipstream/process/redact"
	"slipstream/telemetry"
)

// Points applies the policy to points, before anything of them is kept, as Exports
// does to what is exported: its Redactor and its Filter; limits are not for metrics.
// A Set's member stays as it is: what becomes of it is a few bits of its hash, and a
// mask would make one of all of them. It serves one goroutine at a time.
type Points struct {
	policy             Policy
	record             pointRecord
	keys               map[string]redact.Action
	joined, buf        []byte
	tags               []telemetry.Tag
	filtered, redacted int
}

// NewPoints makes one.
func NewPoints(p Policy) *Points { return &Points{policy: p, keys: map[string]redact.Action{}} }

// Redact takes another Redactor from now on.
func (x *Points) Redact(by Redactor) {
	x.policy.Redactor = by
	clear(x.keys)
}

// Apply changes p to what may leave; false where it is not wanted. What is changed
// is borrowed from x until the next call.
func (x *Points) Apply(p *telemetry.Point) bool {
	if x.policy.Filter != nil {
		x.record.point = p
		if !x.policy.Filter.Keep(&x.record) {
			x.filtered++
			return false
		}
	}
	if x.policy.Redactor == nil {
		return true
	}
	secret := false
	for i := range p.Tags {
		secret = x.action(p.Tags[i].Key) != redact.Keep || secret
	}
	if secret || x.suspects(p) {
		x.redact(p)
	}
	return true
}

// action is what a key demands. Points have few different ones, so it is asked once
// for each.
func (x *Points) action(key []byte) redact.Action {
	if a, ok := x.keys[string(key)]; ok {
		return a
	}
	a := x.policy.Redactor.Key(key)
	if len(key) <= maxKey {
		if len(x.keys) >= maxKeys {
			clear(x.keys)
		}
		x.keys[string(key)] = a
	}
	return a
}

// suspects asks once for all texts of a point, as pairs of key and value.
func (x *Points) suspects(p *telemetry.Point) bool {
	b := append(append(append(append(x.joined[:0], p.Name...), '\n'), p.Source...), '\n')
	for i := range p.Tags {
		b = append(append(append(append(b, p.Tags[i].Key...), '='), p.Tags[i].Value...), '\n')
	}
	if x.joined = b; cap(b) > keptBuffer {
		x.joined = nil
	}
	return x.policy.Redactor.Suspect(b)
}

func (x *Points) redact(p *telemetry.Point) {
	by, hit := x.policy.Redactor, false
	x.buf = kept(x.buf)
	change := func(text []byte, as func(dst, text []byte) ([]byte, bool)) []byte {
		start := len(x.buf)
		out, changed := as(x.buf, text)
		if !changed {
			return text
		}
		x.buf, hit = out, true
		return out[start:len(out):len(out)]
	}
	tags := x.tags[:0]
	for _, tag := range p.Tags {
		key, action := tag.Key, x.action(tag.Key)
		switch {
		case action == redact.Remove:
			hit = true
			continue
		case tag.Typed: // it comes out of an export, whose policy has seen it
		case action == redact.Keep && isJSON(tag.Value):
			tag.Value = change(tag.Value, by.JSON)
		default:
			tag.Value = change(tag.Value, func(dst, text []byte) ([]byte, bool) { return by.Value(dst, key, text) })
		}
		tag.Key = change(tag.Key, by.Text)
		tags = append(tags, tag)
	}
	p.Tags, x.tags = tags, tags
	p.Name = change(p.Name, by.Text)
	p.Source = change(p.Source, by.Text)
	if hit {
		x.redacted++
	}
}

// Counts tells how many points were filtered, or redacted.
func (x *Points) Counts() map[string]int {
	counts := map[string]int{}
	if x.filtered > 0 {
		counts[reasons[filtered]] = x.filtered
	}
	if x.redacted > 0 {
		counts[reasons[redacted]] = x.redacted
	}
	return counts
}

// pointRecord is a point as a Filter sees it: the data point that it would be.
type pointRecord struct{ point *telemetry.Point }

func (r *pointRecord) Signal() telemetry.Signal { return telemetry.Metrics }
func (r *pointRecord) Level() telemetry.Level   { return 0 }
func (r *pointRecord) Name() []byte             { return r.point.Name }
func (r *pointRecord) Body() []byte             { return nil }

func (r *pointRecord) Attribute(key string) []byte {
	if key == "source" && r.point.Source != nil {
		return r.point.Source
	}
	for i := range r.point.Tags {
		if string(r.point.Tags[i].Key) == key {
			return r.point.Tags[i].Value
		}
	}
	return nil
}
