package redact

// An automaton waits for memory at each byte: where it looks next depends on what
// it has found there. So a text is read at four places at once, and while one
// waits the others go on. What a part finds is told in the text's order, as if the
// text had been read from its beginning to its end.

const (
	parts = 4
	// A shorter text is not worth it; longer parts have too much to remember.
	leastPart, mostPart = 12, 512
	// mostHits is how many literals of a part are remembered: most have none, and
	// where there are more, the text is read once more.
	mostHits = 16
)

// partHits are the accepting states of each part, with the place of their byte.
type partHits struct {
	count [parts]int
	hits  [parts][mostHits]struct{ at, state uint16 }
	full  bool
}

// scanParts reads as much of the text as can be read in parts, and gives the place
// and the state there.
func (f *finder) scanParts() (from int, state uint32) {
	for len(f.b)-from >= parts*leastPart && !f.found {
		size := min((len(f.b)-from)/parts, mostPart)
		state = f.p.automaton.parts(f.b, from, size, state, f.accept)
		from += parts * size
	}
	return from, state
}

// parts reads four parts of that size, the first of which goes on from a state, and
// tells each accepting state with the place behind it. It gives the last state.
func (a *automaton) parts(b []byte, from, size int, state uint32, tell func(state uint32, end int)) uint32 {
	end := from + parts*size
	var found partHits
	states := found.read(a, b[from:end], state)
	if found.full { // no part counts: all is read behind the first border, which is the beginning
		size, found.count = 0, [parts]int{}
	}
	read := from // up to where all is told, and state is the one there
	for part := range parts {
		begin := from + part*size
		for _, h := range found.hits[part][:found.count[part]] {
			if at := begin + int(h.at); at >= read {
				tell(uint32(h.state), at+1)
			}
		}
		border := begin + size
		if border > read {
			read, state = border, states[part]
		}
		// What begins before the border may end behind it: the next part has not seen it.
		for read < end && (found.full || int(a.depth[state]) > read-border) {
			state = a.step(state, b[read])
			if read++; state >= a.accepting {
				tell(state, read)
			}
		}
	}
	return state
}

// read runs the automaton over the four parts of a text.
func (p *partHits) read(a *automaton, text []byte, state uint32) [parts]uint32 {
	size := len(text) / parts
	one, two, three, four := text[:size], text[size:2*size], text[2*size:3*size], text[3*size:4*size]
	next, fold, accepting := a.next, &a.fold, a.accepting
	s, t, u, v := state, uint32(0), uint32(0), uint32(0)
	for i := range one {
		s = uint32(next[s<<classShift|uint32(fold[one[i]])])
		t = uint32(next[t<<classShift|uint32(fold[two[i]])])
		u = uint32(next[u<<classShift|uint32(fold[three[i]])])
		v = uint32(next[v<<classShift|uint32(fold[four[i]])])
		if s >= accepting || t >= accepting || u >= accepting || v >= accepting {
			if p.note(accepting, i, [parts]uint32{s, t, u, v}); p.full {
				break
			}
		}
	}
	return [parts]uint32{s, t, u, v}
}

// note remembers the accepting ones of the states after the i-th bytes.
func (p *partHits) note(accepting uint32, i int, states [parts]uint32) {
	for part, state := range states {
		if state < accepting {
			continue
		}
		if p.count[part] == mostHits {
			p.full = true
			return
		}
		p.hits[part][p.count[part]] = struct{ at, state uint16 }{uint16(i), uint16(state)}
		p.count[part]++
	}
}
