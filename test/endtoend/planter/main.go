// Command planter is the function of the end-to-end tests of redaction: it writes
// and sends planted secrets in every place that the extension can see.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/aws/aws-lambda-go/lambda"

	"slipstream/handoff"
	"slipstream/test/secrets"
)

// event says which of the cases of a seed to plant.
type event struct {
	Seed  uint64 `json:"seed"`
	Cases int    `json:"cases"` // of that seed
	From  int    `json:"from"`
	To    int    `json:"to"`
	// Long is how many bytes of escapes stand before and behind a secret in one more
	// log line: the platform cuts such a record over two posts.
	Long int `json:"long"`
}

// planter has the connections of one environment.
type planter struct {
	host    string
	handoff *handoff.Client
	client  *http.Client
	conns   map[string]net.Conn
}

func (p *planter) handle(_ context.Context, e event) (any, error) {
	var errs []error
	for i, c := range secrets.Cases(e.Seed, e.Cases)[e.From:e.To] {
		number := e.From + i
		p.print(number, c, e.Long)
		for _, way := range []func(int, secrets.Case) error{p.export, p.handOff, p.statsd, p.wavefront} {
			if err := way(number, c); err != nil {
				errs = append(errs, fmt.Errorf("case %d: %w", number, err))
			}
		}
	}
	if len(errs) > 3 {
		errs = errs[:3]
	}
	return "done", errors.Join(errs...)
}

// print writes log lines: the case as it is, and in lines so long that the
// platform cuts them. Line ends within are written as Lambda's runtimes do.
func (p *planter) print(number int, c secrets.Case, long int) {
	text := textOf(c)
	if c.Kind != "private_key" || !strings.Contains(text, "-----BEGIN ") { // of that, each line is a record
		text = strings.NewReplacer("\r\n", "\r", "\n", "\r").Replace(text)
	}
	fmt.Println(text)
	if long > 0 && number%40 == 0 && !strings.Contains(text, "\n") {
		padding := strings.Repeat(`"\`, long/2)
		fmt.Println(padding + " " + text + " " + padding)
	}
	fmt.Printf("planted %d.line\n", number)
}

// write writes to a connection that stays.
func (p *planter) write(network, port, text string) error {
	conn := p.conns[network]
	if conn == nil {
		var err error
		if conn, err = net.Dial(network, net.JoinHostPort(p.host, port)); err != nil {
			return err
		}
		p.conns[network] = conn
	}
	_, err := io.WriteString(conn, text)
	return err
}

// statsd sends a tag, where one can hold the case, an event and a service check.
func (p *planter) statsd(number int, c secrets.Case) error {
	name := fmt.Sprintf("planted.%d.statsd", number)
	key, text := keyOf(c), string(c.Body)
	if strings.ContainsAny(text, "\n\r") {
		return p.write("udp", "8125", name+":1|c")
	}
	packet := fmt.Sprintf("_e{%d,%d}:%s|%s|#way:%s\n", len(name), len(textOf(c)), name, textOf(c), "event")
	if !strings.ContainsAny(text, ",|") {
		packet += name + ":1|c|#" + key + ":" + text + "\n" + "_sc|" + name + "|1|#" + key + ":" + text + "|m:" + textOf(c)
	} else {
		packet += name + ":1|c"
	}
	return p.write("udp", "8125", packet)
}

// wavefront sends a point tag, a span tag and an event.
func (p *planter) wavefront(number int, c secrets.Case) error {
	name := fmt.Sprintf("planted.%d.wavefront", number)
	if bytes.ContainsAny(c.Body, "\n\r") {
		return p.write("tcp", "2878", name+" 1 source=planter\n")
	}
	value := `"` + strings.ReplaceAll(string(c.Body), `"`, `\"`) + `"`
	key := strings.Map(func(r rune) rune {
		if strings.ContainsRune(`"= `, r) {
			return '_'
		}
		return r
	}, keyOf(c))
	return p.write("tcp", "2878", fmt.Sprintf("%s 1 source=planter %s=%s\n"+
		"%s source=planter traceId=7b3bf470-9456-11e8-9eb6-529269fb1459 spanId=%08x-9456-11e8-9eb6-529269fb1459 "+
		"application=shop service=shop %s=%s 1533531013000 5\n", name, key, value, name, number+1, key, value))
}

// textOf is the case as a text that stands alone.
func textOf(c secrets.Case) string {
	if c.Form == secrets.Value {
		return c.Key + ": " + string(c.Body)
	}
	return string(c.Body)
}

// keyOf is a name that says nothing, unless the case has one.
func keyOf(c secrets.Case) string {
	if c.Key != "" {
		return c.Key
	}
	return "app.note"
}

// export posts log records, spans or data points, in turn.
func (p *planter) export(number int, c secrets.Case) error {
	name := fmt.Sprintf("planted.%d.http", number)
	switch number % 3 {
	case 0:
		return p.post("/v1/logs", exportLog(name, c))
	case 1:
		return p.post("/v1/traces", exportSpan(name, c))
	}
	return p.post("/v1/metrics", exportPoint(name, c))
}

func (p *planter) post(path string, body []byte) error {
	target := "http://" + net.JoinHostPort(p.host, "4318") + path
	response, err := p.client.Post(target, "application/json", bytes.NewReader(body))
	if err != nil {
		return err
	}
	answer, err := io.ReadAll(response.Body)
	if response.StatusCode != http.StatusOK || bytes.Contains(answer, []byte("ejected")) {
		err = errors.Join(err, fmt.Errorf("%s answers %s: %.200s", path, response.Status, answer))
	}
	return errors.Join(err, response.Body.Close())
}

// handOff hands a log record over as a file and as a message.
func (p *planter) handOff(number int, c secrets.Case) error {
	body := binaryLog(fmt.Sprintf("planted.%d.file", number), c)
	if err := p.handoff.Write(handoff.Logs, body); err != nil {
		return err
	}
	return p.handoff.Send(handoff.Logs, binaryLog(fmt.Sprintf("planted.%d.ipc", number), c))
}

func main() {
	host, _, err := net.SplitHostPort(os.Getenv("AWS_LAMBDA_RUNTIME_API"))
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	p := &planter{
		host: host, conns: map[string]net.Conn{}, client: &http.Client{Timeout: 20 * time.Second},
		handoff: handoff.New(handoff.Options{HTTP: net.JoinHostPort(host, "4318"), SendBound: 5 * time.Second}),
	}
	lambda.Start(p.handle)
}
