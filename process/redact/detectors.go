package redact

import (
	"fmt"
	"strings"
)

// Detectors is a set of the detectors that find secrets by their form. The zero
// value is the default set.
type Detectors uint32

// detector is one of them, and the place of its bit.
type detector uint8

const (
	awsAccessKey detector = iota
	awsSecretKey
	bearer
	basic
	jwt
	privateKey
	creditCard
	iban
	email
	ipAddress
	phone
	usSSN
	apiKey
	urlPassword
	token
	highEntropy
	detectors // how many there are

	// What else a literal of the automaton can stand for.
	keyWord   // a key that demands something for its value
	separator // = and :, where a key can only be told by a regexp without a literal
	escape    // \u00, an escaped character
	ownRule   // a rule of the user's
)

// detectorNames are the names in settings and counters.
var detectorNames = [detectors]string{"aws_access_key", "aws_secret_key", "bearer", "basic", "jwt", "private_key",
	"credit_card", "iban", "email", "ip", "phone", "us_ssn", "api_key", "url_password", "token", "high_entropy"}

const (
	// chosen marks a set that was chosen, also an empty one.
	chosen       Detectors = 1 << 31
	allDetectors           = chosen | 1<<detectors - 1
	// defaultDetectors leaves out what is seldom a secret and often needed to
	// understand a log.
	defaultDetectors = allDetectors &^ (1<<ipAddress | 1<<phone | 1<<highEntropy)
)

func (d Detectors) has(one detector) bool {
	if d&chosen == 0 {
		d = defaultDetectors
	}
	return d>>one&1 != 0
}

// String gives the set as ParseDetectors reads it.
func (d Detectors) String() string {
	if d&chosen == 0 {
		d = defaultDetectors
	}
	var names []string
	for i, name := range detectorNames {
		if d>>i&1 != 0 {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ",")
}

// ParseDetectors reads a setting: names of detectors, `default`, `all`, `none`,
// separated by commas, from left to right. `+name` adds and `-name` takes out; a
// list that begins so begins with the default ones. With an error it gives the
// default ones and all that were named.
func ParseDetectors(text string) (Detectors, error) {
	set := chosen
	var unknown []string
	for i, word := range strings.Split(text, ",") {
		word = strings.ToLower(strings.TrimSpace(word))
		name := strings.TrimLeft(word, "+-")
		if i == 0 && word == "" || i == 0 && name != word {
			set = defaultDetectors
		}
		one, ok := detectorSet(name)
		switch {
		case word == "":
		case !ok:
			unknown = append(unknown, word)
		case strings.HasPrefix(word, "-"):
			set = set&^one | chosen
		default:
			set |= one
		}
	}
	if unknown != nil {
		return set | defaultDetectors, fmt.Errorf("parse the detectors %q: there is no %s: the default ones are on as "+
			"well. Known are default, all, none, %s, each with + or - before it",
			text, strings.Join(unknown, ", "), strings.Join(detectorNames[:], ", "))
	}
	return set, nil
}

func detectorSet(name string) (Detectors, bool) {
	switch name {
	case "default":
		return defaultDetectors, true
	case "all":
		return allDetectors, true
	case "none":
		return chosen, true
	}
	for i, known := range detectorNames {
		if name == known {
			return 1 << i, true
		}
	}
	return 0, false
}

// literal is what the automaton looks for, in lower case and with 0 for every
// digit, and what a hit means.
type literal struct {
	text string
	kind detector
	arg  uint16 // the vendor of an api_key, the rule of an ownRule, the key of a keyWord
}

// literals are all built-in ones of a set.
func literals(of Detectors) []literal {
	var all []literal
	add := func(kind detector, texts ...string) {
		for _, text := range texts {
			if of.has(kind) {
				all = append(all, literal{text: text, kind: kind})
			}
		}
	}
	add(awsAccessKey, "akia", "asia", "abia", "acca")
	add(awsSecretKey, "akia", "asia", "secret", "aws_s", "aws-s")
	add(bearer, "bearer")
	add(basic, "basic")
	add(jwt, "eyj")
	add(privateKey, "-----begin", "-----end")
	add(creditCard, "00000000", "0000 0000", "0000-0000", "0000+0000", "0000%000000")
	add(email, "@", "%00")
	add(ipAddress, "0.0", ":")
	add(phone, "+0", "%0b0", "(000)", "000-0000", "000.0000", "000 0000")
	add(usSSN, "000-00-0000")
	add(urlPassword, "://", `:\/\/`, ":%0f%0f", "%0a%0f%0f")
	add(token, "token")
	for i := range ibanLengths {
		add(iban, strings.ToLower(ibanLengths[i].country)+"00")
	}
	if of.has(apiKey) {
		for i, v := range vendors {
			for _, text := range v.literals() {
				all = append(all, literal{text: text, kind: apiKey, arg: uint16(i)})
			}
		}
	}
	return append(all, literal{text: `\u00`, kind: escape})
}
