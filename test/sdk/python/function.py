"""The Python function of the SDK tests, with the small part of a runtime that it
needs: each invocation sends a trace, logs and metrics with OpenTelemetry's own
exporters, to the extension and straight to a collector."""

import http.client
import json
import os

from opentelemetry import trace
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.grpc import _log_exporter as grpc_logs
from opentelemetry.exporter.otlp.proto.grpc import metric_exporter as grpc_metrics
from opentelemetry.exporter.otlp.proto.grpc import trace_exporter as grpc_traces
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http import _log_exporter as http_logs
from opentelemetry.exporter.otlp.proto.http import metric_exporter as http_metrics
from opentelemetry.exporter.otlp.proto.http import trace_exporter as http_traces
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor, LogRecordExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricExporter, PeriodicExportingMetricReader
from opentelemetry.sdk.metrics.view import (
    ExplicitBucketHistogramAggregation, ExponentialBucketHistogramAggregation, View)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.id_generator import IdGenerator

API = os.environ["AWS_LAMBDA_RUNTIME_API"]
HOST = API.rpartition(":")[0]
FAILURES = []


def exporters(protocol):
    """One of each signal, for the extension and for the collector."""
    if protocol == "grpc":
        return [(grpc_traces.OTLPSpanExporter(endpoint=to, insecure=True),
                 grpc_logs.OTLPLogExporter(endpoint=to, insecure=True),
                 grpc_metrics.OTLPMetricExporter(endpoint=to, insecure=True))
                for to in ("http://" + HOST + ":4317", "http://" + os.environ["DIRECT_GRPC"])]
    return [(http_traces.OTLPSpanExporter(endpoint=to + "/v1/traces", compression=Compression.Gzip),
             http_logs.OTLPLogExporter(endpoint=to + "/v1/logs", compression=Compression.Deflate),
             http_metrics.OTLPMetricExporter(endpoint=to + "/v1/metrics"))
            for to in ("http://" + HOST + ":4318", os.environ["DIRECT_HTTP"])]


class Both:
    """Exports the same twice."""

    both = ()

    def export(self, batch, *more, **named):
        results = [one.export(batch, *more, **named) for one in self.both]
        FAILURES.extend(str(r) for r in results if r.name != "SUCCESS")
        return results[0]

    def force_flush(self, timeout_millis=30000):
        return True

    def shutdown(self, *_, **__):
        for one in self.both:
            one.shutdown()


class Spans(Both, SpanExporter):
    def __init__(self, both):
        self.both = both


class Logs(Both, LogRecordExporter):
    def __init__(self, both):
        self.both = both


class Metrics(Both, MetricExporter):
    def __init__(self, both):
        MetricExporter.__init__(self)
        self.both = both


class Ids(IdGenerator):
    """The ids that the test knows, in their order."""

    def __init__(self, invocation):
        self.invocation, self.spans = invocation + 1, 0

    def generate_trace_id(self):
        return 0x50 << 120 | self.invocation

    def generate_span_id(self):
        self.spans += 1
        return self.invocation << 32 | self.spans


def handle(event):
    FAILURES.clear()
    number = event["id"]

    def moment(n):
        """n milliseconds into the invocation's own second, with odd nanoseconds."""
        return (1_700_000_000 + number) * 1_000_000_000 + n * 1_000_000 + 987_654

    spans, logs, metrics = zip(*exporters(event["protocol"]))
    resource = Resource({
        "service.name": "python-shop", "faas.name": "a name of its own", "invocation": number,
        "protocol": event["protocol"], "teams": ["blue", "green"], "canary": True, "share": 0.25})
    tracing = TracerProvider(resource=resource, id_generator=Ids(number))
    tracing.add_span_processor(BatchSpanProcessor(Spans(spans)))
    logging = LoggerProvider(resource=resource)
    logging.add_log_record_processor(BatchLogRecordProcessor(Logs(logs)))
    metering = MeterProvider([PeriodicExportingMetricReader(Metrics(metrics))], resource, views=[
        View(instrument_name="exponential", aggregation=ExponentialBucketHistogramAggregation()),
        View(instrument_name="latency", aggregation=ExplicitBucketHistogramAggregation([1, 10, 100]))])
    inside = emit_trace(tracing.get_tracer("shop", "1.2.3"), moment)
    emit_logs(logging.get_logger("shop"), inside, number, moment)
    emit_metrics(metering.get_meter("shop"), number)
    for provider in (tracing, logging, metering):
        provider.shutdown()
    if FAILURES:
        raise RuntimeError("; ".join(FAILURES))
    return "done"


def emit_trace(tracer, moment):
    elsewhere = trace.SpanContext(9, 8, True, trace.TraceFlags(1))
    parent = tracer.start_span("order", Context(), trace.SpanKind.SERVER, {"path": "/ordér/ü"}, start_time=moment(1))
    inside = trace.set_span_in_context(parent, Context())
    query = tracer.start_span("query", inside, trace.SpanKind.CLIENT, links=[trace.Link(elsewhere, {"why": "retry"})],
                              start_time=moment(2))
    query.add_event("row", {"number": 2 ** 53 + 1}, moment(3))
    query.add_event("row", timestamp=moment(4))
    query.set_status(trace.StatusCode.OK)
    query.end(moment(5))
    pay = tracer.start_span("pay", inside, start_time=moment(6))
    pay.record_exception(ValueError("no money"), timestamp=moment(7))
    pay.set_status(trace.StatusCode.ERROR, "no money")
    pay.end(moment(8))
    parent.end(moment(9))
    return inside


def emit_logs(logger, inside, number, moment):
    for n, severity in enumerate((SeverityNumber.DEBUG, SeverityNumber.WARN, SeverityNumber.ERROR)):
        body = f"log {n} of invocation {number}"
        logger.emit(LogRecord(
            timestamp=moment(10 + n), observed_timestamp=moment(20 + n), context=Context() if n == 2 else inside,
            severity_text=severity.name, severity_number=severity,
            body={"text": body, "deep": [1, {"er": True}], "raw": b"\x00\xff\x01"} if n == 1 else body,
            attributes={"n": n, "even": n % 2 == 0, "half": n / 2, "list": ["a", "b"]}))


def emit_metrics(meter, number):
    counter = meter.create_counter("orders", "{order}", "Orders taken.")
    counter.add(3, {"kind": "book"})
    counter.add(4, {"kind": "pen"})
    meter.create_gauge("temperature", "Cel").set(-12.5 + number)
    histogram, exponential = meter.create_histogram("latency"), meter.create_histogram("exponential")
    for value in (0.5, 5, 50, 500, 7):
        histogram.record(value)
        exponential.record(value)


def call(method, path, body=None):
    """Asks the Runtime API."""
    connection = http.client.HTTPConnection(API)
    connection.request(method, "/2018-06-01/runtime/invocation/" + path, body)
    response = connection.getresponse()
    text = response.read()
    connection.close()
    return response.headers, text


def main():
    while True:
        headers, text = call("GET", "next")
        name = headers["Lambda-Runtime-Aws-Request-Id"]
        try:
            call("POST", name + "/response", json.dumps(handle(json.loads(text))))
        except Exception as error:  # the test reads it
            call("POST", name + "/error", json.dumps({"errorType": type(error).__name__, "errorMessage": str(error)}))


main()
