package firehose

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/go-faster/jx"

	"slipstream/destination"
	"slipstream/destination/awsauth"
)

// failure is what the service says of one record; the zero value: it is taken.
type failure struct{ code, message string }

// outcome reads the answer to a request of n records: one failure each. It is
// nil when the answer is not Firehose's, or does not say which records failed.
func outcome(body []byte, n int) []failure {
	failed := -1
	var each []failure
	err := jx.DecodeBytes(body).Obj(func(d *jx.Decoder, key string) (err error) {
		switch key {
		case "FailedPutCount":
			failed, err = d.Int()
		case "RequestResponses":
			err = d.Arr(func(d *jx.Decoder) error {
				f, err := recordOutcome(d)
				each = append(each, f)
				return err
			})
		default:
			err = d.Skip()
		}
		return err
	})
	switch {
	case err != nil || failed < 0:
		return nil
	case len(each) == n:
		return each
	case failed == 0:
		return make([]failure, n)
	}
	return nil
}

func recordOutcome(d *jx.Decoder) (f failure, err error) {
	err = d.Obj(func(d *jx.Decoder, key string) (err error) {
		if d.Next() != jx.String {
			return d.Skip()
		}
		switch key {
		case "ErrorCode":
			f.code, err = d.Str()
		case "ErrorMessage":
			f.message, err = d.Str()
		default:
			err = d.Skip()
		}
		return err
	})
	return f, err
}

// refused is the Error for a request of which nothing was taken, as far as one
// can know. Faults of the configuration are not permanent: they may be put right
// while the batch waits.
func (c *Client) refused(resp *destination.Response, creds aws.Credentials) error {
	code, message := awsauth.JSONError(resp, creds)
	text := fmt.Sprintf("status %d", resp.Status)
	if code != "" {
		text += " " + code
	}
	if message != "" {
		text += ": " + message
	}
	return &destination.Error{
		Op: op, Target: c.target(), Status: resp.Status, Err: errors.New(text), Hint: c.hint(resp.Status, code),
		RetryAfter: resp.RetryAfter(time.Now()), Permanent: resp.Status == http.StatusRequestEntityTooLarge,
	}
}

// throttled are the codes of a stream that gets more than its quota.
var throttled = []string{"ServiceUnavailableException", "ThrottlingException", "LimitExceededException"}

// unsigned are the codes of credentials that the service does not believe.
var unsigned = []string{"UnrecognizedClientException", "InvalidSignatureException", "IncompleteSignatureException"}

// hint says what the user may do.
func (c *Client) hint(status int, code string) string {
	arn, _ := awsauth.Partition(c.config.Region)
	arn += ":firehose:" + c.config.Region
	switch {
	case code == "ResourceNotFoundException":
		return "create the stream in " + c.config.Region + ", or check its name and region"
	case code == "ExpiredTokenException", code == "ExpiredToken":
		return "the credentials have expired"
	case slices.Contains(unsigned, code):
		return "check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN, and this machine's clock"
	case slices.Contains(throttled, code):
		return "the stream gets more than its quota; raise it"
	case code == "AccessDeniedException", status == http.StatusForbidden, status == http.StatusUnauthorized:
		return "check firehose:PutRecordBatch on arn:" + arn + ":*:deliverystream/" + c.config.Stream
	case status == http.StatusNotFound, status/100 == 3:
		return "check the endpoint and the region"
	case status/100 == 2:
		return "that was no answer of Firehose, or a part of one; check the endpoint"
	}
	return ""
}
