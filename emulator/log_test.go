package emulator

import (
	"strings"
	"testing"
)

// lineList keeps each Write.
type lineList []string

func (l *lineList) Write(b []byte) (int, error) {
	*l = append(*l, string(b))
	return len(b), nil
}

// TestLongLinesAreSplitInTheLog as they are for the extensions.
func TestLongLinesAreSplitInTheLog(t *testing.T) {
	x := func(n int) string { return strings.Repeat("x", n) }
	for _, c := range []struct {
		name         string
		writes, want []string
	}{
		{"lines", []string{"a\n\nb\n"}, []string{"a\n", "\n", "b\n"}},
		{"a line in parts", []string{"a", "b\nc"}, []string{"ab\n", "c\n"}},
		{"the longest line", []string{x(maxLine) + "\n"}, []string{x(maxLine) + "\n"}},
		{"the longest line in two writes", []string{x(maxLine), "\nb\n"}, []string{x(maxLine) + "\n", "b\n"}},
		{"one byte more", []string{x(maxLine+1) + "\n"}, []string{x(maxLine) + "\n", "x\n"}},
		{"three pieces, no newline", []string{x(maxLine), x(maxLine + 5)},
			[]string{x(maxLine) + "\n", x(maxLine) + "\n", x(5) + "\n"}},
		{"characters stay whole", []string{"x" + strings.Repeat("é", maxLine/2) + "\n"},
			[]string{"x" + strings.Repeat("é", maxLine/2-1) + "\n", "é\n"}},
		{"bytes that are no characters", []string{strings.Repeat("\x80", maxLine+1) + "\n"},
			[]string{strings.Repeat("\x80", maxLine-3) + "\n", strings.Repeat("\x80", 4) + "\n"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got lineList
			w := &lineWriter{to: &got}
			for _, text := range c.writes {
				if n, err := w.Write([]byte(text)); n != len(text) || err != nil {
					t.Errorf("wrote %d of %d: %v", n, len(text), err)
				}
			}
			_ = w.Close()
			if len(got) != len(c.want) {
				t.Fatalf("%d lines, want %d", len(got), len(c.want))
			}
			for i := range got {
				if got[i] != c.want[i] {
					t.Errorf("line %d has %d bytes, want %d", i, len(got[i]), len(c.want[i]))
				}
			}
		})
	}
}
