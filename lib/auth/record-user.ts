import { createParamDecorator, type ExecutionContext } from '@nestjs/common';
import type { RecordId } from 'surrealdb';
import { unitOfRequest } from '../context/unit-context.js';
import type { Identity } from '../session/identity.js';
import { ContextMissingError } from '../surreal.errors.js';
import { httpRequestOf } from '../tenant/tenant-strategy.js';

/** The end user whose request it is, as the database sees it. */
export interface RecordUser {
  readonly id: RecordId;
  /** Name of the access method by which the user signed in. */
  readonly access: string;
  /** What the user's token says, as the database has read it; its own claims in capitals (`ID`, `AC`, …). */
  readonly claims: Readonly<Record<string, unknown>>;
}

const paramDecorator = createParamDecorator((_data: unknown, context: ExecutionContext): RecordUser => {
  const unit = unitOfRequest(httpRequestOf(context));
  const user = unit?.caller === undefined ? undefined : recordUserOf(unit.session.identity);
  if (user !== undefined) return user;
  throw new ContextMissingError(
    'This handler asks for its record user, but no RecordUserGuard has run for it. Put it after TenantGuard: ' +
      '@UseGuards(TenantGuard, RecordUserGuard); a handler with @SkipRecordUser() or @SystemRoles() has no record user.',
  );
});

/** Parameter decorator, and type: the end user whose request it is. */
export const RecordUser = paramDecorator as () => ParameterDecorator;

/** Undefined for a system user, and for nobody. */
export function recordUserOf(identity: Identity | undefined): RecordUser | undefined {
  const { record, access, claims } = identity ?? {};
  if (record === undefined || access === undefined) return undefined;
  return { id: record, access, claims: claims ?? {} };
}
