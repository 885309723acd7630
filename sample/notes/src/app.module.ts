import { Module } from '@nestjs/common';
import { APP_GUARD } from '@nestjs/core';
import { ThrottlerModule } from '@nestjs/throttler';
import { RecordUserGuard, SurrealModule, TenantGuard } from 'nestjs-surreal';
import { surrealOptions } from './database.js';
import { NotesController } from './notes/notes.controller.js';
import { NotesService } from './notes/notes.service.js';
import { PeopleController } from './people/people.controller.js';
import { PeopleService } from './people/people.service.js';
import { attemptsPerMinute } from './settings.js';
import { TenantRegistry } from './tenants/tenant-registry.js';
import { TenantSetup } from './tenants/tenant-setup.js';
import { TenantsController } from './tenants/tenants.controller.js';

@Module({
  imports: [
    SurrealModule.forRootAsync({ useFactory: () => surrealOptions() }),
    ThrottlerModule.forRootAsync({ useFactory: () => [{ ttl: 60_000, limit: attemptsPerMinute() }] }),
  ],
  controllers: [NotesController, PeopleController, TenantsController],
  providers: [
    NotesService,
    PeopleService,
    TenantRegistry,
    TenantSetup,
    // Every route needs a tenant, unless it says @SkipTenant(), and a person of that tenant, unless it says @SkipRecordUser().
    { provide: APP_GUARD, useClass: TenantGuard },
    { provide: APP_GUARD, useClass: RecordUserGuard },
  ],
})
export class AppModule {}
