package redact

// An automaton finds all its literals in one pass: Aho-Corasick with a full
// table. It reads folded bytes: letters without their case, all digits as one.
// So it finds more than it was told to, never less; whoever is told of a hit
// looks at the bytes themselves.
type automaton struct {
	fold [256]uint8
	// next has maxClasses entries a state; the states that end a literal come last.
	next      []uint16
	accepting uint32
	// ends are the literals that end in each of these states, by their index.
	ends [][]uint16
	// depth is how many bytes of a literal each state stands for.
	depth []uint16
}

const (
	maxClasses = 64 // one row of the table; bytes beyond share the last class
	classShift = 6
	maxStates  = 1 << 16
)

// step gives the state behind one more byte.
func (a *automaton) step(state uint32, c byte) uint32 {
	return uint32(a.next[state<<classShift|uint32(a.fold[c])])
}

// foldByte is how the automaton sees a byte.
func foldByte(c byte) byte {
	switch {
	case c >= 'A' && c <= 'Z':
		return c + 'a' - 'A'
	case c >= '0' && c <= '9':
		return '0'
	}
	return c
}

// newAutomaton builds the table: some 50 µs for all built-in literals, which is
// why it is not a generated file. Literals must not be empty; those for which
// there is no room are left out, and it tells from which one on.
func newAutomaton(literals []string) (a automaton, fitting int) {
	a.classes(literals)
	a.next = make([]uint16, maxClasses, 1024*maxClasses)
	ends := [][]uint16{nil}
	for fitting < len(literals) && len(ends)+len(literals[fitting]) < maxStates {
		state := uint16(0)
		for _, c := range []byte(literals[fitting]) {
			at := int(state)<<classShift | int(a.fold[c])
			if a.next[at] == 0 {
				a.next[at] = uint16(len(ends))
				ends = append(ends, nil)
				a.next = append(a.next, make([]uint16, maxClasses)...)
			}
			state = a.next[at]
		}
		ends[state] = append(ends[state], uint16(fitting))
		fitting++
	}
	a.complete(ends)
	a.reorder(ends)
	return a, fitting
}

// classes gives each byte that occurs in the literals a class of its own, as
// long as there are any; class 0 is all other bytes.
func (a *automaton) classes(literals []string) {
	last := uint8(0)
	for _, literal := range literals {
		for _, c := range []byte(literal) {
			if c = foldByte(c); a.fold[c] == 0 {
				last = min(last+1, maxClasses-1)
				a.fold[c] = last
			}
		}
	}
	for c := range 256 {
		a.fold[c] = a.fold[foldByte(byte(c))]
	}
}

// complete fills the transitions that the trie has not, breadth first: where a
// state has none, the longest suffix that is a state has it.
func (a *automaton) complete(ends [][]uint16) {
	suffix := make([]uint16, len(ends))
	a.depth = make([]uint16, len(ends))
	queue := make([]uint16, 0, len(ends))
	for class := range maxClasses {
		if child := a.next[class]; child != 0 {
			a.depth[child] = 1
			queue = append(queue, child)
		}
	}
	for i := 0; i < len(queue); i++ {
		state := queue[i]
		row := a.next[int(state)<<classShift:][:maxClasses]
		shorter := a.next[int(suffix[state])<<classShift:][:maxClasses]
		ends[state] = append(ends[state], ends[suffix[state]]...)
		for class, child := range row {
			if child == 0 {
				row[class] = shorter[class]
				continue
			}
			suffix[child] = shorter[class]
			a.depth[child] = a.depth[state] + 1
			queue = append(queue, child)
		}
	}
}

// reorder puts the accepting states last, so that one comparison tells a hit.
func (a *automaton) reorder(ends [][]uint16) {
	to := make([]uint16, len(ends))
	place := uint16(0)
	for _, accepts := range []bool{false, true} {
		if accepts {
			a.accepting = uint32(place)
		}
		for state := range ends {
			if (len(ends[state]) > 0) == accepts {
				to[state] = place
				place++
			}
		}
	}
	next, depth := make([]uint16, len(a.next)), make([]uint16, len(ends))
	a.ends = make([][]uint16, len(ends)-int(a.accepting))
	for state := range ends {
		row := next[int(to[state])<<classShift:][:maxClasses]
		for class, target := range a.next[state<<classShift:][:maxClasses] {
			row[class] = to[target]
		}
		depth[to[state]] = a.depth[state]
		if len(ends[state]) > 0 {
			a.ends[uint32(to[state])-a.accepting] = ends[state]
		}
	}
	a.next, a.depth = next, depth
}
