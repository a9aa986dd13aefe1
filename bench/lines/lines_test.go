package lines

import (
	"bytes"
	"testing"
)

func TestEveryLineIsFoundAgain(t *testing.T) {
	var first, second bytes.Buffer
	for _, w := range []*bytes.Buffer{&first, &second} {
		if err := Write(w, 7, 1000); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(first.Bytes(), second.Bytes()) {
		t.Error("two runs write different lines")
	}
	place := 0
	for line := range bytes.Lines(first.Bytes()) {
		if invocation, at, ok := Number(line); !ok || invocation != 7 || at != place {
			t.Fatalf("line %d has the number %d-%d, %v", place, invocation, at, ok)
		}
		place++
	}
	if mean := first.Len() / 1000; place != 1000 || mean < 180 || mean > 220 {
		t.Errorf("%d lines of %d bytes, want 1000 of about 200", place, mean)
	}
	if _, _, ok := Number([]byte("a line without a number")); ok {
		t.Error("a number where there is none")
	}
}
