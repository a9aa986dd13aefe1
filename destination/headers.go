package destination

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode"
)

// Headers are the user's own of each request to an HTTP destination. Their
// values are secrets.
type Headers http.Header

// Set takes one. Its errors never hold the value.
func (h Headers) Set(name, value string) error {
	if name == "" || strings.ContainsFunc(name, func(r rune) bool {
		return r > unicode.MaxASCII || !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("-_.", r)
	}) {
		return errors.New("that is no header's name")
	}
	if strings.ContainsFunc(value, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) {
		return fmt.Errorf("the value of header %s holds control characters", name)
	}
	http.Header(h).Set(name, value)
	return nil
}

// Option takes header.NAME or token of a URL's query; known is false for any other
// option. Its errors never hold the value.
func (h Headers) Option(name, value string) (known bool, err error) {
	if header, ok := strings.CutPrefix(name, "header."); ok {
		return true, h.Set(header, value)
	}
	if name != "token" {
		return false, nil
	}
	if value = strings.TrimSpace(value); value == "" {
		return true, errors.New("option token is empty")
	}
	return true, h.Set("Authorization", "Bearer "+value)
}

// SetUser makes a URL's user into basic authorization; nil is none.
func (h Headers) SetUser(user *url.Userinfo) {
	if user == nil {
		return
	}
	password, _ := user.Password()
	text := base64.StdEncoding.EncodeToString([]byte(user.Username() + ":" + password))
	http.Header(h).Set("Authorization", "Basic "+text)
}

// Secrets are the values, for Excerpt. Of "Bearer …" the second half alone is
// one, too, and of "Basic …" the user and the password.
func (h Headers) Secrets() []string {
	var secrets []string
	for _, values := range h {
		for _, v := range values {
			secrets = append(secrets, v)
			if _, token, ok := strings.Cut(v, " "); ok {
				secrets = append(secrets, token)
				if user, err := base64.StdEncoding.DecodeString(token); err == nil {
					secrets = append(secrets, longSecrets(strings.SplitN(string(user), ":", 2))...)
				}
			}
		}
	}
	return secrets
}

// SecretsAt are what no message of an endpoint may hold: the values, and what of
// its URL is not in shown.
func (h Headers) SecretsAt(u *url.URL, shown string) []string {
	secrets := h.Secrets()
	if u.RawQuery != "" {
		secrets = append(secrets, u.RequestURI(), u.RawQuery)
		for _, values := range u.Query() {
			secrets = append(secrets, longSecrets(values)...)
		}
	}
	for _, part := range []string{u.EscapedPath(), u.Path, u.Host} {
		if len(part) > 1 && !strings.Contains(shown, part) {
			secrets = append(secrets, part)
		}
	}
	return secrets
}

// longSecrets leaves out what is too short to be secret, and would hide half of
// any message.
func longSecrets(texts []string) []string {
	return slices.DeleteFunc(texts, func(text string) bool { return len(text) < 4 })
}
