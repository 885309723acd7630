import { ApiProperty, ApiPropertyOptional, ApiSchema } from '@nestjs/swagger';
import { Transform } from 'class-transformer';
import { IsString, Length, ValidateIf } from 'class-validator';

/** Only what keeps nonsense away from the database: whether an email is one, and free, the schema decides. */
const IsEmailText = () => Length(1, 254, { message: 'The email needs 1 to 254 characters.' });
/** Twice as long as anybody types; hashing takes longer with more. */
const MOST = 200;

/** `POST /signup` */
export class SignUp {
  @ApiProperty({ example: 'Ada Lovelace', minLength: 1, maxLength: 80 })
  @Transform(({ value }: { value: unknown }) => (typeof value === 'string' ? value.trim() : value))
  @Length(1, 80, { message: 'The name needs 1 to 80 characters.' })
  name!: string;

  @ApiProperty({ example: 'ada@example.com', format: 'email', maxLength: 254 })
  @IsEmailText()
  email!: string;

  @ApiProperty({ example: 'correct horse battery', format: 'password', minLength: 8, maxLength: MOST })
  @Length(8, MOST, { message: `The password needs 8 to ${MOST} characters.` })
  password!: string;
}

/** `POST /signin`: a password that would be too short for a sign-up is just a wrong one here. */
export class SignIn {
  @ApiProperty({ example: 'ada@example.com', format: 'email', maxLength: 254 })
  @IsEmailText()
  email!: string;

  @ApiProperty({ example: 'correct horse battery', format: 'password', maxLength: MOST })
  @Length(1, MOST, { message: `The password needs 1 to ${MOST} characters.` })
  password!: string;
}

/** What a sign-in gives, and `POST /refresh` takes. */
@ApiSchema({ description: 'Whoever has these is the person. Both are of this tenant alone.' })
export class TokenPair {
  @ApiProperty({ description: 'A JWT, for the header `Authorization: Bearer …`. Good for minutes.' })
  @IsString({ message: 'The access token must be text.' })
  @Length(1, 4_000, { message: 'The access token has another length.' })
  access!: string;

  @ApiProperty({ description: 'Good for one new pair at `POST /refresh`, also when the access token has ended.' })
  @IsString({ message: 'The refresh token must be text.' })
  @Length(1, 200, { message: 'The refresh token has another length.' })
  refresh!: string;
}

/** `POST /signout` */
export class SignOut {
  @ApiPropertyOptional({ description: 'Revoked as well; without it, it would still give new tokens.' })
  @ValidateIf((_object, value) => value !== undefined)
  @IsString({ message: 'The refresh token must be text.' })
  @Length(1, 200, { message: 'The refresh token has another length.' })
  refresh?: string;
}

/** A person as they see themselves. */
export class Person {
  @ApiProperty({ example: 'k3v9f0w2m1x8c7b6a5d4' })
  id!: string;

  @ApiProperty({ example: 'Ada Lovelace' })
  name!: string;

  @ApiProperty({ example: 'ada@example.com' })
  email!: string;
}
