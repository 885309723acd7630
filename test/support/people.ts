import { createHmac } from 'node:crypto';
import type { Tenant } from 'nestjs-surreal';
import { type Admin, defineTenant, type TenantSetup } from './surreal.js';

/** The key of the access method `minted`, by which tests make tokens of their own. */
const MINT_KEY = 'the key of the access method minted';

export interface PeopleSetup extends TenantSetup {
  /** Of the access method `account`; default as SurrealDB's. */
  duration?: string;
}

/** People who sign up and in, and notes of which each has its own: what SurrealDB's page on authentication defines. */
const peopleSchema = (duration: string) => `
  DEFINE TABLE user SCHEMAFULL PERMISSIONS FOR select, update, delete WHERE id = $auth;
  DEFINE FIELD name ON user TYPE option<string>;
  DEFINE FIELD email ON user TYPE string ASSERT string::is_email($value);
  DEFINE FIELD pass ON user TYPE string PERMISSIONS FOR select NONE;
  DEFINE INDEX email ON user FIELDS email UNIQUE;
  DEFINE TABLE memo SCHEMAFULL PERMISSIONS
    FOR select WHERE shared OR owner = $auth.id
    FOR create, update, delete WHERE owner = $auth.id;
  DEFINE FIELD owner ON memo TYPE record<user>;
  DEFINE FIELD text ON memo TYPE string DEFAULT '';
  DEFINE FIELD shared ON memo TYPE bool DEFAULT false;
  DEFINE TABLE about TYPE RELATION PERMISSIONS FOR create, select WHERE in.owner = $auth.id;
  DEFINE ACCESS account ON DATABASE TYPE RECORD
    SIGNUP {
      IF $email = 'taken@example.com' { THROW 'ALREADY_EXISTS email' };
      IF $email = 'wrong' { THROW 'INVALID_VALUE email' };
      IF $email = 'secret' { THROW 'a secret of the schema' };
      CREATE user SET name = $name, email = $email, pass = crypto::argon2::generate($pass)
    }
    SIGNIN ( SELECT * FROM user WHERE email = $email AND crypto::argon2::compare(pass, $pass) )
    WITH REFRESH ${duration};
  DEFINE ACCESS minted ON DATABASE TYPE RECORD WITH JWT ALGORITHM HS512 KEY '${MINT_KEY}';
  DEFINE ACCESS other ON DATABASE TYPE RECORD WITH JWT ALGORITHM HS512 KEY '${MINT_KEY}';
  CREATE user:anna SET name = 'Anna', email = 'anna@example.com', pass = crypto::argon2::generate('anna pass');
  CREATE user:bert SET name = 'Bert', email = 'bert@example.com', pass = crypto::argon2::generate('bert pass');
  CREATE memo:anna SET owner = user:anna, text = 'of Anna';
  CREATE memo:bert SET owner = user:bert, text = 'of Bert';
  CREATE memo:both SET owner = user:bert, text = 'shared by Bert', shared = true;
`;

/** A tenant whose people are Anna and Bert. */
export async function defineTenantWithPeople(admin: Admin, setup: PeopleSetup = {}): Promise<Tenant> {
  const { duration = '', schema = '', ...rest } = setup;
  return await defineTenant(admin, { ...rest, schema: `${peopleSchema(duration)}; ${schema}` });
}

export const anna = { email: 'anna@example.com', pass: 'anna pass' };
export const bert = { email: 'bert@example.com', pass: 'bert pass' };

const base64 = (part: unknown) =>
  Buffer.from(typeof part === 'string' ? part : JSON.stringify(part)).toString('base64url');

/** A token as somebody with a key can make it, whatever is in it. Parts that are strings are taken as they are. */
export function forge(header: unknown, claims: unknown, key = MINT_KEY, hash = 'sha512'): string {
  const text = `${base64(header)}.${base64(claims)}`;
  return `${text}.${createHmac(hash, key).update(text).digest('base64url')}`;
}

/** The time that many seconds from now, as tokens tell it. */
export const inSeconds = (seconds: number) => Math.floor(Date.now() / 1000) + seconds;

/** A good token of a record user, by the access method `minted`. */
export function mint(tenant: Tenant, id = 'user:anna', claims: object = {}): string {
  const { namespace: ns, database: db } = tenant;
  return forge({ alg: 'HS512', typ: 'JWT' }, { ns, db, ac: 'minted', id, exp: inSeconds(600), ...claims });
}
