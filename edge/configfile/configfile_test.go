package configfile

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// told is the entries, one a line.
func told(entries []Entry) string {
	var b strings.Builder
	for _, e := range entries {
		switch {
		case e.Err != nil:
			fmt.Fprintf(&b, "%d %s! %v\n", e.Line, e.Key, e.Err)
		case e.List != nil:
			fmt.Fprintf(&b, "%d %s: %q %s\n", e.Line, e.Key, e.List, e.JSON)
		case e.JSON != "":
			fmt.Fprintf(&b, "%d %s: %s\n", e.Line, e.Key, e.JSON)
		default:
			fmt.Fprintf(&b, "%d %s: %q\n", e.Line, e.Key, e.Text)
		}
	}
	return b.String()
}

func TestParse(t *testing.T) {
	for name, tt := range map[string]struct{ text, want string }{
		"nothing":       {"", ""},
		"comments only": {"# a\n\n# b\n", ""},
		"single values": {"a: 20s\nb: 65536\nc: true # no\nd: 'x: y'\ne: \"q\\n\"\nf: 010\ng: https://h/p?x=${ssm:/a}#k\n",
			"1 a: \"20s\"\n2 b: \"65536\"\n3 c: \"true\"\n4 d: \"x: y\"\n5 e: \"q\\n\"\n6 f: \"010\"\n" +
				"7 g: \"https://h/p?x=${ssm:/a}#k\"\n"},
		"blocks": {"a: |\n  x\n  y\nb: >-\n  x\n  y\nc: 1\n", "1 a: \"x\\ny\\n\"\n4 b: \"x y\"\n7 c: \"1\"\n"},
		"lists":  {"---\na:\n  - x\n  - 2\nb: [p, q]\n", "2 a: [\"x\" \"2\"] [\"x\",2]\n5 b: [\"p\" \"q\"] [\"p\",\"q\"]\n"},
		"what is JSON": {"a:\n  - name: x\n    at: {b: 1.5, a: [true, ~, 'n<']}\n  - 7\nb:\n  k: v\n",
			"1 a: [{\"name\":\"x\",\"at\":{\"b\":1.5,\"a\":[true,null,\"n<\"]}},7]\n5 b: {\"k\":\"v\"}\n"},
		"no value": {"a:\nb: ~\nc: 1\n",
			"1 a! it has no value; leave it out, or give it one\n" +
				"2 b! it has no value; leave it out, or give it one\n" +
				"3 c: \"1\"\n"},
		"anchors": {"a: &x 1\nb: *x\nc: !!str 1\nd: [&y 1]\n",
			"1 a! " + errNotRead.Error() + "\n2 b! " + errNotRead.Error() +
				"\n3 c! " + errNotRead.Error() + "\n4 d! " + errNotRead.Error() + "\n"},
		"a second document": {"a: 1\n---\nb: 2\n", "1 a: \"1\"\n3 ! a second document is not read\n"},
		"a list at the top": {"- a\n- b\n", "1 ! there is no setting; write lines like max_staleness: 20s\n"},
		"a text at the top": {"hello\n", "1 ! there is no setting; write lines like max_staleness: 20s\n"},
		"twice": {"a: 1\nb: 2\na: secret\n",
			"1 a: \"1\"\n2 b: \"2\"\n3 a! it is there twice; the first one counts\n"},
		"an open quote": {"a: 1\nb: \"secret\nc: 3\n",
			"1 a: \"1\"\n2 ! it is not YAML: could not find end character of double-quoted text\n3 c: \"3\"\n"},
		"an open brace": {"a: {x: 1\nb: 2\n",
			"1 ! it is not YAML: a bracket or brace is not closed\n2 b: \"2\"\n"},
		"a tab": {"a:\n\t- x\nb: 2\n",
			"2 ! it is not YAML: found character '\t' that cannot start any token\n3 b: \"2\"\n"},
		"indented too far": {"a: 1\n  b: 2\nc: 3\n",
			"2 ! it is not YAML: a value is not allowed there; " +
				"check the indentation, and put quotes around text with : or #\n3 c: \"3\"\n"},
		"a reserved letter": {"a: @x\nb: 2\n", "1 ! it is not YAML: '@' is a reserved character\n2 b: \"2\"\n"},
		"a byte order mark": {"\uFEFFa: 1\r\nb: 2\r\n", "1 a: \"1\"\n2 b: \"2\"\n"},
		"too deep": {"a: " + strings.Repeat("[", 40) + strings.Repeat("]", 40) + "\n",
			"1 ! it is not YAML: it is nested deeper than 32\n"},
		"a colon too many": {"a: secret: c\nb: 2\n", "1 ! it is not YAML: a value is not allowed there; " +
			"check the indentation, and put quotes around text with : or #\n2 b: \"2\"\n"},
		"no colon": {"a: 1\nsecret\n", "1 a: \"1\"\n2 ! there is no setting; write lines like max_staleness: 20s\n"},
		"a key of its own kind": {"? a\n: b\nc: 1\n", "1 ! it is not YAML: a value is not allowed there; " +
			"check the indentation, and put quotes around text with : or #\n2 ! it is not YAML: a value is not allowed there; " +
			"check the indentation, and put quotes around text with : or #\n3 c: \"1\"\n"},
		"an empty block": {"a: |\nb: 1\n", "1 a: \"\"\n2 b: \"1\"\n"},
		"a merge":        {"<<: *x\na: {<<: 1}\n", "1 ! " + errNotRead.Error() + "\n2 a! " + errNotRead.Error() + "\n"},
		"indentation of every kind": {"a:\n- x\n-\n  - y\n  -   k: v\n      l:\n      - 1\nb:\n    c: {d: [e,], f: , g}\n",
			"1 a: [\"x\",[\"y\",{\"k\":\"v\",\"l\":[1]}]]\n8 b: {\"c\":{\"d\":[\"e\"],\"f\":null,\"g\":null}}\n"},
		"numbers": {"a: [1, -2, 1.5, 0x1F, 0o17, 010, 1e3, .inf, 0b11, +5]\n",
			"1 a: [\"1\" \"-2\" \"1.5\" \"0x1F\" \"0o17\" \"010\" \"1e3\" \".inf\" \"0b11\" \"+5\"] " +
				"[1,-2,1.5,31,15,8,\"1e3\",\".inf\",3,\"+5\"]\n"},
		"a secret is a key": {"a: 1\n\"secret\": 1\n\"secret\": 2\n",
			"1 a: \"1\"\n2 secret: \"1\"\n3 secret! it is there twice; the first one counts\n"},
	} {
		if got := told(Parse([]byte(tt.text))); got != tt.want {
			t.Errorf("%s:\n%q\ngives\n%s\nwant\n%s", name, tt.text, got, tt.want)
		}
	}
}

func TestRead(t *testing.T) {
	dir := t.TempDir()
	large := filepath.Join(dir, "large.yaml")
	if err := os.WriteFile(large, []byte("a: "+strings.Repeat("x", MaxBytes)), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "good.yaml"), []byte("a: 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"large.yaml": "larger than 65536 bytes", "missing.yaml": "no such file", ".": "is a directory",
	} {
		if entries, err := Read(filepath.Join(dir, name)); err == nil || entries != nil ||
			!strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if entries, err := Read(filepath.Join(dir, "good.yaml")); err != nil || told(entries) != "1 a: \"1\"\n" {
		t.Errorf("good: %v %v", entries, err)
	}
}

// Whatever a file holds: no panic, lines within it, JSON that is JSON, and a key
// in front of every entry that is good.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{"a: 1\n", "a: [1, {b: c}]\n", "a: |\n x\n", "a: \"\n", "? a\n: b\n", "a: &x 1\n",
		"%YAML 1.2\n---\na: 1\n...\n", "- a\n", "a: {\n", "a: !!binary x\n", "<<: {a: 1}\n", "a:\n\t- b\n", "a: 0x1F\n"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		lines := strings.Count(string(content), "\n") + strings.Count(string(content), "\r") + 1
		for _, e := range Parse(content) {
			if e.Line < 1 || e.Line > lines {
				t.Errorf("%q: line %d of %d", content, e.Line, lines)
			}
			if e.JSON != "" && !json.Valid([]byte(e.JSON)) {
				t.Errorf("%q: %s is no JSON", content, e.JSON)
			}
			if e.Err != nil && (e.Text != "" || e.JSON != "") {
				t.Errorf("%q: an entry with both a value and the error %v", content, e.Err)
			}
		}
	})
}
