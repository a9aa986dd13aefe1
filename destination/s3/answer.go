package s3

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"slipstream/destination"
	"slipstream/destination/awsauth"
)

// answer is S3's response with what its XML says.
type answer struct {
	*destination.Response
	code, message, region string
	asked                 string // the region that the request was for
}

func newAnswer(resp *destination.Response, secrets ...string) *answer {
	a := &answer{Response: resp}
	if resp.Status/100 != 2 {
		a.code = destination.Excerpt(element(resp.Body, "Code"), secrets...)
		a.message = destination.Excerpt(element(resp.Body, "Message"), secrets...)
		if a.region = resp.Header.Get("X-Amz-Bucket-Region"); a.region == "" {
			a.region = element(resp.Body, "Region")
		}
	}
	return a
}

// element is the text of the first element of that name. Five fields of a
// known document need no XML decoder in the binary.
func element(body []byte, name string) string {
	_, rest, ok := strings.Cut(string(body), "<"+name+">")
	text, _, closed := strings.Cut(rest, "</"+name+">")
	if !ok || !closed {
		return ""
	}
	return strings.NewReplacer("&lt;", "<", "&gt;", ">", "&quot;", `"`, "&apos;", "'", "&amp;", "&").Replace(text)
}

// taken tells whether S3 holds the object. It answers every put with an ETag;
// a login page or a proxy's greeting has none.
func (a *answer) taken() bool { return a.Status/100 == 2 && a.Header.Get("ETag") != "" }

// otherRegion is the region the bucket is in when that is why S3 refused.
func (a *answer) otherRegion(asked string) string {
	switch {
	case a.Status == http.StatusMovedPermanently, a.Status == http.StatusTemporaryRedirect,
		a.code == "AuthorizationHeaderMalformed", a.code == "PermanentRedirect",
		a.code == "IllegalLocationConstraintException":
	default:
		return ""
	}
	valid := strings.Trim(a.region, "abcdefghijklmnopqrstuvwxyz0123456789-") == "" && len(a.region) < 40
	if a.region == asked || !valid {
		return ""
	}
	return a.region
}

// never are the codes that say that this object will not be taken, whatever is
// put right elsewhere.
var never = []string{"EntityTooLarge", "KeyTooLongError", "MetadataTooLarge"}

// refused is the Error for an answer that is not a success. Faults of the
// configuration are not permanent: they may be put right while the batch waits.
func (c *Client) refused(op string, a *answer) error {
	text := fmt.Sprintf("status %d", a.Status)
	if a.code != "" {
		text += " " + a.code
	}
	if a.message != "" {
		text += ": " + a.message
	}
	e := c.fault(op, errors.New(text), c.hint(op, a))
	e.Status = a.Status
	e.RetryAfter = a.RetryAfter(time.Now())
	e.Permanent = a.Status == http.StatusRequestEntityTooLarge || slices.Contains(never, a.code)
	return e
}

func (c *Client) fault(op string, err error, hint string) *destination.Error {
	return &destination.Error{Op: op, Target: target(&c.config), Err: err, Hint: hint}
}

// hint says what the user may do.
func (c *Client) hint(op string, a *answer) string {
	arn, _ := awsauth.Partition(a.asked)
	arn = "arn:" + arn + ":s3:::" + c.config.Bucket
	switch {
	case a.code == "RequestTimeTooSkewed":
		return "the clock of this machine is wrong"
	case a.code == "ExpiredToken", a.code == "InvalidToken", a.code == "TokenRefreshRequired":
		return "the credentials have expired"
	case a.code == "InvalidAccessKeyId", a.code == "SignatureDoesNotMatch":
		return "check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN"
	case a.Status == http.StatusForbidden && op == "create bucket":
		return "check s3:CreateBucket on " + arn + ", or create the bucket"
	case a.Status == http.StatusForbidden, a.Status == http.StatusUnauthorized:
		return "check s3:PutObject on " + arn + "/*, and kms:GenerateDataKey if the bucket has a KMS key"
	case a.code == "NoSuchBucket":
		return "create the bucket, or add create_bucket=true"
	case a.Status == http.StatusNotFound:
		return "check the bucket's name and the endpoint"
	case a.Status/100 == 3, a.code == "AuthorizationHeaderMalformed":
		return "check the bucket's region and the endpoint"
	case a.Status/100 == 2:
		return "that was not S3 (no ETag); check the endpoint"
	}
	return ""
}
