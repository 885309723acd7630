import { BadRequestException, Injectable, NotFoundException } from '@nestjs/common';
import { type DateTime, RecordId, Table, TenantSession } from 'nestjs-surreal';
import type { CreateNote, EditNote, ListNotes } from './note.dto.js';

/** A note as this application shows it. */
export interface Note {
  id: string;
  title: string;
  body: string;
  created_at: DateTime;
  updated_at: DateTime;
}

type NoteRecord = Omit<Note, 'id'> & { id: RecordId<'note', string> };

/**
 * The notes of whoever's request it is. Nothing here names a tenant: the one instance of this class serves them all, and
 * `db` is in each request the session of its tenant.
 */
@Injectable()
export class NotesService {
  constructor(private readonly db: TenantSession) {}

  /** The newest first; with `search`, those in which every word of it begins a word of the title or text. */
  async list({ search, limit, start }: ListNotes): Promise<Note[]> {
    const [notes] = await this.db.query<[NoteRecord[]]>(
      `SELECT * FROM note ${search ? 'WHERE words @@ $search' : ''} ORDER BY created_at DESC LIMIT $limit START $start`,
      { search, limit, start },
    );
    return notes.map(toNote);
  }

  /** @throws NotFoundException for an id that this tenant does not have */
  async read(id: string): Promise<Note> {
    return found(await this.db.select<NoteRecord>(new RecordId('note', id)));
  }

  async create({ title, body = '' }: CreateNote): Promise<Note> {
    const [note] = await this.db.create<NoteRecord>(new Table('note')).content({ title, body });
    return found(note);
  }

  /** @throws NotFoundException for an id that this tenant does not have */
  async edit(id: string, { title, body }: EditNote): Promise<Note> {
    if (title === undefined && body === undefined) throw new BadRequestException('Give a title or a body to change.');
    const changes = { ...(title === undefined ? {} : { title }), ...(body === undefined ? {} : { body }) };
    return found(await this.db.update<NoteRecord>(new RecordId('note', id)).merge(changes));
  }

  /** @throws NotFoundException for an id that this tenant does not have */
  async delete(id: string): Promise<void> {
    found(await this.db.delete<NoteRecord>(new RecordId('note', id)));
  }
}

function found(note: NoteRecord | undefined): Note {
  if (note === undefined) throw new NotFoundException('There is no such note.');
  return toNote(note);
}

function toNote({ id, title, body, created_at, updated_at }: NoteRecord): Note {
  return { id: id.id, title, body, created_at, updated_at };
}
