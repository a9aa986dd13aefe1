package replay

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"slipstream/bench/lines"
	"slipstream/demo/objects"
	"slipstream/deploy/layer"
)

func TestPostsAreWhatThePlatformSends(t *testing.T) {
	const count = 3000
	p, err := Prepare(count)
	if err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	if err := lines.Write(&text, 1, count); err != nil {
		t.Fatal(err)
	}
	var joined strings.Builder
	var last string
	for _, body := range p.bodies {
		if len(body) > maxBytes+1<<10 {
			t.Errorf("a body of %d bytes", len(body))
		}
		var events []struct {
			Type   string
			Record json.RawMessage
		}
		if err := json.Unmarshal(body, &events); err != nil {
			t.Fatal(err)
		}
		for _, e := range events {
			last = e.Type
			var line string
			if e.Type != "function" {
				continue
			}
			if err := json.Unmarshal(e.Record, &line); err != nil {
				t.Fatal(err)
			}
			joined.WriteString(line)
		}
	}
	if joined.String() != text.String() || p.TextBytes != int64(text.Len()) || last != "platform.report" ||
		len(p.bodies) < 3 {
		t.Errorf("%d bodies with %d bytes of lines, last event %s; want the %d bytes that the function writes, "+
			"then the report", len(p.bodies), joined.Len(), last, text.Len())
	}
}

// TestEveryLineIsDelivered plays to the layer's own binary.
func TestEveryLineIsDelivered(t *testing.T) {
	const count = 20_000
	built, err := layer.Program(t.Context(), "./cmd/slipstream-extension", runtime.GOARCH)
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(t.TempDir(), layer.Name)
	if err := os.Symlink(built, program); err != nil {
		t.Fatal(err)
	}
	p, err := Prepare(count)
	if err != nil {
		t.Fatal(err)
	}
	to := objects.Folder(t.TempDir())
	r, err := Run(t.Context(), program, []string{"SLIPSTREAM_DESTINATIONS=" + to.URL()}, p)
	if err != nil || r.Elapsed <= 0 || r.CPU <= 0 || r.PeakMemory < 1<<20 {
		t.Fatalf("result %+v, %v", r, err)
	}
	seen := make([]int, count)
	err = to.Each(t.Context(), func(_ string, _ int64, body []byte) error {
		for line := range bytes.Lines(body) {
			if _, place, ok := lines.Number(line); ok {
				seen[place]++
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for place, n := range seen {
		if n != 1 {
			t.Fatalf("line %d was delivered %d times", place, n)
		}
	}
}

func TestAMissingProgramIsAnError(t *testing.T) {
	if _, err := Run(t.Context(), "/bin/no-such-extension", nil, Posts{}); err == nil {
		t.Error("no error for a program that does not exist")
	}
}
