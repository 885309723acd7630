import { randomBytes } from 'node:crypto';
import { Injectable } from '@nestjs/common';
import { InjectSurreal, RecordId, type Surreal, type TenantCredentials } from 'nestjs-surreal';
import { NOTE_SCHEMA } from '../notes/note.schema.js';
import type { TenantRecord } from './tenant-registry.js';

/** A tenant that there should be. */
export interface NewTenant {
  /** Also the end of its namespace's name. */
  id: string;
  name: string;
  /** A user with a password, or tokens that the library mints with a key (no password hashing, so faster). */
  signIn: TenantCredentials['type'];
}

/**
 * Gives tenants their database. It can be interrupted anywhere and run again: the credentials are kept before they are
 * defined, every step may be repeated, and a tenant is found only once all of them are done.
 */
@Injectable()
export class TenantSetup {
  constructor(@InjectSurreal() private readonly central: Surreal) {}

  /** @returns the ids of those that were new */
  async run(tenants: NewTenant[]): Promise<string[]> {
    await this.central.query(`
      DEFINE TABLE IF NOT EXISTS tenant SCHEMAFULL;
      DEFINE FIELD IF NOT EXISTS namespace ON tenant TYPE string;
      DEFINE FIELD IF NOT EXISTS database ON tenant TYPE string;
      DEFINE FIELD IF NOT EXISTS credentials ON tenant TYPE object FLEXIBLE;
      DEFINE FIELD IF NOT EXISTS metadata ON tenant TYPE object FLEXIBLE;
      DEFINE FIELD IF NOT EXISTS is_ready ON tenant TYPE bool DEFAULT false;
    `);
    const added: string[] = [];
    for (const tenant of tenants) if (await this.add(tenant)) added.push(tenant.id);
    return added;
  }

  private async add({ id, name, signIn }: NewTenant): Promise<boolean> {
    const place = { namespace: `notes_${id}`, database: 'notes' };
    // Two processes that start at once agree on what the first one wrote.
    await this.central.query('INSERT IGNORE INTO tenant $record', {
      record: { id, ...place, credentials: newCredentials(signIn), metadata: { name } },
    });
    const record = new RecordId('tenant', id);
    const tenant = await this.central.select<TenantRecord>(record);
    if (tenant === undefined || tenant.is_ready) return false;

    const access = defineAccess(tenant.credentials);
    await this.central.query(
      `DEFINE NAMESPACE IF NOT EXISTS $namespace; USE NS $namespace;
       DEFINE DATABASE IF NOT EXISTS $database; USE DB $database;
       ${NOTE_SCHEMA} ${access.sql};`,
      { ...place, ...access.variables },
    );
    await this.central.update(record).merge({ is_ready: true });
    return true;
  }
}

function newCredentials(type: NewTenant['signIn']): TenantCredentials {
  const secret = randomBytes(64).toString('hex');
  return type === 'user'
    ? { type, username: 'app', password: secret }
    : { type, access: 'app', key: secret, algorithm: 'HS512', roles: ['Editor'] };
}

/** How the tenant's own sessions get in. An editor reads and writes records, and changes no schema. */
function defineAccess(credentials: TenantCredentials): { sql: string; variables: Record<string, string> } {
  if (credentials.type === 'jwt') {
    const { access: name, key } = credentials;
    return {
      sql: 'DEFINE ACCESS OVERWRITE $name ON DATABASE TYPE JWT ALGORITHM HS512 KEY $key',
      variables: { name, key },
    };
  }
  const { username: name, password } = credentials;
  // PASSWORD is the one place that takes no variable; a JSON string is a SurrealQL string.
  const sql = `DEFINE USER OVERWRITE $name ON DATABASE PASSWORD ${JSON.stringify(password)} ROLES EDITOR`;
  return { sql, variables: { name } };
}
