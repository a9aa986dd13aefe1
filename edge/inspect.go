package edge

import (
	"context"
	"fmt"
	"maps"
	"net"
	"net/url"
	"slices"
	"strings"
	"sync"

	"slipstream/destination/secret"
	"slipstream/edge/buffer"
)

// Inspection is what a configuration amounts to. No value in it is a secret.
type Inspection struct {
	Settings []Setting `json:"settings"`
	Lanes    []Lane    `json:"lanes"`
	// Listeners have a local listener's name and address.
	Listeners []Setting `json:"listeners"`
	// Secrets have a reference and what became of it: "ok", "failed: " and why, or
	// "not tried"; the source is the destination or variable that has it.
	Secrets  []Setting `json:"secrets"`
	Problems []Problem `json:"problems"`
}

// Lane is one way out, as Run would open it.
type Lane struct {
	Destination  string   `json:"destination"`
	ContentType  string   `json:"content_type"`
	Compression  string   `json:"compression"`
	Types        []string `json:"types,omitempty"` // nil for all
	BatchBytes   int      `json:"batch_bytes"`
	BatchInvokes int      `json:"batch_invokes"` // 0 for off
	BatchAge     string   `json:"batch_age"`     // a Go duration
	BufferBytes  int      `json:"buffer_bytes"`  // its share of the memory
	Sends        int      `json:"sends"`         // at once
	Fallback     string   `json:"fallback,omitempty"`
}

// Problem is something that is wrong, or may be.
type Problem struct {
	Error bool   `json:"error"` // else it is a warning: everything works as written
	Text  string `json:"text"`
}

// Inspect says what an environment's configuration amounts to, without doing
// anything; with resolve it tries the references to secrets, within ctx.
func Inspect(ctx context.Context, environment map[string]string, resolve bool) Inspection {
	getenv := func(name string) string { return environment[name] }
	c, errs := Load(getenv)
	in := Inspection{Settings: c.shown(environment), Problems: warnings(&c, environment)}
	lanes, more := c.lanes()
	in.Lanes = lanes
	_, unusable := c.operators()
	if _, err := c.Metrics.filters(); err != nil {
		unusable = append(unusable, err)
	}
	for _, err := range slices.Concat(errs, more, unusable) {
		in.Problems = append(in.Problems, Problem{true, err.Error()})
	}
	for _, l := range localListeners {
		if address, on := c.listener(l.name); on {
			in.Listeners = append(in.Listeners, Setting{l.name, address, c.setting("SLIPSTREAM_LISTEN").Source})
		}
	}
	in.Secrets = c.tried(ctx, resolve)
	for _, s := range in.Secrets {
		if strings.HasPrefix(s.Value, failedText) {
			in.Problems = append(in.Problems, Problem{true, s.Name + " of " + s.Source + " " + s.Value})
		}
	}
	slices.SortStableFunc(in.Problems, func(a, b Problem) int {
		switch {
		case a.Error == b.Error:
			return 0
		case a.Error:
			return -1
		}
		return 1
	})
	return in
}

// shown gives every setting of ours, and the other variables that are set, in
// the order of the reference.
func (c *Config) shown(environment map[string]string) []Setting {
	var all []Setting
	for _, v := range variables {
		if s := *c.setting(v.name); v.set != nil && (s.Value != "" || strings.HasPrefix(v.name, ownPrefix)) {
			s.Value = shownValue(v.name, s.Value)
			all = append(all, s)
			continue
		}
		for name := range strings.SplitSeq(v.name, ", ") {
			if value := environment[name]; value != "" && v.set == nil {
				all = append(all, Setting{name, shownValue(name, value), name})
			}
		}
	}
	return all
}

// shownValue is a setting's value without what is secret.
func shownValue(name, value string) string {
	switch {
	case name == "SLIPSTREAM_DESTINATIONS":
		list := fields(value)
		for i, raw := range list {
			list[i] = shownURL(raw)
		}
		return strings.Join(list, ",")
	case name == "SLIPSTREAM_FORWARD":
		list := fields(value)
		for i, route := range list {
			prefix, target, _ := strings.Cut(route, "=")
			list[i] = prefix + "=" + publicName(target)
		}
		return strings.Join(list, ",")
	case slices.Contains(secretVariables, name):
		return masked(value)
	}
	return value
}

// shownURL is a destination with its options, but without what is secret.
func shownURL(raw string) string {
	var refs secret.References
	cut, err := refs.Cut(raw)
	if err != nil {
		return publicName(raw)
	}
	whole := func(part string) string { return refs.Expand(part, secret.Reference.String) }
	front, query, _ := strings.Cut(cut, "?")
	shown := publicName(whole(front))
	if scheme, rest, ok := strings.Cut(front, "://"); ok && strings.Contains(rest, "@") {
		user := masked(whole(rest[:strings.LastIndex(rest, "@")]))
		shown = strings.Replace(shown, scheme+"://", scheme+"://"+user+"@", 1)
	}
	separator := "?"
	for pair := range strings.SplitSeq(query, "&") {
		name, value, _ := strings.Cut(pair, "=")
		plain, err := url.QueryUnescape(whole(value))
		switch {
		case pair == "":
			continue
		case err != nil || name == "token" || name == "query" || strings.HasPrefix(name, "header."):
			value = masked(whole(value))
		case name == "fallback":
			value = publicName(plain)
			if strings.Contains(plain, "?") {
				value += "?…"
			}
		}
		shown += separator + whole(name) + "=" + whole(value)
		separator = "&"
	}
	return shown
}

// masked has three asterisks for each part of a value that is not a reference.
func masked(value string) string {
	var b strings.Builder
	for value != "" {
		before, rest, found := strings.Cut(value, "${")
		inner, after, closed := strings.Cut(rest, "}")
		if before != "" || found && !closed {
			b.WriteString(hiddenText)
		}
		if !found || !closed {
			break
		}
		b.WriteString(publicName("${" + inner + "}"))
		value = after
	}
	return b.String()
}

// lanes gives the lanes as Run would open them, and the errors of those that it
// could not.
func (c *Config) lanes() ([]Lane, []error) {
	config := *c
	config.SpoolDir = "" // nothing is touched here
	e := &edge{config: config, clock: newClock(nil)}
	errs := e.openLanes(e.resource())
	var all []Lane
	for _, l := range e.lanes {
		lane := Lane{
			Destination: l.name, ContentType: l.encoder.ContentType(), Compression: l.encoding, Types: l.types,
			BatchBytes: l.limits.Bytes, BatchInvokes: l.limits.Invokes, BatchAge: l.limits.Age.String(),
			BufferBytes: l.bufferBytes, Sends: l.pushers,
		}
		if l.signal != "" {
			lane.Types = []string{string(l.signal)}
		}
		if lane.Compression == buffer.Plain {
			lane.Compression = "none"
		}
		if l.fallback != nil {
			lane.Fallback = c.fallbackOf(l.hash)
			_ = l.fallback.Close()
		}
		_ = l.to.Close() // it has done nothing
		all = append(all, lane)
	}
	return all, errs
}

// fallbackOf names the fallback of a lane.
func (c *Config) fallbackOf(hash uint64) string {
	for _, raw := range c.Destinations {
		for _, signal := range signalsOf(raw) {
			name := raw
			if signal != "" {
				name += " " + string(signal)
			}
			if at, err := readAddress(c, raw, signal); err == nil && buffer.LaneHash(name) == hash {
				return publicName(at.options.Get("fallback"))
			}
		}
	}
	return ""
}

const failedText = "failed: "

// tried gives every reference to a secret of AWS, each once a destination, and
// whether it can be resolved.
func (c *Config) tried(ctx context.Context, resolve bool) []Setting {
	var all []Setting
	var references secret.References
	add := func(raw string, at *address) {
		for _, r := range at.References {
			s := Setting{r.Shown(), "not tried", publicName(raw)}
			if !slices.Contains(all, s) {
				all, references = append(all, s), append(references, r)
			}
		}
	}
	for _, raw := range c.Destinations {
		for _, signal := range signalsOf(raw) {
			at, err := readAddress(c, raw, signal)
			if err != nil {
				continue // openLanes has told
			}
			add(raw, at)
			if fallback := at.options.Get("fallback"); fallback != "" {
				if other, err := readAddress(c, fallback, signal); err == nil {
					add(fallback, other)
				}
			}
		}
	}
	if _, refs, err := c.hashKey(); err == nil && c.Policy.Redact != "off" {
		for _, r := range refs {
			all = append(all, Setting{r.Shown(), "not tried", "SLIPSTREAM_REDACT_HASH_KEY"})
			references = append(references, r)
		}
	}
	if !resolve {
		return all
	}
	var trying sync.WaitGroup
	for i, r := range references {
		trying.Go(func() {
			all[i].Value = "ok"
			if _, err := c.secrets.Get(ctx, secret.References{r}); err != nil {
				all[i].Value = failedText + strings.TrimPrefix(err.Error(), r.Shown()+": ")
			}
		})
	}
	trying.Wait()
	return all
}

// warnings are of what works as written, but may not be meant.
func warnings(c *Config, environment map[string]string) []Problem {
	var all []Problem
	warn := func(format string, args ...any) { all = append(all, Problem{Text: fmt.Sprintf(format, args...)}) }
	for _, name := range slices.Sorted(maps.Keys(environment)) {
		known := slices.ContainsFunc(variables, func(v variable) bool { return v.name == name })
		if known || !strings.HasPrefix(name, ownPrefix) {
			continue
		}
		if near := nearest(name); near != "" {
			warn("%s: there is no such variable; is %s meant?", name, near)
		} else {
			warn("%s: there is no such variable; it has no effect", name)
		}
	}
	if strings.Contains(masked(c.Policy.HashKey), hiddenText) {
		warn("SLIPSTREAM_REDACT_HASH_KEY: the key stands in the configuration itself, where many can read it; keep it in a " +
			"secret and write ${secretsmanager:NAME} or ${ssm:NAME}")
	}
	_, keyRefs, _ := c.hashKey()
	regional := len(keyRefs) > 0
	for _, raw := range c.Destinations {
		at, err := readAddress(c, raw, "")
		if err != nil {
			continue
		}
		u, err := at.url(nil)
		if err != nil {
			continue
		}
		regional = regional || len(at.References) > 0 ||
			(u.Scheme == "s3" || u.Scheme == "firehose") && u.Query().Get("region") == ""
		if strings.Contains(shownURL(raw)+shownURL(at.options.Get("fallback")), hiddenText) {
			warn("destination %s: a credential stands in the configuration itself, where many can read it; keep it in a "+
				"secret and write ${secretsmanager:NAME} or ${ssm:NAME}", publicName(raw))
		}
		if open := strings.HasSuffix(u.Scheme, "http"); open && !local(u.Hostname()) && withCredential(at, u) {
			warn("destination %s: its credential goes over the network unencrypted; use https", publicName(raw))
		}
	}
	if regional && first(environment["AWS_REGION"], environment["AWS_DEFAULT_REGION"]) == "" {
		warn("AWS_REGION is not set here, so us-east-1 is taken; on Lambda it is set")
	}
	return all
}

// withCredential tells whether requests to a destination carry one.
func withCredential(at *address, u *url.URL) bool {
	for name := range at.options {
		if name == "token" || strings.HasPrefix(name, "header.") {
			return true
		}
	}
	return u.User != nil || len(at.headers) > 0
}

// local tells whether a host is this machine, or of a network of its own.
func local(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && (ip.IsLoopback() || ip.IsPrivate() || ip.IsLinkLocalUnicast())
}
