// The Node function of the SDK tests, with the small part of a runtime that it
// needs: each invocation sends a trace, logs and metrics with OpenTelemetry's own
// exporters, to the extension and straight to a collector.
'use strict'

const http = require('http')
const { context, trace, SpanKind, SpanStatusCode, TraceFlags } = require('@opentelemetry/api')
const { SeverityNumber } = require('@opentelemetry/api-logs')
const { resourceFromAttributes } = require('@opentelemetry/resources')
const { NodeTracerProvider, BatchSpanProcessor } = require('@opentelemetry/sdk-trace-node')
const { LoggerProvider, BatchLogRecordProcessor } = require('@opentelemetry/sdk-logs')
const { MeterProvider, PeriodicExportingMetricReader, AggregationType } = require('@opentelemetry/sdk-metrics')

const api = process.env.AWS_LAMBDA_RUNTIME_API
const host = api.slice(0, api.lastIndexOf(':'))

// exporters are one of each signal, for a target.
const exporters = {
  http: (target, kind) => ({
    traces: new (require('@opentelemetry/exporter-trace-otlp-' + kind).OTLPTraceExporter)(
      { url: target + '/v1/traces', compression: 'gzip' }),
    logs: new (require('@opentelemetry/exporter-logs-otlp-' + kind).OTLPLogExporter)({ url: target + '/v1/logs' }),
    metrics: new (require('@opentelemetry/exporter-metrics-otlp-' + kind).OTLPMetricExporter)(
      { url: target + '/v1/metrics' })
  }),
  grpc: (target) => ({
    traces: new (require('@opentelemetry/exporter-trace-otlp-grpc').OTLPTraceExporter)({ url: target }),
    logs: new (require('@opentelemetry/exporter-logs-otlp-grpc').OTLPLogExporter)({ url: target, compression: 'gzip' }),
    metrics: new (require('@opentelemetry/exporter-metrics-otlp-grpc').OTLPMetricExporter)({ url: target })
  })
}

function targets (protocol) {
  if (protocol === 'grpc') {
    return ['http://' + host + ':4317', 'http://' + process.env.DIRECT_GRPC].map(t => exporters.grpc(t))
  }
  const kind = protocol === 'json' ? 'http' : 'proto'
  return ['http://' + host + ':4318', process.env.DIRECT_HTTP].map(t => exporters.http(t, kind))
}

// twice exports the same to both.
function twice (both, signal) {
  const [first, second] = both.map(one => one[signal])
  return {
    export (data, done) {
      first.export(data, a => second.export(data, b => {
        for (const result of [a, b]) if (result.code !== 0) failures.push(String(result.error))
        done(a.code === 0 ? b : a)
      }))
    },
    selectAggregation: () => ({ type: AggregationType.DEFAULT }),
    forceFlush: async () => {},
    shutdown: () => Promise.all([first.shutdown(), second.shutdown()])
  }
}

let failures = []

const hex = (n, digits) => n.toString(16).padStart(digits, '0')

async function handle (event) {
  failures = []
  // Things happen n milliseconds into the invocation's own second, with odd nanoseconds.
  const moment = n => [1700000000 + event.id, n * 1000000 + 987654]
  const both = targets(event.protocol)
  const resource = resourceFromAttributes({
    'service.name': 'node-shop', 'faas.name': 'a name of its own', invocation: event.id, protocol: event.protocol,
    teams: ['blue', 'green'], canary: true, share: 0.25
  })
  let spans = 0
  const tracing = new NodeTracerProvider({
    resource,
    spanProcessors: [new BatchSpanProcessor(twice(both, 'traces'))],
    idGenerator: {
      generateTraceId: () => '4e' + hex(event.id + 1, 30),
      generateSpanId: () => hex(event.id + 1, 8) + hex(++spans, 8)
    }
  })
  const logging = new LoggerProvider({
    resource, processors: [new BatchLogRecordProcessor({ exporter: twice(both, 'logs') })]
  })
  const metering = new MeterProvider({
    resource,
    readers: [new PeriodicExportingMetricReader({ exporter: twice(both, 'metrics') })],
    views: [{ instrumentName: 'exponential', aggregation: { type: AggregationType.EXPONENTIAL_HISTOGRAM } }, {
      instrumentName: 'latency',
      aggregation: { type: AggregationType.EXPLICIT_BUCKET_HISTOGRAM, options: { boundaries: [1, 10, 100] } }
    }]
  })
  const inside = emitTrace(tracing.getTracer('shop', '1.2.3'), moment)
  emitLogs(logging.getLogger('shop'), inside, event, moment)
  emitMetrics(metering.getMeter('shop'), event)
  for (const provider of [tracing, logging, metering]) await provider.shutdown()
  if (failures.length > 0) throw new Error(failures.join('; '))
  return 'done'
}

function emitTrace (tracer, moment) {
  const elsewhere = { traceId: hex(9, 32), spanId: hex(8, 16), traceFlags: TraceFlags.SAMPLED, isRemote: true }
  const parent = tracer.startSpan('order', {
    kind: SpanKind.SERVER, startTime: moment(1), attributes: { path: '/ordér/ü' }
  })
  const inside = trace.setSpan(context.active(), parent)
  const query = tracer.startSpan('query', {
    kind: SpanKind.CLIENT, startTime: moment(2), links: [{ context: elsewhere, attributes: { why: 'retry' } }]
  }, inside)
  query.addEvent('row', { number: Number.MAX_SAFE_INTEGER }, moment(3))
  query.addEvent('row', moment(4))
  query.setStatus({ code: SpanStatusCode.OK })
  query.end(moment(5))
  const pay = tracer.startSpan('pay', { startTime: moment(6) }, inside)
  pay.recordException(new Error('no money'), moment(7))
  pay.setStatus({ code: SpanStatusCode.ERROR, message: 'no money' })
  pay.end(moment(8))
  parent.end(moment(9))
  return inside
}

function emitLogs (logger, inside, event, moment) {
  for (const [n, severity] of ['DEBUG', 'WARN', 'ERROR'].entries()) {
    const body = `log ${n} of invocation ${event.id}`
    logger.emit({
      timestamp: moment(10 + n),
      observedTimestamp: moment(20 + n),
      severityNumber: SeverityNumber[severity],
      severityText: severity,
      body: n === 1 ? { text: body, deep: [1, { er: true }] } : body,
      attributes: { n, even: n % 2 === 0, half: n / 2, list: ['a', 'b'] },
      context: n === 2 ? context.active() : inside
    })
  }
}

function emitMetrics (meter, event) {
  const counter = meter.createCounter('orders', { unit: '{order}', description: 'Orders taken.', valueType: 0 })
  counter.add(3, { kind: 'book' })
  counter.add(4, { kind: 'pen' })
  meter.createGauge('temperature', { unit: 'Cel' }).record(-12.5 + event.id)
  const histogram = meter.createHistogram('latency')
  const exponential = meter.createHistogram('exponential')
  for (const value of [0.5, 5, 50, 500, 7]) {
    histogram.record(value)
    exponential.record(value)
  }
}

// call asks the Runtime API.
function call (method, path, body) {
  return new Promise((resolve, reject) => {
    const url = 'http://' + api + '/2018-06-01/runtime/invocation/' + path
    const request = http.request(url, { method }, response => {
      const chunks = []
      response.on('data', chunk => chunks.push(chunk))
      response.on('end', () => resolve({ headers: response.headers, body: Buffer.concat(chunks).toString() }))
    })
    request.on('error', reject)
    request.end(body)
  })
}

async function main () {
  for (;;) {
    const next = await call('GET', 'next')
    const id = next.headers['lambda-runtime-aws-request-id']
    try {
      await call('POST', id + '/response', JSON.stringify(await handle(JSON.parse(next.body))))
    } catch (error) {
      await call('POST', id + '/error', JSON.stringify({ errorType: 'Error', errorMessage: String(error) }))
    }
  }
}

main()
