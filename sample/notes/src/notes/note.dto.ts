import { ApiProperty, ApiPropertyOptional } from '@nestjs/swagger';
import { Transform, Type } from 'class-transformer';
import { IsBoolean, IsInt, Length, Matches, Max, Min, ValidateIf } from 'class-validator';
import type { DateTime } from 'nestjs-surreal';

const Trim = () => Transform(({ value }: { value: unknown }) => (typeof value === 'string' ? value.trim() : value));
/** Unlike `IsOptional`, this does not let `null` pass: the schema would refuse it. */
const MayBeAbsent = () => ValidateIf((_object, value) => value !== undefined);
const IsTitle = () => Length(1, 120, { message: 'The title needs 1 to 120 characters.' });
const IsBody = () => Length(0, 10_000, { message: 'The text may have up to 10,000 characters.' });
const IsShared = () => IsBoolean({ message: 'Whether it is shared must be true or false.' });

/** `POST /notes` */
export class CreateNote {
  @ApiProperty({ example: 'Groceries', minLength: 1, maxLength: 120 })
  @Trim()
  @IsTitle()
  title!: string;

  @ApiPropertyOptional({ example: 'milk and eggs', maxLength: 10_000 })
  @MayBeAbsent()
  @IsBody()
  body?: string;

  @ApiPropertyOptional({ description: 'Whether everybody at the tenant may read it.', default: false })
  @MayBeAbsent()
  @IsShared()
  is_shared?: boolean;
}

/** `PATCH /notes/:id`: what is absent stays as it is. */
export class EditNote {
  @ApiPropertyOptional({ example: 'Groceries', minLength: 1, maxLength: 120 })
  @MayBeAbsent()
  @Trim()
  @IsTitle()
  title?: string;

  @ApiPropertyOptional({ example: 'milk and eggs', maxLength: 10_000 })
  @MayBeAbsent()
  @IsBody()
  body?: string;

  @ApiPropertyOptional({ description: 'Whether everybody at the tenant may read it.' })
  @MayBeAbsent()
  @IsShared()
  is_shared?: boolean;
}

/** `GET /notes` */
export class ListNotes {
  @ApiPropertyOptional({ description: 'Beginnings of words of title or text.', example: 'groc', maxLength: 200 })
  @MayBeAbsent()
  @Trim()
  @Length(0, 200, { message: 'The search may have up to 200 characters.' })
  search?: string;

  @ApiPropertyOptional({ type: 'integer', minimum: 1, maximum: 100, default: 50 })
  @Type(() => Number)
  @IsInt({ message: 'The limit must be a whole number.' })
  @Min(1, { message: 'The limit must be at least 1.' })
  @Max(100, { message: 'The limit may be at most 100.' })
  limit = 50;

  @ApiPropertyOptional({ type: 'integer', minimum: 0, maximum: 1_000_000, default: 0 })
  @Type(() => Number)
  @IsInt({ message: 'The start must be a whole number.' })
  @Min(0, { message: 'The start must be at least 0.' })
  @Max(1_000_000, { message: 'The start may be at most 1,000,000.' })
  start = 0;
}

/** The id in a path, as SurrealDB makes them up. */
export class NoteId {
  @ApiProperty({ example: 'k3v9f0w2m1x8c7b6a5d4' })
  @Matches(/^[a-z0-9]{20}$/, { message: 'The id of a note has 20 letters and digits.' })
  id!: string;
}

/** A note as the caller sees it. */
export class Note {
  @ApiProperty({ example: 'k3v9f0w2m1x8c7b6a5d4' })
  id!: string;

  @ApiProperty({ example: 'Groceries' })
  title!: string;

  @ApiProperty({ example: 'milk and eggs' })
  body!: string;

  @ApiProperty({ description: 'Whether everybody at the tenant may read it.' })
  is_shared!: boolean;

  @ApiProperty({ description: 'Whether it is the caller’s own: only then may they change, share or delete it.' })
  is_mine!: boolean;

  @ApiProperty({ example: 'Ada Lovelace', description: 'Whose it is.' })
  owner_name!: string;

  @ApiProperty({ type: 'string', format: 'date-time' })
  created_at!: DateTime;

  @ApiProperty({ type: 'string', format: 'date-time' })
  updated_at!: DateTime;
}
