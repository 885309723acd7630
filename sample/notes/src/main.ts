import 'reflect-metadata';
import { join } from 'node:path';
import { NestFactory } from '@nestjs/core';
import type { NestExpressApplication } from '@nestjs/platform-express';
import { AppModule } from './app.module.js';
import { serveOpenApi } from './openapi.js';
import { securityHeaders } from './security-headers.js';
import { TenantSetup } from './tenants/tenant-setup.js';
import { validation } from './validation.js';
import { welcome } from './welcome.js';

async function start(): Promise<void> {
  const app = await NestFactory.create<NestExpressApplication>(AppModule, {
    // A start that fails says so below, in one sentence.
    logger: false,
    abortOnError: false,
    bodyParser: false,
    // A browser keeps its connections open; the end of the process does not wait for it.
    forceCloseConnections: true,
  });
  // JSON alone: a form on somebody else's page can send other types without the browser asking first.
  app.useBodyParser('json');
  app.useGlobalPipes(validation);
  app.use(securityHeaders);
  app.useStaticAssets(join(import.meta.dirname, '../public'));
  serveOpenApi(app);
  app.enableShutdownHooks(['SIGINT', 'SIGTERM'], { useProcessExit: true });

  const tenants = await app.get(TenantSetup).run([
    { id: 'acme', name: 'Acme', signIn: 'user' },
    { id: 'globex', name: 'Globex', signIn: 'jwt' },
  ]);
  // This machine only: without TLS, passwords and tokens are for everybody on the way to read.
  await app.listen(Number(process.env.PORT ?? 3000), '127.0.0.1');
  app.useLogger(['warn', 'error']);
  console.log(welcome({ port: Number(new URL(await app.getUrl()).port), ...tenants }));
}

start().catch((error: NodeJS.ErrnoException) => {
  const isPortInUse = error.code === 'EADDRINUSE';
  console.error(
    isPortInUse
      ? `Port ${process.env.PORT ?? 3000} is in use. Stop what listens there, or choose another: PORT=3001 npm run demo`
      : `Notes could not start. ${error.message}`,
  );
  process.exit(1);
});
