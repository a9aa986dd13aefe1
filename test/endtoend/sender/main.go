// Command sender is the function of the tests of the local collector: it sends
// items to the extension on every way that there is, each with a name that can be
// found again, and writes down which it has sent.
package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/aws/aws-lambda-go/lambda"

	"slipstream/handoff"
)

// event says what to do in one invocation.
type event struct {
	ID         int      `json:"id"`
	Items      int      `json:"items"`      // on each way
	Ways       []string `json:"ways"`       // statsd, wavefront, file, ipc, http, forward, and pointWays
	Background bool     `json:"background"` // go on without end after the response
	PauseUs    int      `json:"pause_us"`   // after each item
	Lenient    bool     `json:"lenient"`    // errors are written down, not returned
	Farewell   bool     `json:"farewell"`   // send at SIGTERM instead, which comes before the extension's SHUTDOWN
	Fail       bool     `json:"fail"`       // end with an error, whatever was sent
	Sockets    bool     `json:"sockets"`    // tell what the extension listens on
}

// sender has the connections of one environment.
type sender struct {
	host    string
	written *os.File // of what was sent: "try NAME", then "sent NAME" or "failed NAME"
	handoff *handoff.Client
	client  *http.Client
	conns   map[string]net.Conn
}

func newSender() (*sender, error) {
	host, _, err := net.SplitHostPort(os.Getenv("AWS_LAMBDA_RUNTIME_API"))
	if err != nil {
		return nil, err
	}
	file, err := os.OpenFile(os.Getenv("SENDER_WRITTEN"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	return &sender{
		host: host, written: file, conns: map[string]net.Conn{},
		handoff: handoff.New(handoff.Options{HTTP: net.JoinHostPort(host, "4318"), SendBound: time.Second}),
		client:  &http.Client{Timeout: 10 * time.Second},
	}, nil
}

// send sends one item and writes that down.
func (s *sender) send(way, name string) error {
	if _, err := fmt.Fprintf(s.written, "try %s\n", name); err != nil {
		return err
	}
	err := s.sendOn(way, name)
	word := "sent"
	if err != nil {
		word = "failed"
	}
	_, errWrite := fmt.Fprintf(s.written, "%s %s\n", word, name)
	return errors.Join(err, errWrite)
}

func (s *sender) sendOn(way, name string) error {
	switch way {
	case "statsd":
		return s.write("udp", "8125", name+":1|c|#way:statsd")
	case "wavefront":
		return s.write("tcp", "2878", name+" 1 source=sender way=wavefront\n")
	case "file":
		return s.handoff.Write(handoff.Logs, export(name))
	case "ipc":
		before := s.handoff.Stats().IPC
		if err := s.handoff.Send(handoff.Logs, export(name)); err != nil || s.handoff.Stats().IPC > before {
			return err
		}
		return errors.New("sent as a file instead")
	case "http":
		return s.post("/v1/logs", export(name))
	case "forward":
		return s.post("/vendor/"+name, []byte("body of "+name))
	}
	return fmt.Errorf("no way %q", way)
}

// write writes to a connection that stays.
func (s *sender) write(network, port, text string) error {
	conn := s.conns[network]
	if conn == nil {
		var err error
		if conn, err = net.Dial(network, net.JoinHostPort(s.host, port)); err != nil {
			return err
		}
		s.conns[network] = conn
	}
	_, err := io.WriteString(conn, text)
	return err
}

func (s *sender) post(path string, body []byte) error {
	target := "http://" + net.JoinHostPort(s.host, "4318") + path
	response, err := s.client.Post(target, "application/x-protobuf", bytes.NewReader(body))
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, response.Body)
	if response.StatusCode != http.StatusOK {
		err = errors.Join(err, fmt.Errorf("%s answers %s", path, response.Status))
	}
	return errors.Join(err, response.Body.Close())
}

// export is an ExportLogsServiceRequest with one record whose body is the text.
func export(text string) []byte {
	body := field(5, field(1, []byte(text)))
	record := append(binary.LittleEndian.AppendUint64([]byte{1<<3 | 1}, uint64(time.Now().UnixNano())), body...)
	return field(1, field(2, field(2, record)))
}

// field is a protobuf field that has a length.
func field(number byte, content []byte) []byte {
	return append(binary.AppendUvarint([]byte{number<<3 | 2}, uint64(len(content))), content...)
}

// all sends the items of one round.
func (s *sender) all(e event, round string, from int) (err error) {
	for n := from; n < from+e.Items; n++ {
		for _, way := range e.Ways {
			if pointWays[way] != nil {
				err = errors.Join(err, s.sendPoint(way))
				time.Sleep(time.Duration(e.PauseUs) * time.Microsecond)
				continue
			}
			err = errors.Join(err, s.send(way, fmt.Sprintf("item.%s.%s.%d", way, round, n)))
			time.Sleep(time.Duration(e.PauseUs) * time.Microsecond)
		}
	}
	return err
}

func (s *sender) handle(_ context.Context, e event) (any, error) {
	if e.Sockets {
		return listening()
	}
	if e.Farewell {
		terminated := make(chan os.Signal, 1)
		signal.Notify(terminated, syscall.SIGTERM)
		go func() {
			<-terminated
			if err := s.all(e, fmt.Sprint(e.ID), 0); err != nil {
				fmt.Println("at the end:", err)
			}
			os.Exit(0)
		}()
		return "later", nil
	}
	if e.Background {
		go func() {
			for n := 0; ; n += e.Items {
				if err := s.all(e, fmt.Sprintf("b%d", e.ID), n); err != nil {
					fmt.Println("in the background:", err)
					return
				}
			}
		}()
		time.Sleep(5 * time.Millisecond)
		return "going on", nil
	}
	if err := s.all(e, fmt.Sprint(e.ID), 0); err != nil && !e.Lenient {
		return nil, err
	}
	if e.Fail {
		return nil, errors.New("no such order")
	}
	return "done", nil
}

func main() {
	s, err := newSender()
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	lambda.Start(s.handle)
}
