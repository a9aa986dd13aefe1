package forward

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// Route says where the requests below a path go.
type Route struct {
	// Prefix is the path, "/thundra"; it takes "/thundra" and all below it, not
	// "/thundrax". "" takes every path.
	Prefix string
	// Target is where they go on to: scheme, host and path, after which comes
	// what follows the prefix, and a query that goes before the request's own.
	// Path and query may be secret.
	Target *url.URL
	// Status is what an agent is told at once, 200 to 299.
	Status int
}

const usage = "write /path=https://collector.{region}.example.com"

// Parse reads SLIPSTREAM_FORWARD: "/path=https://host/base", several with
// commas between them. {region} in a target becomes the region's name. Options
// of a target, after its "?": status=202 is the answer to the agent (200 by
// default), query=TEXT, itself escaped, goes with every request. A comma in a
// target is written %2C. Errors hold no target.
func Parse(setting, region string) ([]Route, error) {
	var routes []Route
	for i, entry := range strings.Split(setting, ",") {
		entry = strings.TrimSpace(entry)
		if entry == "" {
			continue
		}
		prefix, target, found := strings.Cut(entry, "=")
		where := fmt.Sprintf("read SLIPSTREAM_FORWARD: entry %d", i+1)
		if !found || !strings.HasPrefix(prefix, "/") {
			return nil, fmt.Errorf("%s does not begin with a path and = (%s; a comma in a target is %%2C)", where, usage)
		}
		r, err := parseRoute(prefix, target, region)
		if err != nil {
			return nil, fmt.Errorf("%s, %s: %w", where, prefix, err)
		}
		if slices.ContainsFunc(routes, func(other Route) bool { return other.Prefix == r.Prefix }) {
			return nil, fmt.Errorf("%s, %s: an earlier entry has this path, too (give each its own)", where, prefix)
		}
		routes = append(routes, r)
	}
	return routes, nil
}

func parseRoute(prefix, target, region string) (Route, error) {
	r := Route{Prefix: strings.TrimRight(prefix, "/"), Status: http.StatusOK}
	path, err := url.ParseRequestURI(prefix)
	if err != nil || path.RequestURI() != prefix || strings.ContainsAny(prefix, "?#") ||
		strings.Contains(prefix, "//") || hasDots(prefix) {
		return r, errors.New("the path is not as a request has it (letters and / are safe, the rest escaped as in a URL)")
	}
	if strings.Contains(target, "{region}") && !isRegion(region) {
		return r, errors.New("the region for {region} is not known (set AWS_REGION, or write it out)")
	}
	target = strings.ReplaceAll(target, "{region}", region)
	u, err := url.Parse(target)
	switch {
	case strings.ContainsAny(target, "{}"):
		return r, errors.New("the target has braces other than {region} (that is the only one there is)")
	case err != nil:
		return r, fmt.Errorf("the target is no URL (%s)", usage)
	case u.Scheme != "https" && u.Scheme != "http":
		return r, fmt.Errorf("the target begins with neither https:// nor http:// (%s)", usage)
	case u.Hostname() == "":
		return r, fmt.Errorf("the target has no host (%s)", usage)
	case u.User != nil:
		return r, errors.New("the target has a user (leave it out: the agent sends its own credential)")
	case u.Fragment != "":
		return r, errors.New("the target has a # (write it as %23)")
	case hasDots(u.EscapedPath()):
		return r, errors.New("the target's path has . or .. in it (write it without)")
	}
	r.Target = &url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path, RawPath: u.RawPath}
	options, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return r, errors.New("what follows the target's ? is malformed (known options: status, query)")
	}
	for name, values := range options {
		if err := r.option(name, values[len(values)-1]); err != nil {
			return r, err
		}
	}
	return r, nil
}

func (r *Route) option(name, value string) error {
	switch name {
	case "status":
		n, err := strconv.Atoi(value)
		if err != nil || n < 200 || n > 299 {
			return errors.New("option status is not 200 to 299 (it is what agents are told when a request is taken)")
		}
		r.Status = n
	case "query":
		if strings.ContainsFunc(value, func(c rune) bool { return c <= ' ' || c == 0x7f || c == '#' }) {
			return errors.New("option query is not escaped as in a URL")
		}
		r.Target.RawQuery = value
	default:
		return errors.New("the target has an option that does not exist (known: status, query; " +
			"a query for the target itself is query=TEXT, escaped)")
	}
	return nil
}

// rest gives what follows the prefix in an escaped path that the route takes.
func (r *Route) rest(path string) (string, bool) {
	rest, ok := strings.CutPrefix(path, r.Prefix)
	return rest, ok && (rest == "" || rest[0] == '/')
}

// match finds the route with the longest prefix; -1 for none.
func match(routes []Route, path string) (route int, rest string) {
	route = -1
	for i := range routes {
		if after, ok := routes[i].rest(path); ok && (route < 0 || len(after) < len(rest)) {
			route, rest = i, after
		}
	}
	return route, rest
}

// hasDots tells whether a path has segments that would lead out of it.
func hasDots(path string) bool {
	for segment := range strings.SplitSeq(path, "/") {
		if segment == "." || segment == ".." {
			return true
		}
		if strings.Contains(segment, "%") && len(segment) <= len("%2e%2e") {
			plain := strings.ReplaceAll(strings.ToLower(segment), "%2e", ".")
			if plain == "." || plain == ".." {
				return true
			}
		}
	}
	return false
}

func isRegion(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-'
	})
}
