import { Injectable } from '@nestjs/common';
import { type RecordId, TenantAuth, TenantSession, UnauthenticatedError } from 'nestjs-surreal';
import type { Person, SignIn, SignUp, TokenPair } from './person.dto.js';

/** The access method of `schema/people.surql`, which has its SIGNUP and SIGNIN. */
const ACCOUNT = { access: 'account' };

type PersonRecord = Omit<Person, 'id'> & { id: RecordId<'user', string> };

/** The people of the tenant whose request it is. */
@Injectable()
export class PeopleService {
  constructor(
    private readonly auth: TenantAuth,
    private readonly db: TenantSession,
  ) {}

  async signUp({ name, email, password }: SignUp): Promise<TokenPair> {
    return pair(await this.auth.signup({ name, email, password }, ACCOUNT));
  }

  async signIn({ email, password }: SignIn): Promise<TokenPair> {
    return pair(await this.auth.signin({ email, password }, ACCOUNT));
  }

  async refresh({ access, refresh }: TokenPair): Promise<TokenPair> {
    return pair(await this.auth.refresh({ access, refresh }));
  }

  /** Ends both tokens of the caller: nothing that was copied from them is good for anything. */
  signOut(refresh: string | undefined): Promise<void> {
    return this.auth.invalidate(refresh === undefined ? {} : { refresh });
  }

  /** @throws UnauthenticatedError for somebody who is not there any more */
  async find(user: RecordId): Promise<Person> {
    // As that person: the schema shows people their own record only, and of the password nothing.
    const person = await this.db.select<PersonRecord>(user);
    if (person === undefined) throw new UnauthenticatedError('There is no such person any more.');
    return { id: person.id.id, name: person.name, email: person.email };
  }
}

/** The schema says WITH REFRESH, so there are two. */
function pair({ access, refresh = '' }: { access: string; refresh?: string | undefined }): TokenPair {
  return { access, refresh };
}
