import type { Identity } from '../session/identity.js';
import type { SessionHandle } from '../session/session-handle.js';
import { NotAllowedError, UnauthenticatedError } from '../surreal.errors.js';
import { recordUserOf } from './record-user.js';

/**
 * @param access the access methods whose users may enter; all, when it is not given
 * @throws UnauthenticatedError for whoever is no record user of one of them
 */
export function assertRecordUser(identity: Identity | undefined, access: readonly string[] | undefined): void {
  const user = recordUserOf(identity);
  if (user === undefined) throw new UnauthenticatedError('The bearer token is not one of a record user.');
  if (access === undefined || access.includes(user.access)) return;
  throw new UnauthenticatedError('The bearer token is of an access method that is not among recordUsers.access.');
}

/** By session on the server, since roles do not change while one lives. */
const rolesOf = new WeakMap<Identity, string[]>();

/**
 * @throws NotAllowedError for whoever is no system user with one of the roles
 */
export async function assertSystemRole(session: SessionHandle, roles: readonly string[]): Promise<void> {
  const { identity } = session;
  if (identity !== undefined && identity.record === undefined) {
    // Only what was found out: a look that failed is one request's matter.
    const known = rolesOf.get(identity) ?? (await readRoles(session, identity));
    rolesOf.set(identity, known);
    const wanted = roles.map((role) => role.toLowerCase());
    if (known.some((role) => wanted.includes(role.toLowerCase()))) return;
  }
  throw new NotAllowedError(`This is for system users of the tenant's database with the role ${roles.join(' or ')}.`);
}

/** A token that was minted says the roles; of a user who signed in with a password the database knows them. */
async function readRoles(session: SessionHandle, { user, claims }: Identity): Promise<string[]> {
  // Without the claim a token of an access method TYPE JWT has this role.
  if (user === undefined) return Array.isArray(claims.RL) ? claims.RL.map(String) : ['Viewer'];
  const sql = 'INFO FOR USER $username ON DATABASE STRUCTURE';
  const [info] = await session.query<[{ roles: string[] }]>(sql, { username: user });
  return info.roles;
}
