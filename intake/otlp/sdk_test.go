package otlp

import (
	"context"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploggrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploghttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetricgrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/log"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	"go.opentelemetry.io/otel/sdk/trace"
	collectorlogs "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	collectormetrics "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	collectortrace "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	logspb "go.opentelemetry.io/proto/otlp/logs/v1"
	metricspb "go.opentelemetry.io/proto/otlp/metrics/v1"
	resourcepb "go.opentelemetry.io/proto/otlp/resource/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"slipstream/telemetry"
)

// sdk is what each exporter of OpenTelemetry's Go SDK is made from.
type sdk struct {
	name   string
	traces func(ctx context.Context, address string) (*otlptrace.Exporter, error)
	logs   func(ctx context.Context, address string) (sdklog.Exporter, error)
	metric func(ctx context.Context, address string) (metric.Exporter, error)
}

var sdks = []sdk{
	{"HTTP",
		func(ctx context.Context, a string) (*otlptrace.Exporter, error) {
			return otlptracehttp.New(ctx, otlptracehttp.WithEndpoint(a), otlptracehttp.WithInsecure())
		},
		func(ctx context.Context, a string) (sdklog.Exporter, error) {
			return otlploghttp.New(ctx, otlploghttp.WithEndpoint(a), otlploghttp.WithInsecure())
		},
		func(ctx context.Context, a string) (metric.Exporter, error) {
			return otlpmetrichttp.New(ctx, otlpmetrichttp.WithEndpoint(a), otlpmetrichttp.WithInsecure())
		}},
	{"HTTP with gzip",
		func(ctx context.Context, a string) (*otlptrace.Exporter, error) {
			return otlptracehttp.New(ctx, otlptracehttp.WithEndpoint(a), otlptracehttp.WithInsecure(),
				otlptracehttp.WithCompression(otlptracehttp.GzipCompression))
		},
		func(ctx context.Context, a string) (sdklog.Exporter, error) {
			return otlploghttp.New(ctx, otlploghttp.WithEndpoint(a), otlploghttp.WithInsecure(),
				otlploghttp.WithCompression(otlploghttp.GzipCompression))
		},
		func(ctx context.Context, a string) (metric.Exporter, error) {
			return otlpmetrichttp.New(ctx, otlpmetrichttp.WithEndpoint(a), otlpmetrichttp.WithInsecure(),
				otlpmetrichttp.WithCompression(otlpmetrichttp.GzipCompression))
		}},
	{"gRPC",
		func(ctx context.Context, a string) (*otlptrace.Exporter, error) {
			return otlptracegrpc.New(ctx, otlptracegrpc.WithEndpoint(a), otlptracegrpc.WithInsecure())
		},
		func(ctx context.Context, a string) (sdklog.Exporter, error) {
			return otlploggrpc.New(ctx, otlploggrpc.WithEndpoint(a), otlploggrpc.WithInsecure())
		},
		func(ctx context.Context, a string) (metric.Exporter, error) {
			return otlpmetricgrpc.New(ctx, otlpmetricgrpc.WithEndpoint(a), otlpmetricgrpc.WithInsecure())
		}},
	{"gRPC with gzip",
		func(ctx context.Context, a string) (*otlptrace.Exporter, error) {
			return otlptracegrpc.New(ctx, otlptracegrpc.WithEndpoint(a), otlptracegrpc.WithInsecure(),
				otlptracegrpc.WithCompressor(gzipped))
		},
		func(ctx context.Context, a string) (sdklog.Exporter, error) {
			return otlploggrpc.New(ctx, otlploggrpc.WithEndpoint(a), otlploggrpc.WithInsecure(),
				otlploggrpc.WithCompressor(gzipped))
		},
		func(ctx context.Context, a string) (metric.Exporter, error) {
			return otlpmetricgrpc.New(ctx, otlpmetricgrpc.WithEndpoint(a), otlpmetricgrpc.WithInsecure(),
				otlpmetricgrpc.WithCompressor(gzipped))
		}},
}

var (
	sdkResource = resource.NewSchemaless(attribute.String("service.name", "shop"))
	pbResource  = &resourcepb.Resource{Attributes: []*commonpb.KeyValue{{Key: "service.name", Value: text("shop")}}}
	pbScope     = &commonpb.InstrumentationScope{Name: "test"}
	start       = time.Unix(1_700_000_000, 1)
)

func TestSDKs(t *testing.T) {
	for _, tt := range sdks {
		t.Run(tt.name, func(t *testing.T) {
			s := newStage(t, Config{})
			t.Run("traces", func(t *testing.T) { s.sdkTraces(t, tt) })
			t.Run("logs", func(t *testing.T) { s.sdkLogs(t, tt) })
			t.Run("metrics", func(t *testing.T) { s.sdkMetrics(t, tt) })
			if d := s.drops(); len(d) != 0 {
				t.Errorf("dropped %v", d)
			}
		})
	}
}

// one gives the one export that was taken.
func (s *stage) one(t *testing.T, signal telemetry.Signal, records int) []byte {
	t.Helper()
	got := s.exports()
	if len(got) != 1 || got[0].Signal != signal || got[0].Records != records {
		t.Fatalf("taken %d exports, %+v, want one of %d %s", len(got), got, records, signal)
	}
	return got[0].Body
}

func (s *stage) sdkTraces(t *testing.T, k sdk) {
	exporter, err := k.traces(within(t), s.address)
	if err != nil {
		t.Fatal(err)
	}
	provider := trace.NewTracerProvider(trace.WithBatcher(exporter), trace.WithResource(sdkResource))
	_, span := provider.Tracer("test").Start(within(t), "checkout")
	span.SetAttributes(attribute.Int64("items", 3), attribute.StringSlice("names", []string{"a", "b"}))
	span.AddEvent("paid")
	span.End()
	if err := provider.Shutdown(within(t)); err != nil {
		t.Fatal(err)
	}
	var got collectortrace.ExportTraceServiceRequest
	if err := proto.Unmarshal(s.one(t, telemetry.Traces, 1), &got); err != nil {
		t.Fatal(err)
	}
	read := got.ResourceSpans[0].ScopeSpans[0].Spans[0]
	id, spanID := span.SpanContext().TraceID(), span.SpanContext().SpanID()
	same(t, &collectortrace.ExportTraceServiceRequest{ResourceSpans: []*tracepb.ResourceSpans{{
		Resource: pbResource,
		ScopeSpans: []*tracepb.ScopeSpans{{Scope: pbScope, Spans: []*tracepb.Span{{
			TraceId: id[:], SpanId: spanID[:], Name: "checkout", Kind: tracepb.Span_SPAN_KIND_INTERNAL,
			Flags: 0x101, Status: &tracepb.Status{},
			StartTimeUnixNano: read.StartTimeUnixNano, EndTimeUnixNano: read.EndTimeUnixNano,
			Attributes: []*commonpb.KeyValue{
				{Key: "items", Value: &commonpb.AnyValue{Value: &commonpb.AnyValue_IntValue{IntValue: 3}}},
				{Key: "names", Value: &commonpb.AnyValue{Value: &commonpb.AnyValue_ArrayValue{
					ArrayValue: &commonpb.ArrayValue{Values: []*commonpb.AnyValue{text("a"), text("b")}}}}},
			},
			Events: []*tracepb.Span_Event{{Name: "paid", TimeUnixNano: read.Events[0].TimeUnixNano}},
		}}}},
	}}}, marshal(t, &got))
	if len(read.Events) != 1 || read.EndTimeUnixNano < read.StartTimeUnixNano || read.StartTimeUnixNano == 0 {
		t.Errorf("times of %v", read)
	}
}

func (s *stage) sdkLogs(t *testing.T, k sdk) {
	exporter, err := k.logs(within(t), s.address)
	if err != nil {
		t.Fatal(err)
	}
	provider := sdklog.NewLoggerProvider(sdklog.WithProcessor(sdklog.NewBatchProcessor(exporter)),
		sdklog.WithResource(sdkResource))
	var want []*logspb.LogRecord
	for i := range 300 {
		var r log.Record
		at := start.Add(time.Duration(i))
		r.SetTimestamp(at)
		r.SetObservedTimestamp(at)
		r.SetSeverity(log.SeverityWarn)
		r.SetSeverityText("WARN")
		r.SetBody(attribute.StringValue("a line"))
		r.AddAttributes(attribute.Int("n", i))
		provider.Logger("test").Emit(within(t), r)
		want = append(want, &logspb.LogRecord{TimeUnixNano: uint64(at.UnixNano()),
			ObservedTimeUnixNano: uint64(at.UnixNano()), SeverityNumber: 13, SeverityText: "WARN", Body: text("a line"),
			Attributes: []*commonpb.KeyValue{{Key: "n",
				Value: &commonpb.AnyValue{Value: &commonpb.AnyValue_IntValue{IntValue: int64(i)}}}}})
	}
	if err := provider.Shutdown(within(t)); err != nil {
		t.Fatal(err)
	}
	same(t, &collectorlogs.ExportLogsServiceRequest{ResourceLogs: []*logspb.ResourceLogs{{
		Resource: pbResource, ScopeLogs: []*logspb.ScopeLogs{{Scope: pbScope, LogRecords: want}},
	}}}, s.one(t, telemetry.Logs, 300))
}

func (s *stage) sdkMetrics(t *testing.T, k sdk) {
	exporter, err := k.metric(within(t), s.address)
	if err != nil {
		t.Fatal(err)
	}
	provider := metric.NewMeterProvider(metric.WithReader(metric.NewPeriodicReader(exporter)),
		metric.WithResource(sdkResource))
	counter, err := provider.Meter("test").Int64Counter("orders")
	if err != nil {
		t.Fatal(err)
	}
	counter.Add(within(t), 7)
	if err := provider.Shutdown(within(t)); err != nil {
		t.Fatal(err)
	}
	var got collectormetrics.ExportMetricsServiceRequest
	if err := proto.Unmarshal(s.one(t, telemetry.Metrics, 1), &got); err != nil {
		t.Fatal(err)
	}
	read := got.ResourceMetrics[0].ScopeMetrics[0].Metrics[0].GetSum().GetDataPoints()[0]
	same(t, &collectormetrics.ExportMetricsServiceRequest{ResourceMetrics: []*metricspb.ResourceMetrics{{
		Resource: pbResource,
		ScopeMetrics: []*metricspb.ScopeMetrics{{Scope: pbScope, Metrics: []*metricspb.Metric{{
			Name: "orders", Data: &metricspb.Metric_Sum{Sum: &metricspb.Sum{
				IsMonotonic: true, AggregationTemporality: 2, DataPoints: []*metricspb.NumberDataPoint{{
					StartTimeUnixNano: read.StartTimeUnixNano, TimeUnixNano: read.TimeUnixNano,
					Value: &metricspb.NumberDataPoint_AsInt{AsInt: 7},
				}}}},
		}}}},
	}}}, marshal(t, &got))
}
