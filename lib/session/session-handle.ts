import { type AccessRecordAuth, ServerError, SurrealQueryable, type Tokens, type Uuid } from 'surrealdb';
import type { SigninChannel } from '../connection/signin-channel.js';
import {
  ContextMissingError,
  InvalidOptionsError,
  NotAllowedError,
  SessionExpiredError,
  TenantMismatchError,
  UnauthenticatedError,
} from '../surreal.errors.js';
import type { Tenant } from '../tenant/tenant.js';
import { QueryConnection } from './query-connection.js';
import { rpcAuth, type SigninAuth } from './rpc-auth.js';
import { type CallOptions, callOptions } from './call.js';
import { type LeaseResources, SessionLease } from './session-lease.js';
import type { LeaseOwner } from './session-slot.js';
import { OpenTransaction, TenantTransaction } from './tenant-transaction.js';

export interface HandleResources extends LeaseResources {
  logins: SigninChannel;
}

/**
 * What application code holds as its `TenantSession`: the SDK's queries, run in the session of one unit of work, and
 * changes of that session which nobody else sees.
 */
export class SessionHandle extends SurrealQueryable {
  readonly #lease: SessionLease;
  readonly #logins: SigninChannel;

  constructor(resources: HandleResources, owner: LeaseOwner) {
    const lease = new SessionLease(resources, owner);
    // The SDK's own type for its connection is not exported; QueryConnection has what the builders call.
    super(new QueryConnection(lease) as never, undefined);
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
    const access = typeof token === 'string' ? token : token.access;
    await this.#closingOnMismatch(() => this.#lease.changes.authenticate(access)).catch((error: unknown) => {
      throw refusedSignin(error, 'authenticate');
    });
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
    return new BoundedQueries(this.#lease, callOptions(options));
  }

  async begin(): Promise<TenantTransaction> {
    return new TenantTransaction(await OpenTransaction.begin(this.#lease));
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

  async #enter(method: 'signin' | 'signup', auth: SigninAuth): Promise<Tokens> {
    this.#lease.assertOpen();
    const { tenant } = this.#lease;
    const params = await this.#closingOnMismatch(async () => rpcAuth(auth, tenant ?? this.#lease.target, tenant));
    const tokens = await this.#lease.track((call) => {
      const answer = this.#logins.request(method, params, tenant?.id ?? '', call).catch((error: unknown) => {
        throw refusedSignin(error, method);
      });
      return call.until(answer);
    });
    await this.authenticate(tokens.access);
    return tokens;
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

/** The same session, with bounds for the queries made by it. */
class BoundedQueries extends SurrealQueryable {
  constructor(lease: SessionLease, options: CallOptions | undefined) {
    super(new QueryConnection(lease, options) as never, undefined);
  }
}

/** One sentence for whatever was wrong, so that nobody learns which users, accesses or namespaces there are. */
function refusedSignin(error: unknown, method: string): unknown {
  const isRefusal =
    error instanceof ServerError || error instanceof NotAllowedError || error instanceof SessionExpiredError;
  if (!isRefusal) return error;
  if (method === 'signup') return new NotAllowedError('The database did not accept the sign-up.', { cause: error });
  return new UnauthenticatedError('The database did not accept the credentials or token.', { cause: error });
}

function isName(value: unknown): value is string {
  return typeof value === 'string' && value !== '';
}
