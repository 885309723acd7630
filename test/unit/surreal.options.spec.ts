import { inspect } from 'node:util';
import { describe, expect, it } from '@jest/globals';
import { fromHeader, InMemoryTenantStore, type SurrealModuleOptions } from 'nestjs-surreal';
import { resolveOptions } from '../../lib/surreal.options.js';

const tenants = { strategies: [fromHeader('x')], store: new InMemoryTenantStore([]) };

describe('resolveOptions', () => {
  it('fills in the defaults', () => {
    expect(resolveOptions({ url: 'mem://', sessions: { max: 5 } })).toEqual({
      url: 'mem://',
      sessions: {
        max: 5,
        maxOwnPerTenant: 2,
        idleTimeoutMillis: 300_000,
        maxLifetimeMillis: 3_600_000,
        acquireTimeoutMillis: 5_000,
      },
      calls: { maxInFlightPerTenant: 4, maxInFlight: 64, maxWaitingPerTenant: 1_000, maxWaiting: 10_000 },
      reconnect: {},
      recordUsers: { recheckMillis: 60_000 },
      strictWrites: false,
      sockets: 4,
      requestTimeoutMillis: 30_000,
      connectTimeoutMillis: 30_000,
      pingIntervalMillis: 10_000,
      shutdownTimeoutMillis: 10_000,
      exceptionFilter: true,
      telemetry: { queryText: false },
    });
  });

  it.each([
    [undefined, { queryText: false }],
    [true, { queryText: false }],
    [{}, { queryText: false }],
    [{ queryText: true }, { queryText: true }],
    [false, false],
  ])('takes telemetry: %j', (telemetry, resolved) => {
    const options = { url: 'mem://', telemetry } as SurrealModuleOptions;
    expect(resolveOptions(options).telemetry).toEqual(resolved);
  });

  it.each<[string, unknown, RegExp]>([
    ['no object', undefined, /needs an object/],
    ['no url', {}, /"url" is missing/],
    ['an empty url', { url: '' }, /"url" must be a url/],
    ['an unknown key', { url: 'mem://', ur1: 1 }, /"ur1" is unknown. Known are: url, authentication/],
    ['an inherited key', { url: 'mem://', toString: 1 }, /"toString" is unknown/],
    [
      'half a sign-in',
      { url: 'mem://', authentication: { username: 'root' } },
      /"authentication" must be { username, password }/,
    ],
    ['a namespace alone', { url: 'mem://', namespace: 'a' }, /"namespace" and "database" go together/],
    [
      'a wrong timeout',
      { url: 'mem://', requestTimeoutMillis: '5s' },
      /"requestTimeoutMillis" must be a number of milliseconds/,
    ],
    ['a timeout that setTimeout cannot hold', { url: 'mem://', requestTimeoutMillis: 2 ** 31 }, /below 2\^31/],
    ['an unknown key of sessions', { url: 'mem://', sessions: { maximum: 1 } }, /"sessions.maximum" is unknown/],
    ['a wrong count', { url: 'mem://', sessions: { max: 0 } }, /"sessions.max" must be a whole number above 0/],
    ['a wrong telemetry', { url: 'mem://', telemetry: 'on' }, /"telemetry" must be true, false or an object/],
    ['an unknown key of telemetry', { url: 'mem://', telemetry: { text: true } }, /"telemetry.text" is unknown/],
    [
      'a wrong queryText',
      { url: 'mem://', telemetry: { queryText: 1 } },
      /"telemetry.queryText" must be true or false/,
    ],
    ['a wrong strictWrites', { url: 'mem://', strictWrites: 'yes' }, /"strictWrites" must be true or false/],
    ['an unknown key of recordUsers', { url: 'mem://', recordUsers: { acces: [] } }, /"recordUsers.acces" is unknown/],
    ['no access', { url: 'mem://', recordUsers: { access: [] } }, /"recordUsers.access" must be a non-empty list/],
    [
      'a bare access',
      { url: 'mem://', recordUsers: { access: 'account' } },
      /"recordUsers.access" must be a non-empty/,
    ],
    [
      'an empty cookie',
      { url: 'mem://', recordUsers: { cookie: '' } },
      /"recordUsers.cookie" must be a non-empty string/,
    ],
    ['a wrong recheck', { url: 'mem://', recordUsers: { recheckMillis: 0 } }, /"recordUsers.recheckMillis" must be/],
    [
      'no revocations',
      { url: 'mem://', recordUsers: { revocations: {} } },
      /must be an object with add\(\) and has\(\)/,
    ],
    [
      'a scope',
      { url: 'mem://', recordUsers: { scope: 'user' } },
      /DEFINE ACCESS account ON DATABASE TYPE RECORD.*access: \['account'\]/,
    ],
    ['no store', { url: 'mem://', tenants: { strategies: [fromHeader('x')] } }, /"tenants.store" is missing/],
    ['a store without its method', { url: 'mem://', tenants: { ...tenants, store: {} } }, /"tenants.store" must be/],
    ['no strategies', { url: 'mem://', tenants: { ...tenants, strategies: [] } }, /"tenants.strategies" must be/],
    [
      'an unknown key of the cache',
      { url: 'mem://', tenants: { ...tenants, cache: { ttl: 1 } } },
      /"tenants.cache.ttl" is unknown/,
    ],
  ])('refuses %s by name', (_case, options, message) => {
    expect(() => resolveOptions(options as SurrealModuleOptions)).toThrow(message);
    expect(() => resolveOptions(options as SurrealModuleOptions)).toThrow(
      expect.objectContaining({ code: 'INVALID_OPTIONS' }),
    );
  });

  it('R7: shows no value: one of them may be a password', () => {
    const options = { url: 'mem://', authentication: { username: '', password: 'pa55word' } };
    let thrown: unknown;
    try {
      resolveOptions(options);
    } catch (error) {
      thrown = error;
    }
    expect(thrown).toBeDefined();
    expect(inspect(thrown, { depth: 9 })).not.toContain('pa55word');
  });
});
