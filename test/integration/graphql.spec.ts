import type { Server } from 'node:http';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { INestApplication } from '@nestjs/common';
import { UseGuards } from '@nestjs/common';
import { ApolloDriver, type ApolloDriverConfig } from '@nestjs/apollo';
import { Args, GraphQLModule, Mutation, Query, Resolver } from '@nestjs/graphql';
import { Test } from '@nestjs/testing';
import {
  RecordId,
  RecordUser,
  RecordUserGuard,
  SkipRecordUser,
  SurrealModule,
  Table,
  type Tenant,
  TenantAuth,
  TenantGuard,
  TenantSession,
} from 'nestjs-surreal';
import { moduleOptions, TenantMap } from '../support/application.js';
import { anna, defineTenantWithPeople, mint } from '../support/people.js';
import { type Database, faultsOf, itWithFaults, startDatabase } from '../support/surreal.js';

@Resolver()
@UseGuards(TenantGuard, RecordUserGuard)
class MemoResolver {
  constructor(
    private readonly db: TenantSession,
    private readonly auth: TenantAuth,
  ) {}

  @Query(() => String)
  async me(@RecordUser() { id }: RecordUser) {
    const [auth] = await this.db.query<[string]>('RETURN <string> $auth');
    return `${String(id)} ${auth}`;
  }

  @Query(() => [String])
  async memos(@TenantSession() db: TenantSession) {
    return (await db.select<{ text: string }>(new Table('memo'))).map(({ text }) => text).sort();
  }

  @Mutation(() => Boolean)
  async remove(@Args('id', { type: () => String }) id: string) {
    return (await this.db.delete(new RecordId('memo', id))) !== undefined;
  }

  @Mutation(() => String)
  @SkipRecordUser()
  async signin(
    @Args('email', { type: () => String }) email: string,
    @Args('pass', { type: () => String }) pass: string,
  ) {
    return (await this.auth.signin({ email, pass }, { access: 'account' })).access;
  }
}

describe('RecordUserGuard in GraphQL (Apollo)', () => {
  let database: Database;
  let acme: Tenant;
  let globex: Tenant;
  let app: INestApplication<Server>;
  let url: string;

  beforeAll(async () => {
    database = await startDatabase();
    [acme, globex] = [
      await defineTenantWithPeople(database.admin, { id: 'acme', type: 'jwt' }),
      await defineTenantWithPeople(database.admin, { id: 'globex', type: 'jwt' }),
    ];
    const module = await Test.createTestingModule({
      imports: [
        SurrealModule.forRoot(moduleOptions(database, new TenantMap(acme, globex))),
        GraphQLModule.forRoot<ApolloDriverConfig>({ driver: ApolloDriver, autoSchemaFile: true, playground: false }),
      ],
      providers: [MemoResolver],
    }).compile();
    app = module.createNestApplication({ logger: false });
    await app.listen(0, '127.0.0.1');
    url = await app.getUrl();
  });
  afterAll(async () => {
    await app?.close();
    await database?.stop();
  });

  const ask = async (query: string, token?: string, tenant = 'acme') => {
    const response = await fetch(`${url}/graphql`, {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        'x-tenant-id': tenant,
        ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
      },
      body: JSON.stringify({ query }),
    });
    return (await response.json()) as { data: Record<string, unknown> | null; errors?: { message: string }[] };
  };

  it('makes the caller the principal of an operation, all its fields', async () => {
    const { data } = await ask(`mutation { signin(email: "${anna.email}", pass: "${anna.pass}") }`);
    const token = String(data?.signin);
    expect(await ask('{ me memos again: me }', token)).toEqual({
      data: { me: 'user:anna user:anna', memos: ['of Anna', 'shared by Bert'], again: 'user:anna user:anna' },
    });
    expect(await ask('mutation { remove(id: "bert") }', token)).toEqual({ data: { remove: false } });
  });

  itWithFaults('signs in once for the fields of an operation, and for the operations after it', async () => {
    const token = mint(acme);
    const server = faultsOf(database);
    server.clearRequests();
    await ask('{ a: memos b: memos c: memos d: memos }', token);
    expect([server.count('authenticate'), server.count('attach')]).toEqual([1, 1]);
    server.clearRequests();
    await ask('{ a: memos b: memos c: memos d: memos }', token);
    expect(server.requests.map(({ method }) => method)).toEqual(['query', 'query', 'query', 'query']);
  });

  it.each<[string, () => string | undefined, string]>([
    ['no token', () => undefined, 'Sign in first: the credentials are missing, wrong or expired.'],
    [
      'a forged token',
      () => `${mint(acme).slice(0, -4)}AAAA`,
      'Sign in first: the credentials are missing, wrong or expired.',
    ],
    ["another tenant's token", () => mint(globex), 'The request names more than one tenant.'],
  ])('refuses %s', async (_case, token, message) => {
    const answer = await ask('{ memos }', token());
    expect(answer.data).toBeNull();
    expect(answer.errors).toMatchObject([{ message }]);
    expect(JSON.stringify(answer)).not.toMatch(/Anna|Bert/);
  });
});
