import { setTimeout } from 'node:timers/promises';
import { Uuid } from 'surrealdb';
import type { Lane } from '../connection/lane.js';
import { ConnectionLostError, SessionClosedError } from '../surreal.errors.js';
import type { Tenant } from '../tenant/tenant.js';
import { CLEANUP_MILLIS } from './call.js';
import { isExpiredSession, isUnknownSession } from './database-errors.js';
import type { Identity } from './identity.js';
import { type Principal, sharingKey } from './principal.js';
import { asNotSent, droppedMeanwhile, signedOut } from './session-errors.js';
import { type SessionResources, signIn } from './sign-in.js';

/** Before a session that the server has forgotten at once is made again. */
const RETRY_MILLIS = 50;

/** Of a session that the server would end in no time. */
const MIN_LIFE_MILLIS = 500;

const NO_VARIABLES = new Map<string, unknown>();

/** What a session is to be on the server, whenever it is made there. */
export interface SessionState {
  /** Undefined for a session that belongs to no tenant (`Tenancy.attach()`). */
  readonly tenant: Tenant | undefined;
  readonly principal: Principal;
  /** Those of a shared session are empty and stay so: whoever sets one moves to a session of its own first. */
  readonly variables: Map<string, unknown>;
  /** Where it works; for a session without a tenant as `use()` or its sign-in say. */
  target: { namespace: string; database: string } | undefined;
}

/** Something on the server that lives on a session and must end before it. */
export interface Dependent {
  /** Never throws. */
  end(): Promise<void>;
}

/**
 * One session on the server: attached, signed in and checked when it is next needed, and again after a reconnect or an
 * expiry. It is one principal's for all its life; whoever signs in as somebody else gets another one. Only while
 * `prepare()` returns undefined may a query be sent on it: this is where R1 is made.
 *
 * Whenever it is not known what the server has made of a call that prepares it, the session there is given up and made
 * anew under another id, so that none is left half signed in.
 */
export class ServerSession {
  readonly state: SessionState;
  /** True when one handle has it for itself and may change it. */
  readonly own: boolean;
  /** What those who share it ask for it by; undefined for one of one's own. */
  readonly key: string | undefined;
  readonly createdAt = Date.now();
  /** When it was last given back, in milliseconds since 1970. */
  lastUsedAt = this.createdAt;
  /** Leases, calls in flight and transactions that use it now. The pool alone counts. */
  uses = 0;
  /** Gets no new users, and is closed when the last one leaves. */
  retired = false;
  /** The way to its socket. */
  readonly transport: Lane;

  readonly #resources: SessionResources;
  /** Transactions and live queries on it. Most sessions never have any, and there are many sessions. */
  #dependents: Set<Dependent> | undefined;
  #id = Uuid.v4();
  #attachedEpoch = 0;
  #readyEpoch = 0;
  /** Until when it is good without another sign-in, in milliseconds since 1970. */
  #goodUntil = 0;
  #identity: Identity | undefined;
  #preparing: Promise<void> | undefined;
  #closedBecause: string | undefined;

  /** One that all units of work of a principal share. */
  static shared(resources: SessionResources, tenant: Tenant, principal: Principal): ServerSession {
    return new ServerSession(resources, { tenant, principal, variables: NO_VARIABLES, target: tenant }, false);
  }

  constructor(resources: SessionResources, state: SessionState, own: boolean) {
    this.#resources = resources;
    this.transport = resources.sockets.laneOf(state.tenant?.id);
    this.state = state;
    this.own = own;
    this.key = own ? undefined : sharingKey(state.tenant as Tenant, state.principal);
  }

  get id(): Uuid {
    return this.#id;
  }

  get tenant(): Tenant | undefined {
    return this.state.tenant;
  }

  /** Whether it takes from its tenant's share of sessions: all but the one that a tenant's own units share. */
  get takesShare(): boolean {
    return this.own || this.state.principal.type === 'caller';
  }

  /** As whom the server saw it when it was signed in last. */
  get identity(): Identity | undefined {
    return this.#identity;
  }

  /** Whether a query may be sent now. */
  get isReady(): boolean {
    return (
      this.#readyEpoch !== 0 &&
      this.#preparing === undefined &&
      this.#readyEpoch === this.transport.epoch &&
      Date.now() < this.#goodUntil
    );
  }

  /** Whether its caller's token is good no more: what goes on on it says nothing from then on. */
  get isOver(): boolean {
    const { principal } = this.state;
    return principal.type === 'caller' && (principal.isRevoked || Date.now() >= principal.expiresAt);
  }

  /**
   * Signs in again, now, if its time will be over before this is called again, and something goes on on it that may never ask
   * for another query: a live query of a principal that has lost its rights ends by this.
   * @param withinMillis when it is called again
   */
  renew(withinMillis: number): void {
    if ((this.#dependents?.size ?? 0) === 0) return;
    if (Date.now() + withinMillis >= this.#goodUntil) this.expire();
    void this.prepare()?.catch(() => undefined);
  }

  /** Sees to it that something on it ends before it does, until the returned function is called. */
  adopt(dependent: Dependent): () => void {
    const dependents = (this.#dependents ??= new Set());
    dependents.add(dependent);
    return () => void dependents.delete(dependent);
  }

  /**
   * Undefined when a query may be sent now; else resolves when it is time to ask again.
   * @throws SessionClosedError after `close()`
   * @throws UnauthenticatedError when it is nobody's, or its caller's token does not hold (any more)
   * @throws TenantSigninFailedError, ConnectionLostError (`not-sent`), RequestTimeoutError; the SDK's ServerError when the
   * server refuses a bearer's token
   */
  prepare(): Promise<void> | undefined {
    const { principal } = this.state;
    if (principal.type === 'nobody') return Promise.reject(signedOut());
    if (principal.type === 'caller' && principal.isRevoked) return Promise.reject(signedOut());
    if (this.isReady) return undefined;
    if (this.#preparing !== undefined) return this.#preparing;
    return this.#once(() => this.#make());
  }

  /** Attaches it now although it is nobody's, so that it has an id on the server. No query can be sent on it. */
  async attach(): Promise<void> {
    await (this.#preparing ?? this.#once(async () => void (await this.#attach())));
  }

  /** Forgets that it is signed in: the next `prepare()` signs in again, in the same session on the server. */
  expire(): void {
    this.#readyEpoch = 0;
  }

  /**
   * Makes it good again as the same principal after the server has refused a call, where that can be done.
   * @param id the session that the call named
   * @returns whether the call may be sent once more: it was refused, so it was not run
   */
  heal(id: Uuid, error: unknown): boolean {
    if (isUnknownSession(error)) {
      void this.rebuild(id);
      return true;
    }
    const { type } = this.state.principal;
    // What a handle has signed in by itself it signs in again by itself.
    if (!isExpiredSession(error) || (type !== 'tenant' && type !== 'caller')) return false;
    this.expire();
    return true;
  }

  /**
   * Gives up what is on the server, with all that depends on it; the next `prepare()` makes it anew under another id.
   * @param id the session that is no good any more; when it is another by now, nothing is done
   */
  async rebuild(id: Uuid): Promise<void> {
    if (id !== this.#id) return;
    const epoch = this.#attachedEpoch;
    this.#id = Uuid.v4();
    this.#readyEpoch = 0;
    this.#attachedEpoch = 0;
    await this.#endDependents();
    await this.#detach(id, epoch);
  }

  /** Ends what depends on it and removes it from the server; nothing can be sent on it any more. Never throws. */
  async close(because: string): Promise<void> {
    if (this.#closedBecause !== undefined) return;
    this.#closedBecause = because;
    this.#readyEpoch = 0;
    const { tenant, principal } = this.state;
    // What is minted here is minted again in no time: a tenant that is quiet keeps no token.
    if (!this.own && principal.type === 'tenant' && tenant?.credentials.type === 'jwt') {
      this.#resources.tokens.forget(tenant);
    }
    await this.#endDependents();
    // What prepares it now removes it when it is done, see #once.
    if (this.#preparing === undefined) await this.#leave();
  }

  /** @throws SessionClosedError after `close()` */
  assertOpen(): void {
    if (this.#closedBecause !== undefined) throw new SessionClosedError(this.#closedBecause);
  }

  #once(work: () => Promise<void>): Promise<void> {
    this.#preparing = this.#untilDone(work).finally(async () => {
      if (this.#closedBecause !== undefined) await this.#leave();
      this.#preparing = undefined;
    });
    return this.#preparing;
  }

  /** Does what must be done on one socket, on the next one if it drops: of a socket that is gone nothing is left. */
  async #untilDone(work: () => Promise<void>): Promise<void> {
    const { transport } = this;
    const deadline = Date.now() + this.#resources.prepareTimeoutMillis;
    for (;;) {
      this.assertOpen();
      await transport.ready(deadline - Date.now());
      const id = this.#id;
      try {
        return await work();
      } catch (error) {
        await this.rebuild(id);
        this.assertOpen();
        const mayTryAgain = error instanceof ConnectionLostError || isUnknownSession(error);
        if (!mayTryAgain || Date.now() >= deadline) {
          // A caller's token was refused: no place is kept for it, or made-up tokens would fill the pool.
          if (this.state.principal.type === 'caller') this.retired = true;
          throw asNotSent(error);
        }
        if (isUnknownSession(error)) await setTimeout(RETRY_MILLIS);
      }
    }
  }

  /** Attaches if need be, signs in, checks where that led, sets the variables, and only then lets queries pass. */
  async #make(): Promise<void> {
    const { variables } = this.state;
    const { transport } = this;
    const { epoch } = transport;
    // A call that fails meanwhile can give this session up for another id, which nobody has signed in.
    const id = this.#id;
    const isNew = await this.#attach();
    const identity = await signIn(this.#resources, transport, id, this.state, this.#identity);
    if (isNew) {
      for (const [name, value] of variables) {
        await transport.send({ method: 'let', params: [name, value], session: id });
      }
    }
    this.assertOpen();
    if (transport.epoch !== epoch || id !== this.#id) throw droppedMeanwhile();
    this.#readyEpoch = epoch;
    this.#identity = identity;
    this.#goodUntil = this.#endOf(identity);
  }

  /** When it has to sign in again at the latest. */
  #endOf(identity: Identity | undefined): number {
    const { principal } = this.state;
    const { maxLifetimeMillis, recheckMillis } = this.#resources;
    if (principal.type !== 'caller') return Date.now() + maxLifetimeMillis;
    const lifeMillis = Math.min(maxLifetimeMillis, recheckMillis, identity?.lifeMillis ?? Infinity);
    // Not at once in any case: it would sign in for ever. What the server ends earlier it says.
    return Math.min(Date.now() + Math.max(lifeMillis, MIN_LIFE_MILLIS), principal.expiresAt);
  }

  /** @returns whether it was not on this socket before */
  async #attach(): Promise<boolean> {
    const { transport } = this;
    const { epoch } = transport;
    if (this.#attachedEpoch !== 0 && this.#attachedEpoch === epoch) return false;
    // Before the answer: no answer in time does not mean that the server has not got it.
    this.#attachedEpoch = epoch;
    await transport.send({ method: 'attach', session: this.#id });
    return true;
  }

  async #endDependents(): Promise<void> {
    await Promise.all([...(this.#dependents ?? [])].map((dependent) => dependent.end()));
  }

  async #leave(): Promise<void> {
    const epoch = this.#attachedEpoch;
    this.#attachedEpoch = 0;
    await this.#detach(this.#id, epoch);
  }

  async #detach(session: Uuid, epoch: number): Promise<void> {
    const { transport } = this;
    // On another socket, or none, the session is gone already.
    if (epoch === 0 || epoch !== transport.epoch) return;
    const options = { timeoutMillis: CLEANUP_MILLIS, isUrgent: true };
    await transport.send({ method: 'detach', session }, options).catch(() => undefined);
  }
}
