package configfile

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/token"
)

// kind is what a node is.
type kind int

const (
	nothing kind = iota // null, written or not
	single
	list
	object
	unread // what YAML has and settings do not need
)

// node is one value of a document.
type node struct {
	kind  kind
	line  int          // from 1
	token *token.Token // of a single one
	keys  []*node      // of an object
	items []*node      // of a list or object
}

// fault is where YAML's rules are broken. It quotes nothing of the file.
type fault struct {
	line int
	text string
}

// reader makes nodes of what the scanner has found. Each loop in it takes a token
// or ends.
type reader struct {
	tokens []*token.Token
	at     int
	depth  int
}

// document reads the first document of a text, nil if there is none. rest is the
// line where another begins, 0 for none.
func document(text string) (doc *node, rest int, err *fault) {
	r := &reader{}
	for _, t := range lexer.Tokenize(text) {
		switch t.Type {
		case token.CommentType:
		case token.InvalidType:
			return nil, 0, &fault{max(t.Position.Line, 1), t.Error}
		default:
			r.tokens = append(r.tokens, t)
		}
	}
	r.start()
	if t := r.peek(); t != nil {
		if doc, err = r.value(); err != nil {
			return nil, 0, err
		}
	}
	if t := r.peek(); t != nil {
		return nil, 0, misplaced(t)
	}
	r.start()
	if t := r.peek(); t != nil {
		rest = line(t)
	}
	return doc, rest, nil
}

// start goes to the first token of a document: past its head and directives.
func (r *reader) start() {
	header := slices.IndexFunc(r.tokens[r.at:], func(t *token.Token) bool { return t.Type == token.DocumentHeaderType })
	if header >= 0 && (header == 0 || r.tokens[r.at].Type == token.DirectiveType) {
		r.at += header
	}
	for r.at < len(r.tokens) && (r.tokens[r.at].Type == token.DocumentHeaderType ||
		r.tokens[r.at].Type == token.DocumentEndType) {
		r.at++
	}
}

// peek gives the next token, nil at the end of the document.
func (r *reader) peek() *token.Token { return r.ahead(0) }

func (r *reader) ahead(n int) *token.Token {
	for _, t := range r.tokens[min(r.at, len(r.tokens)):min(r.at+n+1, len(r.tokens))] {
		if t.Type == token.DocumentHeaderType || t.Type == token.DocumentEndType {
			return nil
		}
	}
	if r.at+n >= len(r.tokens) {
		return nil
	}
	return r.tokens[r.at+n]
}

func line(t *token.Token) int { return max(t.Position.Line, 1) }

func misplaced(t *token.Token) *fault {
	return &fault{line(t), "a value is not allowed there; check the indentation, and put quotes around text with : or #"}
}

// isText tells whether a token is a single value, as a key may be one.
func isText(t *token.Token) bool {
	switch t.Type {
	case token.StringType, token.SingleQuoteType, token.DoubleQuoteType, token.NullType, token.BoolType, token.FloatType,
		token.IntegerType, token.BinaryIntegerType, token.OctetIntegerType, token.HexIntegerType, token.InfinityType,
		token.NanType, token.MergeKeyType:
		return true
	}
	return false
}

// value reads what begins with the next token, which there is.
func (r *reader) value() (*node, *fault) {
	t := r.peek()
	if r.depth++; r.depth > maxDepth {
		return nil, &fault{line(t), fmt.Sprintf("it is nested deeper than %d", maxDepth)}
	}
	defer func() { r.depth-- }()
	switch {
	case t.Type == token.SequenceEntryType:
		return r.list(t.Position.Column)
	case isText(t) && r.colonAfter():
		return r.object(t.Position.Column)
	}
	return r.inline()
}

// colonAfter tells whether the next token is a key.
func (r *reader) colonAfter() bool {
	colon := r.ahead(1)
	return colon != nil && colon.Type == token.MappingValueType && line(colon) == line(r.peek())
}

// inline reads what may stand behind a key in its line.
func (r *reader) inline() (*node, *fault) {
	t := r.peek()
	n := &node{kind: single, line: line(t), token: t}
	switch {
	case isText(t):
		r.at++
		if t.Type == token.NullType {
			n.kind = nothing
		}
	case t.Type == token.LiteralType || t.Type == token.FoldedType:
		r.at++
		n.token = nil
		if text := r.peek(); text != nil && text.Type == token.StringType && !r.colonAfter() {
			n.token = text
			r.at++
		}
	case t.Type == token.SequenceStartType || t.Type == token.MappingStartType:
		return r.flow()
	case t.Type == token.AnchorType || t.Type == token.AliasType || t.Type == token.TagType:
		return r.unread()
	default:
		return nil, misplaced(t)
	}
	return n, nil
}

// unread takes an anchor, an alias or a tag, with its name and value.
func (r *reader) unread() (*node, *fault) {
	t := r.peek()
	n := &node{kind: unread, line: line(t)}
	r.at++
	if name := r.peek(); t.Type != token.TagType && name != nil && line(name) == line(t) {
		r.at++
	}
	next := r.peek()
	if t.Type == token.AliasType || next == nil || line(next) != line(t) || !isText(next) && !opens(next) {
		return n, nil
	}
	_, err := r.inline()
	return n, err
}

func opens(t *token.Token) bool {
	return t.Type == token.SequenceStartType || t.Type == token.MappingStartType
}

// list reads the items whose dashes stand in the column.
func (r *reader) list(column int) (*node, *fault) {
	n := &node{kind: list, line: line(r.peek())}
	for {
		dash := r.peek()
		if dash == nil || dash.Type != token.SequenceEntryType || dash.Position.Column != column {
			return n, r.ended(column)
		}
		r.at++
		item := &node{line: line(dash)}
		if next := r.peek(); next != nil && (line(next) == line(dash) || next.Position.Column > column) {
			var err *fault
			if item, err = r.value(); err != nil {
				return nil, err
			}
		}
		n.items = append(n.items, item)
	}
}

// ended is the fault of what follows a list or object and is no part of it, but
// stands too far to the right to be one of what is around.
func (r *reader) ended(column int) *fault {
	if t := r.peek(); t != nil && t.Position.Column > column {
		return misplaced(t)
	}
	return nil
}

// object reads the keys that stand in the column, with their values.
func (r *reader) object(column int) (*node, *fault) {
	n := &node{kind: object, line: line(r.peek())}
	for {
		key := r.peek()
		if key == nil || key.Position.Column != column || !isText(key) {
			return n, r.ended(column)
		}
		if !r.colonAfter() {
			return nil, &fault{line(key), "a key without a colon and a space behind it"}
		}
		if err := n.addKey(key); err != nil {
			return nil, err
		}
		colon := r.ahead(1)
		r.at += 2
		item := &node{line: line(colon)}
		var err *fault
		switch next := r.peek(); {
		case next == nil:
		case line(next) == line(colon):
			item, err = r.inline()
		case next.Position.Column > column, next.Position.Column == column && next.Type == token.SequenceEntryType:
			item, err = r.value()
		}
		if err != nil {
			return nil, err
		}
		if next := r.peek(); next != nil && line(next) == line(colon) {
			return nil, misplaced(next)
		}
		n.items = append(n.items, item)
	}
}

// addKey adds a key to an object, which must not have it yet.
func (n *node) addKey(key *token.Token) *fault {
	if slices.ContainsFunc(n.keys, func(other *node) bool { return other.token.Value == key.Value }) {
		return &fault{line(key), "a key is there twice"}
	}
	added := &node{kind: single, line: line(key), token: key}
	n.keys = append(n.keys, added)
	return nil
}

// flow reads what stands in brackets or braces.
func (r *reader) flow() (*node, *fault) {
	open := r.peek()
	if r.depth++; r.depth > maxDepth {
		return nil, &fault{line(open), fmt.Sprintf("it is nested deeper than %d", maxDepth)}
	}
	defer func() { r.depth-- }()
	n, closing := &node{kind: list, line: line(open)}, token.SequenceEndType
	if open.Type == token.MappingStartType {
		n.kind, closing = object, token.MappingEndType
	}
	r.at++
	for {
		t := r.peek()
		switch {
		case t == nil:
			return nil, &fault{line(open), "a bracket or brace is not closed"}
		case t.Type == closing:
			r.at++
			return n, nil
		}
		if err := r.flowItem(n); err != nil {
			return nil, err
		}
		switch t = r.peek(); {
		case t != nil && t.Type == token.CollectEntryType:
			r.at++
		case t != nil && t.Type != closing:
			return nil, misplaced(t)
		}
	}
}

// flowItem reads one item, with its key in an object.
func (r *reader) flowItem(n *node) *fault {
	t := r.peek()
	if n.kind == object {
		if !isText(t) {
			return misplaced(t)
		}
		if err := n.addKey(t); err != nil {
			return err
		}
		r.at++
		if colon := r.peek(); colon == nil || colon.Type != token.MappingValueType {
			n.items = append(n.items, &node{line: line(t)})
			return nil
		}
		r.at++
		if t = r.peek(); t == nil || t.Type == token.CollectEntryType || t.Type == token.MappingEndType {
			n.items = append(n.items, &node{line: n.line})
			return nil
		}
	}
	item, err := r.inline()
	n.items = append(n.items, item)
	return err
}

var errNotRead = errors.New("anchors, aliases, tags and merges are not read; write the value itself")

// text gives the text of a single value.
func (n *node) text() (string, error) {
	switch {
	case n.kind == unread || n.kind == single && n.token != nil && n.token.Type == token.MergeKeyType:
		return "", errNotRead
	case n.kind == nothing:
		return "", errors.New("a value is missing in it")
	case n.kind != single:
		return "", errors.New("a list or map where a single value should be")
	case n.token == nil: // an empty block
		return "", nil
	}
	return n.token.Value, nil
}

// texts gives the texts of a list that has nothing but single values.
func (n *node) texts() []string {
	if n.kind != list {
		return nil
	}
	var texts []string
	for _, item := range n.items {
		text, err := item.text()
		if err != nil {
			return nil
		}
		texts = append(texts, text)
	}
	return texts
}

// appendJSON writes a value as JSON, in the order of the file.
func (n *node) appendJSON(dst []byte) ([]byte, error) {
	open, closing := byte('['), byte(']')
	switch n.kind {
	case nothing:
		return append(dst, "null"...), nil
	case object:
		open, closing = '{', '}'
	case list:
	default:
		return n.appendSingle(dst)
	}
	dst = append(dst, open)
	for i, item := range n.items {
		if i > 0 {
			dst = append(dst, ',')
		}
		if n.kind == object {
			key, err := n.keys[i].text()
			if err != nil {
				return nil, err
			}
			dst = append(appendString(dst, key), ':')
		}
		var err error
		if dst, err = item.appendJSON(dst); err != nil {
			return nil, err
		}
	}
	return append(dst, closing), nil
}

// appendSingle writes a single value: what YAML takes for a number or a truth is
// one.
func (n *node) appendSingle(dst []byte) ([]byte, error) {
	text, err := n.text()
	if err != nil {
		return nil, err
	}
	if n.token == nil {
		return appendString(dst, text), nil
	}
	switch n.token.Type {
	case token.BoolType:
		if value, err := strconv.ParseBool(text); err == nil {
			return strconv.AppendBool(dst, value), nil
		}
	case token.IntegerType, token.FloatType:
		if json.Valid([]byte(text)) {
			return append(dst, text...), nil
		}
	case token.BinaryIntegerType, token.OctetIntegerType, token.HexIntegerType:
		if value, err := strconv.ParseInt(text, 0, 64); err == nil {
			return strconv.AppendInt(dst, value, 10), nil
		}
	}
	return appendString(dst, text), nil
}

// appendString writes a string; < and & stay readable.
func appendString(dst []byte, text string) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(text) // of a string there is no error
	return append(dst, bytes.TrimSuffix(b.Bytes(), []byte("\n"))...)
}
