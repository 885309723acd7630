import { afterEach, describe, expect, it, jest } from '@jest/globals';
import * as api from '@opentelemetry/api';
import { QuerySpans } from '../../../lib/telemetry/query-spans.js';
import { Telemetry } from '../../../lib/telemetry/telemetry.js';
import { TelemetryRecorder } from '../../support/telemetry.js';

const query = (sql: string) => ({ sql, tenant: undefined, target: undefined, tableOf: jest.fn(() => undefined) });

describe('QuerySpans', () => {
  afterEach(() => TelemetryRecorder.unregister());

  it('looks at nothing, and stands in nobody’s way, while no SDK is registered', async () => {
    const spans = new QuerySpans(api, { queryText: false, common: {} });
    const asked = query('SELECT * FROM $a');
    const answer = Promise.resolve([]);
    expect(spans.trace(asked, () => answer)).toBe(answer);
    expect(asked.tableOf).not.toHaveBeenCalled();
  });

  it('finds an SDK that is registered later, or anew', async () => {
    const spans = new QuerySpans(api, { queryText: false, common: {} });
    for (const sql of ['RETURN 1', 'INFO FOR DB']) {
      const recorder = new TelemetryRecorder();
      await spans.trace(query(sql), () => Promise.resolve([]));
      expect(recorder.spans.map(({ name }) => name)).toEqual([sql.split(' ')[0]]);
      TelemetryRecorder.unregister();
    }
    const answer = Promise.resolve([]);
    expect(spans.trace(query('RETURN 1'), () => answer)).toBe(answer);
  });

  it('hands on what is answered and thrown as it is', async () => {
    const recorder = new TelemetryRecorder();
    const spans = new QuerySpans(api, { queryText: false, common: {} });
    const results = [{ status: 'ERR', result: 'told', time: '1ms' }];
    expect(await spans.trace(query('RETURN 1'), () => Promise.resolve(results))).toBe(results);
    for (const thrown of [
      new Error('told'),
      'told',
      undefined,
      Object.assign(new Error(), { name: 'told: a value' }),
    ]) {
      await expect(spans.trace(query('RETURN 1'), () => Promise.reject(thrown as Error))).rejects.toBe(thrown);
    }
    const types = recorder.spans.map(({ attributes }) => attributes['error.type']);
    expect(types).toEqual(['Internal', 'Error', '_OTHER', '_OTHER', '_OTHER']);
    expect(await recorder.everything()).not.toContain('told');
  });
});

describe('Telemetry', () => {
  afterEach(() => TelemetryRecorder.unregister());

  it.each([
    ['ws://db.example.com/rpc', { 'server.address': 'db.example.com', 'server.port': 80 }],
    ['wss://db.example.com/rpc', { 'server.address': 'db.example.com', 'server.port': 443 }],
    ['ws://[::1]:8000', { 'server.address': '::1', 'server.port': 8000 }],
    ['mem://', {}],
    // Which node answers changes with each socket.
    [['ws://a:8000', 'ws://b:8000'], {}],
  ])('tells of %j where it is', async (url, address) => {
    const recorder = new TelemetryRecorder();
    const { tracer } = await Telemetry.load({ url, telemetry: { queryText: false } });
    await tracer?.trace(query(''), () => Promise.resolve([]));
    expect(recorder.spans[0]?.attributes).toEqual({ 'db.system.name': 'surrealdb', ...address });
  });

  it('has no tracer when it is switched off', async () => {
    expect((await Telemetry.load({ url: 'mem://', telemetry: false })).tracer).toBeUndefined();
  });
});
