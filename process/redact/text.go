package redact

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"

	"slipstream/process/jsonview"
)

const (
	masked     = "****"
	hashPrefix = "hash:"
	hashLength = len(hashPrefix) + 16
	// maxDepth is how often JSON in strings of JSON is looked into; deeper it is
	// text, escaped as it is.
	maxDepth = 4
)

// work is memory of one text, to be used again.
type work struct {
	spans, final   []span
	texts, decoded []byte
	out, path      []byte
}

// Text appends text with every secret in it replaced. False: nothing has changed,
// and dst is returned as it was.
func (p *Policy) Text(dst, text []byte) ([]byte, bool) { return p.keyedText(dst, nil, text) }

func (p *Policy) keyedText(dst, key, text []byte) ([]byte, bool) {
	if !p.Suspect(text) {
		return dst, false
	}
	return p.redactText(dst, key, text, 0)
}

// redactText is Text below depth strings of JSON; key is the one whose value it
// is, nil if it is not known.
func (p *Policy) redactText(dst, key, text []byte, depth int) ([]byte, bool) {
	w := p.work.Get().(*work)
	defer p.work.Put(w)
	if bytes.Contains(text, []byte(`\u00`)) {
		w.decoded = unescape(w.decoded[:0], text)
		text = w.decoded
	}
	f := finder{p: p, b: text, spans: w.spans[:0], texts: w.texts[:0]}
	f.scan()
	f.own(key)
	f.merge()
	final := f.spans
	if depth < maxDepth {
		w.final = f.embedded(w.final[:0], depth)
		final = w.final
	}
	w.spans, w.texts = f.spans, f.texts
	if len(final) == 0 {
		return dst, false
	}
	last := 0
	for _, s := range final {
		dst = append(dst, text[last:s.from]...)
		last = s.to
		if s.own {
			dst = append(dst, f.texts[s.textFrom:s.textTo]...)
		} else {
			dst = p.replaced(dst, text[s.from:s.to], s.action)
		}
		if s.by != nobody {
			p.hits[s.by].Add(1)
		}
	}
	return append(dst, text[last:]...), true
}

// nobody has no counter: those inside have counted.
const nobody = 1<<16 - 1

// embedded walks the JSON values in a text, as far as no span begins before and
// reaches into them, and puts what becomes of them in place of the spans inside.
func (f *finder) embedded(final []span, depth int) []span {
	b, next := f.b, 0
	for i := 0; i < len(b); {
		brace := bytes.IndexAny(b[i:], "{[")
		if brace < 0 {
			break
		}
		i += brace
		for at := i; next < len(f.spans) && f.spans[next].from <= at; next++ {
			final = append(final, f.spans[next])
			i = max(i, f.spans[next].to)
		}
		if b := b[:min(i+1, len(b))]; i >= len(b) || b[i] != '{' && b[i] != '[' {
			continue
		}
		end, ok := jsonview.Skip(b, i, maxNesting)
		if !ok {
			i = max(end, i+1)
			continue
		}
		for ; next < len(f.spans) && f.spans[next].from < end; next++ {
			if f.spans[next].to > end {
				f.spans[next].from, f.spans[next].own = end, false
				break
			}
		}
		from, changed := len(f.texts), false
		if f.texts, changed = f.p.walk(f.texts, b[i:end], depth+1); changed {
			final = append(final, span{from: i, to: end, by: nobody, own: true, textFrom: from, textTo: len(f.texts)})
		}
		i = end
	}
	return append(final, f.spans[next:]...)
}

// replaced appends what stands for a secret.
func (p *Policy) replaced(dst, secret []byte, action Action) []byte {
	switch action {
	case Remove:
		return dst
	case Hash:
		mac := hmac.New(sha256.New, p.hashKey)
		mac.Write(secret)
		var sum [sha256.Size]byte
		return hex.AppendEncode(append(dst, hashPrefix...), mac.Sum(sum[:0])[:(hashLength-len(hashPrefix))/2])
	}
	return append(dst, masked...)
}

// unescape appends text with its \u00xx escapes of printable ASCII undone, in
// such a way that JSON stays JSON, however often it is escaped itself: 1, 2, 4 …
// backslashes before the u are an escape of the string that is 1, 2, 3 … deep.
func unescape(dst, text []byte) []byte {
	for i := 0; i < len(text); {
		slashes := bytes.IndexByte(text[i:], '\\')
		if slashes < 0 {
			return append(dst, text[i:]...)
		}
		dst = append(dst, text[i:i+slashes]...)
		i += slashes
		end := i
		for end < len(text) && text[end] == '\\' {
			end++
		}
		n := end - i
		c, ok := asciiEscape(text[end:])
		if !ok {
			dst = append(dst, text[i:end]...)
			i = end
			continue
		}
		unit := n & -n // of n backslashes the last ones; those before are escaped themselves
		dst = append(dst, text[i:end-unit]...)
		if c == '"' || c == '\\' {
			dst = append(dst, bytes.Repeat([]byte{'\\'}, 2*unit-1)...)
		}
		dst = append(dst, c)
		i = end + len("u0000")
	}
	return dst
}

// asciiEscape reads u00xx of a printable character.
func asciiEscape(text []byte) (c byte, ok bool) {
	if len(text) < 5 || text[0] != 'u' || text[1] != '0' || text[2] != '0' {
		return 0, false
	}
	var decoded [1]byte
	if _, err := hex.Decode(decoded[:], text[3:5]); err != nil {
		return 0, false
	}
	return decoded[0], decoded[0] >= ' ' && decoded[0] < 0x7f
}
