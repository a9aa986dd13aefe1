// Package configfile reads a file of settings in YAML: a map whose keys are
// settings. Use it for the extension's configuration file. What is wrong in the
// file costs its own entry only, and every complaint has a line.
package configfile

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

const (
	// MaxBytes is the most that a file may hold.
	MaxBytes = 64 << 10
	// maxDepth bounds how deep a value may be nested.
	maxDepth = 32
)

// Entry is one setting of the file, or what is wrong in its place.
type Entry struct {
	Key  string
	Line int // from 1
	// Text is a single value as it stands there. A list or map is JSON instead,
	// and a list of single values List, too.
	Text string
	List []string
	JSON string
	Err  error // it cannot be used; Key may be missing. It holds no value
}

// Read reads a file. Its error says why there is none to be read.
func Read(path string) ([]Entry, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	content, err := io.ReadAll(io.LimitReader(file, MaxBytes+1))
	if err != nil {
		return nil, err
	}
	if len(content) > MaxBytes {
		return nil, fmt.Errorf("it is larger than %d bytes", MaxBytes)
	}
	return Parse(content), nil
}

// Parse reads the content of a file, of which it looks at the first document.
// Where YAML's own rules are broken it reads each top-level key by itself, so
// that the others can be used.
func Parse(content []byte) []Entry {
	content = bytes.TrimPrefix(content, []byte("\uFEFF"))
	entries, broken := parse(content, 0)
	if broken == nil {
		return entries
	}
	seen := map[string]bool{}
	entries = nil
	for _, s := range sections(content) {
		some, broken := parse(s.content, s.line-1)
		if broken != nil {
			some = []Entry{*broken}
		}
		for _, e := range some {
			if e.Err == nil && seen[e.Key] {
				e = Entry{Key: e.Key, Line: e.Line, Err: errors.New("it is there twice; the first one counts")}
			}
			seen[e.Key] = seen[e.Key] || e.Err == nil
			entries = append(entries, e)
		}
	}
	return entries
}

// section is a top-level key with what belongs to it.
type section struct {
	content []byte
	line    int
}

// sections cuts the content before each line that may begin with a key.
func sections(content []byte) []section {
	var all []section
	line := 0
	for text := range bytes.Lines(content) {
		line++
		if len(all) == 0 || strings.IndexByte(" \t\r\n#-]}%.", text[0]) < 0 {
			all = append(all, section{line: line})
		}
		last := &all[len(all)-1]
		last.content = append(last.content, text...)
	}
	return all
}

// parse reads content that stands behind so many lines of the file. Where it is
// not YAML, it gives the entry that says so instead.
func parse(content []byte, linesBefore int) (entries []Entry, broken *Entry) {
	defer func() {
		if recover() != nil { // no input that does it is known
			entries, broken = nil, &Entry{Line: linesBefore + 1, Err: errors.New("it cannot be read as YAML")}
		}
	}()
	file, err := parser.ParseBytes(content, 0)
	if err != nil {
		return nil, syntax(err, linesBefore)
	}
	for _, doc := range file.Docs {
		if doc.Body == nil || doc.Body.Type() == ast.DirectiveType {
			continue
		}
		if len(entries) > 0 {
			return append(entries, Entry{Line: linesBefore + lineOf(doc.Body),
				Err: errors.New("a second document is not read")}), nil
		}
		switch body := doc.Body.(type) {
		case *ast.MappingNode:
			entries = append(entries, all(body.Values, linesBefore)...)
		case *ast.MappingValueNode:
			entries = append(entries, all([]*ast.MappingValueNode{body}, linesBefore)...)
		case *ast.NullNode:
		default:
			entries = append(entries, Entry{Line: linesBefore + lineOf(body),
				Err: errors.New("there is no setting; write lines like max_staleness: 20s")})
		}
	}
	return entries, nil
}

// syntax is the entry of an error of YAML's rules. What it would quote of the
// file may be secret.
func syntax(err error, linesBefore int) *Entry {
	e := &Entry{Line: linesBefore + 1, Err: errors.New("it is not YAML")}
	var told interface {
		error
		GetMessage() string
	}
	if errors.As(err, &told) && !strings.Contains(told.GetMessage(), `"`) {
		e.Err = fmt.Errorf("it is not YAML: %s", told.GetMessage())
	}
	var at interface {
		error
		GetToken() *token.Token
	}
	if errors.As(err, &at) && at.GetToken() != nil && at.GetToken().Position != nil {
		e.Line = linesBefore + max(at.GetToken().Position.Line, 1)
	}
	return e
}

func lineOf(n ast.Node) int {
	if t := n.GetToken(); t != nil && t.Position != nil {
		return max(t.Position.Line, 1)
	}
	return 1
}

// all reads the values of the map at the top.
func all(values []*ast.MappingValueNode, linesBefore int) []Entry {
	entries := make([]Entry, 0, len(values))
	for _, v := range values {
		e := Entry{Line: linesBefore + lineOf(v.Key)}
		if e.Key, e.Err = single(v.Key); e.Err == nil {
			e.Err = e.read(v.Value)
		}
		entries = append(entries, e)
	}
	return entries
}

// read puts the value into the entry.
func (e *Entry) read(value ast.Node) (err error) {
	switch value.Type() {
	case ast.NullType:
		return errors.New("it has no value; leave it out, or give it one")
	case ast.SequenceType, ast.MappingType, ast.MappingValueType:
		text, err := appendJSON(nil, value, maxDepth)
		if err != nil {
			return err
		}
		e.JSON = string(text)
		e.List = singles(value)
		return nil
	}
	e.Text, err = single(value)
	return err
}

// singles gives the texts of a list that has nothing but single values.
func singles(value ast.Node) []string {
	list, ok := value.(*ast.SequenceNode)
	if !ok {
		return nil
	}
	var texts []string
	for _, item := range list.Values {
		text, err := single(item)
		if err != nil {
			return nil
		}
		texts = append(texts, text)
	}
	return texts
}

var errNotRead = errors.New("anchors, aliases, tags and merges are not read; write the value itself")

// single gives the text of a value that is no list or map, or of a key.
func single(n ast.Node) (string, error) {
	switch n := n.(type) {
	case *ast.StringNode:
		return n.Value, nil
	case *ast.LiteralNode:
		return n.Value.Value, nil
	case *ast.MappingKeyNode:
		return single(n.Value)
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		return n.GetToken().Value, nil
	case *ast.NullNode:
		return "", errors.New("a value is missing in it")
	case *ast.AnchorNode, *ast.AliasNode, *ast.TagNode, *ast.MergeKeyNode:
		return "", errNotRead
	}
	return "", errors.New("a list or map where a single value should be")
}

// appendJSON writes a value as JSON, in the order of the file.
func appendJSON(dst []byte, n ast.Node, depth int) ([]byte, error) {
	if depth == 0 {
		return nil, fmt.Errorf("it is nested deeper than %d", maxDepth)
	}
	switch n := n.(type) {
	case *ast.SequenceNode:
		dst = append(dst, '[')
		for i, item := range n.Values {
			if i > 0 {
				dst = append(dst, ',')
			}
			var err error
			if dst, err = appendJSON(dst, item, depth-1); err != nil {
				return nil, err
			}
		}
		return append(dst, ']'), nil
	case *ast.MappingNode:
		return appendObject(dst, n.Values, depth)
	case *ast.MappingValueNode:
		return appendObject(dst, []*ast.MappingValueNode{n}, depth)
	case *ast.NullNode:
		return append(dst, "null"...), nil
	case *ast.BoolNode:
		return appendValue(dst, n.Value)
	case *ast.IntegerNode:
		return appendValue(dst, n.Value)
	case *ast.FloatNode:
		return appendValue(dst, n.Value)
	}
	text, err := single(n)
	if err != nil {
		return nil, err
	}
	return appendValue(dst, text)
}

func appendObject(dst []byte, values []*ast.MappingValueNode, depth int) ([]byte, error) {
	dst = append(dst, '{')
	for i, v := range values {
		if i > 0 {
			dst = append(dst, ',')
		}
		key, err := single(v.Key)
		if err != nil {
			return nil, err
		}
		if dst, err = appendValue(dst, key); err != nil {
			return nil, err
		}
		if dst, err = appendJSON(append(dst, ':'), v.Value, depth-1); err != nil {
			return nil, err
		}
	}
	return append(dst, '}'), nil
}

// appendValue writes one value; < and & stay readable.
func appendValue(dst []byte, value any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(value); err != nil {
		return nil, err
	}
	return append(dst, bytes.TrimSuffix(b.Bytes(), []byte("\n"))...), nil
}
