import { inspect } from 'node:util';
import { describe, expect, it } from '@jest/globals';
import { InMemoryTenantStore, type Tenant } from 'nestjs-surreal';
import { principalKey, sameTenant, sealTenant } from '../../../lib/tenant/tenant.js';
import { tenantProblem, validateIdentifier } from '../../../lib/tenant/tenant.validation.js';

const acme: Tenant = {
  id: 'acme',
  namespace: 'acme',
  database: 'main',
  credentials: { type: 'user', username: 'u', password: 'pa55word' },
  metadata: { plan: 'free' },
};

describe('a sealed tenant', () => {
  const sealed = sealTenant(acme);

  it('R7: shows its credentials in no log and no JSON, and has them', () => {
    for (const text of [
      JSON.stringify(sealed),
      JSON.stringify({ ...sealed }),
      inspect(sealed, { showHidden: true, depth: 9 }),
      JSON.stringify(sealed.credentials),
      inspect(sealed.credentials),
    ]) {
      expect(text).not.toContain('pa55word');
    }
    expect(sealed.credentials).toMatchObject({ username: 'u', password: 'pa55word' });
    expect(JSON.parse(JSON.stringify(sealed))).toEqual({
      id: 'acme',
      namespace: 'acme',
      database: 'main',
      metadata: { plan: 'free' },
    });
  });

  it('has what a record of a class says by getters', () => {
    class Row {
      readonly id = 'acme';
      readonly namespace = 'acme';
      readonly database = 'main';
      readonly credentials = acme.credentials;
      get status() {
        return 'suspended' as const;
      }
    }
    expect(sealTenant(new Row()).status).toBe('suspended');
  });

  it('cannot be moved to other data', () => {
    expect(() => Object.assign(sealed, { database: 'other' })).toThrow(TypeError);
    expect(() => Object.assign(sealed.credentials, { password: 'other' })).toThrow(TypeError);
  });

  it.each<[string, Partial<Tenant>]>([
    ['namespace', { namespace: 'other' }],
    ['database', { database: 'other' }],
    ['status', { status: 'suspended' }],
    ['password', { credentials: { type: 'user', username: 'u', password: 'new' } }],
    ['type of credentials', { credentials: { type: 'jwt', access: 'a', key: 'k', roles: ['Editor'] } }],
  ])('is told from a record with another %s', (_name, change) => {
    expect(sameTenant(acme, sealed)).toBe(true);
    expect(sameTenant({ ...acme, ...change }, sealed)).toBe(false);
  });

  it('has the same principal as long as it leads to the same place with the same credentials', () => {
    const key = principalKey(sealed);
    expect(principalKey(sealTenant({ ...acme, metadata: {} }))).toBe(key);
    expect(
      principalKey(sealTenant({ ...acme, credentials: { password: 'pa55word', username: 'u', type: 'user' } })),
    ).toBe(key);
    for (const change of [
      { database: 'b' },
      { namespace: 'n' },
      { id: 'x' },
      { credentials: { ...acme.credentials, password: 'q' } as never },
    ]) {
      expect(principalKey(sealTenant({ ...acme, ...change }))).not.toBe(key);
    }
    expect(key).not.toContain('pa55word');
  });
});

describe('validation', () => {
  it.each(['acme', 'a', '0', 'a.b', 'A_b-c', '_x', 'a'.repeat(63)])('takes the identifier %j', (identifier) => {
    expect(validateIdentifier(identifier)).toBe(identifier);
  });

  it.each(['', ' ', 'a b', '-a', '.a', 'a..b', 'a/b', 'a\\b', "a'b", 'a"b', 'a`b', 'a;b', 'ä', 'a\u0000', 'a\n', '⟨a⟩', 'a'.repeat(64), null, undefined, 1, ['a']])(
    'R11: refuses the identifier %j',
    (identifier) => {
      expect(() => validateIdentifier(identifier)).toThrow(expect.objectContaining({ code: 'TENANT_INVALID' }));
    },
  ); // prettier-ignore

  it.each<[string, unknown]>([
    ['"namespace"', { ...acme, namespace: '' }],
    ['"database"', { ...acme, database: 'a\u0000b' }],
    ['"id"', { ...acme, id: 'a b' }],
    ['"status"', { ...acme, status: 'gone' }],
    ['"credentials.type"', { ...acme, credentials: undefined }],
    ['"credentials.type"', { ...acme, credentials: { type: 'nobody' } }],
    ['scope of SurrealDB 1', { ...acme, credentials: { type: 'user', username: 'u', password: 'p', scope: 'user' } }],
    ['"credentials.token"', { ...acme, credentials: { type: 'token', token: '' } }],
    ['"credentials.access"', { ...acme, credentials: { type: 'bearer', key: 'k' } }],
    ['"credentials.key"', { ...acme, credentials: { type: 'bearer', access: 'a' } }],
    ['"credentials.key"', { ...acme, credentials: { type: 'jwt', access: 'a', key: '', roles: ['Editor'] } }],
    [
      'its "k" is missing',
      { ...acme, credentials: { type: 'jwt', access: 'a', key: { kty: 'oct' }, roles: ['Editor'] } },
    ],
    [
      'its "d" is missing',
      {
        ...acme,
        credentials: { type: 'jwt', access: 'a', key: { kty: 'RSA', n: 'n', alg: 'RS256' }, roles: ['Editor'] },
      },
    ],
    [
      'its "d" is missing',
      {
        ...acme,
        credentials: { type: 'jwt', access: 'a', key: { kty: 'oct', d: 'd' }, algorithm: 'RS256', roles: ['Editor'] },
      },
    ],
    [
      'is not the algorithm ("alg")',
      {
        ...acme,
        credentials: {
          type: 'jwt',
          access: 'a',
          key: { kty: 'oct', k: 'k', alg: 'HS256' },
          algorithm: 'HS512',
          roles: ['Editor'],
        },
      },
    ],
    [
      '"credentials.keyId"',
      { ...acme, credentials: { type: 'jwt', access: 'a', key: 'k', keyId: '', roles: ['Editor'] } },
    ],
    ['"credentials.password"', { ...acme, credentials: { type: 'user', username: 'u' } }],
    ['"credentials.level"', { ...acme, credentials: { ...acme.credentials, level: 'table' } }],
    ['"credentials.roles"', { ...acme, credentials: { type: 'jwt', access: 'a', key: 'k', roles: [] } }],
    ['"credentials.roles"', { ...acme, credentials: { type: 'jwt', access: 'a', key: 'k', roles: ['editor'] } }],
    [
      '"credentials.algorithm"',
      { ...acme, credentials: { type: 'jwt', access: 'a', key: 'k', roles: ['Editor'], algorithm: 'none' } },
    ],
    ['not an object', null],
  ])('says that %s of a record is wrong', (name, tenant) => {
    expect(tenantProblem(tenant as Tenant)).toContain(name);
  });

  it.each<[string, Tenant['credentials']]>([
    ['a token', { type: 'token', token: 'a.b.c' }],
    ['a function that gives tokens', { type: 'token', token: () => 'a.b.c' }],
    ["a grant's key", { type: 'bearer', access: 'a', key: 'k' }],
    ['none', { type: 'none' }],
    [
      'a secret JSON Web Key',
      { type: 'jwt', access: 'a', key: { kty: 'oct', k: 'k', alg: 'HS256' }, roles: ['Owner'] },
    ],
    [
      'a private JSON Web Key',
      { type: 'jwt', access: 'a', key: { kty: 'EC', d: 'd' }, algorithm: 'ES256', roles: ['Owner'] },
    ],
  ])('takes credentials: %s', (_case, credentials) => {
    expect(tenantProblem({ ...acme, credentials })).toBeUndefined();
  });

  it('R7: a store refuses an unsound record without showing it', () => {
    expect(() => new InMemoryTenantStore([{ ...acme, id: 'x y' }])).toThrow(
      expect.objectContaining({ message: expect.not.stringContaining('pa55word') }),
    );
    expect(() => new InMemoryTenantStore([acme, acme])).toThrow(/same id/);
  });
});
