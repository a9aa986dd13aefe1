package destination

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"
)

// Advice is what can be done about an endpoint of one kind that refuses a request.
type Advice struct {
	Credential string // it wants another one
	Path       string // it has nothing at that path, or takes no POST there
	Size       string // the request is too large
	Media      string // it does not know the format; Request where that is empty
	Request    string // the request is wrong, in whatever way
	Place      string // there is no such endpoint, but a web page
	Passing    []int  // further statuses that may pass
	Quiet      bool   // the answer may hold what was sent: it is in no message
}

// Refused is the Error of an answer that took nothing. Whether trying again is
// useless is judged by its status: 408, 425, 429 and 5xx pass, and what somebody may
// put right on the way, a proxy or a redirect. Secrets are left out of the message.
func (r *Response) Refused(op, target string, a *Advice, secrets []string) *Error {
	text, page := fmt.Sprintf("status %d", r.Status), r.IsPage()
	if message := Excerpt(string(r.Body), secrets...); message != "" && !page && !a.Quiet {
		text += ": " + message
	}
	e := &Error{Op: op, Target: target, Status: r.Status, Err: errors.New(text), RetryAfter: r.RetryAfter(time.Now())}
	switch r.Status {
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return e
	case http.StatusProxyAuthRequired:
		e.Hint = "check HTTPS_PROXY: the proxy wants a credential"
		return e
	}
	switch class := r.Status / 100; {
	case slices.Contains(a.Passing, r.Status):
	case class == 2:
		e.Hint = a.Place
	case class == 3:
		e.Hint = "the endpoint redirects, which is not followed; give the address where it really is"
	case class == 4:
		e.Permanent, e.Hint = true, a.of(r.Status)
	}
	return e
}

// of is the advice on a status from 400 to 499.
func (a *Advice) of(status int) string {
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden:
		return a.Credential
	case http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusGone:
		return a.Path
	case http.StatusRequestEntityTooLarge:
		return a.Size
	case http.StatusUnsupportedMediaType:
		if a.Media != "" {
			return a.Media
		}
	}
	return a.Request
}
