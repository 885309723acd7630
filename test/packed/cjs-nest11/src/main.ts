import 'reflect-metadata';
import { NestFactory } from '@nestjs/core';
import { AppModule } from './app.module';

async function bootstrap(): Promise<void> {
  const app = await NestFactory.create(AppModule, { logger: ['error', 'warn'] });
  app.enableShutdownHooks(['SIGTERM']);
  // Nest closes the application and then raises the signal again, which would end the process. With a listener of its own
  // the process ends if, and only if, nothing is left open.
  process.on('SIGTERM', () => undefined);
  await app.listen(0, '127.0.0.1');
  console.log(await app.getUrl());
}

void bootstrap();
