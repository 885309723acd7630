import { ServerError, Uuid } from 'surrealdb';
import { ConnectionLostError, isNotSent, SessionClosedError, UnauthenticatedError } from '../surreal.errors.js';
import type { Tenant } from '../tenant/tenant.js';
import { isUnknownSession } from './database-errors.js';
import { assertInside, enterDatabase, readIdentity } from './identity.js';
import { type SessionResources, signInTenant } from './sign-in.js';

/** Who a session is signed in as: its tenant, the bearer of a token (a handle's own sign-in), or nobody. */
type Principal = { type: 'tenant' } | { type: 'bearer'; token: string } | { type: 'nobody' };

/**
 * One session on the server: attached, signed in and checked when it is next needed, and again after a reconnect or an
 * expiry. Only while `prepare()` returns undefined may a query be sent on it; this is where R1 is made.
 */
export class ServerSession {
  /** Undefined for a session that belongs to no tenant (`Tenancy.attach()`). */
  readonly tenant: Tenant | undefined;
  /** True when one handle has it for itself and may change it. */
  readonly own: boolean;
  readonly createdAt = Date.now();
  /** When it was last given back, in milliseconds since 1970. */
  lastUsedAt = this.createdAt;
  /** Leases, calls in flight and transactions that use it now. The pool alone counts. */
  uses = 0;
  /** Gets no new users, and is closed when the last one leaves. */
  retired = false;

  readonly #resources: SessionResources;
  readonly #variables = new Map<string, unknown>();
  #id = Uuid.v4();
  #principal: Principal;
  #target: { namespace: string; database: string } | undefined;
  #attachedEpoch = 0;
  #readyEpoch = 0;
  #preparing: Promise<void> | undefined;
  #changing: Promise<void> | undefined;
  #closedBecause: string | undefined;

  constructor(resources: SessionResources, tenant: Tenant | undefined, own: boolean) {
    this.#resources = resources;
    this.tenant = tenant;
    this.own = own;
    this.#principal = tenant === undefined ? { type: 'nobody' } : { type: 'tenant' };
    this.#target = tenant;
  }

  get id(): Uuid {
    return this.#id;
  }

  /** The namespace and database it is in, or will be in once signed in. */
  get target(): { namespace: string; database: string } | undefined {
    return this.#target;
  }

  /** Whether it stands for the tenant itself, so that a fresh sign-in mends whatever the server no longer accepts. */
  get isTenantPrincipal(): boolean {
    return this.#principal.type === 'tenant';
  }

  get isSignedOut(): boolean {
    return this.#principal.type === 'nobody';
  }

  /**
   * Undefined when a query may be sent now; else resolves when it is time to ask again.
   * @throws SessionClosedError after `close()`
   * @throws UnauthenticatedError when it is signed in as nobody
   * @throws TenantSigninFailedError, ConnectionLostError (`not-sent`), RequestTimeoutError
   */
  prepare(): Promise<void> | undefined {
    if (this.#preparing !== undefined) return this.#preparing;
    // What a handle's own sign-in ends in is its caller's matter; others look again afterwards.
    if (this.#changing !== undefined) return this.#changing.catch(() => undefined);
    if (this.#isReady) return undefined;
    this.#preparing = this.#untilDone(() => this.#signInAgain()).finally(() => (this.#preparing = undefined));
    return this.#preparing;
  }

  /** Forgets that it is signed in: the next `prepare()` signs in again. */
  expire(): void {
    this.#readyEpoch = 0;
  }

  /** Forgets that the server has it: the next `prepare()` attaches it again. */
  lost(): void {
    this.#readyEpoch = 0;
    this.#attachedEpoch = 0;
  }

  set(name: string, value: unknown): Promise<void> {
    return this.#change(async () => {
      if (this.#isAttached) await this.#send('let', [name, value]);
      this.#variables.set(name, value);
    });
  }

  unset(name: string): Promise<void> {
    return this.#change(async () => {
      if (this.#isAttached) await this.#send('unset', [name]);
      this.#variables.delete(name);
    });
  }

  /** Chooses where a session without a tenant works; takes effect at once, or with its sign-in. */
  use(target: { namespace: string; database: string }): Promise<void> {
    return this.#change(async () => {
      if (this.#isReady) await enterDatabase(this.#resources.transport, this.#id, target);
      this.#target = target;
    });
  }

  /**
   * Signs in as the bearer of a token. When the server refuses it, everything stays as it was.
   * @throws TenantMismatchError when that leads outside the tenant; the caller must close the session
   */
  authenticate(token: string): Promise<void> {
    return this.#change(() => this.#become({ type: 'bearer', token }, true));
  }

  /**
   * Signs out. The server's session is given up rather than signed out: a query that overtook an `invalidate` would run
   * as anonymous, which on the embedded engine is a superuser.
   */
  signOut(): Promise<void> {
    return this.#change(async () => {
      this.#principal = { type: 'nobody' };
      const [id, epoch] = [this.#id, this.#attachedEpoch];
      this.#id = Uuid.v4();
      this.lost();
      await this.#detach(id, epoch);
    });
  }

  /** Attaches it now, signed in or not, so that it has an id on the server. */
  attach(): Promise<void> {
    return this.#change(() => this.#attachNow());
  }

  /** Removes it from the server; nothing can be sent on it any more. Never throws. Safe to call twice. */
  async close(because: string): Promise<void> {
    if (this.#closedBecause !== undefined) return;
    this.#closedBecause = because;
    this.#readyEpoch = 0;
    // What is under way now removes it when it is done, see #untilDone.
    if (this.#preparing === undefined && this.#changing === undefined)
      await this.#detach(this.#id, this.#attachedEpoch);
  }

  get #isReady(): boolean {
    return this.#readyEpoch !== 0 && this.#readyEpoch === this.#resources.transport.epoch;
  }

  get #isAttached(): boolean {
    return this.#attachedEpoch !== 0 && this.#attachedEpoch === this.#resources.transport.epoch;
  }

  /** One change at a time, and none while the session is being prepared. */
  async #change(work: () => Promise<void>): Promise<void> {
    for (let busy = this.#preparing ?? this.#changing; busy !== undefined; busy = this.#preparing ?? this.#changing) {
      await busy.catch(() => undefined);
    }
    this.#changing = this.#untilDone(work).finally(() => (this.#changing = undefined));
    await this.#changing;
  }

  /**
   * Does what must be done on one socket, on the next one if it drops: of a socket that is gone, and of a session that the
   * server has forgotten, nothing is left, so nothing is done twice.
   */
  async #untilDone(work: () => Promise<void>): Promise<void> {
    const deadline = Date.now() + this.#resources.prepareTimeoutMillis;
    try {
      for (;;) {
        this.#assertOpen();
        await this.#resources.transport.ready(deadline - Date.now());
        try {
          return await work();
        } catch (error) {
          this.#assertOpen();
          if (isUnknownSession(error)) this.lost();
          else if (!(error instanceof ConnectionLostError)) throw error;
          if (Date.now() >= deadline) throw asNotSent(error);
        }
      }
    } finally {
      if (this.#closedBecause !== undefined) await this.#detach(this.#id, this.#attachedEpoch);
    }
  }

  async #signInAgain(): Promise<void> {
    const principal = this.#principal;
    if (principal.type === 'nobody') {
      throw new UnauthenticatedError('This session is not signed in. Call signin() or authenticate() on it first.');
    }
    await this.#become(principal, false);
  }

  /** Attaches if need be, signs in, checks where that led, sets the variables, and only then lets queries pass. */
  async #become(principal: Exclude<Principal, { type: 'nobody' }>, isNew: boolean): Promise<void> {
    const { epoch } = this.#resources.transport;
    const isNewThere = !this.#isAttached;
    await this.#attachNow();
    const before = this.#readyEpoch;
    this.#readyEpoch = 0;
    if (principal.type === 'tenant') await signInTenant(this.#resources, this.#id, this.tenant as Tenant);
    else await this.#signInBearer(principal.token, isNew, before);
    if (isNewThere) for (const [name, value] of this.#variables) await this.#send('let', [name, value]);
    this.#assertOpen();
    if (this.#resources.transport.epoch !== epoch) throw droppedMeanwhile();
    this.#principal = principal;
    this.#readyEpoch = epoch;
  }

  async #attachNow(): Promise<void> {
    if (this.#isAttached) return;
    const id = this.#id;
    const { epoch } = this.#resources.transport;
    this.#attachedEpoch = epoch;
    await this.#send('attach').catch((error: unknown) => {
      this.#attachedEpoch = 0;
      // No answer in time does not mean that the server has not got it.
      if (!isNotSent(error)) void this.#detach(id, epoch);
      this.#id = Uuid.v4();
      throw error;
    });
  }

  async #signInBearer(token: string, isNew: boolean, readyEpochBefore: number): Promise<void> {
    const { transport } = this.#resources;
    try {
      await this.#send('authenticate', [token]);
    } catch (error) {
      // The server has left the previous principal signed in.
      if (error instanceof ServerError) this.#readyEpoch = readyEpochBefore;
      throw error;
    }
    const { namespace, database } = await readIdentity(transport, this.#id);
    if (this.tenant !== undefined) assertInside(this.tenant, namespace, database);
    else if (isNew && namespace !== undefined && database !== undefined) this.#target = { namespace, database };
    const target = this.#target;
    if (target === undefined || (target.namespace === namespace && target.database === database)) return;
    await enterDatabase(transport, this.#id, target);
  }

  #send<Result>(method: string, params: unknown[] = []): Promise<Result> {
    return this.#resources.transport.send<Result>({ method, params, session: this.#id });
  }

  async #detach(id: Uuid, epoch: number): Promise<void> {
    const { transport } = this.#resources;
    // On another socket, or none, the session is gone already.
    if (epoch === 0 || epoch !== transport.epoch) return;
    await transport.send({ method: 'detach', session: id }).catch(() => undefined);
  }

  #assertOpen(): void {
    if (this.#closedBecause !== undefined) throw new SessionClosedError(this.#closedBecause);
  }
}

function droppedMeanwhile(): ConnectionLostError {
  return new ConnectionLostError('The connection dropped while a session was being signed in', { outcome: 'not-sent' });
}

/** Whatever was lost while a session was prepared: the caller's own call had not left yet. */
function asNotSent(error: unknown): unknown {
  if (!(error instanceof ConnectionLostError) || isNotSent(error)) return error;
  return new ConnectionLostError('The connection dropped while a session was being signed in. The call was not sent.', {
    outcome: 'not-sent',
    cause: error,
  });
}
