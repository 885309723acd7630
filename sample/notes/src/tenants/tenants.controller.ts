import { Controller, Get } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiProperty, ApiTags } from '@nestjs/swagger';
import { SkipRecordUser, SkipTenant } from 'nestjs-surreal';
import { TenantRegistry } from './tenant-registry.js';

/** A tenant by what anybody may know of it. */
class TenantName {
  @ApiProperty({ example: 'acme' })
  id!: string;

  @ApiProperty({ example: 'Acme' })
  name!: string;
}

/** For the page's switch. A real application would not list its customers: a subdomain says which one it is. */
@ApiTags('tenants')
@Controller('tenants')
@SkipTenant()
@SkipRecordUser()
export class TenantsController {
  constructor(private readonly tenants: TenantRegistry) {}

  @Get()
  @ApiOperation({ summary: 'All tenants, for everybody' })
  @ApiOkResponse({ type: [TenantName] })
  list(): Promise<TenantName[]> {
    return this.tenants.list();
  }
}
