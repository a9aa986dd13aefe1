package secret

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"slipstream/destination"
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

// String is the reference as it was written.
func (r Reference) String() string { return r.written(r.name) }

// Shown is the reference for messages: of a ciphertext the beginning only.
func (r Reference) Shown() string {
	if r.kind == keyManagement && len(r.name) > maxShown {
		return r.written(r.name[:maxShown] + "…")
	}
	return r.String()
}

func (r Reference) written(name string) string {
	if r.Member != "" {
		name += "#" + r.Member
	}
	return "${" + r.kind + ":" + name + "}"
}

// References are those of one setting. The zero value is ready.
type References []Reference

// mark stands for the reference of that number. It is made of letters and digits
// and so survives wherever a URL is taken apart.
func mark(i int) string { return "slipstreamsecret" + strconv.Itoa(i) + "x" }

// Cut takes the references out of a text, adds them to the list and leaves marks
// in their places. Those of other kinds, ${env:NAME} above all, stay as they are.
func (l *References) Cut(text string) (string, error) {
	var b strings.Builder
	for {
		before, rest, found := strings.Cut(text, "${")
		b.WriteString(before)
		if !found {
			return b.String(), nil
		}
		kind, _, _ := strings.Cut(rest, ":")
		if !slices.Contains(kinds, kind) {
			b.WriteString("${")
			text = rest
			continue
		}
		inner, after, closed := strings.Cut(rest, "}")
		name, member, hasMember := strings.Cut(strings.TrimPrefix(inner, kind+":"), "#")
		if !closed || name == "" || hasMember && member == "" || strings.ContainsAny(inner, "${") {
			return "", fmt.Errorf("a reference in it is not like ${%s:NAME} or ${%s:NAME#MEMBER}", kind, kind)
		}
		r := Reference{source{kind, name}, member}
		i := slices.Index(*l, r)
		if i < 0 {
			i = len(*l)
			*l = append(*l, r)
		}
		b.WriteString(mark(i))
		text = after
	}
}

// Expand puts something for each reference into a part of what was cut.
func (l References) Expand(part string, value func(Reference) string) string {
	if len(l) == 0 {
		return part
	}
	pairs := make([]string, 0, 2*len(l))
	for i, r := range l {
		pairs = append(pairs, mark(i), value(r))
	}
	return strings.NewReplacer(pairs...).Replace(part) // in one pass: a value is never taken apart
}

// In tells whether a part of what was cut has a reference in it.
func (l References) In(part string) bool {
	return l.Expand(part, func(Reference) string { return "" }) != part
}

// leastSecret is the shortest value that is kept out of messages: less is no
// secret, and would spoil every message.
const leastSecret = 4

// cover keeps values out of messages.
type cover []form

// form is how a value may stand in a message, and what stands there instead.
type form struct{ text, instead string }

// newCover covers values, in every form in which they go into a request or come
// back in an answer, and further texts that were made of them.
func newCover(values Values, further []string) cover {
	var c cover
	add := func(value, instead string) {
		for _, text := range []string{value, url.PathEscape(value), url.QueryEscape(value),
			strings.Trim(strconv.Quote(value), `"`), strings.TrimSuffix(destination.Excerpt(value), "…")} {
			if len(text) >= leastSecret {
				c = append(c, form{text, instead})
			}
		}
	}
	for r, value := range values {
		add(value, r.Shown())
	}
	for _, text := range further {
		add(text, "***")
	}
	// The longest first, should one hold another.
	slices.SortFunc(c, func(a, b form) int { return len(b.text) - len(a.text) })
	return c
}

// hide takes what is covered out of a message.
func (c cover) hide(message string) string {
	for _, f := range c {
		message = strings.ReplaceAll(message, f.text, f.instead)
	}
	return message
}
