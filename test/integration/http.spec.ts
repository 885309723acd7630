import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Body, Controller, Get, Injectable, Post, UseGuards } from '@nestjs/common';
import { CurrentTenant, InjectRequestSession, SkipTenant, Table, type Tenant, TenantGuard, TenantSession } from 'nestjs-surreal';
import { listen, moduleOptions, type Platform } from '../support/application.js';
import { type Database, defineTenant, startDatabase } from '../support/surreal.js';

@Injectable()
class NoteService {
  constructor(private readonly db: TenantSession) {}

  async list() {
    return await this.db.select<{ text: string }>(new Table('note'));
  }
}

@Injectable()
class RequestNotes {
  constructor(@InjectRequestSession() readonly db: TenantSession) {}
}

@Controller('notes')
@UseGuards(TenantGuard)
class NoteController {
  constructor(private readonly notes: NoteService) {}

  @Get()
  async list() {
    return (await this.notes.list()).map(({ text }) => text);
  }

  @Post()
  async create(@TenantSession() db: TenantSession, @Body() body: { text: string }) {
    const [note] = await db.create<{ text: string }>(new Table('note')).content(body);
    return note?.text;
  }

  @Get('tenant')
  tenant(@CurrentTenant() tenant: Tenant) {
    return tenant;
  }

  @Get('health')
  @SkipTenant()
  health() {
    return 'ok';
  }
}

@Controller('request')
@UseGuards(TenantGuard)
class RequestController {
  constructor(private readonly notes: RequestNotes) {}

  @Get()
  async list() {
    return await this.notes.db.select(new Table('note'));
  }
}

describe.each<Platform>(['express', 'fastify'])('an application on %s', (platform) => {
  let database: Database;
  let app: Awaited<ReturnType<typeof listen>>;
  let acme: Tenant;
  let globex: Tenant;

  beforeAll(async () => {
    database = await startDatabase();
    acme = await defineTenant(database.admin, { id: 'acme' });
    globex = await defineTenant(database.admin, { id: 'globex', type: 'jwt' });
    app = await listen(moduleOptions(database, [acme, globex]), {
      platform,
      controllers: [NoteController, RequestController],
      providers: [NoteService, RequestNotes],
    });
  });
  afterAll(async () => {
    await app?.app.close();
    await database?.stop();
  });

  const request = async (tenant: string | undefined, path: string, body?: object) => {
    const response = await fetch(app.url + path, {
      method: body ? 'POST' : 'GET',
      headers: { ...(tenant === undefined ? {} : { 'x-tenant-id': tenant }), 'content-type': 'application/json' },
      ...(body ? { body: JSON.stringify(body) } : {}),
    });
    const text = await response.text();
    return { status: response.status, body: text.startsWith('{') || text.startsWith('[') ? JSON.parse(text) : text, text };
  };

  it('keeps the notes of two tenants apart', async () => {
    expect((await request('acme', '/notes', { text: 'of acme' })).status).toBe(201);
    expect((await request('globex', '/notes', { text: 'of globex' })).status).toBe(201);
    expect((await request('acme', '/notes')).body).toEqual(['of acme']);
    expect((await request('globex', '/notes')).body).toEqual(['of globex']);
    expect((await request('acme', '/request')).body).toMatchObject([{ text: 'of acme' }]);
  });
});
