package captured

import (
	"bytes"
	"strings"
	"testing"
)

func TestOf(t *testing.T) {
	for path, want := range map[string]Part{
		"server.address": Host, "url.full": URL, "url.query": Query,
		"http.request.header.authorization": RequestHeader,
		"http.response.header.set-cookie":   ResponseHeader, "http.request.headers": RequestHeader,
		"http.request.headers.cookie": RequestHeader,
		"http.request.body":           RequestBody, "http.request.body.user.password": RequestBody, "faas.event": RequestBody,
		"faas.event.Records.s3":  RequestBody,
		"http.request.body.size": Nothing, "http.response.body.size": Nothing,
		"http.request.method": Nothing, "url.scheme": Nothing, "url.x": Nothing, "server.address.x": Nothing,
		"http.request.headersx": Nothing,
		"":                      Nothing, ".": Nothing, "db.query.parameter.0": RequestBody,
		"faas.result": ResponseBody, "db.query.text": Nothing,
	} {
		if got := Of([]byte(path)); got != want {
			t.Errorf("%s is %d, not %d", path, got, want)
		}
	}
	key := []byte("http.request.header.x-amzn-trace-id")
	if n := testing.AllocsPerRun(10, func() { Of(key) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestHostOf(t *testing.T) {
	for text, want := range map[string]string{
		"https://kms.eu-west-1.amazonaws.com/x?y": "kms.eu-west-1.amazonaws.com", "http://a:b@host:80/": "host",
		"host": "host", "host:443": "host", "https://[::1]:80/x": "::1", "::1": "::1", "https://host?q=@x": "host",
		"https://host#x:1": "host", "": "", "://": "", "[": "", "/path": "",
	} {
		if got := string(HostOf([]byte(text))); got != want {
			t.Errorf("%q is of %q, not %q", text, got, want)
		}
	}
}

func FuzzHostOf(f *testing.F) {
	f.Add([]byte("https://user:word@[::1]:80/a?b#c"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if host := HostOf(text); !bytes.Contains(text, host) || strings.ContainsAny(string(host), "/?#") {
			t.Fatalf("%q is of %q", text, host)
		}
		Of(text)
	})
}
