package redact

import (
	"bytes"
	"cmp"
	"slices"
)

// span is a part of a text that must not stay.
type span struct {
	from, to int
	action   Action
	by       uint16 // whose counter
	// The text in its place is finder.texts[textFrom:textTo] if own.
	own              bool
	textFrom, textTo int
}

// finder goes once over a text and collects the spans that must not stay.
type finder struct {
	p *Policy
	b []byte
	// raw: the bytes may be the escaped form of a text, and only whether there may
	// be something is asked. It answers yes wherever the text itself would.
	raw   bool
	found bool
	spans []span
	texts []byte // replacements of own rules, one behind the other
	// covers is the span that reaches farthest.
	covers struct{ from, to int }
	// pemDone is where the last private key ends: none begins before.
	pemDone int
	// pairsDone is up to where keys have been looked at.
	pairsDone int
	// quote is the next quote or line end, as far as it was looked for; before spaced
	// all words are of one key, whose value is known.
	quote, spaced int
	rules         uint64 // the own rules of which a literal was seen, by their index
}

// scan is the pass over the bytes.
func (f *finder) scan() {
	from, state := 0, uint32(0)
	if f.raw { // most of what is only asked about is clean, and that is where the time goes
		if from, state = f.scanParts(); f.found {
			return
		}
	}
	f.scanOn(state, from)
	if f.p.detectors.has(highEntropy) {
		f.entropy()
	}
}

// scanOn reads all from a place on, one byte after the other.
func (f *finder) scanOn(state uint32, from int) {
	a := &f.p.automaton
	for i := from; i < len(f.b); i++ {
		if state = a.step(state, f.b[i]); state >= a.accepting {
			if f.accept(state, i+1); f.raw && f.found {
				return
			}
		}
	}
}

// accept asks the matchers of all literals that end at end.
func (f *finder) accept(state uint32, end int) {
	for _, index := range f.p.automaton.ends[state-f.p.automaton.accepting] {
		f.hit(f.p.literals[index], end)
	}
}

// hit asks the matcher of a literal that ends at end.
func (f *finder) hit(l literal, end int) {
	b, start := f.b, end-len(l.text)
	if f.raw && l.kind <= privateKey && l.kind != awsAccessKey && l.kind != jwt {
		f.found = true // escapes make what is between longer: these words are rare
		return
	}
	var from, to int
	var ok bool
	switch l.kind {
	case keyWord:
		if f.raw && l.arg == userWord {
			f.found = true // the path to the key may matter
			return
		}
		f.pair(start, end, false)
		return
	case separator:
		f.pairBefore(start)
		return
	case token:
		f.pair(start, end, true)
		return
	case ownRule:
		f.rules |= 1 << l.arg
		f.found = f.found || f.raw
		return
	case escape:
		f.found = f.found || f.raw && end+1 < len(b) && hides(b[end:end+2])
		return
	case awsSecretKey:
		from, to, ok = secretKey(b, end)
	case creditCard:
		from, to, ok = card(b, start)
	case iban:
		from, to, ok = account(b, start)
	case email:
		from, to, ok = mailbox(b, start, end)
	case usSSN:
		from, to, ok = socialSecurity(b, start, end)
	case phone:
		from, to, ok = phoneNumber(b, start, end)
	case urlPassword:
		from, to, ok = userInfo(b, start, end, f.reach(512))
	case ipAddress:
		from, to, ok = internetAddress(b, start, end)
	default:
		from, to, ok = f.unbounded(l, start, end)
	}
	if ok && from < to {
		f.add(from, to, l.kind)
	} else if f.raw && l.kind <= highEntropy {
		f.found = f.found || mayBeHidden(b, start, end)
	}
}

// mayBeHidden tells whether escapes stand so near to a literal that they can be
// part of the secret: a slash or a letter of another script, which does not matter
// to the literal.
func mayBeHidden(b []byte, start, end int) bool {
	near := b[max(0, start-70):min(len(b), end+260)]
	for i := 0; ; i++ {
		next := bytes.IndexByte(near[i:], '\\')
		if next < 0 || i+next+1 == len(near) {
			return false
		}
		i += next
		if near[i+1] == '/' || near[i+1] == 'u' && !hasFold(near, i, `\u003c`) && !hasFold(near, i, `\u003e`) &&
			!hasFold(near, i, `\u0026`) {
			return true
		}
	}
}

// unbounded asks the matchers of secrets of any length. Inside of what is found
// already they have nothing to add: so nothing is read twice.
func (f *finder) unbounded(l literal, start, end int) (from, to int, ok bool) {
	if l.kind == bearer || l.kind == basic {
		end = afterScheme(f.b, end)
	}
	if f.covered(start, end) {
		return 0, 0, false
	}
	switch l.kind {
	case awsAccessKey:
		return accessKey(f.b, start, end)
	case bearer:
		return bearerToken(f.b, start, end)
	case basic:
		return basicToken(f.b, start, end)
	case jwt:
		return jsonWebToken(f.b, start, end)
	case privateKey:
		if from, to, ok = f.pemKey(start, end); ok {
			f.pemDone = to
		}
		return from, to, ok
	case apiKey:
		return vendorKey(vendors[l.arg], f.b, start)
	}
	return 0, 0, false
}

// reach is how far to look: twice as far in what may be escaped.
func (f *finder) reach(n int) int {
	if f.raw {
		return 2*n + 2
	}
	return n
}

// covered tells whether a literal is inside of what is found already.
func (f *finder) covered(start, end int) bool { return start >= f.covers.from && end < f.covers.to }

// hides tells whether an escaped character, by its two last digits, can be part of
// a literal: it is ASCII, and none of those that are escaped for HTML's sake.
func hides(digits []byte) bool {
	return digits[0] >= '2' && digits[0] <= '7' && !hasFold(digits, 0, "3c") && !hasFold(digits, 0, "3e") &&
		!hasFold(digits, 0, "26")
}

// add notes a span of a detector.
func (f *finder) add(from, to int, by detector) {
	f.note(span{from: from, to: to, by: uint16(by), action: f.p.actions[by]})
}

func (f *finder) note(s span) {
	f.found = true
	if f.raw {
		return
	}
	f.spans = append(f.spans, s)
	if s.to > f.covers.to {
		f.covers.from, f.covers.to = s.from, s.to
	}
}

// entropy looks at each word of the text, for the detector that has no literal.
func (f *finder) entropy() {
	const set = alnum | base64Rest | dashes
	for i := 0; i < len(f.b); {
		to := run(f.b, i, set)
		if to-i >= 20 && (entropic(f.b[i:to]) || f.raw && to < len(f.b) && f.b[to] == '\\') {
			f.add(i, to, highEntropy)
		}
		i = max(to, i+1)
	}
}

// merge sorts the spans and makes one of those that overlap: the strictest
// action holds, and a replacement of its own only for what is alone.
func (f *finder) merge() {
	byStart := func(a, b span) int { return cmp.Or(cmp.Compare(a.from, b.from), cmp.Compare(b.to, a.to)) }
	if !slices.IsSortedFunc(f.spans, byStart) {
		slices.SortFunc(f.spans, byStart)
	}
	merged := f.spans[:0]
	for _, s := range f.spans {
		if len(merged) == 0 || s.from >= merged[len(merged)-1].to {
			merged = append(merged, s)
			continue
		}
		last := &merged[len(merged)-1]
		if s.action > last.action {
			last.action = s.action
		}
		if s.from != last.from || s.to != last.to {
			last.own = false
		}
		last.to = max(last.to, s.to)
	}
	f.spans = merged
}
