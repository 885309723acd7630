import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { fromHeader, fromSubdomain, type SurrealModuleOptions } from 'nestjs-surreal';
import { TenantRegistry } from './tenants/tenant-registry.js';

/** The options of `SurrealModule`: a server when `SURREAL_URL` names one, else an engine inside this process. */
export function surrealOptions(env = process.env): SurrealModuleOptions {
  return {
    ...(env.SURREAL_URL ? server(env.SURREAL_URL, env) : embedded(env)),
    namespace: 'notes_app',
    database: 'central',
    tenants: {
      strategies: [fromSubdomain({ root: 'localhost' }), fromHeader('x-tenant-id')],
      store: TenantRegistry,
      cache: true,
    },
    // Whose tokens RecordUserGuard takes: those of the access method in schema/people.surql.
    recordUsers: { access: ['account'] },
    // A write that PERMISSIONS forbid is an error: the database itself would do nothing and say nothing.
    strictWrites: true,
  };
}

function server(url: string, env: NodeJS.ProcessEnv): Pick<SurrealModuleOptions, 'url' | 'authentication'> {
  return { url, authentication: { username: env.SURREAL_USER ?? 'root', password: env.SURREAL_PASS ?? 'root' } };
}

function embedded(env: NodeJS.ProcessEnv): Pick<SurrealModuleOptions, 'url' | 'authentication'> {
  const folder = resolve(env.NOTES_DATA ?? join(import.meta.dirname, '../data'));
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  return {
    url: `surrealkv://${join(folder, 'surrealkv')}`,
    // The library defines this user in a new embedded database.
    authentication: { username: 'root', password: keptSecret(join(folder, 'root-password')) },
  };
}

/** The secret in a file that its owner alone may read; made up the first time. */
function keptSecret(file: string): string {
  if (!existsSync(file)) {
    // Written aside and renamed: a crash in between leaves no half of a password behind.
    writeFileSync(`${file}.new`, randomBytes(32).toString('hex'), { mode: 0o600 });
    renameSync(`${file}.new`, file);
  }
  return readFileSync(file, 'utf8');
}
