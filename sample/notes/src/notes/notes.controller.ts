import { Body, Controller, Delete, Get, HttpCode, Param, Patch, Post, Query } from '@nestjs/common';
import {
  ApiCreatedResponse,
  ApiNoContentResponse,
  ApiOkResponse,
  ApiOperation,
  ApiSecurity,
  ApiTags,
} from '@nestjs/swagger';
import { ApiRefusals, AS_PERSON } from '../openapi.js';
import { CreateNote, EditNote, ListNotes, Note, NoteId } from './note.dto.js';
import { NotesService } from './notes.service.js';

@ApiTags('notes')
@ApiSecurity(AS_PERSON)
@Controller('notes')
export class NotesController {
  constructor(private readonly notes: NotesService) {}

  @Get()
  @ApiOperation({ summary: 'The notes that the caller may see, the newest first' })
  @ApiOkResponse({ type: [Note] })
  @ApiRefusals(400, 401, 403, 404)
  list(@Query() query: ListNotes): Promise<Note[]> {
    return this.notes.list(query);
  }

  @Get(':id')
  @ApiOperation({ summary: 'A note that the caller may see' })
  @ApiOkResponse({ type: Note })
  @ApiRefusals(400, 401, 403, 404)
  read(@Param() { id }: NoteId): Promise<Note> {
    return this.notes.read(id);
  }

  @Post()
  @ApiOperation({ summary: 'A new note of the caller’s own' })
  @ApiCreatedResponse({ type: Note })
  @ApiRefusals(400, 401, 403, 404, 422)
  create(@Body() note: CreateNote): Promise<Note> {
    return this.notes.create(note);
  }

  @Patch(':id')
  @ApiOperation({ summary: 'Changes, shares or unshares a note of the caller’s own' })
  @ApiOkResponse({ type: Note })
  @ApiRefusals(400, 401, 403, 404, 422)
  edit(@Param() { id }: NoteId, @Body() changes: EditNote): Promise<Note> {
    return this.notes.edit(id, changes);
  }

  @Delete(':id')
  @HttpCode(204)
  @ApiOperation({ summary: 'Deletes a note of the caller’s own' })
  @ApiNoContentResponse({ description: 'Deleted.' })
  @ApiRefusals(400, 401, 403, 404)
  delete(@Param() { id }: NoteId): Promise<void> {
    return this.notes.delete(id);
  }
}
