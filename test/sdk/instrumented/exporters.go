package main

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploggrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploghttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetricgrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// targets are the extension and the collector, as http://host:port.
type targets [2]string

// traces makes an exporter for each target.
func (to targets) traces(ctx context.Context, protocol string) (both spanExporters, err error) {
	for i, target := range to {
		var errMake error
		if protocol == "grpc" {
			both[i], errMake = otlptracegrpc.New(ctx, otlptracegrpc.WithInsecure(),
				otlptracegrpc.WithEndpoint(address(target)), otlptracegrpc.WithCompressor("gzip"))
		} else {
			both[i], errMake = otlptracehttp.New(ctx, otlptracehttp.WithEndpointURL(target+"/v1/traces"),
				otlptracehttp.WithCompression(otlptracehttp.GzipCompression))
		}
		err = errors.Join(err, errMake)
	}
	return both, err
}

func (to targets) logs(ctx context.Context, protocol string) (both logExporters, err error) {
	for i, target := range to {
		var errMake error
		if protocol == "grpc" {
			both[i], errMake = otlploggrpc.New(ctx, otlploggrpc.WithInsecure(), otlploggrpc.WithEndpoint(address(target)))
		} else {
			both[i], errMake = otlploghttp.New(ctx, otlploghttp.WithEndpointURL(target+"/v1/logs"))
		}
		err = errors.Join(err, errMake)
	}
	return both, err
}

func (to targets) metrics(ctx context.Context, protocol string) (both metricExporters, err error) {
	for i, target := range to {
		var errMake error
		if protocol == "grpc" {
			both[i], errMake = otlpmetricgrpc.New(ctx, otlpmetricgrpc.WithInsecure(),
				otlpmetricgrpc.WithEndpoint(address(target)))
		} else {
			both[i], errMake = otlpmetrichttp.New(ctx, otlpmetrichttp.WithEndpointURL(target+"/v1/metrics"))
		}
		err = errors.Join(err, errMake)
	}
	return both, err
}

// spanExporters exports the same spans twice.
type spanExporters [2]sdktrace.SpanExporter

func (x spanExporters) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	return errors.Join(x[0].ExportSpans(ctx, spans), x[1].ExportSpans(ctx, spans))
}

func (x spanExporters) Shutdown(ctx context.Context) error {
	return errors.Join(x[0].Shutdown(ctx), x[1].Shutdown(ctx))
}

// logExporters exports the same logs twice.
type logExporters [2]sdklog.Exporter

func (x logExporters) Export(ctx context.Context, records []sdklog.Record) error {
	return errors.Join(x[0].Export(ctx, records), x[1].Export(ctx, records))
}

func (x logExporters) ForceFlush(ctx context.Context) error {
	return errors.Join(x[0].ForceFlush(ctx), x[1].ForceFlush(ctx))
}

func (x logExporters) Shutdown(ctx context.Context) error {
	return errors.Join(x[0].Shutdown(ctx), x[1].Shutdown(ctx))
}

// metricExporters exports the same metrics twice.
type metricExporters [2]sdkmetric.Exporter

func (x metricExporters) Temporality(kind sdkmetric.InstrumentKind) metricdata.Temporality {
	return x[0].Temporality(kind)
}

func (x metricExporters) Aggregation(kind sdkmetric.InstrumentKind) sdkmetric.Aggregation {
	return x[0].Aggregation(kind)
}

func (x metricExporters) Export(ctx context.Context, metrics *metricdata.ResourceMetrics) error {
	return errors.Join(x[0].Export(ctx, metrics), x[1].Export(ctx, metrics))
}

func (x metricExporters) ForceFlush(ctx context.Context) error {
	return errors.Join(x[0].ForceFlush(ctx), x[1].ForceFlush(ctx))
}

func (x metricExporters) Shutdown(ctx context.Context) error {
	return errors.Join(x[0].Shutdown(ctx), x[1].Shutdown(ctx))
}
