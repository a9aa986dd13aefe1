package secret

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// Reference stands in a setting's text for a secret that AWS keeps:
//
//	${secretsmanager:arn-or-name}  ${ssm:name-or-arn}  ${kms:base64-ciphertext}
//
// each with #member for one member of a JSON object.
type Reference struct {
	source
	Member string // of the JSON object that the secret is; "" for all of it
}

// source is what is asked for once, however many members of it are wanted.
type source struct{ kind, name string }

// The kinds of references.
const (
	secretsManager = "secretsmanager"
	parameterStore = "ssm"
	keyManagement  = "kms"
)

// kinds are those that AWS keeps. ${env:NAME} is the caller's own.
var kinds = []string{secretsManager, parameterStore, keyManagement}

// maxShown is how much of a ciphertext is shown: enough to tell two apart.
const maxShown = 12

// String is the reference as it was written; of a ciphertext its beginning.
func (r Reference) String() string {
	name := r.name
	if r.kind == keyManagement && len(name) > maxShown {
		name = name[:maxShown] + "…"
	}
	if r.Member != "" {
		name += "#" + r.Member
	}
	return "${" + r.kind + ":" + name + "}"
}

// Text is a setting's text whose references are cut out. The zero value is an
// empty text without any.
type Text struct {
	// Cut has a mark in place of each reference, made of letters, digits and
	// hyphens: it survives wherever the text is taken apart.
	Cut        string
	References []Reference
}

// mark stands for the reference of that number.
func mark(i int) string { return "slipstream-secret-" + strconv.Itoa(i) + "-" }

// Parse finds the references in a text. Those of other kinds, ${env:NAME} above
// all, stay as they are.
func Parse(text string) (Text, error) {
	var t Text
	var b strings.Builder
	for {
		before, rest, found := strings.Cut(text, "${")
		b.WriteString(before)
		if !found {
			t.Cut = b.String()
			return t, nil
		}
		kind, _, _ := strings.Cut(rest, ":")
		if !slices.Contains(kinds, kind) {
			b.WriteString("${")
			text = rest
			continue
		}
		inner, after, closed := strings.Cut(rest, "}")
		name, member, hasMember := strings.Cut(strings.TrimPrefix(inner, kind+":"), "#")
		switch {
		case !closed:
			return t, fmt.Errorf("a ${%s: in it is not closed; write ${%s:NAME}", kind, kind)
		case name == "" || hasMember && member == "" || strings.ContainsAny(name, "${ "):
			return t, fmt.Errorf("a reference in it is not like ${%s:NAME} or ${%s:NAME#MEMBER}", kind, kind)
		}
		r := Reference{source{kind, name}, member}
		i := slices.Index(t.References, r)
		if i < 0 {
			i = len(t.References)
			t.References = append(t.References, r)
		}
		b.WriteString(mark(i))
		text = after
	}
}

// Expand puts values, one for each reference, into a part of what was cut.
func (t Text) Expand(part string, value func(Reference) string) string {
	if len(t.References) == 0 {
		return part
	}
	pairs := make([]string, 0, 2*len(t.References))
	for i, r := range t.References {
		pairs = append(pairs, mark(i), value(r))
	}
	return strings.NewReplacer(pairs...).Replace(part) // in one pass: a value is never taken apart
}

// Show puts the references themselves back: for messages.
func (t Text) Show(part string) string { return t.Expand(part, Reference.String) }

// Holds tells whether a part of what was cut has a reference in it.
func (t Text) Holds(part string) bool {
	return t.Expand(part, func(Reference) string { return "" }) != part
}

// leastSecret is the shortest value that is kept out of messages: less is no
// secret, and would spoil every message.
const leastSecret = 4

// Hide takes values out of a message, in every form in which they go into a
// request; the references stand in their place. It must see the message before
// anything cuts it off.
func (v Values) Hide(message string) string {
	type form struct{ text, shown string }
	var all []form
	for r, value := range v {
		for _, text := range []string{value, url.PathEscape(value), url.QueryEscape(value),
			strings.Trim(strconv.Quote(value), `"`)} {
			if len(text) >= leastSecret {
				all = append(all, form{text, r.String()})
			}
		}
	}
	// The longest first, should one hold another.
	slices.SortFunc(all, func(a, b form) int { return len(b.text) - len(a.text) })
	for _, f := range all {
		message = strings.ReplaceAll(message, f.text, f.shown)
	}
	return message
}
