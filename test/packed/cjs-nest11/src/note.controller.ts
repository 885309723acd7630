import { Body, Controller, Get, Post, UseGuards } from '@nestjs/common';
import { CurrentTenant, Table, type Tenant, TenantGuard, TenantSession } from 'nestjs-surreal';
import { NoteService } from './note.service';

@Controller('notes')
@UseGuards(TenantGuard)
export class NoteController {
  constructor(private readonly notes: NoteService) {}

  @Post()
  async create(@TenantSession() db: TenantSession, @Body() { text }: { text: string }): Promise<{ text?: string }> {
    const [note] = await db.create<{ text: string }>(new Table('note')).content({ text });
    return note === undefined ? {} : { text: note.text };
  }

  @Get()
  async list(@CurrentTenant() tenant: Tenant): Promise<{ tenant: string; texts: string[] }> {
    return { tenant: tenant.id, texts: await this.notes.texts() };
  }
}
