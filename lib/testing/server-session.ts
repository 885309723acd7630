import type { Uuid } from 'surrealdb';
import { serverError } from './wire.js';

const OPEN_TO_ANONYMOUS = new Set(
  'version ping health attach detach sessions use let set unset signin signup authenticate refresh revoke invalidate reset info'.split(
    ' ',
  ),
);
const SIGNS_IN = new Set(['signin', 'signup', 'authenticate', 'refresh']);
const SIGNS_OUT = new Set(['invalidate', 'reset']);

/**
 * One session of one socket, and whether somebody is signed in on it. The embedded engine takes an anonymous session
 * for a superuser, so what a real server refuses has to be refused here, before the engine sees it.
 */
export class ServerSession {
  /** The session's id in the engine. */
  readonly id: Uuid;
  /** Live queries of this session, by their id; the value stops forwarding. */
  readonly liveQueries = new Map<string, () => void>();
  readonly #running = new Set<Promise<unknown>>();
  #signedIn = false;
  #signingOut = 0;
  #signIns: Promise<unknown> = Promise.resolve();

  constructor(id: Uuid) {
    this.id = id;
  }

  /**
   * Runs a call of this session.
   * @throws ServerError (`NotAllowed`) when the method needs a sign-in and there is none; otherwise what the call throws.
   */
  run<Result>(method: string, call: () => Promise<Result>): Promise<Result> {
    if (SIGNS_IN.has(method)) return this.#signIn(call);
    if (SIGNS_OUT.has(method)) return this.#signOut(call);
    this.assertAllowed(method);
    const running = call();
    const forget = (): void => void this.#running.delete(running);
    this.#running.add(running);
    running.then(forget, forget);
    return running;
  }

  /** @throws ServerError (`NotAllowed`) when the method needs a sign-in and there is none. */
  assertAllowed(method: string): void {
    if (OPEN_TO_ANONYMOUS.has(method) || (this.#signedIn && this.#signingOut === 0)) return;
    const message = 'Anonymous access not allowed: Not enough permissions to perform this action';
    throw serverError('NotAllowed', -32002, message, { kind: 'Method', details: { name: method } });
  }

  /** Stops forwarding the live queries. They end in the engine with the session. */
  endLiveQueries(): void {
    for (const end of this.liveQueries.values()) end();
    this.liveQueries.clear();
  }

  // A sign-in that fails leaves the identity as it was, in the engine too.
  #signIn<Result>(call: () => Promise<Result>): Promise<Result> {
    return this.#inTurn(async () => {
      const result = await call();
      this.#signedIn = true;
      return result;
    });
  }

  // Refuses from now on, and waits for what runs: a query that overtook the sign-out in the engine would run as superuser.
  #signOut<Result>(call: () => Promise<Result>): Promise<Result> {
    this.#signingOut++;
    return this.#inTurn(async () => {
      try {
        await Promise.allSettled([...this.#running]);
        return await call();
      } finally {
        this.#signedIn = false;
        this.#signingOut--;
      }
    });
  }

  // Sign-ins and sign-outs take turns, so that the last answer tells the state the engine is in.
  #inTurn<Result>(change: () => Promise<Result>): Promise<Result> {
    const turn = this.#signIns.then(change);
    this.#signIns = turn.catch(() => undefined);
    return turn;
  }
}
