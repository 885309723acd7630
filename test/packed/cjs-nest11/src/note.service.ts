import { Injectable } from '@nestjs/common';
import { Table, TenantSession } from 'nestjs-surreal';

@Injectable()
export class NoteService {
  constructor(private readonly db: TenantSession) {}

  async texts(): Promise<string[]> {
    const notes = await this.db.select<{ text: string }>(new Table('note'));
    return notes.map(({ text }) => text);
  }
}
