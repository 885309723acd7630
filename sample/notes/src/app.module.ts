import { Module } from '@nestjs/common';
import { APP_GUARD } from '@nestjs/core';
import { SurrealModule, TenantGuard } from 'nestjs-surreal';
import { surrealOptions } from './database.js';
import { NotesController } from './notes/notes.controller.js';
import { NotesService } from './notes/notes.service.js';
import { TenantRegistry } from './tenants/tenant-registry.js';
import { TenantSetup } from './tenants/tenant-setup.js';
import { TenantsController } from './tenants/tenants.controller.js';

@Module({
  imports: [SurrealModule.forRootAsync({ useFactory: () => surrealOptions() })],
  controllers: [NotesController, TenantsController],
  providers: [
    NotesService,
    TenantRegistry,
    TenantSetup,
    // Every route needs a tenant, unless it says @SkipTenant().
    { provide: APP_GUARD, useClass: TenantGuard },
  ],
})
export class AppModule {}
