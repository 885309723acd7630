import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { ServerError, SurrealModuleError, type Tenant, type TenantSession } from 'nestjs-surreal';
import { type Backend, type BackendName, startBackend } from '../support/backend.js';
import { defineTenant } from '../support/surreal.js';

/** The library tells many errors of SurrealDB 3.0 by their text alone: this fails when a text changes. */
describe.each<BackendName>(['ws://', 'mem://'])('errors of the database on %s', (name) => {
  let backend: Backend;
  let tenant: Tenant;

  // A process in which the embedded engine 3.0.2 has built an index does not end by itself: not in the process of the tests.
  const index = name === 'mem://' ? '' : 'DEFINE INDEX email ON strict FIELDS email UNIQUE;';

  beforeAll(async () => {
    backend = await startBackend(name);
    tenant = await defineTenant(backend.admin, {
      schema: `DEFINE TABLE strict SCHEMAFULL; DEFINE FIELD age ON strict TYPE int ASSERT $value >= 0;
        DEFINE FIELD email ON strict TYPE option<string>; ${index}
        CREATE strict:1 SET age = 1, email = 'a@b.c'; CREATE note:1 SET n = 1`,
    });
  });
  afterAll(() => backend?.stop());

  const failureOf = async (work: (db: TenantSession) => PromiseLike<unknown>): Promise<Error> =>
    await backend.tenancy
      .run(tenant, async (db) => await work(db))
      .then(
        () => Promise.reject(new Error('It did not fail')),
        (error: Error) => error,
      );

  it.each([
    ['a duplicate record id', 'CREATE strict:1 SET age = 1', 'ALREADY_EXISTS', 409],
    ...(index === ''
      ? []
      : [['a unique index', `CREATE strict:2 SET age = 1, email = 'a@b.c'`, 'ALREADY_EXISTS', 409] as const]),
    ['an ASSERT', 'CREATE strict:3 SET age = -1', 'INVALID_VALUE', 422],
    ['a TYPE', `CREATE strict:3 SET age = 'old'`, 'INVALID_VALUE', 422],
    ['a field that SCHEMAFULL does not know', 'CREATE strict:3 SET age = 1, shoe = 42', 'INVALID_VALUE', 422],
    ['a right that is missing', `DEFINE USER x ON DATABASE PASSWORD 'x'`, 'NOT_ALLOWED', 403],
    ['a TIMEOUT', 'SELECT sleep(200ms) FROM note TIMEOUT 10ms', 'REQUEST_TIMEOUT', 504],
  ])('%s: %s is %s', async (_case, sql, code, status) => {
    const error = await failureOf((db) => db.query(sql));
    expect(error).toBeInstanceOf(SurrealModuleError);
    expect(error).toMatchObject({ code, status });
    expect(error.cause).toBeInstanceOf(ServerError);
  });

  it.each([
    ['an ASSERT', 'CREATE strict:3 SET age = -1', 'age'],
    ['a TYPE', `CREATE strict:3 SET age = 'old'`, 'age'],
    ['an unknown field', 'CREATE strict:3 SET age = 1, shoe = 42', 'shoe'],
  ])('%s names its field', async (_case, sql, field) => {
    expect(await failureOf((db) => db.query(sql))).toMatchObject({ field });
  });

  it.each([
    ['at commit', false],
    ['inside BEGIN … COMMIT text', true],
  ])('a write conflict %s is TRANSACTION_CONFLICT', async (_case, asText) => {
    const error = await failureOf(async (db) => {
      const transaction = await db.begin();
      await transaction.query('UPDATE note:1 SET n += 1');
      if (!asText) {
        await db.query('UPDATE note:1 SET n += 1');
        return await transaction.commit();
      }
      const text = db.query(
        'BEGIN; UPDATE note:1 SET n += 1; SLEEP_HERE; COMMIT'.replace('SLEEP_HERE;', 'RETURN sleep(300ms);'),
      );
      const outcome = Promise.resolve(text);
      outcome.catch(() => undefined);
      await new Promise((resolve) => setTimeout(resolve, 100));
      await transaction.commit();
      return await outcome;
    });
    expect(error).toMatchObject({ code: 'TRANSACTION_CONFLICT', status: 409, retryable: true });
  });

  it.each([
    ['a parse error', 'SELEC 1'],
    ['THROW', `THROW 'mine'`],
    ['a table that is not defined', 'SELECT * FROM nowhere'],
  ])('%s stays as the SDK gives it', async (_case, sql) => {
    const error = await failureOf((db) => db.query(sql));
    expect(error).toBeInstanceOf(ServerError);
    expect(error).not.toBeInstanceOf(SurrealModuleError);
  });
});
