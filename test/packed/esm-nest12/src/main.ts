import 'reflect-metadata';
import { NestFactory } from '@nestjs/core';
import { SurrealTestServer } from 'nestjs-surreal/testing';
import { appModule } from './app.module.js';

const server = await SurrealTestServer.start();
const app = await NestFactory.create(appModule(server), { logger: ['error', 'warn'] });

// No process.exit(): the process ends if, and only if, nothing is left open.
process.once('SIGTERM', () => {
  void app.close().then(() => server.stop());
});

await app.listen(0, '127.0.0.1');
console.log(await app.getUrl());
