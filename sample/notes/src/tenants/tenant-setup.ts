import { randomBytes } from 'node:crypto';
import { Injectable } from '@nestjs/common';
import { InjectSurreal, RecordId, type Surreal } from 'nestjs-surreal';
import { durations } from '../settings.js';
import type { TenantRecord } from './tenant-registry.js';
import { CENTRAL_SCHEMA, isUpToDate, SCHEMA_VERSION, tenantSchema } from './tenant-schema.js';

/** A tenant that there should be. */
export interface NewTenant {
  /** Also the end of its namespace's name. */
  id: string;
  name: string;
  /** A user with a password, or tokens that the library mints with a key (no password hashing, so faster). */
  signIn: TenantRecord['credentials']['type'];
}

/** The ids of the tenants that a set-up did something for. */
export interface SetUpTenants {
  added: string[];
  /** Those that had a database with another schema. */
  updated: string[];
}

/**
 * Gives tenants their database, and another schema when that has changed. It can be interrupted anywhere and run again: the
 * secrets are kept before they are defined, every step may be repeated, and a tenant is found only once all of them are done.
 */
@Injectable()
export class TenantSetup {
  constructor(@InjectSurreal() private readonly central: Surreal) {}

  async run(tenants: NewTenant[]): Promise<SetUpTenants> {
    await this.central.query(CENTRAL_SCHEMA);
    const done: SetUpTenants = { added: [], updated: [] };
    for (const wanted of tenants) {
      const tenant = await this.register(wanted);
      if (isUpToDate(tenant, durations())) continue;
      await this.setUp(tenant);
      (tenant.is_ready ? done.updated : done.added).push(wanted.id);
    }
    return done;
  }

  /** The tenant's record, with its secrets: made up now unless it has some. */
  private async register({ id, name, signIn }: NewTenant): Promise<TenantRecord> {
    const place = { namespace: `notes_${id}`, database: 'notes' };
    // Two processes that start at once agree on what the first one wrote.
    const [, , tenant] = await this.central.query<[unknown, unknown, TenantRecord]>(
      `INSERT IGNORE INTO tenant $record;
       UPDATE $id SET account_key = $key WHERE account_key IS NONE;
       SELECT * FROM ONLY $id`,
      {
        id: new RecordId('tenant', id),
        record: { id, ...place, credentials: newCredentials(signIn), metadata: { name } },
        key: newSecret(),
      },
    );
    return tenant;
  }

  private async setUp(tenant: TenantRecord): Promise<void> {
    const { id, namespace, database } = tenant;
    const { sql, variables } = tenantSchema(tenant, durations());
    await this.central.query(
      `DEFINE NAMESPACE IF NOT EXISTS $namespace; USE NS $namespace;
       DEFINE DATABASE IF NOT EXISTS $database; USE DB $database;
       ${sql}`,
      { namespace, database, ...variables },
    );
    await this.central.update(id).merge({
      is_ready: true,
      schema: { version: SCHEMA_VERSION, durations: durations() },
    });
  }
}

function newCredentials(type: NewTenant['signIn']): TenantRecord['credentials'] {
  return type === 'user'
    ? { type, username: 'app', password: newSecret() }
    : { type, access: 'app', key: newSecret(), algorithm: 'HS512', roles: ['Editor'] };
}

function newSecret(): string {
  return randomBytes(64).toString('hex');
}
