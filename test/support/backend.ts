import type { INestApplicationContext } from '@nestjs/common';
import { SURREAL, type Surreal, type SurrealModuleOptions, Tenancy } from 'nestjs-surreal';
import { createContext, moduleOptions, TenantMap } from './application.js';
import { type Admin, type Database, startDatabase } from './surreal.js';

export type BackendName = 'ws://' | 'mem://';

/** One way to run SurrealDB under the library, with an application on it: what the conformance tests run twice. */
export interface Backend {
  app: INestApplicationContext;
  tenancy: Tenancy;
  store: TenantMap;
  admin: Admin;
  root: { username: string; password: string };
  /** Undefined for the embedded engine. */
  database: Database | undefined;
  stop(): Promise<void>;
}

export async function startBackend(name: BackendName, options: Partial<SurrealModuleOptions> = {}): Promise<Backend> {
  const store = new TenantMap();
  const database = name === 'ws://' ? await startDatabase() : undefined;
  const at = database ?? { url: name, root: { username: 'root', password: 'root' } };
  const app = await createContext(moduleOptions(at, store, options));
  const surreal = app.get<Surreal>(SURREAL);
  return {
    app,
    tenancy: app.get(Tenancy),
    store,
    root: at.root,
    admin: database?.admin ?? {
      query: <Result>(sql: string) => surreal.query(sql) as PromiseLike<unknown> as PromiseLike<Result>,
    },
    database,
    stop: async () => {
      await app.close();
      await database?.stop();
    },
  };
}
