import { setTimeout as sleep } from 'node:timers/promises';
import { beforeEach, describe, expect, it, jest } from '@jest/globals';
import type { CallLimits } from '../../../lib/connection/call-limits.js';
import { FairQueue } from '../../../lib/connection/fair-queue.js';
import {
  type CallSink,
  type DispatchingTransport,
  type RpcCall,
  sendBy,
  type SendOptions,
  type TransportListener,
} from '../../../lib/connection/rpc-transport.js';
import { ConnectionLostError } from '../../../lib/surreal.errors.js';

/** A socket whose answers the test gives. What it is asked and when is all that the queue decides. */
class ManualTransport implements DispatchingTransport {
  readonly epoch = 1;
  readonly inFlight = 0;
  readonly requestTimeoutMillis = 1_000;
  readonly sent: string[] = [];
  readonly timeouts: (number | undefined)[] = [];
  listener: TransportListener = {};
  isDown = false;
  #open = new Map<string, CallSink>();

  ready(): undefined {
    return undefined;
  }

  send<Result>(call: RpcCall, options?: SendOptions): Promise<Result> {
    return sendBy(this, call, options);
  }

  dispatch({ method }: RpcCall, options: SendOptions | undefined, sink: CallSink): void {
    if (this.isDown) {
      sink.done();
      return sink.reject(new ConnectionLostError('down', { outcome: 'not-sent' }));
    }
    this.sent.push(method);
    this.timeouts.push(options?.timeoutMillis);
    this.#open.set(method, sink);
    options?.onPending?.((error) => sink.reject(error));
  }

  async answer(...methods: string[]): Promise<void> {
    for (const method of methods) {
      const call = this.#open.get(method)!;
      this.#open.delete(method);
      call.done();
      call.resolve(method);
    }
    await sleep(0);
  }

  onLive(): () => void {
    return () => undefined;
  }

  subscribe(listener: TransportListener): () => void {
    this.listener = listener;
    return () => undefined;
  }
}

describe('FairQueue', () => {
  let transport: ManualTransport;
  let queue: FairQueue;
  const make = (limits: Partial<CallLimits> = {}) => {
    transport = new ManualTransport();
    queue = new FairQueue(transport, {
      maxInFlightPerTenant: 2,
      maxInFlight: 100,
      maxWaitingPerTenant: 100,
      maxWaiting: 100,
      ...limits,
    });
    // Somebody else has just called: a tenant that has the socket for itself has no limit of its own.
    void queue.lane('z').send({ method: 'z' });
    void transport.answer('z');
    transport.sent.length = 0;
    transport.timeouts.length = 0;
  };
  beforeEach(() => make());

  /** Sends a call `a1` for tenant `a`, and so on; gives their outcomes. */
  const send = (...methods: string[]) =>
    methods.map((method) =>
      queue
        .lane(method[0]!)
        .send({ method })
        .catch((error: unknown) => error),
    );

  it('R6: sends as many calls of one tenant as it may, and the rest in order as answers come', async () => {
    void send('a1', 'a2', 'a3', 'a4');
    expect(transport.sent).toEqual(['a1', 'a2']);
    expect(queue.trafficOf('a')).toEqual({ inFlight: 2, waiting: 2 });
    await transport.answer('a2');
    expect(transport.sent).toEqual(['a1', 'a2', 'a3']);
    await transport.answer('a1', 'a3');
    expect(transport.sent).toEqual(['a1', 'a2', 'a3', 'a4']);
  });

  it('lets a tenant that has the socket for itself use all of it, until somebody else comes', async () => {
    make({ maxInFlight: 5 });
    jest.useFakeTimers({ now: Date.now() + 11_000, doNotFake: ['setTimeout', 'setImmediate', 'queueMicrotask'] });
    void send('a1', 'a2', 'a3', 'a4', 'a5', 'a6');
    expect(transport.sent).toHaveLength(5);
    void send('b1');
    for (const method of ['a1', 'a2', 'a3', 'a4']) await transport.answer(method);
    expect(transport.sent).toEqual(['a1', 'a2', 'a3', 'a4', 'a5', 'b1', 'a6']);
    jest.useRealTimers();
  });

  it('R6: keeps to the limit while others come and go', async () => {
    void send('b1');
    await transport.answer('b1');
    void send('a1', 'a2', 'a3');
    expect(transport.sent).toEqual(['b1', 'a1', 'a2']);
  });

  it('R6: lets other tenants pass a flood at once', () => {
    void send(...Array.from({ length: 50 }, (_, index) => `a${index}`), 'b1', 'c1');
    expect(transport.sent).toEqual(['a0', 'a1', 'b1', 'c1']);
  });

  it('R6: when the socket is full, tenants take turns, one call each', async () => {
    make({ maxInFlight: 2, maxInFlightPerTenant: 2 });
    void send('a1', 'a2', 'a3', 'a4', 'a5', 'b1', 'b2', 'c1');
    for (const method of ['a1', 'a2', 'b1', 'c1', 'a3', 'b2']) await transport.answer(method);
    expect(transport.sent).toEqual(['a1', 'a2', 'b1', 'c1', 'a3', 'b2', 'a4', 'a5']);
  });

  it('hands the answer, and the error, to whom it belongs', async () => {
    const [first, , third] = send('a1', 'a2', 'a3');
    await transport.answer('a1', 'a2', 'a3');
    expect([await first, await third]).toEqual(['a1', 'a3']);
  });

  it.each([
    ['calls.maxWaitingPerTenant', { maxWaitingPerTenant: 1 }, ['a1', 'a2', 'a3', 'a4']],
    ['calls.maxWaiting', { maxWaiting: 1 }, ['a1', 'a2', 'a3', 'b1', 'b2', 'b3']],
  ])('R5: refuses one more than %s, sends nothing of it, and says which limit it was', async (limit, limits, calls) => {
    make(limits);
    const outcomes = send(...calls);
    expect(await outcomes.at(-1)).toMatchObject({
      code: 'POOL_EXHAUSTED',
      limit,
      message: expect.stringContaining(limit),
    });
    expect(transport.sent).not.toContain(calls.at(-1));
    expect(queue.waiting).toBe(1);
  });

  it('counts calls that wait for something else among those that wait, until they leave', async () => {
    make({ maxWaitingPerTenant: 1 });
    const leave = queue.lane('a').enterWaiting();
    expect(() => queue.lane('a').enterWaiting()).toThrow(expect.objectContaining({ code: 'POOL_EXHAUSTED' }));
    expect(await send('a1', 'a2', 'a3').at(-1)).toMatchObject({ code: 'POOL_EXHAUSTED' });
    leave();
    queue.lane('a').enterWaiting()();
    await transport.answer('a1', 'a2');
    expect([queue.waiting, queue.keys]).toEqual([0, []]);
  });

  it('R4: gives up a call that waits longer than its time, and never sends it', async () => {
    void send('a1', 'a2');
    const late = queue.lane('a').send({ method: 'a3' }, { timeoutMillis: 20 });
    await expect(late).rejects.toMatchObject({ code: 'POOL_EXHAUSTED', limit: 'calls.maxInFlightPerTenant' });
    await transport.answer('a1', 'a2');
    expect(transport.sent).toEqual(['a1', 'a2']);
  });

  it('R4: a call that had to wait has the rest of its time for its answer', async () => {
    void send('a1', 'a2');
    void queue.lane('a').send({ method: 'a3' }, { timeoutMillis: 500 });
    await sleep(60);
    await transport.answer('a1');
    expect(transport.timeouts[2]).toBeLessThan(450);
  });

  it('R4: a call that is not wanted any more is never sent', async () => {
    void send('a1', 'a2');
    let cancel: (error: Error) => void = () => undefined;
    const call = queue.lane('a').send({ method: 'a3' }, { onPending: (given) => (cancel = given) });
    const [, fourth] = [send('a4'), call.catch((error: Error) => error.message)];
    cancel(new Error('client gone'));
    expect(await fourth).toBe('client gone');
    await transport.answer('a1', 'a2');
    expect(transport.sent).toEqual(['a1', 'a2', 'a4']);
  });

  it('gives what cancels a call anew when it moves to the socket', async () => {
    void send('a1', 'a2');
    let cancel: (error: Error) => void = () => undefined;
    const call = queue.lane('a').send({ method: 'a3' }, { onPending: (given) => (cancel = given) });
    await transport.answer('a1');
    cancel(new Error('client gone'));
    await expect(call).rejects.toThrow('client gone');
  });

  it('R6: a call that nobody waits for keeps its place as long as the server works at it', async () => {
    let cancel: (error: Error) => void = () => undefined;
    const given = queue.lane('a').send({ method: 'a1' }, { onPending: (stop) => (cancel = stop) });
    cancel(new Error('client gone'));
    await expect(given).rejects.toThrow('client gone');
    void send('a2', 'a3');
    expect(transport.sent).toEqual(['a1', 'a2']);
    await transport.answer('a1');
    expect(transport.sent).toEqual(['a1', 'a2', 'a3']);
  });

  it('lets urgent calls pass', () => {
    void send('a1', 'a2', 'a3');
    void queue.lane('a').send({ method: 'cancel' }, { isUrgent: true });
    expect(transport.sent).toEqual(['a1', 'a2', 'cancel']);
  });

  it('R4: fails what waits as not sent when the socket drops', async () => {
    const outcomes = send('a1', 'a2', 'a3', 'b1');
    transport.listener.lost?.();
    expect(await outcomes[2]).toMatchObject({ code: 'CONNECTION_LOST', outcome: 'not-sent' });
    expect(queue.waiting).toBe(0);
    await transport.answer('a1', 'a2', 'b1');
    expect(queue.keys).toEqual([]);
  });

  it('a socket that takes nothing any more fails a long queue without end of the stack', async () => {
    make({ maxWaitingPerTenant: 100_000, maxWaiting: 100_000 });
    const outcomes = send('a1', 'a2', ...Array.from({ length: 20_000 }, (_, index) => `a${index + 3}`));
    transport.isDown = true;
    await transport.answer('a1');
    expect(await outcomes.at(-1)).toMatchObject({ code: 'CONNECTION_LOST', outcome: 'not-sent' });
  });

  it('R5: keeps nothing of tenants that are quiet', async () => {
    void send('a1', 'a2', 'a3', 'b1');
    await transport.answer('a1', 'a2', 'b1');
    await transport.answer('a3');
    expect([queue.inFlight, queue.waiting, queue.keys]).toEqual([0, 0, []]);
  });
});
