package figure

import (
	"testing"
	"time"
)

func TestOthersAreWhatIsNotOurs(t *testing.T) {
	before, err := parseStat("cpu 100 0 100 800 0 0 0 0 0 0\ncpu0 1 2 3\n")
	if err != nil {
		t.Fatal(err)
	}
	// In a second of two cores: half a second idle, one for us, half for others.
	after, err := parseStat("cpu 200 0 150 840 10 0 0 0 0 0\n")
	if err != nil {
		t.Fatal(err)
	}
	after.ours = time.Second
	if got := others(before, after); got != 25 {
		t.Errorf("others used %v %%, want 25", got)
	}
	for _, bad := range []string{"", "cpu 1 2 3\n", "cpu a b c d e f g h i j\n"} {
		if _, err := parseStat(bad); err == nil {
			t.Errorf("%q is no error", bad)
		}
	}
}
