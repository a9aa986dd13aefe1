package forward

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// row is a route as the tests write it.
type row struct {
	Prefix, Target string
	Status         int
}

func rows(routes []Route) (rows []row) {
	for _, r := range routes {
		rows = append(rows, row{r.Prefix, r.Target.String(), r.Status})
	}
	return rows
}

func TestParse(t *testing.T) {
	for setting, want := range map[string][]row{
		"":                                  nil,
		" , ":                               nil,
		"/t=https://h":                      {{"/t", "https://h", 200}},
		"/t/=http://h:80/base/":             {{"/t", "http://h:80/base/", 200}},
		"/=https://h/a%2Fb":                 {{"", "https://h/a%2Fb", 200}},
		"/a%20b=https://[::1]:4/x?":         {{"/a%20b", "https://[::1]:4/x", 200}},
		"/t=https://{region}.c.io/{region}": {{"/t", "https://eu-west-1.c.io/eu-west-1", 200}},
		"/t=https://h?status=202&query=a=1": {{"/t", "https://h?a=1", 202}},
		"/t=https://h?query=a%3D%252C%26b":  {{"/t", "https://h?a=%2C&b", 200}},
		" /a=https://h , /a/b=https://i?status=204,": {
			{"/a", "https://h", 200}, {"/a/b", "https://i", 204}},
	} {
		routes, err := Parse(setting, "eu-west-1")
		if err != nil {
			t.Errorf("%s: %v", setting, err)
		}
		if diff := cmp.Diff(want, rows(routes)); diff != "" {
			t.Errorf("%s:\n%s", setting, diff)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for setting, want := range map[string]string{
		"https://h/secret":                     "entry 1 does not begin with a path and = (write /path=https://",
		"/a=https://h,https://h/secret":        "entry 2 does not begin with a path",
		"/a":                                   "does not begin with a path and =",
		"/a=h/secret":                          "entry 1, /a: the target begins with neither https:// nor http://",
		"/a=ftp://secret":                      "neither",
		"/a=https://":                          "has no host",
		"/a=https://:443/secret":               "has no host",
		"/a=https://h:secret/":                 "is no URL",
		"/a=https://u:secret@h":                "has a user",
		"/a=https://h/#secret":                 "write it as %23",
		"/a=https://h/secret/../x":             ". or ..",
		"/a=https://h?key=secret":              "known: status, query",
		"/a=https://h?%zz=secret":              "malformed",
		"/a=https://h?status=secret":           "option status is not 200 to 299",
		"/a=https://h?status=302":              "option status is not 200 to 299",
		"/a=https://h?query=a%20secret":        "option query is not escaped",
		"/a=https://{zone}.secret":             "braces other than {region}",
		"/a b=https://h":                       "is not as a request has it",
		"/a?b=https://h":                       "is not as a request has it",
		"/a//b=https://h":                      "is not as a request has it",
		"/a/%2e%2E=https://h":                  "is not as a request has it",
		"/a=https://h,/b=https://h,/a/=http:g": "entry 3, /a/: the target has no host",
		"/a=https://h, /a/=https://secret":     "entry 2, /a/: an earlier entry has this path",
	} {
		routes, err := Parse(setting, "eu-west-1")
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v, want %q in it", setting, err, want)
		}
		if routes != nil {
			t.Errorf("%s: gives %v", setting, rows(routes))
		}
	}
	for _, region := range []string{"", "evil.example.com/"} {
		if _, err := Parse("/a=https://{region}.c.io", region); err == nil || !strings.Contains(err.Error(), "AWS_REGION") {
			t.Errorf("region %q: %v", region, err)
		}
	}
}

func TestMatch(t *testing.T) {
	routes, err := Parse("/a=http://h,/a/b/c=http://h,/a/b=http://h,/d%2Fe=http://h", "")
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]struct {
		route int
		rest  string
	}{
		"/":        {-1, ""},
		"/a":       {0, ""},
		"/a/":      {0, "/"},
		"/a/bc":    {0, "/bc"},
		"/ab":      {-1, ""},
		"/a/b":     {2, ""},
		"/a/b/x//": {2, "/x//"},
		"/a/b/c":   {1, ""},
		"/a/b/c/d": {1, "/d"},
		"/d%2Fe/f": {3, "/f"},
		"/d/e/f":   {-1, ""},
	} {
		if route, rest := match(routes, path); route != want.route || rest != want.rest {
			t.Errorf("%s: route %d, rest %q, want %+v", path, route, rest, want)
		}
	}
	all, err := Parse("/=http://h,/a=http://h", "")
	if err != nil {
		t.Fatal(err)
	}
	if route, rest := match(all, "/x"); route != 0 || rest != "/x" {
		t.Errorf("/ takes the rest: route %d, %q", route, rest)
	}
	if route, _ := match(all, "/a/x"); route != 1 {
		t.Errorf("the longest wins: route %d", route)
	}
}

func TestHopByHopIsSorted(t *testing.T) {
	if !slices.IsSorted(hopByHop) {
		t.Error("the binary search needs it sorted")
	}
}

func FuzzParse(f *testing.F) {
	f.Add("/t=https://{region}.collector.thundra.io/v1?status=202&query=a%3D1,/o=http://h:1", "eu-west-1")
	f.Add("/a=https://h,/a/=https://h", "")
	f.Add("/%2e%2e=https://[::1]:80/%zz?=&;", "x")
	f.Fuzz(func(t *testing.T, setting, region string) {
		routes, err := Parse(setting, region)
		if err != nil && routes != nil {
			t.Errorf("both %v and an error", rows(routes))
		}
		for _, r := range routes {
			if r.Target.Hostname() == "" || r.Target.User != nil || r.Status < 200 || r.Status > 299 {
				t.Errorf("a route to %s that answers %d", r.Target, r.Status)
			}
			if route, rest := match(routes, r.Prefix+"/x"); route < 0 || !strings.HasSuffix(rest, "/x") {
				t.Errorf("%q has no route: %d, %q", r.Prefix, route, rest)
			}
		}
	})
}
