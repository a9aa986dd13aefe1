package redact

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// Reading at four places tells the same as reading from the beginning, in the same
// order, wherever the borders are.
func TestPartsTellTheSame(t *testing.T) {
	const seed = 11
	random := rand.New(rand.NewPCG(seed, 0))
	told := 0
	for round := range 3000 {
		alphabet := []string{"ab", "abc0", "aaaab", "xyz-0 "}[round%4]
		some := func(n int) string {
			b := make([]byte, n)
			for i := range b {
				b[i] = alphabet[random.IntN(len(alphabet))]
			}
			return string(b)
		}
		var p Policy
		var texts []string
		for range 1 + random.IntN(12) {
			length := 1 + random.IntN(8)
			if random.IntN(4) == 0 {
				length = 1 + random.IntN(60) // over more than one part
			}
			texts = append(texts, foldText(some(length)))
		}
		p.automaton, _ = newAutomaton(texts)
		text := bytes.Repeat([]byte{'~'}, 48+random.IntN(400))
		for range random.IntN(8) {
			copy(text[random.IntN(len(text)):], texts[random.IntN(len(texts))]+some(random.IntN(9)))
		}
		a := &p.automaton
		var want, got []string
		tell := func(to *[]string) func(uint32, int) {
			return func(state uint32, end int) { *to = append(*to, fmt.Sprint(end, a.ends[state-a.accepting])) }
		}
		state := uint32(0)
		for i, c := range text {
			if state = a.step(state, c); state >= a.accepting {
				tell(&want)(state, i+1)
			}
		}
		size := 4 + random.IntN(len(text)/parts-8)
		from, after := 0, uint32(0)
		for ; len(text)-from >= parts*size+overlap; from += parts*size + overlap {
			after = a.parts(text, from, size, after, tell(&got))
		}
		for ; from < len(text); from++ {
			if after = a.step(after, text[from]); after >= a.accepting {
				tell(&got)(after, from+1)
			}
		}
		if after != state || !slices.Equal(got, want) {
			t.Fatalf("seed %d, round %d: %q in %q, parts of %d: state %d, want %d, hits\n%v, want\n%v", seed, round, texts,
				text, size, after, state, got, want)
		}
		told += len(want)
	}
	if told < 10_000 {
		t.Errorf("seed %d: only %d hits", seed, told)
	}
}
