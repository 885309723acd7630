import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { beforeAll, describe, expect, it } from '@jest/globals';
import { check, CHECKERS, type CheckerName, type Evidence } from './checkers.mjs';
import { faultSequence, operationSequence } from './schedule.mjs';

const who = { application: 0, tenant: 't0', generation: 1, unitStart: 1_000 };
const call = { ...who, type: 'call' as const, step: 'create', start: 1_000, end: 1_010 };
const write = { ...who, type: 'write' as const };
const row = { tenant: 't0', generation: 1, tag: 't0' };
const sighting = { ...who, type: 'sighting' as const, by: 'read' as const, tags: ['t0'] };
const generation = { tenant: 't0', generation: 1, namespace: 't0_g1', hasBriefSessions: false };
const lost = { code: 'CONNECTION_LOST', outcome: 'unknown' as const };

/** A run in which everything happened that may happen, and nothing that may not. */
function goodEvidence(): Evidence {
  return {
    calls: [
      call,
      { ...call, ...lost },
      { ...call, tenant: 't1', code: 'TENANT_SIGNIN_FAILED', unitStart: 2_100, end: 2_200 },
      { ...call, tenant: 't1', step: 'end', unitStart: 2_100, end: 2_200 },
      { ...call, tenant: 't2', code: 'SESSION_EXPIRED' },
    ],
    pending: [],
    writes: [
      { ...write, keys: ['alone'] },
      { ...write, keys: ['acknowledged a', 'acknowledged b'] },
      { ...write, tenant: 't1', keys: ['went with its tenant'] },
      { ...write, keys: ['not sent'], code: 'CONNECTION_LOST', outcome: 'not-sent' },
      { ...write, keys: ['refused'], code: 'TENANT_SIGNIN_FAILED' },
      { ...write, keys: ['cancelled'], isCancelled: true },
      { ...write, keys: ['lost, and ran a', 'lost, and ran b'], ...lost },
      { ...write, keys: ['lost, and did not run a', 'lost, and did not run b'], ...lost },
    ],
    sightings: [{ ...sighting, marker: 'mine', expectedMarker: 'mine', namespace: 't0_g1' }],
    rows: ['alone', 'acknowledged a', 'acknowledged b', 'lost, and ran a', 'lost, and ran b'].map((key) => ({
      ...row,
      key,
    })),
    generations: [
      generation,
      { ...generation, tenant: 't1', namespace: 't1_g1', removed: 'namespace', goneAt: 2_050 },
      { ...generation, tenant: 't2', namespace: 't2_g1', hasBriefSessions: true },
    ],
    touches: [{ tenant: 't1', begin: 2_000, end: 2_500 }],
    leftovers: { sessions: 8, allowedSessions: 8, transactions: 0, liveQueries: 0, sessionsAfterClose: 0 },
    applications: [{ number: 0, before: { Timeout: 1 }, after: { Timeout: 2 }, exit: 0 }],
    reached: [{ application: 0, tenant: 't0', millis: 12 }],
    limitMillis: 5_000,
  };
}

/** What makes a good run a bad one: by the checker that must notice, and how the evidence then differs. */
const BAD: [CheckerName, string, (evidence: Evidence) => unknown][] = [
  ['foreign rows', 'a row of another in the database', ({ rows }) => rows.push({ ...row, key: 'x', tag: 't1' })],
  ['foreign rows', 'a row of another was read', ({ sightings }) => sightings.push({ ...sighting, tags: ['t0', 't1'] })],
  [
    'foreign rows',
    'a variable of another was read',
    ({ sightings }) => sightings.push({ ...sighting, marker: 'theirs', expectedMarker: 'none' }),
  ],
  ['foreign rows', 'a foreign place', ({ sightings }) => sightings.push({ ...sighting, namespace: 't1_g1' })],
  ['lost writes', 'an acknowledged row is missing', ({ rows }) => rows.shift()],
  ['duplicates', 'a row is there twice', ({ rows }) => rows.push({ ...row, key: 'acknowledged a' })],
  ['outcomes', 'what was not sent is there', ({ rows }) => rows.push({ ...row, key: 'not sent' })],
  ['outcomes', 'what was refused is there', ({ rows }) => rows.push({ ...row, key: 'refused' })],
  ['transactions', 'what was cancelled is there', ({ rows }) => rows.push({ ...row, key: 'cancelled' })],
  ['transactions', 'half of it is there', ({ rows }) => rows.pop()],
  ['timeouts', 'a call took too long', ({ calls }) => calls.push({ ...call, end: call.start + 5_001 })],
  ['timeouts', 'a call never ended', ({ pending }) => pending.push(call)],
  ['leaks', 'too many sessions', ({ leftovers }) => leftovers.sessions++],
  ['leaks', 'an open transaction', ({ leftovers }) => leftovers.transactions++],
  ['leaks', 'a live query', ({ leftovers }) => leftovers.liveQueries++],
  ['leaks', 'a session after the end', ({ leftovers }) => leftovers.sessionsAfterClose++],
  ['leaks', 'timers', ({ applications }) => Object.assign(applications[0]!.after, { Timeout: 4 })],
  ['leaks', 'a process that does not end', ({ applications }) => Object.assign(applications[0]!, { exit: 'SIGKILL' })],
  ['neighbours', 'nobody touched it', ({ touches }) => touches.pop()],
  ['neighbours', 'touched too late', ({ touches }) => Object.assign(touches[0]!, { begin: 2_201 })],
  ['neighbours', 'touched too early', ({ touches }) => Object.assign(touches[0]!, { end: 2_099 })],
  ['neighbours', 'not brief at all', ({ generations }) => Object.assign(generations[2]!, { hasBriefSessions: false })],
  ['removed tenants', 'served afterwards', ({ calls }) => calls.push({ ...call, tenant: 't1', unitStart: 2_100 })],
  ['liveness', 'a tenant cannot query', ({ reached }) => Object.assign(reached[0]!, { error: 'no connection' })],
  ['liveness', 'nothing was written', (evidence) => Object.assign(evidence, { writes: [], rows: [] })],
  ['liveness', 'nothing was read', (evidence) => Object.assign(evidence, { sightings: [] })],
];

describe('the checkers', () => {
  it.each(Object.keys(CHECKERS) as CheckerName[])('%s: has nothing against a good run', (name) => {
    expect(CHECKERS[name](goodEvidence())).toEqual([]);
  });

  it.each(BAD)('%s: %s', (name, _, spoil) => {
    const evidence = goodEvidence();
    spoil(evidence);
    const findings = Object.entries(check(evidence)).filter(([, violations]) => violations.length > 0);
    expect(findings).toEqual([[name, [expect.any(String)]]]);
  });
});

describe('the schedule', () => {
  const tenants = ['t0', 't1', 't2', 't3'];
  const first = (sequence: Iterable<object>) => {
    const taken: object[] = [];
    for (const step of sequence) if (taken.push(step) === 500) break;
    return taken;
  };

  it('is the same for the same seed, and another for another', () => {
    expect(first(faultSequence(1, tenants))).toEqual(first(faultSequence(1, tenants)));
    expect(first(faultSequence(1, tenants))).not.toEqual(first(faultSequence(2, tenants)));
    expect(first(operationSequence(1, 0, 0, tenants))).toEqual(first(operationSequence(1, 0, 0, tenants)));
    expect(first(operationSequence(1, 0, 0, tenants))).not.toEqual(first(operationSequence(1, 0, 1, tenants)));
  });

  it('defines again whoever it has removed, and nobody else', () => {
    const changes = first(faultSequence(1, tenants)) as { kind: string; tenant: string }[];
    for (const id of tenants) {
      const kinds = changes.filter(({ tenant }) => tenant === id).map(({ kind }) => kind);
      expect(kinds.join(' ')).toMatch(/^((rotate|evict|remove define) ?)*(remove)?$/);
    }
  });
});

/** What each way of doing without the library's protections must be found out by. */
const NAIVE: Record<string, CheckerName> = {
  'no-timeout': 'timeouts',
  leaks: 'leaks',
  'gives-up': 'liveness',
  'shared-session': 'foreign rows',
  'early-ack': 'lost writes',
  replays: 'duplicates',
  'wrong-outcome': 'outcomes',
  autocommit: 'transactions',
  scapegoat: 'neighbours',
  superuser: 'removed tenants',
};
const AT_ONCE = 5;

interface Run {
  code: number;
  output: string;
}

async function run(...options: string[]): Promise<Run> {
  const child = spawn(process.execPath, ['test/chaos/run.mjs', ...options], { stdio: ['ignore', 'pipe', 'inherit'] });
  let output = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (output += text));
  const [code] = (await once(child, 'close')) as [number];
  return { code, output };
}

describe('npm run chaos', () => {
  const runs = new Map<string, Run>();

  // Mostly they wait; one after the other they would take minutes.
  beforeAll(async () => {
    const names = Object.keys(NAIVE);
    const worker = async () => {
      for (let name = names.shift(); name !== undefined; name = names.shift()) {
        runs.set(name, await run('--seconds', '5', '--seed', '1', '--applications', '1', '--naive', name));
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, worker));
  }, 120_000);

  it.each(Object.entries(NAIVE))('finds out %s by %s', (name, checker) => {
    const { code, output } = runs.get(name)!;
    expect(output).toMatch(new RegExp(`^${checker} +FAILED`, 'm'));
    expect(code).toBe(1);
  });

  it('passes with the library', async () => {
    const { code, output } = await run('--seconds', '5', '--seed', '1');
    for (const checker of Object.keys(CHECKERS)) expect(output).toMatch(new RegExp(`^${checker} +OK$`, 'm'));
    expect(code).toBe(0);
  }, 60_000);
});
