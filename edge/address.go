package edge

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"unicode"

	"slipstream/destination"
	"slipstream/destination/secret"
	"slipstream/telemetry"
)

// address is where a destination is, as it was written: references to variables
// are resolved, those to secrets that AWS keeps are cut out, until they are.
type address struct {
	secret.References
	base    *Config
	front   string            // before the ?
	options url.Values        // each once
	headers map[string]string // variables that hold headers, if there are references in them
}

// publicName is a URL without what may be secret: user, query and fragment.
func publicName(raw string) string {
	var refs secret.References
	name, err := refs.Cut(raw) // a reference may hold every character that ends a part of a URL
	if err != nil {
		name, refs = raw, nil
	}
	name, _, _ = strings.Cut(name, "?")
	name, _, _ = strings.Cut(name, "#")
	if scheme, rest, ok := strings.Cut(name, "://"); ok {
		if at := strings.LastIndex(rest, "@"); at >= 0 {
			rest = rest[at+1:]
		}
		name = scheme + "://" + rest
	}
	return refs.Expand(name, secret.Reference.Shown)
}

// readAddress reads a destination with its references. ${env:NAME} may bring the
// whole address of an https destination, with user and query.
func readAddress(c *Config, raw string, signal telemetry.Signal) (*address, error) {
	at := &address{base: c}
	cut, err := at.Cut(raw) // before anything is unescaped: a ciphertext has + and =
	if err != nil {
		return nil, err
	}
	front, query, _ := strings.Cut(cut, "?")
	if at.front, err = resolve(front, c.Getenv); err != nil {
		return nil, err
	}
	if scheme, _, ok := strings.Cut(at.front, "://"); !ok && at.In(at.front) || at.In(scheme) {
		return nil, errors.New("its scheme must be known before its secret is; write https://${ssm:NAME}, and keep the " +
			"address without its https:// there")
	}
	if err := at.readOptions(query); err != nil {
		return nil, err
	}
	if strings.HasPrefix(raw, "otlp+") {
		return at, at.readHeaders(signal)
	}
	return at, nil
}

// readOptions reads the query of a destination, each option once.
func (at *address) readOptions(query string) (err error) {
	at.options, err = url.ParseQuery(query)
	if err != nil {
		return errors.New("its options are not like name=value&name=value")
	}
	for name, list := range at.options {
		if len(list) > 1 {
			return fmt.Errorf("option %q is given twice", name)
		}
		known := slices.ContainsFunc(options, func(o option) bool { return o.name == name })
		if !known && !strings.HasPrefix(name, "header.") {
			return fmt.Errorf("unknown option %q (see docs/configuration.md)", name)
		}
		if name == "fallback" { // it resolves its own
			list[0] = at.Expand(list[0], secret.Reference.String)
			continue
		}
		if list[0], err = at.Cut(list[0]); err == nil {
			list[0], err = resolve(list[0], at.base.Getenv)
		}
		if err != nil {
			return err
		}
		if at.In(list[0]) && !mayBeSecret(name) {
			return fmt.Errorf("option %s: it must be known before a secret is; write the value itself, or ${env:NAME}", name)
		}
	}
	return nil
}

// mayBeSecret tells whether an option may stay unknown until the first send.
func mayBeSecret(option string) bool {
	return slices.Contains([]string{"token", "query", "region", "endpoint"}, option) ||
		strings.HasPrefix(option, "header.")
}

// readHeaders finds references in the variables that hold headers of OTLP.
func (at *address) readHeaders(signal telemetry.Signal) error {
	if signal == "" {
		signal = telemetry.Logs
	}
	at.headers = map[string]string{}
	for _, name := range []string{"OTEL_EXPORTER_OTLP_HEADERS",
		"OTEL_EXPORTER_OTLP_" + strings.ToUpper(string(signal)) + "_HEADERS"} {
		cut, err := at.Cut(at.base.Getenv(name))
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if at.In(cut) {
			at.headers[name] = cut
		}
	}
	return nil
}

// config is the Config to open the destination with: headers have the values in
// the places of their references; without values, marks.
func (at *address) config(values secret.Values) *Config {
	if len(at.headers) == 0 {
		return at.base
	}
	c := *at.base
	c.Getenv = func(name string) string {
		if cut, ok := at.headers[name]; ok {
			return at.put(cut, values, url.PathEscape)
		}
		return at.base.Getenv(name)
	}
	return &c
}

// put has the values, as escaped, in the places of the marks, if there are any.
func (at *address) put(cut string, values secret.Values, escape func(string) string) string {
	if values == nil {
		return cut
	}
	return at.Expand(cut, func(r secret.Reference) string { return escape(values[r]) })
}

// url is the destination with the values in it, or with marks without them.
func (at *address) url(values secret.Values) (*url.URL, error) {
	front, err := at.frontWith(values)
	if err != nil {
		return nil, err
	}
	u, err := url.Parse(front)
	switch { // the cause may quote what is secret
	case values != nil && (err != nil || !isHost(u.Hostname())):
		return nil, errors.New("what the secret holds makes no URL of it; keep a host, host and path, or path there")
	case err != nil:
		return nil, errors.New("it is not a URL; write it like s3://bucket/prefix")
	}
	post := u.Scheme == "https" || u.Scheme == "http"
	if u.User != nil && !post {
		return nil, errors.New("a user or password in the URL is not used; take it out")
	}
	options := url.Values{}
	for name, list := range at.options {
		options.Set(name, at.put(list[0], values, asItIs))
	}
	switch own := u.RawQuery; {
	case own == "":
	case !post || options.Has("query"):
		return nil, errors.New("what it refers to holds a query; write options into the destination itself")
	default:
		options.Set("query", own)
	}
	u.RawQuery = options.Encode()
	return u, nil
}

func asItIs(value string) string { return value }

// frontWith has the values in the part before the ?: as they are, for they may
// be a path, but for user and password, which may hold any character.
func (at *address) frontWith(values secret.Values) (string, error) {
	scheme, rest, ok := strings.Cut(at.front, "://")
	if !ok || values == nil {
		return at.front, nil
	}
	authority, _, _ := strings.Cut(rest, "/")
	user := authority[:strings.LastIndex(authority, "@")+1]
	rest = at.put(rest[len(user):], values, asItIs)
	if head, _, again := strings.Cut(rest, "://"); again && !strings.ContainsAny(head, "/?#") {
		return "", errors.New("the secret holds a scheme, too; keep the address without it there")
	}
	return scheme + "://" + at.put(user, values, func(value string) string {
		return strings.ReplaceAll(url.QueryEscape(value), "+", "%20")
	}) + rest, nil
}

// open makes the destination. Where it has references to secrets, it is made
// once without them, to see whether it can be, and to learn what the lane needs
// to know; the one that sends is made when they are there.
func (at *address) open(found scheme, res *telemetry.Resource, lane *laneConfig) (destination.Destination, error) {
	u, err := at.url(nil)
	if err != nil {
		return nil, err
	}
	to, err := found.open(u, at.config(nil), res, lane)
	if len(at.References) == 0 {
		return to, err
	}
	if err != nil {
		return nil, errors.New(at.Expand(err.Error(), secret.Reference.Shown))
	}
	_ = to.Close() // it has done nothing
	name, signal := lane.name, lane.signal
	return secret.New(secret.Config{
		Name: name, Store: at.base.secrets, References: at.References,
		Open: func(values secret.Values) (destination.Destination, []string, error) {
			u, err := at.url(values)
			if err != nil {
				return nil, nil, err
			}
			to, err := found.open(u, at.config(values), res, &laneConfig{name: name, signal: signal})
			return to, hiddenParts(u, name), err
		},
	}), nil
}

// hiddenParts are those of a URL that its public name does not have.
func hiddenParts(u *url.URL, name string) []string {
	return slices.DeleteFunc([]string{u.Host, u.Hostname(), u.Path, u.EscapedPath(), u.Query().Get("query")},
		func(part string) bool { return strings.Contains(name, part) })
}

// isHost tells whether a text can be a host's name or address.
func isHost(text string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool {
		return r > unicode.MaxASCII || !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune(".-_:", r)
	})
}

// resolve replaces ${env:NAME}.
func resolve(text string, getenv func(string) string) (string, error) {
	var b strings.Builder
	for {
		before, rest, found := strings.Cut(text, "${")
		b.WriteString(before)
		if !found {
			return b.String(), nil
		}
		reference, after, closed := strings.Cut(rest, "}")
		kind, name, _ := strings.Cut(reference, ":")
		if !closed || kind != "env" || name == "" {
			return "", errors.New("a reference in it is not like ${env:NAME} or ${ssm:NAME} " +
				"(docs/configuration.md has the kinds)")
		}
		value := getenv(name)
		if value == "" {
			return "", fmt.Errorf("${env:%s}: the variable is empty; set it", name)
		}
		b.WriteString(value)
		text = after
	}
}
