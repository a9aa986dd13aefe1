// Command writer is the function of bench/collisions: it sends the value of its event
// on each way that there is, as the metric random.WAY.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/aws/aws-lambda-go/lambda"
)

type event struct {
	Value float64 `json:"value"`
}

// writer has the connections of one environment.
type writer struct {
	host  string
	conns map[string]net.Conn
}

func main() {
	host, _, err := net.SplitHostPort(os.Getenv("AWS_LAMBDA_RUNTIME_API"))
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	w := &writer{host: host, conns: map[string]net.Conn{}}
	lambda.Start(w.handle)
}

func (w *writer) handle(_ context.Context, e event) (string, error) {
	now := time.Now()
	err := errors.Join(
		w.write("tcp", "40001", fmt.Sprintf("random.wavefront %g %d source=shop\n", e.Value, now.Unix())),
		w.write("udp", "8125", fmt.Sprintf("random.statsd:%g|d", e.Value)),
		w.post(e.Value, now))
	fmt.Printf("[METRIC] %s aba1328d-5831-11e8-833f-b5cd5e8c0a59 random.line %g\n",
		now.UTC().Format("2006-01-02T15:04:05.000Z"), e.Value)
	fmt.Printf(`{"_aws":{"Timestamp":%d,"CloudWatchMetrics":[{"Namespace":"random","Dimensions":[[]],`+
		`"Metrics":[{"Name":"emf"}]}]},"emf":%g}`+"\n", now.UnixMilli(), e.Value)
	return "ok", err
}

// write writes to a connection that stays.
func (w *writer) write(network, port, text string) (err error) {
	if w.conns[network] == nil {
		if w.conns[network], err = net.Dial(network, net.JoinHostPort(w.host, port)); err != nil {
			delete(w.conns, network)
			return err
		}
	}
	_, err = io.WriteString(w.conns[network], text)
	return err
}

// post exports the value as OpenTelemetry's SDKs do: an exponential histogram of what
// is new.
func (w *writer) post(v float64, now time.Time) error {
	const scale = 8
	body := fmt.Sprintf(`{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"name":"random.otlp","exponentialHistogram":{`+
		`"aggregationTemporality":1,"dataPoints":[{"timeUnixNano":"%d","count":"1","sum":%g,"min":%g,"max":%g,"scale":%d,`+
		`"positive":{"offset":%d,"bucketCounts":["1"]}}]}}]}]}]}`,
		now.UnixNano(), v, v, v, scale, int(math.Ceil(math.Ldexp(math.Log2(v), scale)))-1)
	response, err := http.Post("http://"+net.JoinHostPort(w.host, "4318")+"/v1/metrics", "application/json",
		strings.NewReader(body))
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, response.Body)
	if response.StatusCode != http.StatusOK {
		err = errors.Join(err, fmt.Errorf("status %d", response.StatusCode))
	}
	return errors.Join(err, response.Body.Close())
}
