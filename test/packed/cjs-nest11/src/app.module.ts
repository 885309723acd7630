import { randomUUID } from 'node:crypto';
import { Injectable, Module, type OnModuleInit } from '@nestjs/common';
import {
  fromHeader,
  InjectSurreal,
  InMemoryTenantStore,
  type Surreal,
  SurrealModule,
  type Tenant,
} from 'nestjs-surreal';
import { NoteController } from './note.controller';
import { NoteService } from './note.service';

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

@Module({
  imports: [
    SurrealModule.forRoot({
      url: 'mem://',
      authentication: { username: 'root', password: randomUUID() },
      tenants: { strategies: [fromHeader('x-tenant-id')], store: new InMemoryTenantStore([acme]) },
    }),
  ],
  controllers: [NoteController],
  providers: [NoteService, Provisioning],
})
export class AppModule {}
