// What a request costs with this library, against the same handler written by hand. All ways run alternating in one process
// against one test server, so the machine's noise hits them alike; the figures to quote are the ratios of medians.
//
//   npm run bench [-- --seconds 20]
import 'reflect-metadata';
import { mkdirSync, writeFileSync } from 'node:fs';
import { Agent, get } from 'node:http';
import { parseArgs } from 'node:util';
import { Controller, Get, Module, UseGuards } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import { createRemoteEngines, Surreal as SdkSurreal } from 'surrealdb';
import { WebSocket } from 'ws';
import { fromHeader, InMemoryTenantStore, RecordId, SurrealModule, TenantGuard, TenantSession } from '../dist/index.js';
import { SurrealTestServer } from '../dist/testing/index.js';

const { values } = parseArgs({ options: { seconds: { type: 'string', default: '12' } } });
const IN_FLIGHT = 64;
const ROUNDS = 7;
const QUERY = new RecordId('note', 'one');

const server = await SurrealTestServer.start();
const user = { namespace: 'acme', database: 'main', username: 'app', password: 'app' };
const sdk = new SdkSurreal({ engines: createRemoteEngines(), websocketImpl: WebSocket });
await sdk.connect(server.url, { authentication: () => server.root });
await sdk.query(`DEFINE NAMESPACE acme; USE NS acme; DEFINE DATABASE main; USE DB main; DEFINE TABLE note;
  DEFINE USER app ON DATABASE PASSWORD 'app' ROLES EDITOR; CREATE note:one SET text = 'hello'`);
const shared = await sdk.newSession();
await shared.signin(user);

class BenchController {
  constructor(db) {
    this.db = db;
  }

  library() {
    return this.db.select(QUERY);
  }

  shared() {
    return shared.select(QUERY);
  }

  async perRequest() {
    const session = await sdk.newSession();
    try {
      await session.signin(user);
      return await session.select(QUERY);
    } finally {
      // Without this its renewal timer would stay behind, for an hour.
      await session.invalidate();
      await session.closeSession();
    }
  }
}
// Decorators by hand: this file runs as it is.
Reflect.defineMetadata('design:paramtypes', [TenantSession], BenchController);
for (const [name, guards] of [
  ['library', [TenantGuard]],
  ['shared', []],
  ['perRequest', []],
]) {
  const descriptor = Object.getOwnPropertyDescriptor(BenchController.prototype, name);
  Get(name)(BenchController.prototype, name, descriptor);
  UseGuards(...guards)(BenchController.prototype, name, descriptor);
}
Controller()(BenchController);

const tenants = [{ id: 'acme', ...user, credentials: { type: 'user', username: 'app', password: 'app' } }];
class BenchModule {}
Module({
  imports: [
    SurrealModule.forRoot({
      url: server.url,
      authentication: server.root,
      tenants: { strategies: [fromHeader('x-tenant-id')], store: new InMemoryTenantStore(tenants) },
    }),
  ],
  controllers: [BenchController],
})(BenchModule);
const app = await NestFactory.create(BenchModule, new FastifyAdapter(), { logger: false });
await app.listen(0, '127.0.0.1');
const { port } = app.getHttpServer().address();
const agent = new Agent({ keepAlive: true, maxSockets: IN_FLIGHT });

const request = (path) =>
  new Promise((resolve, reject) => {
    get({ port, path: `/${path}`, agent, headers: { 'x-tenant-id': 'acme' } }, (response) => {
      response.resume();
      response.once('end', () =>
        response.statusCode === 200 ? resolve() : reject(new Error(`${path}: ${response.statusCode}`)),
      );
    }).once('error', reject);
  });

/** Requests per second over some time, with IN_FLIGHT of them always under way. */
async function load(path, millis) {
  const begin = performance.now();
  let done = 0;
  const worker = async () => {
    for (; performance.now() - begin < millis; done++) await request(path);
  };
  await Promise.all(Array.from({ length: IN_FLIGHT }, worker));
  return (done * 1_000) / (performance.now() - begin);
}

/** RPC messages for one request, once it is warm. */
async function messages(path) {
  await request(path);
  server.clearRequests();
  for (let count = 0; count < 20; count++) await request(path);
  return server.count() / 20;
}

const ways = {
  shared: 'by hand, one shared SDK session (the floor)',
  library: 'nestjs-surreal, singleton injection',
  perRequest: 'by hand, newSession + signin + closeSession per request',
};
const rates = Object.fromEntries(Object.keys(ways).map((way) => [way, []]));
const millis = (Number(values.seconds) * 1_000) / (ROUNDS * 3);
for (const way of Object.keys(ways)) await load(way, 300);
for (let round = 0; round < ROUNDS; round++) {
  for (const way of Object.keys(ways)) rates[way].push(await load(way, millis));
}
const median = (numbers) => numbers.toSorted((a, b) => a - b)[numbers.length >> 1];
const floor = median(rates.shared);
const rows = [];
for (const [way, name] of Object.entries(ways)) {
  const rate = median(rates[way]);
  rows.push({
    name,
    requestsPerSecond: Math.round(rate),
    againstFloor: Number((rate / floor).toFixed(3)),
    messages: await messages(way),
  });
}
console.table(rows);
console.log(
  `library against per-request sign-in: ${(median(rates.library) / median(rates.perRequest)).toFixed(1)} times`,
);
mkdirSync(new URL('results/', import.meta.url), { recursive: true });
writeFileSync(
  new URL('results/requests.json', import.meta.url),
  JSON.stringify({ node: process.version, rows, rates }, null, 2),
);

await app.close();
agent.destroy();
await sdk.close();
await server.stop();
