"""Writes EMF with Powertools, as functions do, to stdout. What it asked for goes
to stderr, a JSON object a line: namespace, name, unit, values and dimensions."""

import json
import sys
import types

from aws_lambda_powertools import Metrics
from aws_lambda_powertools.metrics import EphemeralMetrics, MetricResolution, MetricUnit, single_metric


def expect(namespace, name, unit, values, **dimensions):
    want = {"namespace": namespace, "name": name, "unit": unit, "values": values, "dimensions": dimensions}
    print(json.dumps(want), file=sys.stderr)


def units(metrics):
    for unit in MetricUnit:
        metrics.add_metric(name="unit " + unit.value, unit=unit, value=1.5)
        expect("Shop", "unit " + unit.value, unit.value, [1.5], service="cart")
    metrics.flush_metrics()


def values(metrics):
    latencies = [12.5, 3, 12.5, 0.25, -7, 1e-9, 123456789.125]
    for value in latencies:
        metrics.add_metric(name="latency", unit=MetricUnit.Milliseconds, value=value)
    metrics.add_metric(name="orders", unit=MetricUnit.Count, value=3, resolution=MetricResolution.High)
    metrics.add_metadata(key="order \"17\"", value={"nested": [1, "ü"]})
    expect("Shop", "latency", "Milliseconds", latencies, service="cart")
    expect("Shop", "orders", "Count", [3], service="cart")
    metrics.flush_metrics()


def dimensions(metrics):
    metrics.add_dimension(name="städte", value="Köln \"am\" Rhein")
    metrics.add_metric(name="visits", unit="Count", value=1)
    expect("Shop", "visits", "Count", [1], service="cart", **{"städte": "Köln \"am\" Rhein"})
    metrics.flush_metrics()


def sets(metrics):
    metrics.add_dimensions(environment="prod", region="eu-west-1")
    metrics.add_metric(name="sets", unit="Count", value=1)
    expect("Shop", "sets", "Count", [1], service="cart")
    expect("Shop", "sets", "Count", [1], environment="prod", region="eu-west-1")
    metrics.flush_metrics()


def many(metrics):
    """The library writes a document itself after 100 values of a metric."""
    for value in range(250):
        metrics.add_metric(name="many", unit="Bytes", value=value)
    metrics.flush_metrics()
    for start in range(0, 250, 100):
        expect("Shop", "many", "Bytes", list(range(start, min(start + 100, 250))), service="cart")


def single():
    with single_metric(name="alone", unit=MetricUnit.Seconds, value=2, namespace="Other") as metric:
        metric.add_dimension(name="function", value="f")
    expect("Other", "alone", "Seconds", [2], function="f")


def ephemeral():
    metrics = EphemeralMetrics(namespace="Tenant", service="t")
    metrics.add_metric(name="calls", unit="Count", value=1)
    expect("Tenant", "calls", "Count", [1], service="t")
    metrics.flush_metrics()


def cold_start():
    metrics = Metrics(namespace="Cold", service="cart")

    @metrics.log_metrics(capture_cold_start_metric=True)
    def handler(event, context):
        metrics.add_metric(name="handled", unit="Count", value=1)

    context = types.SimpleNamespace(
        function_name="shop", memory_limit_in_mb=128, invoked_function_arn="arn", aws_request_id="id")
    for _ in range(2):
        handler({}, context)
        expect("Cold", "handled", "Count", [1], service="cart")
    expect("Cold", "ColdStart", "Count", [1], service="cart", function_name="shop")


def main():
    metrics = Metrics(namespace="Shop", service="cart")
    for part in (units, values, dimensions, sets, many):
        part(metrics)
    print("no metric: just a line that speaks of _aws")
    single()
    ephemeral()
    cold_start()


main()
