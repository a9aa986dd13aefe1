// Command otelsink receives OTLP with the OpenTelemetry Collector's own
// receiver, over gRPC and HTTP, and appends each payload to a file as one line
// of OTLP JSON. The tests run it as the judge of what we send.
//
//	go build -C tools/otelsink -o ../../.cache/bin/otelsink .
//	.cache/bin/otelsink -http 127.0.0.1:4318 -grpc 127.0.0.1:4317 -output received.jsonl
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"net"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/receiver"
	"go.opentelemetry.io/collector/receiver/otlpreceiver"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	tracenoop "go.opentelemetry.io/otel/trace/noop"
	"go.uber.org/zap"
)

func main() {
	httpAddress := flag.String("http", "127.0.0.1:0", "host:port for OTLP over HTTP; port 0 takes a free one")
	grpcAddress := flag.String("grpc", "127.0.0.1:0", "host:port for OTLP over gRPC; port 0 takes a free one")
	output := flag.String("output", "", "file that the payloads are appended to, one JSON object a line")
	flag.Parse()
	if err := run(*httpAddress, *grpcAddress, *output); err != nil {
		log.Fatalf("otelsink: %v", err)
	}
}

func run(httpAddress, grpcAddress, output string) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	file, err := os.OpenFile(output, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("open -output: %w", err)
	}
	defer file.Close()
	for _, address := range []*string{&httpAddress, &grpcAddress} {
		if err := fixPort(address); err != nil {
			return err
		}
	}
	receivers, err := newReceivers(ctx, httpAddress, grpcAddress, &sink{file: file})
	if err != nil {
		return err
	}
	for _, r := range receivers {
		if err := r.Start(ctx, host{}); err != nil {
			return fmt.Errorf("start receiver: %w", err)
		}
		defer func() { _ = r.Shutdown(context.Background()) }()
	}
	fmt.Printf("http=%s grpc=%s\n", httpAddress, grpcAddress)
	<-ctx.Done()
	return nil
}

// fixPort gives an address with port 0 a port that is free now: the receiver
// does not tell which one it took.
func fixPort(address *string) error {
	l, err := net.Listen("tcp", *address)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	*address = l.Addr().String()
	return l.Close()
}

// newReceivers makes the three faces of the one receiver.
func newReceivers(ctx context.Context, httpAddress, grpcAddress string, s *sink) ([]component.Component, error) {
	factory := otlpreceiver.NewFactory()
	config := factory.CreateDefaultConfig().(*otlpreceiver.Config)
	config.Protocols.HTTP.GetOrInsertDefault().ServerConfig.NetAddr.Endpoint = httpAddress
	config.Protocols.GRPC.GetOrInsertDefault().NetAddr.Endpoint = grpcAddress
	settings := receiver.Settings{
		ID: component.NewID(factory.Type()),
		TelemetrySettings: component.TelemetrySettings{
			Logger:         zap.NewNop(),
			TracerProvider: tracenoop.NewTracerProvider(),
			MeterProvider:  metricnoop.NewMeterProvider(),
			Resource:       pcommon.NewResource(),
		},
		BuildInfo: component.BuildInfo{Command: "otelsink", Version: "test"},
	}
	logs, err := consumer.NewLogs(s.logs)
	if err != nil {
		return nil, err
	}
	traces, err := consumer.NewTraces(s.traces)
	if err != nil {
		return nil, err
	}
	metrics, err := consumer.NewMetrics(s.metrics)
	if err != nil {
		return nil, err
	}
	l, err := factory.CreateLogs(ctx, settings, config, logs)
	if err != nil {
		return nil, err
	}
	t, err := factory.CreateTraces(ctx, settings, config, traces)
	if err != nil {
		return nil, err
	}
	m, err := factory.CreateMetrics(ctx, settings, config, metrics)
	return []component.Component{l, t, m}, err
}

// host is a collector without extensions.
type host struct{}

func (host) GetExtensions() map[component.ID]component.Component { return nil }

// sink appends payloads to the file; what it cannot write is refused.
type sink struct {
	mu   sync.Mutex
	file *os.File
}

func (s *sink) logs(_ context.Context, d plog.Logs) error {
	line, err := (&plog.JSONMarshaler{}).MarshalLogs(d)
	return s.append(line, err)
}

func (s *sink) traces(_ context.Context, d ptrace.Traces) error {
	line, err := (&ptrace.JSONMarshaler{}).MarshalTraces(d)
	return s.append(line, err)
}

func (s *sink) metrics(_ context.Context, d pmetric.Metrics) error {
	line, err := (&pmetric.JSONMarshaler{}).MarshalMetrics(d)
	return s.append(line, err)
}

func (s *sink) append(line []byte, err error) error {
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	_, err = s.file.Write(append(line, '\n'))
	return err
}
