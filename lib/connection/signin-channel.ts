import { type Tokens, Uuid } from 'surrealdb';
import { FairQueue } from './fair-queue.js';
import type { DispatchingTransport, SendOptions } from './rpc-transport.js';

/** What is asked for here: `refresh` gives new tokens for a refresh token, `revoke` ends one. */
export type SigninMethod = 'signin' | 'signup' | 'refresh' | 'revoke';

/**
 * A server works at the passwords of one socket one after the other; more than a few at once would only wait there, where
 * those whose callers have given up cannot be taken out any more, and where tenants cannot take turns.
 */
const LIMITS = { maxInFlightPerTenant: 2, maxInFlight: 4, maxWaitingPerTenant: 1_000, maxWaiting: 20_000 };

/**
 * Where passwords become tokens. A server works at a password (argon2) while everybody else on that socket waits, so
 * sign-ins have a socket of their own; nothing but sign-ins is ever sent here, and what the session there becomes by
 * them does not matter.
 */
export class SigninChannel {
  readonly #queue: FairQueue;
  readonly #session: Uuid | undefined;
  #requests = 0;

  /** On a socket of its own. */
  static onSocket(transport: DispatchingTransport): SigninChannel {
    return new SigninChannel(transport, undefined);
  }

  /** On the embedded engine, whose default session is the central one: in a session of its own. */
  static async onEmbedded(transport: DispatchingTransport): Promise<SigninChannel> {
    const session = Uuid.v4();
    await transport.send({ method: 'attach', session });
    return new SigninChannel(transport, session);
  }

  private constructor(transport: DispatchingTransport, session: Uuid | undefined) {
    this.#queue = new FairQueue(transport, LIMITS, 'sign-ins');
    this.#session = session;
  }

  /** How many sign-ins, sign-ups and renewals were asked for since the start. */
  get requests(): number {
    return this.#requests;
  }

  /** How many of them are on their way. */
  get pending(): number {
    return this.#queue.inFlight + this.#queue.waiting;
  }

  /**
   * @param options bounds of the sign-in
   * @param tenantId whose turn it takes, so that one tenant's flood of sign-ins does not hold up the others'
   * @throws the SDK's ServerError when the database refuses; PoolExhaustedError when too many wait
   */
  async request(
    method: SigninMethod,
    params: Record<string, unknown>,
    tenantId: string,
    options?: SendOptions,
  ): Promise<Tokens> {
    this.#requests++;
    const lane = this.#queue.lane(tenantId);
    const leave = lane.epoch === 0 ? lane.enterWaiting() : undefined;
    try {
      await lane.ready(options?.timeoutMillis);
    } finally {
      leave?.();
    }
    const answer = await lane.send<string | Tokens>({ method, params: [params], session: this.#session }, options);
    return typeof answer === 'string' ? { access: answer } : answer;
  }
}
