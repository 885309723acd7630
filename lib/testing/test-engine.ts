import type * as EmbeddedPackage from '@surrealdb/node';
import { RpcEngine, Surreal, type EngineFactory, type SurrealEngine } from 'surrealdb';
import type { ServerSettings } from './server-options.js';

/** What the server needs of the embedded engine. Sessions and transactions are the engine's own, not the SDK's. */
export type TestEngine = Pick<RpcEngine, 'send' | 'liveQuery'>;

/** An engine that is open, and the way to close it. */
export interface OpenEngine {
  engine: TestEngine;
  close(): Promise<void>;
}

const PACKAGE = '@surrealdb/node';

/**
 * Opens the embedded engine on a storage and makes sure that the root user exists. The caller closes it.
 * @throws Error when the engine's package is missing or the storage cannot be opened.
 */
export async function openEngine({ storage, root }: Pick<ServerSettings, 'storage' | 'root'>): Promise<OpenEngine> {
  const { createNodeEngines } = await loadPackage();
  const opened: { engine?: SurrealEngine } = {};
  const failed = rejectable();
  const capture = (factory: EngineFactory): EngineFactory => {
    return (context) => {
      const engine = factory(context);
      // connect() waits for ever when the storage does not open: only the engine's own event tells.
      engine.subscribe('error', (error) => failed.reject(error));
      return (opened.engine = engine);
    };
  };
  const factories = Object.entries(createNodeEngines()).map(([scheme, factory]) => [scheme, capture(factory)] as const);
  const database = new Surreal({ engines: Object.fromEntries(factories) });
  try {
    await Promise.race([database.connect(storage), failed.promise]);
  } catch (error) {
    throw new Error(`the storage ${storage} cannot be opened: ${reasonOf(error)}`, { cause: error });
  }
  if (!(opened.engine instanceof RpcEngine)) {
    throw new Error(
      `${PACKAGE} was made for another copy of the package surrealdb than the one here: npm ls surrealdb`,
    );
  }
  await defineRootUser(opened.engine, root);
  return { engine: opened.engine, close: async () => void (await database.close()) };
}

async function loadPackage(): Promise<Pick<typeof EmbeddedPackage, 'createNodeEngines'>> {
  try {
    return await import('@surrealdb/node');
  } catch (error) {
    throw new Error(
      `nestjs-surreal/testing runs the SurrealDB engine of the package ${PACKAGE}, which cannot be loaded ` +
        `(${reasonOf(error)}). Install it: npm install --save-dev ${PACKAGE}`,
      { cause: error },
    );
  }
}

async function defineRootUser(engine: TestEngine, { username, password }: ServerSettings['root']): Promise<void> {
  const [info] = await query(engine, 'INFO FOR ROOT');
  const users = (info as { users?: Record<string, unknown> } | undefined)?.users ?? {};
  if (Object.hasOwn(users, username)) return;
  // The grammar wants literals here. The SDK's escapeIdent() leaves backslashes and leading digits as they are.
  const name = `\`${username.replace(/[\\`]/g, '\\$&')}\``;
  await query(engine, `DEFINE USER ${name} ON ROOT PASSWORD ${JSON.stringify(password)} ROLES OWNER`);
}

async function query(engine: TestEngine, sql: string): Promise<unknown[]> {
  const results: { status: string; result: unknown }[] = await engine.send({ method: 'query', params: [sql] });
  for (const { status, result } of results) if (status !== 'OK') throw new Error(String(result));
  return results.map(({ result }) => result);
}

function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause === undefined ? error.message : reasonOf(error.cause);
}

function rejectable(): { promise: Promise<never>; reject: (error: unknown) => void } {
  let reject = (_error: unknown): void => undefined;
  const promise = new Promise<never>((_, settle) => (reject = settle));
  // An error after the opening has nobody waiting for it.
  promise.catch(() => undefined);
  return { promise, reject };
}
