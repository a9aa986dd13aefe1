package redact

// An automaton waits for memory at each byte: where it looks next depends on what
// it has found there. So a text is read at four places at once, and while one
// waits the others go on. What a part finds is told in the text's order, as if the
// text had been read from its beginning to its end.

const (
	parts = 4
	// A shorter text is not worth it; longer parts have too much to remember.
	leastPart, mostPart = 12, 512
	// overlap is how far each part is read into the next one: seldom does a literal
	// begin in the one and go on farther.
	overlap = 4
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
	for len(f.b)-from >= parts*leastPart+overlap && !f.found {
		size := min((len(f.b)-from-overlap)/parts, mostPart)
		state = f.p.automaton.parts(f.b, from, size, state, f.accept)
		from += parts*size + overlap
	}
	return from, state
}

// parts reads four parts of that size and the overlap behind the last one. The
// first goes on from a state. It tells each accepting state with the place behind
// it, and gives the last state.
func (a *automaton) parts(b []byte, from, size int, state uint32, tell func(state uint32, end int)) uint32 {
	end := from + parts*size + overlap
	var found partHits
	states := found.read(a, b[from:end], state)
	if found.full {
		for read := from; read < end; {
			state = a.step(state, b[read])
			if read++; state >= a.accepting {
				tell(state, read)
			}
		}
		return state
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
		if border+overlap > read {
			read, state = border+overlap, states[part]
		}
		// What began before the border may end farther on: the next part has not seen it.
		for read < end && int(a.depth[state]) > read-border {
			state = a.step(state, b[read])
			if read++; state >= a.accepting {
				tell(state, read)
			}
		}
	}
	return state
}

// read runs the automaton over the four parts of a text, each with its overlap.
func (p *partHits) read(a *automaton, text []byte, state uint32) [parts]uint32 {
	size := (len(text) - overlap) / parts
	one, two, three, four := text[:size+overlap], text[size:], text[2*size:], text[3*size:]
	two, three, four = two[:len(one)], three[:len(one)], four[:len(one)]
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
