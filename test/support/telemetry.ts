import { context, metrics, SpanStatusCode, trace } from '@opentelemetry/api';
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks';
import { AggregationTemporality, type DataPoint, MeterProvider, MetricReader } from '@opentelemetry/sdk-metrics';
import {
  BasicTracerProvider,
  InMemorySpanExporter,
  type ReadableSpan,
  SimpleSpanProcessor,
} from '@opentelemetry/sdk-trace-base';

/** Collects when a test asks. */
class TestReader extends MetricReader {
  protected override async onForceFlush(): Promise<void> {}
  protected override async onShutdown(): Promise<void> {}
}

/** One data point, with what it is of. */
export interface Point {
  name: string;
  unit: string;
  attributes: Record<string, unknown>;
  value: unknown;
}

/** The real SDKs of OpenTelemetry, registered for this process, with what they would export in memory. */
export class TelemetryRecorder {
  readonly #exporter = new InMemorySpanExporter();
  /** As most set-ups export: everything since the start. */
  readonly #reader = new TestReader();
  /** Shows nothing but what was observed since the last time. */
  readonly #deltas = new TestReader({ aggregationTemporalitySelector: () => AggregationTemporality.DELTA });

  constructor() {
    context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
    trace.setGlobalTracerProvider(
      new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(this.#exporter)] }),
    );
    metrics.setGlobalMeterProvider(new MeterProvider({ readers: [this.#reader, this.#deltas] }));
  }

  get spans(): ReadableSpan[] {
    return this.#exporter.getFinishedSpans();
  }

  clearSpans(): void {
    this.#exporter.reset();
  }

  async points(): Promise<Point[]> {
    return await pointsOf(this.#reader);
  }

  async pointsSinceLast(): Promise<Point[]> {
    return await pointsOf(this.#deltas);
  }

  /** Everything that would be exported, as text. */
  async everything(): Promise<string> {
    const spans = this.spans.map(({ name, attributes, events, links, status, resource, instrumentationScope }) => ({
      name,
      attributes,
      events,
      links,
      status,
      resource: resource.attributes,
      instrumentationScope,
    }));
    return JSON.stringify([spans, await this.points()]);
  }

  static unregister(): void {
    trace.disable();
    metrics.disable();
    context.disable();
  }
}

async function pointsOf(reader: MetricReader): Promise<Point[]> {
  const { resourceMetrics, errors } = await reader.collect();
  if (errors.length > 0) throw errors[0] as Error;
  return resourceMetrics.scopeMetrics.flatMap((scope) =>
    scope.metrics.flatMap(({ descriptor: { name, unit }, dataPoints }) =>
      (dataPoints as DataPoint<unknown>[]).map(({ attributes, value }) => ({ name, unit, attributes, value })),
    ),
  );
}

/** What a test expects of a span. */
export function essence({ name, kind, status, attributes, events }: ReadableSpan) {
  return { name, kind, isError: status.code === SpanStatusCode.ERROR, attributes, events };
}
