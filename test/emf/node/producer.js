'use strict';
// Writes EMF with Powertools, as functions do, to stdout. What it asked for goes to
// stderr, a JSON object a line: namespace, name, unit, values and dimensions.
const { Metrics, MetricUnit, MetricResolution } = require('@aws-lambda-powertools/metrics');

const expect = (namespace, name, unit, values, dimensions) =>
  process.stderr.write(`${JSON.stringify({ namespace, name, unit, values, dimensions })}\n`);

const metrics = new Metrics({ namespace: 'Shop', serviceName: 'cart' });

for (const unit of Object.values(MetricUnit)) {
  metrics.addMetric(`unit ${unit}`, unit, 1.5);
  expect('Shop', `unit ${unit}`, unit, [1.5], { service: 'cart' });
}
metrics.publishStoredMetrics();

const latencies = [12.5, 3, 12.5, 0.25, -7, 1e-9, 123456789.125];
for (const value of latencies) metrics.addMetric('latency', MetricUnit.Milliseconds, value);
metrics.addMetric('orders', MetricUnit.Count, 3, MetricResolution.High);
metrics.addMetadata('order "17"', 'ü');
expect('Shop', 'latency', 'Milliseconds', latencies, { service: 'cart' });
expect('Shop', 'orders', 'Count', [3], { service: 'cart' });
metrics.publishStoredMetrics();

metrics.addDimension('städte', 'Köln "am" Rhein');
metrics.addMetric('visits', 'Count', 1);
expect('Shop', 'visits', 'Count', [1], { service: 'cart', städte: 'Köln "am" Rhein' });
metrics.publishStoredMetrics();

metrics.addDimensions({ environment: 'prod', region: 'eu-west-1' });
metrics.addDimensions({ color: 'blue' });
metrics.addMetric('sets', 'Count', 1);
for (const set of [{ environment: 'prod', region: 'eu-west-1', service: 'cart' }, { color: 'blue', service: 'cart' }]) {
  expect('Shop', 'sets', 'Count', [1], set);
}
metrics.publishStoredMetrics();

// The library writes a document itself after 100 values of a metric.
const many = Array.from({ length: 250 }, (_, i) => i);
for (const value of many) metrics.addMetric('many', 'Bytes', value);
metrics.publishStoredMetrics();
for (let i = 0; i < many.length; i += 100) expect('Shop', 'many', 'Bytes', many.slice(i, i + 100), { service: 'cart' });

console.log('no metric: just a line that speaks of _aws');

const single = metrics.singleMetric();
single.addDimension('function', 'f');
single.addMetric('alone', 'Seconds', 2);
expect('Shop', 'alone', 'Seconds', [2], { service: 'cart', function: 'f' });

metrics.setFunctionName('shop');
metrics.captureColdStartMetric();
metrics.captureColdStartMetric();
expect('Shop', 'ColdStart', 'Count', [1], { service: 'cart', function_name: 'shop' });
