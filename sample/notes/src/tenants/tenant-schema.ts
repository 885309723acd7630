import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Durations } from '../settings.js';
import type { TenantRecord } from './tenant-registry.js';

/** Raise it with every change of the files that tenants' databases are set up from: each is set up again at the next start. */
export const SCHEMA_VERSION = 2;

/** What the central database is made of. */
export const CENTRAL_SCHEMA = schemaFile('central');

/** What to run in a tenant's database, as its owner; every statement of it may run again. */
export function tenantSchema(
  { credentials, account_key, schema }: TenantRecord,
  durations: Durations,
): { sql: string; variables: Record<string, unknown> } {
  const people = {
    account_key,
    token_duration: durations.token,
    session_duration: durations.session,
    refresh_duration: durations.refresh,
  };
  const rest = [
    schemaFile('people'),
    // What the version before left.
    ...((schema?.version ?? 0) < 2 ? [schemaFile('notes-without-owner')] : []),
    schemaFile('notes'),
  ].join('\n');
  if (credentials.type === 'jwt') {
    const { access: name, key } = credentials;
    return { sql: `${schemaFile('tenant-jwt')}\n${rest}`, variables: { name, key, ...people } };
  }
  // A JSON string is a SurrealQL string. A function, so that no `$` in it means anything.
  const user = schemaFile('tenant-user').replace("'{password}'", () => JSON.stringify(credentials.password));
  return { sql: `${user}\n${rest}`, variables: { name: credentials.username, ...people } };
}

/** Whether a tenant's database is as this version wants it, or a later one. */
export function isUpToDate({ is_ready, schema }: TenantRecord, durations: Durations): boolean {
  if (!is_ready || schema === undefined || schema.version < SCHEMA_VERSION) return false;
  if (schema.version > SCHEMA_VERSION) return true;
  const { token, session, refresh } = schema.durations;
  return token === durations.token && session === durations.session && refresh === durations.refresh;
}

function schemaFile(name: string): string {
  return readFileSync(join(import.meta.dirname, `../../schema/${name}.surql`), 'utf8');
}
