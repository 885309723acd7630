import { describe, expect, it } from '@jest/globals';
import { degradedReasons, type HealthResources, SurrealHealthIndicator } from '../../../lib/terminus/surreal.health.js';

const transport = (state: string, connects: number) => ({ transport: { state, connects } });
const well: HealthResources = {
  connection: { surreal: { status: 'connected' }, transports: [transport('open', 3), transport('idle', 0)] },
  context: { isClosing: false },
  sockets: { queues: [{ inFlight: 79, waiting: 799 }] },
  calls: { maxInFlight: 100, maxWaiting: 1_000 },
};
const noneWaiting = { sessions: { waiting: 0 } as never };
const connection = (part: Partial<HealthResources['connection']>) => ({ connection: { ...well.connection, ...part } });
const queue = (part: { inFlight?: number; waiting?: number }) => ({
  sockets: {
    queues: [
      { inFlight: 0, waiting: 0 },
      { inFlight: 0, waiting: 0, ...part },
    ],
  },
});

describe('degradedReasons', () => {
  it.each<[string, Partial<HealthResources>, string[]]>([
    ['nothing while all is well', {}, []],
    ['a shutdown', { context: { isClosing: true } }, ['SHUTTING_DOWN']],
    ['a socket that is not back yet', connection({ transports: [transport('connecting', 1)] }), ['RECONNECTING']],
    [
      'nothing of a socket that is opened for the first time',
      connection({ transports: [transport('connecting', 0)] }),
      [],
    ],
    [
      'a central connection that is not signed in',
      connection({ surreal: { status: 'reconnecting' } }),
      ['CENTRAL_DISCONNECTED'],
    ],
    ['calls in flight near the limit of one socket', queue({ inFlight: 80 }), ['CALLS_NEAR_LIMIT']],
    ['waiting calls near the limit of one socket', queue({ waiting: 800 }), ['CALLS_NEAR_LIMIT']],
    [
      'all at once',
      { ...queue({ waiting: 900 }), context: { isClosing: true } },
      ['SHUTTING_DOWN', 'CALLS_NEAR_LIMIT'],
    ],
  ])('tells of %s', (_what, part, reasons) => {
    expect(degradedReasons({ ...well, ...part }, noneWaiting)).toEqual(reasons);
  });

  it('tells of units of work that wait for a session', () => {
    expect(degradedReasons(well, { sessions: { waiting: 1 } as never })).toEqual(['SESSIONS_WAITING']);
  });
});

describe('SurrealHealthIndicator with terminus 11', () => {
  it('is up with a state of its own where terminus knows no degraded', async () => {
    const transports = [{ purpose: 'central', transport: { ready: () => undefined, send: () => Promise.resolve([]) } }];
    const resources = { ...well, context: { isClosing: true }, connection: { ...well.connection, transports } };
    const stats = { sockets: [], sessions: { waiting: 0 }, calls: {} };
    const up = (details: object) => ({ surrealdb: { ...details, status: 'up' } });
    const indicator = new SurrealHealthIndicator(
      { stats: () => stats } as never,
      resources as never,
      { check: () => ({ up }) } as never,
    );
    expect(await indicator.pingCheck('surrealdb')).toMatchObject({
      surrealdb: { status: 'up', state: 'degraded', reasons: ['SHUTTING_DOWN'] },
    });
  });
});
