import { BadRequestException, Injectable, NotFoundException } from '@nestjs/common';
import { RecordId, Table, TenantSession } from 'nestjs-surreal';
import type { CreateNote, EditNote, ListNotes, Note } from './note.dto.js';

type NoteRecord = Omit<Note, 'id' | 'is_mine'> & { id: RecordId<'note', string> };

/**
 * The notes of whoever's request it is. Nothing here names a tenant or a person: the one instance of this class serves them
 * all, and `db` is in each request a session of its tenant, signed in as the person who asks. What that person may see and
 * change, `schema/notes.surql` says.
 */
@Injectable()
export class NotesService {
  constructor(private readonly db: TenantSession) {}

  /** The newest first; with `search`, those in which every word of it begins a word of the title or text. */
  async list({ search, limit, start }: ListNotes): Promise<Note[]> {
    const [notes] = await this.db.query<[(NoteRecord & { is_mine: boolean })[]]>(
      `SELECT *, owner = $auth.id AS is_mine FROM note ${search ? 'WHERE words @@ $search' : ''}
       ORDER BY created_at DESC LIMIT $limit START $start`,
      { search, limit, start },
    );
    return notes.map((note) => toNote(note, note.is_mine));
  }

  /** @throws NotFoundException for an id that there is not, or not for this person */
  async read(id: string): Promise<Note> {
    const [note] = await this.db.query<[(NoteRecord & { is_mine: boolean }) | null | undefined]>(
      'SELECT *, owner = $auth.id AS is_mine FROM ONLY $note',
      { note: new RecordId('note', id) },
    );
    if (!note) throw new NotFoundException('There is no such note.');
    return toNote(note, note.is_mine);
  }

  async create({ title, body = '', is_shared = false }: CreateNote): Promise<Note> {
    const [note] = await this.db.create<NoteRecord>(new Table('note')).content({ title, body, is_shared });
    // `strictWrites`: the record, or an error.
    return toNote(note as NoteRecord, true);
  }

  /**
   * @throws NotFoundException for an id that there is not, or not for this person
   * @throws NotAllowedError for somebody else's, which is theirs to change
   */
  async edit(id: string, { title, body, is_shared }: EditNote): Promise<Note> {
    const given = Object.entries({ title, body, is_shared }).filter(([, value]) => value !== undefined);
    if (given.length === 0) throw new BadRequestException('Give a title, a body or is_shared to change.');
    // The one that cannot be seen is not there; the write that PERMISSIONS forbid fails by `strictWrites`.
    await this.read(id);
    const note = await this.db.update<NoteRecord>(new RecordId('note', id)).merge(Object.fromEntries(given));
    return toNote(note, true);
  }

  /**
   * @throws NotFoundException for an id that there is not, or not for this person
   * @throws NotAllowedError for somebody else's, which is theirs to delete
   */
  async delete(id: string): Promise<void> {
    await this.read(id);
    await this.db.delete(new RecordId('note', id));
  }
}

function toNote(note: NoteRecord, is_mine: boolean): Note {
  const { id, title, body, is_shared, owner_name, created_at, updated_at } = note;
  return { id: id.id, title, body, is_shared, is_mine, owner_name, created_at, updated_at };
}
