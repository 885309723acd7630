import type { AccessRecordAuth, SurrealQueryable, Tokens, Uuid } from 'surrealdb';
import type { SigninChannel, SigninMethod } from '../connection/signin-channel.js';
import { ContextMissingError, InvalidOptionsError, TenantMismatchError } from '../surreal.errors.js';
import type { Tenant } from '../tenant/tenant.js';
import type { Caller } from './caller.js';
import { type CallOptions, callOptions } from './call.js';
import type { Identity } from './identity.js';
import type { Principal } from './principal.js';
import { RoadQueryable } from './queryable.js';
import { rpcAuth, type SigninAuth } from './rpc-auth.js';
import type { LeaseResources } from './lease-resources.js';
import { SessionLease } from './session-lease.js';
import type { LeaseOwner } from './session-slot.js';
import { refusedSignin, refusedSignup } from './signin-errors.js';
import { OpenTransaction, TenantTransaction } from './tenant-transaction.js';

export interface HandleResources extends LeaseResources {
  logins: SigninChannel;
}

/**
 * What application code holds as its `TenantSession`: the SDK's queries, run in the session of one unit of work, and
 * changes of that session which nobody else sees.
 */
export class SessionHandle extends RoadQueryable {
  readonly #lease: SessionLease;
  readonly #logins: SigninChannel;

  constructor(resources: HandleResources, owner: LeaseOwner) {
    const lease = new SessionLease(resources, owner);
    super(lease);
    this.#lease = lease;
    this.#logins = resources.logins;
  }

  get id(): Uuid | undefined {
    return this.#lease.id;
  }

  get tenant(): Tenant {
    const { tenant } = this.#lease;
    if (tenant === undefined)
      throw new ContextMissingError('This session belongs to no tenant: it came from attach().');
    return tenant;
  }

  get namespace(): string | undefined {
    return (this.#lease.tenant ?? this.#lease.target)?.namespace;
  }

  get database(): string | undefined {
    return (this.#lease.tenant ?? this.#lease.target)?.database;
  }

  /** As whom the server saw it when it was signed in last; undefined for one that has not been. */
  get identity(): Identity | undefined {
    return this.#lease.identity;
  }

  get isClosed(): boolean {
    return this.#lease.isClosed;
  }

  async set(name: string, value: unknown): Promise<void> {
    await this.#lease.changes.setVariable(name, { value });
  }

  async unset(name: string): Promise<void> {
    await this.#lease.changes.setVariable(name, undefined);
  }

  async signin(auth: SigninAuth): Promise<Tokens> {
    return await this.#enter('signin', auth);
  }

  async signup(auth: AccessRecordAuth): Promise<Tokens> {
    return await this.#enter('signup', auth);
  }

  async authenticate(token: string | Tokens): Promise<void> {
    await this.#become({ type: 'bearer', token: typeof token === 'string' ? token : token.access });
  }

  async invalidate(): Promise<void> {
    await this.#lease.changes.signOut();
  }

  async use({ namespace, database }: { namespace: string; database: string }): Promise<void> {
    this.#lease.assertOpen();
    if (!isName(namespace) || !isName(database)) {
      throw new InvalidOptionsError('use() takes { namespace, database }, both as non-empty strings.');
    }
    const { tenant } = this.#lease;
    if (tenant === undefined) return await this.#lease.changes.use({ namespace, database });
    if (tenant.namespace === namespace && tenant.database === database) return;
    throw new TenantMismatchError(
      `use() would leave the namespace and database of tenant "${tenant.id}". Nothing was sent. For another tenant, open ` +
        'its own unit of work with tenancy.run().',
    );
  }

  withOptions(options: CallOptions): SurrealQueryable {
    return new RoadQueryable(this.#lease, callOptions(options));
  }

  async begin(): Promise<TenantTransaction> {
    return new TenantTransaction(await OpenTransaction.begin(this.#lease));
  }

  /**
   * From now on it is the caller's, who is signed in now if no other unit of work of the same caller has done so. What was
   * begun before goes on as who it was.
   * @returns nothing to wait for in the steady state
   * @throws UnauthenticatedError, TenantMismatchError
   */
  becomeCaller(caller: Caller): Promise<void> | undefined {
    return this.#lease.becomeCaller(caller);
  }

  /** Signs the session in now rather than at the first query; without a promise where that has been done. */
  ready(): Promise<void> | undefined {
    return this.#lease.ready();
  }

  /** Attaches the session now rather than at the first query; it is one of its own. For `Tenancy.attach()`. */
  async attach(): Promise<this> {
    await this.#lease.changes.attach();
    return this;
  }

  async detach(): Promise<void> {
    this.#lease.assertOpen();
    await this.close('The session was detached.');
  }

  /** Ends the handle and gives back what it holds. Never throws; without a promise where there is nothing to wait for. */
  close(because: string): Promise<void> | undefined {
    return this.#lease.close(because);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close('The session was detached.');
  }

  /**
   * Asks for tokens of somebody of the same tenant, and leaves the session as it is.
   * @throws UnauthenticatedError when the database refuses a sign-in
   * @throws AlreadyExistsError, InvalidValueError, NotAllowedError when it refuses a sign-up
   * @throws TenantMismatchError when they are for somewhere else; nothing is sent
   */
  async askForTokens(method: 'signin' | 'signup', auth: SigninAuth): Promise<Tokens> {
    return await this.#askForTokens(method, this.#paramsOf(auth));
  }

  /**
   * Sends a call to where passwords become tokens, with the bounds of the unit of work.
   * @param refused makes the error of an answer that refuses
   */
  async ask(
    method: SigninMethod,
    params: Record<string, unknown>,
    refused: (error: unknown) => unknown,
  ): Promise<Tokens> {
    const tenantId = this.#lease.tenant?.id ?? '';
    return await this.#lease.track((call) => {
      const answer = this.#logins.request(method, params, tenantId, call).catch((error: unknown) => {
        throw refused(error);
      });
      return call.until(answer);
    });
  }

  #askForTokens(method: 'signin' | 'signup', params: Record<string, unknown>): Promise<Tokens> {
    return this.ask(method, params, method === 'signup' ? refusedSignup : refusedSignin);
  }

  #paramsOf(auth: SigninAuth): Record<string, unknown> {
    this.#lease.assertOpen();
    const { tenant } = this.#lease;
    return rpcAuth(auth, tenant ?? this.#lease.target, tenant);
  }

  async #enter(method: 'signin' | 'signup', auth: SigninAuth): Promise<Tokens> {
    const params = await this.#closingOnMismatch(async () => this.#paramsOf(auth));
    const tokens = await this.#askForTokens(method, params);
    // The token that a grant gives cannot be presented again: the session signs in with the key itself.
    if ('key' in auth) await this.#become({ type: 'grant', params });
    else await this.authenticate(tokens.access);
    return tokens;
  }

  async #become(principal: Principal): Promise<void> {
    await this.#closingOnMismatch(() => this.#lease.changes.signIn(principal)).catch((error: unknown) => {
      throw refusedSignin(error);
    });
  }

  /** A session that was led elsewhere must not be used again, not even by somebody who catches the error. */
  async #closingOnMismatch<Result>(work: () => Promise<Result>): Promise<Result> {
    try {
      return await work();
    } catch (error) {
      if (error instanceof TenantMismatchError)
        await this.close('The session was closed: its sign-in left the tenant.');
      throw error;
    }
  }
}

function isName(value: unknown): value is string {
  return typeof value === 'string' && value !== '';
}
