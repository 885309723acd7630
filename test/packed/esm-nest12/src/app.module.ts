import { randomUUID } from 'node:crypto';
import { type DynamicModule, Injectable, Module, type OnModuleInit } from '@nestjs/common';
import {
  fromHeader,
  InjectSurreal,
  InMemoryTenantStore,
  type Surreal,
  SurrealModule,
  type Tenant,
} from 'nestjs-surreal';
import type { SurrealTestServer } from 'nestjs-surreal/testing';
import { NoteController } from './note.controller.js';
import { NoteService } from './note.service.js';

const acme: Tenant = {
  id: 'acme',
  namespace: 'acme',
  database: 'main',
  credentials: { type: 'user', username: 'app', password: randomUUID() },
};

@Injectable()
class Provisioning implements OnModuleInit {
  constructor(@InjectSurreal() private readonly surreal: Surreal) {}

  async onModuleInit(): Promise<void> {
    const { password } = acme.credentials as { password: string };
    await this.surreal.query(`
      DEFINE NAMESPACE acme; USE NS acme; DEFINE DATABASE main; USE DB main; DEFINE TABLE note SCHEMALESS;
      DEFINE USER app ON DATABASE PASSWORD '${password}' ROLES EDITOR;
    `);
  }
}

@Module({})
class AppModule {}

export function appModule({ url, root }: Pick<SurrealTestServer, 'url' | 'root'>): DynamicModule {
  return {
    module: AppModule,
    imports: [
      SurrealModule.forRoot({
        url,
        authentication: root,
        tenants: { strategies: [fromHeader('x-tenant-id')], store: new InMemoryTenantStore([acme]) },
      }),
    ],
    controllers: [NoteController],
    providers: [NoteService, Provisioning],
  };
}
