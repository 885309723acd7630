import { Transform, Type } from 'class-transformer';
import { IsInt, Length, Matches, Max, Min, ValidateIf } from 'class-validator';

const Trim = () => Transform(({ value }: { value: unknown }) => (typeof value === 'string' ? value.trim() : value));
/** Unlike `IsOptional`, this does not let `null` pass: the schema would refuse it. */
const MayBeAbsent = () => ValidateIf((_object, value) => value !== undefined);
const IsTitle = () => Length(1, 120, { message: 'The title needs 1 to 120 characters.' });
const IsBody = () => Length(0, 10_000, { message: 'The text may have up to 10,000 characters.' });

/** `POST /notes` */
export class CreateNote {
  @Trim()
  @IsTitle()
  title!: string;

  @MayBeAbsent()
  @IsBody()
  body?: string;
}

/** `PATCH /notes/:id`: what is absent stays as it is. */
export class EditNote {
  @MayBeAbsent()
  @Trim()
  @IsTitle()
  title?: string;

  @MayBeAbsent()
  @IsBody()
  body?: string;
}

/** `GET /notes` */
export class ListNotes {
  @MayBeAbsent()
  @Trim()
  @Length(0, 200, { message: 'The search may have up to 200 characters.' })
  search?: string;

  @Type(() => Number)
  @IsInt({ message: 'The limit must be a whole number.' })
  @Min(1, { message: 'The limit must be at least 1.' })
  @Max(100, { message: 'The limit may be at most 100.' })
  limit = 50;

  @Type(() => Number)
  @IsInt({ message: 'The start must be a whole number.' })
  @Min(0, { message: 'The start must be at least 0.' })
  @Max(1_000_000, { message: 'The start may be at most 1,000,000.' })
  start = 0;
}

/** The id in a path, as SurrealDB makes them up. */
export class NoteId {
  @Matches(/^[a-z0-9]{20}$/, { message: 'The id of a note has 20 letters and digits.' })
  id!: string;
}
