import { Controller, Get } from '@nestjs/common';
import { SkipTenant } from 'nestjs-surreal';
import { TenantRegistry } from './tenant-registry.js';

/** For the page's switch. A real application would show people only the tenants that they belong to. */
@Controller('tenants')
@SkipTenant()
export class TenantsController {
  constructor(private readonly tenants: TenantRegistry) {}

  @Get()
  list(): Promise<{ id: string; name: string }[]> {
    return this.tenants.list();
  }
}
