package awsauth

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/go-faster/jx"

	"slipstream/destination"
)

// renewBefore is how long before their expiry lent credentials are not used
// any more: longer than a put may take.
const renewBefore = 2 * time.Minute

// lentCredentials are the container endpoint's, until they are due.
type lentCredentials struct {
	from  string // the address that lent them
	creds aws.Credentials
}

func (l *lentCredentials) good(from string, now time.Time) bool {
	return l.from == from && l.creds.HasKeys() && now.Before(l.creds.Expires.Add(-renewBefore))
}

// Credentials reads the environment anew, or asks the container endpoint
// (Lambda with SnapStart, ECS, EKS). Having none is a fault that may pass.
func (c *Client) Credentials(ctx context.Context) (aws.Credentials, error) {
	const op = "get credentials"
	getenv := c.getenv
	creds := aws.Credentials{
		AccessKeyID:     getenv("AWS_ACCESS_KEY_ID"),
		SecretAccessKey: getenv("AWS_SECRET_ACCESS_KEY"),
		SessionToken:    getenv("AWS_SESSION_TOKEN"),
	}
	if creds.HasKeys() {
		return creds, nil
	}
	address := getenv("AWS_CONTAINER_CREDENTIALS_FULL_URI")
	if address == "" {
		return creds, c.fault(op, errors.New("there are none in the environment"),
			"set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give the function a role")
	}
	c.mu.Lock()
	lent := c.lent
	c.mu.Unlock()
	if lent.good(address, time.Now()) {
		return lent.creds, nil
	}
	u, err := url.Parse(address)
	if err != nil || !trusted(u) {
		return creds, c.fault(op, errors.New("AWS_CONTAINER_CREDENTIALS_FULL_URI is not https, nor on this host"), "")
	}
	creds, err = c.lend(ctx, u, getenv("AWS_CONTAINER_AUTHORIZATION_TOKEN"))
	if err != nil {
		return creds, destination.NoAnswer(op, c.target, fmt.Errorf("ask the container endpoint: %w", err))
	}
	c.mu.Lock() // not before: one Send that waits for the endpoint must not hold up the others
	c.lent = lentCredentials{from: address, creds: creds}
	c.mu.Unlock()
	return creds, nil
}

// trusted allows plain HTTP only to addresses that do not leave the host, where
// the token cannot be overheard.
func trusted(u *url.URL) bool {
	if u.Scheme == "https" {
		return true
	}
	ip, err := netip.ParseAddr(u.Hostname())
	onHost := err == nil && (ip.IsLoopback() || ip.IsLinkLocalUnicast()) || u.Hostname() == "localhost"
	return u.Scheme == "http" && onHost
}

// lend asks the endpoint. Its errors hold nothing of the answer's body.
func (c *Client) lend(ctx context.Context, u *url.URL, token string) (aws.Credentials, error) {
	var creds aws.Credentials
	req := &http.Request{Method: http.MethodGet, URL: u, Host: u.Host, Header: http.Header{}}
	if token != "" {
		req.Header.Set("Authorization", token)
	}
	resp, err := c.http.Do(ctx, req)
	if err != nil {
		return creds, err
	}
	if resp.Status != http.StatusOK {
		return creds, fmt.Errorf("status %d", resp.Status)
	}
	expires := ""
	if err := jx.DecodeBytes(resp.Body).Obj(func(d *jx.Decoder, key string) (err error) {
		switch key {
		case "AccessKeyId":
			creds.AccessKeyID, err = d.Str()
		case "SecretAccessKey":
			creds.SecretAccessKey, err = d.Str()
		case "Token":
			creds.SessionToken, err = d.Str()
		case "Expiration":
			expires, err = d.Str()
		default:
			err = d.Skip()
		}
		return err
	}); err != nil || !creds.HasKeys() {
		return creds, errors.New("the answer is no credentials document")
	}
	creds.Expires, err = time.Parse(time.RFC3339, expires)
	if err != nil { // without an expiry they are asked for again each time
		creds.Expires = time.Time{}
	}
	creds.CanExpire = !creds.Expires.IsZero()
	return creds, nil
}

// jsonError finds a refusal's code and message: in the body's __type (JSON 1.1)
// or the header x-amzn-ErrorType (REST).
func jsonError(resp *destination.Response) (code, message string) {
	code = resp.Header.Get("X-Amzn-Errortype")
	_ = jx.DecodeBytes(resp.Body).Obj(func(d *jx.Decoder, key string) error { // no JSON: no message
		if key != "__type" && key != "message" && key != "Message" || d.Next() != jx.String {
			return d.Skip()
		}
		text, err := d.Str()
		if key == "__type" {
			code = text
		} else {
			message = text
		}
		return err
	})
	return code, message
}
