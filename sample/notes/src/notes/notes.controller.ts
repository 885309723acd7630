import { Body, Controller, Delete, Get, HttpCode, Param, Patch, Post, Query } from '@nestjs/common';
import { CreateNote, EditNote, ListNotes, NoteId } from './note.dto.js';
import { type Note, NotesService } from './notes.service.js';

@Controller('notes')
export class NotesController {
  constructor(private readonly notes: NotesService) {}

  @Get()
  list(@Query() query: ListNotes): Promise<Note[]> {
    return this.notes.list(query);
  }

  @Get(':id')
  read(@Param() { id }: NoteId): Promise<Note> {
    return this.notes.read(id);
  }

  @Post()
  create(@Body() note: CreateNote): Promise<Note> {
    return this.notes.create(note);
  }

  @Patch(':id')
  edit(@Param() { id }: NoteId, @Body() changes: EditNote): Promise<Note> {
    return this.notes.edit(id, changes);
  }

  @Delete(':id')
  @HttpCode(204)
  delete(@Param() { id }: NoteId): Promise<void> {
    return this.notes.delete(id);
  }
}
