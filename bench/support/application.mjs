// What the applications under load have in common. Decorators are applied by hand: these files run as they are.
import 'reflect-metadata';
import { Controller, Get, Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import { answer } from './remote.mjs';

/** Makes a class the controller of `GET /`, which its method `handle` answers. */
export function controller(type, { inject = [], decorators = [] } = {}) {
  Reflect.defineMetadata('design:paramtypes', inject, type);
  const descriptor = Object.getOwnPropertyDescriptor(type.prototype, 'handle');
  for (const decorate of [Get(), ...decorators]) decorate(type.prototype, 'handle', descriptor);
  Controller()(type);
  return type;
}

/** Serves an application over Fastify, and tells the process that started it where, and what CPU time it has used. */
export async function serve(metadata) {
  class Application {}
  Module(metadata)(Application);
  const app = await NestFactory.create(Application, new FastifyAdapter(), { logger: false });
  await app.listen(0, '127.0.0.1');
  answer({
    port: () => app.getHttpServer().address().port,
    cpu: () => {
      const { user, system } = process.cpuUsage();
      return user + system;
    },
  });
}
