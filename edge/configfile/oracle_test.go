package configfile

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
)

// writer makes random values, and nodes for another library to write them.
type writer struct{ *rand.Rand }

// text is made of what has a meaning in YAML.
func (w writer) text() string {
	pieces := []string{
		"a", "b", "Ä", " ", "  ", ":", ": ", "#", " #", "- ", "-", "'", `"`, `\`, "{", "}", "[", "]", ",", "&", "*", "!", "|",
		">", "%", "@", "`", "1", "0x1", "true", "null", "~", "=", "${ssm:/x}", "https://h/p?q=r", "\n", "\t", "<<", "?",
	}
	var b strings.Builder
	for range w.IntN(6) {
		b.WriteString(pieces[w.IntN(len(pieces))])
	}
	return b.String()
}

// value is a text, a list or a map, with the node that says so.
func (w writer) value(depth int) (any, *yaml.Node) {
	flow := []yaml.Style{0, 0, yaml.FlowStyle}[w.IntN(3)]
	switch kind := w.IntN(4); {
	case kind == 0 && depth > 0:
		list, n := []any{}, &yaml.Node{Kind: yaml.SequenceNode, Style: flow}
		for range w.IntN(4) {
			value, item := w.value(depth - 1)
			list, n.Content = append(list, value), append(n.Content, item)
		}
		return list, n
	case kind == 1 && depth > 0:
		return w.object(depth, flow)
	}
	text, style := w.text(), []yaml.Style{0, 0, yaml.LiteralStyle, yaml.FoldedStyle, yaml.SingleQuotedStyle,
		yaml.DoubleQuotedStyle}[w.IntN(6)]
	if strings.Contains(text, "\n") && style != yaml.FoldedStyle { // in single quotes the scanner is not always right
		style = []yaml.Style{yaml.LiteralStyle, yaml.DoubleQuotedStyle}[w.IntN(2)]
	}
	if style == yaml.LiteralStyle || style == yaml.FoldedStyle {
		text = "x" + text + "x" // the scanner refuses a block that begins with blanks
	}
	n := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: text, Style: style}
	if w.IntN(4) == 0 {
		n.LineComment = "# said: 'so'"
	}
	return text, n
}

// object is a map of one to three members.
func (w writer) object(depth int, style yaml.Style) (any, *yaml.Node) {
	object, n := map[string]any{}, &yaml.Node{Kind: yaml.MappingNode, Style: style}
	for i := range 1 + w.IntN(3) {
		key := fmt.Sprint("key_", i)
		value, item := w.value(depth - 1)
		object[key] = value
		n.Content = append(n.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: key}, item)
	}
	return object, n
}

// What another library writes, in any style, is read as what was meant.
func TestOracle(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	w := writer{rand.New(rand.NewPCG(seed, 0))}
	for range 5000 {
		want, n := w.object(4, 0)
		var text bytes.Buffer
		e := yaml.NewEncoder(&text)
		e.SetIndent(2 + w.IntN(3))
		if err := e.Encode(n); err != nil {
			t.Fatal(err)
		}
		var same any // the other library itself is not always right
		if err := yaml.Unmarshal(text.Bytes(), &same); err != nil || !reflect.DeepEqual(want, same) {
			continue
		}
		got := map[string]any{}
		for _, entry := range Parse(text.Bytes()) {
			var value any = entry.Text
			if entry.JSON != "" {
				if err := json.Unmarshal([]byte(entry.JSON), &value); err != nil {
					t.Fatal(err)
				}
			}
			if entry.Err != nil {
				t.Fatalf("%s\nline %d: %v", &text, entry.Line, entry.Err)
			}
			got[entry.Key] = value
		}
		if !reflect.DeepEqual(any(got), want) {
			t.Fatalf("%s\nis read as\n%q\nand means\n%q", &text, got, want)
		}
	}
}
