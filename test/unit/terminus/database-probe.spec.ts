import { describe, expect, it } from '@jest/globals';
import { parseRpcError } from 'surrealdb';
import { ConnectionLostError } from 'nestjs-surreal';
import { DatabaseProbe } from '../../../lib/terminus/database-probe.js';

type Connection = ConstructorParameters<typeof DatabaseProbe>[0];

/** A central socket that answers as told, and sockets for sessions. */
function connectionOf(send: () => Promise<unknown>, sessions: { state: string; ready: () => unknown }[] = []) {
  const central = { purpose: 'central', transport: { state: 'open', ready: () => undefined, send } };
  const others = sessions.map((transport) => ({ purpose: 'sessions', transport }));
  return { transports: [central, ...others] } as unknown as Connection;
}
const never = () => new Promise<never>(() => undefined);
const lost = () => Promise.reject(new ConnectionLostError('lost', { outcome: 'unknown' }));

describe('DatabaseProbe', () => {
  it('is one round trip for all who wait for it, and a new one for whoever comes later', async () => {
    const answers: ((answer: unknown) => void)[] = [];
    const probe = new DatabaseProbe(connectionOf(() => new Promise((resolve) => answers.push(resolve))));
    expect(await Promise.all([probe.missingAfter(5), probe.missingAfter(10)])).toEqual(['NO_ANSWER', 'NO_ANSWER']);
    const third = probe.missingAfter(1_000);
    expect(answers).toHaveLength(1);
    answers[0]?.([]);
    expect(await third).toBeUndefined();
    const fourth = probe.missingAfter(1_000);
    await new Promise((resolve) => setTimeout(resolve, 1));
    answers[1]?.([]);
    expect(await fourth).toBeUndefined();
    expect(answers).toHaveLength(2);
  });

  it('takes a refusal for an answer', async () => {
    const refuse = () => Promise.reject(parseRpcError({ code: -32_000, message: 'no', kind: 'NotAllowed' }));
    expect(await new DatabaseProbe(connectionOf(refuse)).missingAfter(1_000)).toBeUndefined();
  });

  it('asks once more when the socket turns out to be dead, and no more', async () => {
    let asked = 0;
    const once = () => (++asked === 1 ? lost() : Promise.resolve([]));
    expect(await new DatabaseProbe(connectionOf(once)).missingAfter(1_000)).toBeUndefined();
    const always = () => (asked++, lost());
    expect(await new DatabaseProbe(connectionOf(always)).missingAfter(1_000)).toBe('NO_ANSWER');
    expect(asked).toBe(4);
  });

  it.each([
    ['none was needed yet', [{ state: 'idle', ready: never }], undefined],
    [
      'one of them is open',
      [
        { state: 'connecting', ready: never },
        { state: 'open', ready: () => undefined },
      ],
      undefined,
    ],
    ['one opens in time', [{ state: 'connecting', ready: () => Promise.resolve() }], undefined],
    ['none opens in time', [{ state: 'connecting', ready: never }], 'NO_SESSION_SOCKET'],
    ['all are closed', [{ state: 'closed', ready: lost }], 'NO_SESSION_SOCKET'],
  ])('of sockets for sessions, when %s', async (_when, sessions, missing) => {
    const probe = new DatabaseProbe(connectionOf(() => Promise.resolve([]), sessions));
    expect(await probe.missingAfter(20)).toBe(missing);
  });
});
