// Command instrumented is the Go function of the SDK tests: each invocation
// sends a trace, logs and metrics with OpenTelemetry's own exporters, to the
// extension and, as the measure of all things, straight to a collector.
package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambdacontext"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/log"
	"go.opentelemetry.io/otel/metric"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// event says which invocation of the test it is, and which protocol to use.
type event struct {
	ID       int    `json:"id"`
	Protocol string `json:"protocol"` // "http" or "grpc"
	// Sampled is a usual function: it names its invocation, as instrumentation does, and
	// nothing is wrong with it unless Failed.
	Sampled, Failed bool
	// Run is a program that is run instead; HOST in its arguments is where the
	// extension listens.
	Run []string `json:"run"`
}

// moment is when things have happened: n milliseconds into the invocation's own
// second, with odd nanoseconds, so that a lost digit shows.
func (e event) moment(n int) time.Time {
	if e.Sampled {
		return time.Now()
	}
	return time.Unix(1_700_000_000+int64(e.ID), int64(n)*1_000_000+987_654)
}

// trace is the invocation's trace id; its last byte is the invocation.
func (e event) trace() (id trace.TraceID) {
	copy(id[:], "instrumented-go")
	id[15] = byte(e.ID + 1)
	return id
}

// span is the id of the invocation's span n.
func (e event) span(n int) (id trace.SpanID) {
	binary.BigEndian.PutUint32(id[:], uint32(e.ID+1))
	binary.BigEndian.PutUint32(id[4:], uint32(n+1))
	return id
}

// ids gives the ids that the test knows, in their order.
type ids struct {
	event
	spans int
}

func (g *ids) NewIDs(ctx context.Context) (trace.TraceID, trace.SpanID) {
	return g.trace(), g.NewSpanID(ctx, g.trace())
}

func (g *ids) NewSpanID(context.Context, trace.TraceID) trace.SpanID {
	g.spans++
	return g.span(g.spans - 1)
}

func handle(ctx context.Context, e event) (string, error) {
	host, _, err := net.SplitHostPort(os.Getenv("AWS_LAMBDA_RUNTIME_API"))
	if err != nil {
		return "", err
	}
	if len(e.Run) > 0 {
		return run(ctx, e.Run, host)
	}
	to := targets{"http://" + net.JoinHostPort(host, "4318"), os.Getenv("DIRECT_HTTP")}
	if e.Protocol == "grpc" {
		to = targets{"http://" + net.JoinHostPort(host, "4317"), os.Getenv("DIRECT_GRPC")}
	}
	own, err := resource.New(ctx, resource.WithAttributes(
		attribute.String("service.name", "go-shop"), attribute.String("faas.name", "a name of its own"),
		attribute.Int("invocation", e.ID), attribute.String("protocol", e.Protocol),
		attribute.StringSlice("teams", []string{"blue", "green"}), attribute.Bool("canary", true),
		attribute.Float64("share", 0.25)))
	if err != nil {
		return "", err
	}
	spans, err := to.traces(ctx, e.Protocol)
	if err != nil {
		return "", err
	}
	logs, err := to.logs(ctx, e.Protocol)
	if err != nil {
		return "", err
	}
	metrics, err := to.metrics(ctx, e.Protocol)
	if err != nil {
		return "", err
	}
	tracing := sdktrace.NewTracerProvider(sdktrace.WithResource(own), sdktrace.WithBatcher(spans),
		sdktrace.WithIDGenerator(&ids{event: e}))
	logging := sdklog.NewLoggerProvider(sdklog.WithResource(own),
		sdklog.WithProcessor(sdklog.NewBatchProcessor(logs)))
	metering := sdkmetric.NewMeterProvider(sdkmetric.WithResource(own),
		sdkmetric.WithReader(sdkmetric.NewPeriodicReader(metrics)),
		sdkmetric.WithView(sdkmetric.NewView(sdkmetric.Instrument{Name: "exponential"},
			sdkmetric.Stream{Aggregation: sdkmetric.AggregationBase2ExponentialHistogram{MaxSize: 160, MaxScale: 20}})))
	inside := e.emitTrace(ctx, tracing.Tracer("shop", trace.WithInstrumentationVersion("1.2.3")))
	e.emitLogs(inside, logging.Logger("shop"))
	err = e.emitMetrics(ctx, metering.Meter("shop"))
	return "done", errors.Join(err, tracing.Shutdown(ctx), logging.Shutdown(ctx), metering.Shutdown(ctx))
}

// emitTrace makes a parent with two children. It gives the context of the parent.
func (e event) emitTrace(ctx context.Context, tracer trace.Tracer) context.Context {
	elsewhere := trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: trace.TraceID{15: 9}, SpanID: trace.SpanID{7: 8}, TraceFlags: trace.FlagsSampled, Remote: true})
	parentCtx, parent := tracer.Start(ctx, "order", trace.WithTimestamp(e.moment(1)),
		trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(attribute.String("path", "/ordér/ü")))
	_, query := tracer.Start(parentCtx, "query", trace.WithTimestamp(e.moment(2)),
		trace.WithSpanKind(trace.SpanKindClient), trace.WithLinks(trace.Link{SpanContext: elsewhere,
			Attributes: []attribute.KeyValue{attribute.String("why", "retry")}}))
	if c, ok := lambdacontext.FromContext(ctx); ok && e.Sampled {
		parent.SetAttributes(attribute.String("faas.invocation_id", c.AwsRequestID))
	}
	query.AddEvent("row", trace.WithTimestamp(e.moment(3)), trace.WithAttributes(attribute.Int("number", 1<<53+1)))
	query.AddEvent("row", trace.WithTimestamp(e.moment(4)))
	query.SetStatus(codes.Ok, "")
	query.End(trace.WithTimestamp(e.moment(5)))
	_, pay := tracer.Start(parentCtx, "pay", trace.WithTimestamp(e.moment(6)))
	if !e.Sampled || e.Failed {
		pay.RecordError(errors.New("no money"), trace.WithTimestamp(e.moment(7)))
		pay.SetStatus(codes.Error, "no money")
	}
	pay.End(trace.WithTimestamp(e.moment(8)))
	parent.End(trace.WithTimestamp(e.moment(9)))
	return parentCtx
}

// emitLogs writes within the parent span, and once outside.
func (e event) emitLogs(inside context.Context, logger log.Logger) {
	for n, severity := range []log.Severity{log.SeverityDebug, log.SeverityWarn, log.SeverityError} {
		var r log.Record
		r.SetTimestamp(e.moment(10 + n))
		r.SetObservedTimestamp(e.moment(20 + n))
		if e.Sampled && !e.Failed {
			severity = log.SeverityInfo
		}
		r.SetSeverity(severity)
		r.SetSeverityText(severity.String())
		r.SetBody(attribute.StringValue(fmt.Sprintf("log %d of invocation %d", n, e.ID)))
		r.AddAttributes(attribute.Int("n", n), attribute.Bool("even", n%2 == 0), attribute.Float64("half", float64(n)/2))
		ctx := inside
		if n == 2 {
			ctx = context.Background()
		}
		logger.Emit(ctx, r)
	}
}

// emitMetrics counts and measures.
func (e event) emitMetrics(ctx context.Context, meter metric.Meter) error {
	counter, err := meter.Int64Counter("orders", metric.WithUnit("{order}"), metric.WithDescription("Orders taken."))
	if err != nil {
		return err
	}
	gauge, err := meter.Float64Gauge("temperature", metric.WithUnit("Cel"))
	if err != nil {
		return err
	}
	histogram, err := meter.Float64Histogram("latency", metric.WithExplicitBucketBoundaries(1, 10, 100))
	if err != nil {
		return err
	}
	exponential, err := meter.Float64Histogram("exponential")
	if err != nil {
		return err
	}
	counter.Add(ctx, 3, metric.WithAttributes(attribute.String("kind", "book")))
	counter.Add(ctx, 4, metric.WithAttributes(attribute.String("kind", "pen")))
	gauge.Record(ctx, -12.5+float64(e.ID))
	for _, value := range []float64{0.5, 5, 50, 500, 7} {
		histogram.Record(ctx, value)
		exponential.Record(ctx, value)
	}
	return nil
}

// run gives what the program has printed, if it succeeds.
func run(ctx context.Context, command []string, host string) (string, error) {
	for i := range command {
		command[i] = strings.ReplaceAll(command[i], "HOST", host)
	}
	out, err := exec.CommandContext(ctx, command[0], command[1:]...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("run %v: %w: %s", command, err, out)
	}
	return string(out), nil
}

func main() { lambda.Start(handle) }

// address is a target without its scheme.
func address(target string) string { return strings.TrimPrefix(target, "http://") }
