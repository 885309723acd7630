import { createHash } from 'node:crypto';
import { inspect } from 'node:util';
import type { TenantCredentials } from './tenant-credentials.js';

/** One customer of the application: where its data lives and how to get in. */
export interface Tenant {
  /** What strategies identify and stores look up; stable for the life of the tenant. */
  id: string;
  namespace: string;
  database: string;
  /** Enters the tenant's database. Never shown by `inspect()` or JSON once the library has handed the tenant on. */
  credentials: TenantCredentials;
  /** A `suspended` tenant's requests are refused with TENANT_SUSPENDED. Default `active`. */
  status?: 'active' | 'suspended';
  /** Whatever the application wants to know of its tenant; carried along untouched. */
  metadata?: Record<string, unknown>;
}

/**
 * A copy of a store's tenant that can be logged: its credentials are there to be read, but neither JSON nor `inspect()`
 * shows them (R7). It is frozen, so nobody can move a running unit of work to other data.
 */
export function sealTenant(tenant: Tenant): Tenant {
  return new SealedTenant(tenant) as unknown as Tenant;
}

// Classes, not properties defined on each object: those would give each of 10,000 tenants a hidden class of its own.
class SealedTenant {
  readonly #credentials: SealedCredentials;

  constructor(tenant: Tenant) {
    const { credentials, ...own } = tenant;
    // By name as well: a record can be of a class whose properties are getters.
    const { id, namespace, database, status, metadata } = tenant;
    Object.assign(this, own, { id, namespace, database });
    if (status !== undefined) Object.assign(this, { status });
    if (metadata !== undefined) Object.assign(this, { metadata });
    this.#credentials = new SealedCredentials(credentials);
    Object.freeze(this);
  }

  get credentials(): SealedCredentials {
    return this.#credentials;
  }
}

class SealedCredentials {
  constructor(credentials: TenantCredentials) {
    Object.assign(this, credentials, { type: credentials.type });
    // What stays the store's own could be changed under a session that was made by it.
    if (credentials.type === 'jwt') {
      const { roles, key } = credentials;
      Object.assign(this, {
        roles: Object.freeze([...roles]),
        key: Object.freeze(typeof key === 'string' ? key : { ...key }),
      });
    }
    Object.freeze(this);
  }

  toJSON(): string {
    return '[redacted]';
  }

  [inspect.custom](): string {
    return '[redacted]';
  }
}

/** Whether two records of a store say the same; a changed one must not be served from what was made of the other. */
export function sameTenant(a: Tenant, b: Tenant): boolean {
  return shallowEqual(a, b) && shallowEqual(a.credentials, b.credentials);
}

/** Compares own values, all but the credentials of a tenant: those are a level of their own. */
function shallowEqual(a: object, b: object): boolean {
  let keys = 0;
  for (const key in a) {
    if (key === 'credentials' || !Object.hasOwn(a, key)) continue;
    keys++;
    if (!Object.hasOwn(b, key)) return false;
    if (!sameValue((a as Record<string, unknown>)[key], (b as Record<string, unknown>)[key])) return false;
  }
  for (const key in b) if (key !== 'credentials' && Object.hasOwn(b, key)) keys--;
  return keys === 0;
}

function sameValue(a: unknown, b: unknown): boolean {
  if (Array.isArray(a) && Array.isArray(b)) return a.length === b.length && a.every((item, index) => item === b[index]);
  return a === b;
}

const fingerprints = new WeakMap<Tenant, string>();

/**
 * Names whom a tenant's sessions are signed in as: same string, same principal. It changes with the namespace, the
 * database and every part of the credentials, and tells nothing of them.
 */
export function principalKey(tenant: Tenant): string {
  let key = fingerprints.get(tenant);
  if (key === undefined) {
    const { namespace, database, credentials } = tenant;
    const parts = Object.entries(credentials).filter(([, value]) => typeof value !== 'function');
    const text = JSON.stringify([namespace, database, parts.sort(([a], [b]) => (a < b ? -1 : 1))]);
    key = `${tenant.id}\u0000${createHash('sha256').update(text).digest('base64url')}`;
    fingerprints.set(tenant, key);
  }
  return key;
}
