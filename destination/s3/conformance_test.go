package s3

import (
	"fmt"
	"net/url"
	"testing"

	"slipstream/destination"
	"slipstream/destination/conformance"
	"slipstream/test/servers"
)

// dial makes a client for a bucket, configured as a user would.
func dial(t *testing.T, rawURL string, env ...string) *Client {
	t.Helper()
	c, err := Parse(rawURL, conformance.Environment(env...))
	if err != nil {
		t.Fatal(err)
	}
	c.Layout.Function, c.Layout.Extension = "shop", ".ndjson"
	client := New(c)
	t.Cleanup(func() { client.Close() })
	return client
}

func TestConformance(t *testing.T) {
	server := servers.StartS3(t)
	env := server.Env()
	getenv := conformance.Environment(env...)
	stories := 0
	conformance.Run(t, func(t *testing.T) conformance.Case {
		stories++
		bucket := fmt.Sprintf("story-%d", stories)
		server.CreateBucket(t, bucket)
		return conformance.Case{
			New: func(t *testing.T, front string) destination.Destination {
				return dial(t, "s3://"+bucket+"/a%20prefix/ü?endpoint="+url.QueryEscape(front), env...)
			},
			Backend: server.Endpoint,
			Delivered: func(t *testing.T) (bodies [][]byte) {
				for _, key := range server.List(t, bucket, "") {
					bodies = append(bodies, server.Get(t, bucket, key).Body)
				}
				return bodies
			},
			Permanent: []int{413},
			Secrets:   []string{getenv("AWS_SECRET_ACCESS_KEY")},
		}
	})
}
