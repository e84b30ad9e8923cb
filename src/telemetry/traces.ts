// OpenTelemetry, loaded only where OTEL_EXPORTER_OTLP_ENDPOINT is set: 27 MB and some hundred milliseconds that nobody else pays.
import { type Context, ROOT_CONTEXT, type Span, SpanKind, SpanStatusCode, TraceFlags, trace } from '@opentelemetry/api';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http';
import { resourceFromAttributes } from '@opentelemetry/resources';
import { BatchSpanProcessor, TracerProvider } from '@opentelemetry/sdk-trace';
import type { RunEnd } from '../engine/events.ts';
import type { ProviderCall, ProviderResult } from '../providers/provider.ts';

/** Where spans go: `endpoint` as OpenTelemetry writes it, without /v1/traces. */
type TraceOptions = { endpoint: string; headers: Record<string, string>; service: string; version: string };

type TracedCall = { end(result: ProviderResult): void };
export type TracedRun = { call(call: ProviderCall): TracedCall; end(end: RunEnd): void };
export type TracedRequest = {
  /** A run that this request began; it may end after it. */
  run(begun: { runId: string; sessionId: string; model: string }): TracedRun;
  end(status: number): void;
};
export type Traces = {
  /** `traceparent` is the caller's header, where it sent one. */
  request(method: string, route: string, traceparent: string | undefined): TracedRequest;
  /** Sends what has not been sent. */
  close(): Promise<void>;
};

/**
 * Spans of requests, their runs, and the runs' calls of providers, the last by the gen_ai names. What people wrote and what
 * models answered is never among them, nor who they are. Spec 11.4.
 */
export function openTraces({ endpoint, headers, service, version }: TraceOptions): Traces {
  const exporter = new OTLPTraceExporter({ url: `${endpoint.replace(/\/$/, '')}/v1/traces`, headers });
  const provider = new TracerProvider({
    resource: resourceFromAttributes({ 'service.name': service, 'service.version': version }),
    spanProcessors: [new BatchSpanProcessor({ exporter })],
  });
  const tracer = provider.getTracer('prpm-playground', version);

  const callIn = (parent: Context, call: ProviderCall): TracedCall => {
    const span = tracer.startSpan(`chat ${call.model}`, { kind: SpanKind.CLIENT, attributes: asked(call) }, parent);
    return { end: (result) => endCall(span, result) };
  };
  const runIn = (parent: Context, { runId, sessionId, model }: Parameters<TracedRequest['run']>[0]): TracedRun => {
    const attributes = { 'prpm.run.id': runId, 'prpm.session.id': sessionId, 'prpm.model': model };
    const span = tracer.startSpan('run', { attributes }, parent);
    const within = trace.setSpan(ROOT_CONTEXT, span);
    return { call: (call) => callIn(within, call), end: (end) => endRun(span, end) };
  };
  return {
    request(method, route, traceparent) {
      const attributes = { 'http.request.method': method, 'http.route': route };
      const span = tracer.startSpan(`${method} ${route}`, { kind: SpanKind.SERVER, attributes }, parentOf(traceparent));
      const within = trace.setSpan(ROOT_CONTEXT, span);
      return {
        run: (begun) => runIn(within, begun),
        end(status) {
          span.setAttribute('http.response.status_code', status);
          if (status >= 500) fail(span, String(status));
          span.end();
        },
      };
    },
    close: () => provider.shutdown(),
  };
}

/** W3C trace context, version 00. What is none begins a trace of its own. */
function parentOf(traceparent: string | undefined): Context {
  const [, traceId, spanId, flags] = /^00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})$/.exec(traceparent ?? '') ?? [];
  if (traceId === undefined || spanId === undefined || /^0+$/.test(traceId) || /^0+$/.test(spanId)) return ROOT_CONTEXT;
  const traceFlags = Number.parseInt(flags ?? '0', 16) & TraceFlags.SAMPLED;
  return trace.setSpanContext(ROOT_CONTEXT, { traceId, spanId, traceFlags, isRemote: true });
}

function asked({ provider, model, maxOutputTokens, temperature }: ProviderCall) {
  return {
    'gen_ai.operation.name': 'chat',
    'gen_ai.provider.name': provider,
    'gen_ai.request.model': model,
    'gen_ai.request.max_tokens': maxOutputTokens,
    ...(temperature !== null && { 'gen_ai.request.temperature': temperature }),
  };
}

function endCall(span: Span, { usage, ending, failure, firstTokenMs }: ProviderResult): void {
  if (usage !== null) {
    span.setAttributes({
      'gen_ai.usage.input_tokens': usage.input,
      'gen_ai.usage.output_tokens': usage.output,
      'gen_ai.usage.cache_read.input_tokens': usage.cached,
      'gen_ai.usage.cache_creation.input_tokens': usage.cacheWrite,
    });
  }
  if (ending !== 'failed') span.setAttribute('gen_ai.response.finish_reasons', [FINISH[ending]]);
  if (firstTokenMs !== null) span.setAttribute('gen_ai.response.time_to_first_chunk', firstTokenMs / 1_000);
  if (failure !== null) fail(span, failure.code);
  span.end();
}

const FINISH = { complete: 'stop', length: 'length', stopped: 'cancelled' };

function endRun(span: Span, { receipt, failure }: RunEnd): void {
  span.setAttribute('prpm.run.status', receipt?.status ?? 'unsettled');
  if (receipt !== null) span.setAttribute('prpm.credits', receipt.creditsSpent);
  if (failure !== null) fail(span, failure.code);
  span.end();
}

function fail(span: Span, type: string): void {
  span.setAttribute('error.type', type);
  span.setStatus({ code: SpanStatusCode.ERROR });
}
