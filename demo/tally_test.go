package demo

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const events = `{"time":"t","type":"platform.start","request_id":"r1","record":{}}
{"time":"t","type":"platform.runtimeDone","request_id":"r1","record":{}}
{"time":"t","type":"platform.report","request_id":"r1","record":{}}
`

func line(id string) string {
	return `{"time":"t","type":"function","request_id":"r1","message":"INFO line=` + id + `\n"}` + "\n"
}

func TestTallyCountsOnceTwiceNever(t *testing.T) {
	const a, b = "checkout-0123abcd", "payment-89abcdef"
	tests := []struct {
		name   string
		ledger ledger
		body   string
		want   Tally
		exact  bool
	}{
		{"all once", ledger{a: 2, b: 1}, events + line(a+"-1") + line(a+"-2") + line(b+"-1"),
			Tally{Produced: 3, Delivered: 3}, true},
		{"one lost", ledger{a: 2}, events + line(a+"-2"), Tally{Produced: 2, Delivered: 1, Lost: 1}, false},
		{"a whole process lost", ledger{a: 1, b: 3}, events + line(a+"-1"),
			Tally{Produced: 4, Delivered: 1, Lost: 3}, false},
		{"one twice", ledger{a: 1}, events + line(a+"-1") + line(a+"-1"),
			Tally{Produced: 1, Delivered: 1, Duplicated: 1}, false},
		{"a platform record twice", ledger{a: 1}, events + events + line(a+"-1"),
			Tally{Produced: 1, Delivered: 1, PlatformDuplicated: 3}, false},
		{"killed before the ledger", ledger{a: 1}, events + line(a+"-1") + line(a+"-2"),
			Tally{Produced: 2, Delivered: 2}, true},
		{"a JSON record", ledger{a: 1}, events + `{"type":"function","record":{"line":"` + a + `-1"}}` + "\n",
			Tally{Produced: 1, Delivered: 1}, true},
		{"a structured record", ledger{a: 1}, events + `{"type":"function","message":"declined: ` + b + `-9",` +
			`"attributes":{"line":"` + a + `-1"}}` + "\n", Tally{Produced: 1, Delivered: 1}, true},
		{"a line that quotes another", ledger{a: 1}, events + line(b+"-9 line="+a+"-1"),
			Tally{Produced: 1, Delivered: 1}, true},
		{"a torn line", ledger{a: 1}, events + line(a+"-1") + `{"type":`,
			Tally{Produced: 1, Delivered: 1, Unreadable: 1}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := newArrivals()
			got.object(10, []byte(tt.body))
			tally := got.tally(tt.ledger)
			if exact := tally.exact(1); exact != tt.exact {
				t.Errorf("exact: %v, want %v", exact, tt.exact)
			}
			tt.want.Objects, tt.want.Bytes = 1, 10
			tt.want.Platform = map[string]int{"platform.start": 1, "platform.runtimeDone": 1, "platform.report": 1}
			if diff := cmp.Diff(tt.want, tally); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestAMissingPlatformRecordIsNotExact(t *testing.T) {
	a := newArrivals()
	a.object(1, []byte(events))
	if a.tally(nil).exact(2) {
		t.Error("two invocations with the records of one count as exact")
	}
}

func TestReadLedger(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("checkout-00000001", "12")
	write("payment-00000002", "")
	if l, err := readLedger(dir); err != nil || l.total() != 12 || len(l) != 1 {
		t.Errorf("ledger %v, %v; want 12 lines of one process", l, err)
	}
	write("payment-00000002", "x")
	if _, err := readLedger(dir); err == nil || !strings.Contains(err.Error(), "payment-00000002") {
		t.Errorf("error %v, want one that names the file", err)
	}
}

func TestSampleShowsFunctionLinesFirst(t *testing.T) {
	s := sample("x", 5, []byte(events+line("checkout-0123abcd-1")))
	if len(s.Lines) != 1 || !strings.Contains(s.Lines[0], "checkout") {
		t.Errorf("sample %v, want the function's line", s.Lines)
	}
	if s := sample("x", 5, []byte(events)); len(s.Lines) != 3 {
		t.Errorf("sample %v, want the platform's lines when there is nothing else", s.Lines)
	}
}
