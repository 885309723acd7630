import { generateKeyPairSync, type KeyObject, randomBytes } from 'node:crypto';
import { request as httpRequest } from 'node:http';
import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { Controller, Get, Logger, Post, UseGuards } from '@nestjs/common';
import { SignJWT } from 'jose';
import {
  RecordUser,
  RecordUserGuard,
  Table,
  type Tenant,
  TenantAuth,
  TenantGuard,
  TenantSession,
} from 'nestjs-surreal';
import { listen, moduleOptions, TenantMap } from '../support/application.js';
import { defineTenantWithPeople, forge, inSeconds, mint } from '../support/people.js';
import { connect } from '../support/raw-client.js';
import { type Database, faultsOf, hasFaults, startDatabase } from '../support/surreal.js';

/** What somebody sends who has no business here: each is refused, learns nothing, and harms nobody. */

@Controller()
@UseGuards(TenantGuard, RecordUserGuard)
class MemoController {
  constructor(
    private readonly db: TenantSession,
    private readonly auth: TenantAuth,
  ) {}

  @Get('memos')
  async memos(@RecordUser() { id }: RecordUser) {
    const memos = await this.db.select<{ text: string }>(new Table('memo'));
    return [String(id), ...(await this.db.query('RETURN <string> $auth')), memos.map(({ text }) => text).sort()];
  }

  @Post('signout')
  async signout() {
    await this.auth.invalidate();
  }
}

const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 });
const pem = (key: KeyObject) => key.export({ type: 'spki', format: 'pem' }).toString();
const publicPem = pem(rsa.publicKey);

let database: Database;
let acme: Tenant;
let globex: Tenant;
let url: string;
let app: Awaited<ReturnType<typeof listen>>['app'];
const logged: string[] = [];

beforeAll(async () => {
  for (const level of ['log', 'warn', 'error', 'debug'] as const) {
    jest.spyOn(Logger.prototype, level).mockImplementation((...text: unknown[]) => void logged.push(text.join(' ')));
  }
  database = await startDatabase();
  const schema = `DEFINE ACCESS rsa ON DATABASE TYPE RECORD WITH JWT ALGORITHM RS256 KEY '${publicPem}';
    DEFINE ACCESS ec ON DATABASE TYPE RECORD WITH JWT ALGORITHM ES256 KEY '${pem(ec.publicKey)}';
    DEFINE USER boss ON DATABASE PASSWORD 'boss' ROLES OWNER`;
  [acme, globex] = [
    await defineTenantWithPeople(database.admin, { id: 'acme', schema }),
    await defineTenantWithPeople(database.admin, { id: 'globex' }),
  ];
  const recordUsers = { access: ['minted', 'rsa', 'ec'], cookie: 'token' };
  const options = moduleOptions(database, new TenantMap(acme, globex), { recordUsers });
  ({ app, url } = await listen(options, { controllers: [MemoController] }));
});
afterAll(async () => {
  await app?.close();
  await database?.stop();
  jest.restoreAllMocks();
});

type Headers = Record<string, string | string[]>;
const bearer = (token: string): Headers => ({ authorization: `Bearer ${token}` });

/** Node's own client sends what fetch would not. */
function send(headers: Headers, { path = '/memos', method = 'GET' } = {}): Promise<{ status: number; body: string }> {
  return new Promise((resolve, reject) => {
    const { port } = new URL(url);
    const given = { 'x-tenant-id': 'acme', connection: 'close', ...headers };
    httpRequest({ host: '127.0.0.1', port, path, method, headers: given }, (response) => {
      let body = '';
      response.setEncoding('utf8').on('data', (part: string) => (body += part));
      response.on('end', () => resolve({ status: response.statusCode ?? 0, body }));
    })
      .on('error', reject)
      .end();
  });
}

const header = { alg: 'HS512', typ: 'JWT' };
const claimsOf = (tenant: Tenant, claims: object = {}) => ({
  ns: tenant.namespace,
  db: tenant.database,
  ac: 'minted',
  id: 'user:anna',
  exp: inSeconds(600),
  ...claims,
});
const none = (token: string) => `${token.split('.').slice(0, 2).join('.')}.`;

const attacks: [string, () => Headers | Promise<Headers>, number, string?][] = [
  ['no token', () => ({}), 401],
  ['an empty header', () => ({ authorization: '' }), 401],
  ['an empty token', () => ({ authorization: 'Bearer ' }), 401],
  ['another scheme', () => ({ authorization: `Basic ${mint(acme)}` }), 401],
  ['random bytes', () => bearer(randomBytes(300).toString('base64url')), 401],
  ['random bytes in three parts', () => bearer(['a', 'b', 'c'].map(() => randomBytes(90).toString('base64url')).join('.')), 401],
  ['bytes that are no text', () => ({ authorization: `Bearer ${'\u00e9\u00ff\u0080'.repeat(20)}` }), 401],
  ['alg: none', () => bearer(none(forge({ alg: 'none' }, claimsOf(acme)))), 401],
  ['alg: none with a signature', () => bearer(forge({ alg: 'none' }, claimsOf(acme))), 401],
  ['alg: NoNe', () => bearer(none(forge({ alg: 'NoNe' }, claimsOf(acme)))), 401],
  ['no signature', () => bearer(none(mint(acme))), 401],
  ['the signature of other claims', () => bearer([...mint(acme).split('.').slice(0, 2), mint(acme, 'user:bert').split('.')[2]].join('.')), 401],
  ['a wrong key', () => bearer(forge(header, claimsOf(acme), 'another key')), 401],
  ['an empty key', () => bearer(forge(header, claimsOf(acme), '')), 401],
  ['a wrong algorithm', () => bearer(forge({ alg: 'HS256' }, claimsOf(acme), undefined, 'sha256')), 401],
  ['the public key of RS256 as the secret of HS256', () => bearer(forge({ alg: 'HS256' }, claimsOf(acme, { ac: 'rsa' }), publicPem, 'sha256')), 401],
  ['the public key of RS256 as the secret of HS512', () => bearer(forge(header, claimsOf(acme, { ac: 'rsa' }), publicPem)), 401],
  ['an expired token', () => bearer(forge(header, claimsOf(acme, { exp: inSeconds(-5) }))), 401],
  ['a token without an end', () => bearer(forge(header, claimsOf(acme, { exp: undefined }))), 401],
  ['an end that is no number', () => bearer(forge(header, claimsOf(acme, { exp: '9999999999' }))), 401],
  ['a token that is not valid yet', () => bearer(forge(header, claimsOf(acme, { nbf: inSeconds(500) }))), 401],
  ["another tenant's token", () => bearer(mint(globex)), 403, 'TENANT_MISMATCH'],
  ["another tenant's name in a forged token", () => bearer(forge(header, claimsOf(globex), 'x')), 403, 'TENANT_MISMATCH'],
  ['another database of the namespace', () => bearer(forge(header, claimsOf(acme, { db: 'other' }))), 403, 'TENANT_MISMATCH'],
  ['an access method that is not taken', () => bearer(mint(acme, 'user:anna', { ac: 'other' })), 401],
  ['an access method that there is not', () => bearer(mint(acme, 'user:anna', { ac: 'nope' })), 401],
  ["a system user's token", async () => bearer(await bossToken()), 401],
  ["root's token", async () => bearer(await rootToken()), 401],
  ['a record that there is not', () => bearer(mint(acme, 'user:nobody')), 401],
  ['a record of a table of no users', () => bearer(mint(acme, 'memo:nobody')), 401],
  ['an id that is no text', () => bearer(forge(header, claimsOf(acme, { id: { tb: 'user', id: 'anna' } }))), 401],
  ['claims in unusual case', () => bearer(forge(header, { Ns: acme.namespace, Db: acme.database, Ac: 'minted', Id: 'user:anna', exp: inSeconds(600) })), 401],
  ['duplicate claims', () => bearer(forge(header, JSON.stringify(claimsOf(acme)).replace('{', `{"ns":"${globex.namespace}",`))), 401],
  ['duplicate claims, the other last', () => bearer(forge(header, JSON.stringify(claimsOf(acme)).replace('}', `,"ns":"${globex.namespace}"}`))), 403, 'TENANT_MISMATCH'],
  ['a claim by two names', () => bearer(forge(header, { ...claimsOf(acme), NS: globex.namespace })), 401],
  ['a claim by two names that agree', () => bearer(forge(header, { ...claimsOf(acme), NS: acme.namespace })), 401],
  ['claims that are a list', () => bearer(forge(header, [claimsOf(acme)])), 401],
  ['a token of 10 kB', () => bearer(mint(acme, 'user:anna', { padding: 'x'.repeat(7_500) })), 401],
  ['a token of 100 kB', () => bearer(mint(acme, 'user:anna', { padding: 'x'.repeat(75_000) })), 431],
  ['tokens in two places', () => ({ ...bearer(mint(acme)), cookie: `token=${mint(acme, 'user:bert')}` }), 401],
  ['two Authorization headers', () => ({ authorization: [`Bearer ${mint(acme)}`, `Bearer ${mint(acme, 'user:bert')}`] }), 401],
  ['two tokens in one header', () => bearer(`${mint(acme)}, Bearer ${mint(acme, 'user:bert')}`), 401],
  ['a cookie that is no token', () => ({ cookie: 'token=%00%ff' }), 401],
]; // prettier-ignore

async function bossToken(): Promise<string> {
  return String(await anonymously({ ns: acme.namespace, db: acme.database, user: 'boss', pass: 'boss' }));
}

async function rootToken(): Promise<string> {
  return String(await anonymously({ user: database.root.username, pass: database.root.password }));
}

async function anonymously(auth: object): Promise<unknown> {
  const client = await connect(database.url);
  try {
    return await client.call('signin', [auth]);
  } finally {
    await client.close();
  }
}

describe('a token that does not hold', () => {
  const answerOf = (user: string, texts: string[]) => JSON.stringify([user, user, texts]);
  const good = [
    { headers: () => bearer(mint(acme)), answer: answerOf('user:anna', ['of Anna', 'shared by Bert']) },
    { headers: () => bearer(mint(acme, 'user:bert')), answer: answerOf('user:bert', ['of Bert', 'shared by Bert']) },
    {
      headers: () => ({ ...bearer(mint(globex)), 'x-tenant-id': 'globex' }),
      answer: answerOf('user:anna', ['of Anna', 'shared by Bert']),
    },
  ];

  it.each(attacks)('%s', async (_case, headers, status, code = 'UNAUTHENTICATED') => {
    const given = await headers();
    if (hasFaults) faultsOf(database).clearRequests();
    // Others come at the same time: before, while and after it is refused.
    const others = good.map((other) => send(other.headers()));
    const refused = await Promise.all(Array.from({ length: 5 }, () => send(given)));
    const answers = [
      ...(await Promise.all(others)),
      ...(await Promise.all(good.map((other) => send(other.headers())))),
    ];
    expect(answers.map(({ body }) => body)).toEqual([...good, ...good].map(({ answer }) => answer));

    for (const answer of refused) {
      expect(answer.status).toBe(status);
      if (status === 431) continue;
      const body = JSON.parse(answer.body) as object;
      expect(Object.keys(body)).toEqual(['statusCode', 'code', 'message']);
      expect(body).toMatchObject({ statusCode: status, code });
      // One sentence for all of a code, whatever was wrong.
      expect(sentences.get(code) ?? answer.body).toBe(answer.body);
      sentences.set(code, answer.body);
    }
    const token = /[\w-]{20,}\.[\w-]{20,}/.exec(JSON.stringify(given))?.[0];
    if (token !== undefined) expect(logged.join('\n')).not.toContain(token);
  });

  const sentences = new Map<string, string>();

  it('leaves no session behind', async () => {
    await new Promise((resolve) => setTimeout(resolve, 100));
    const sessions = (await database.server?.sessions()) ?? 0;
    for (const [, headers] of attacks) await send(await headers());
    await new Promise((resolve) => setTimeout(resolve, 100));
    // What a genuine token of somebody else's has opened goes on being there for a while; nothing more.
    const after = (await database.server?.sessions()) ?? 0;
    expect(after - sessions).toBeLessThanOrEqual(2);
  });

  it('a token that is used again after the logout', async () => {
    const token = mint(acme, 'user:anna', { jti: 'to be signed out' });
    expect((await send(bearer(token))).status).toBe(200);
    expect((await send(bearer(token), { path: '/signout', method: 'POST' })).status).toBe(201);
    const answers = await Promise.all(Array.from({ length: 20 }, () => send(bearer(token))));
    for (const { status, body } of answers) expect([status, body]).toEqual([401, sentences.get('UNAUTHENTICATED')]);
    // Neither in another spelling of the same signature.
    const [head, claims, signature = ''] = token.split('.');
    expect((await send(bearer(`${head}.${claims}.${signature}=`))).status).toBe(401);
    expect((await send(bearer(mint(acme, 'user:anna', { jti: 'another' })))).status).toBe(200);
  });

  it('a token that is used again after the logout with another signature that holds', async () => {
    // Of an ECDSA signature (r, s) everybody can make a second one, (r, n - s), without the key.
    const order = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n;
    const token = await new SignJWT(claimsOf(acme, { ac: 'ec' }))
      .setProtectedHeader({ alg: 'ES256' })
      .sign(ec.privateKey);
    const [head, claims, signature = ''] = token.split('.');
    const bytes = Buffer.from(signature, 'base64url');
    const mirrored = order - BigInt(`0x${bytes.subarray(32).toString('hex')}`);
    const other = Buffer.concat([bytes.subarray(0, 32), Buffer.from(mirrored.toString(16).padStart(64, '0'), 'hex')]);
    const twin = `${head}.${claims}.${other.toString('base64url')}`;
    expect([(await send(bearer(token))).status, (await send(bearer(twin))).status]).toEqual([200, 200]);
    expect((await send(bearer(token), { path: '/signout', method: 'POST' })).status).toBe(201);
    expect([(await send(bearer(token))).status, (await send(bearer(twin))).status]).toEqual([401, 401]);
  });
});
