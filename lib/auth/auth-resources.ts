import type { TenancyResources } from '../context/tenancy.js';
import type { RecordUsersOptions } from '../surreal.options.js';
import type { Callers } from './callers.js';

/** What the module wires together for end users' sign-in. */
export interface AuthResources extends Pick<TenancyResources, 'context' | 'pool'> {
  callers: Callers;
  options: RecordUsersOptions;
}

/** Injection token of the above, for the classes that Nest makes again in other modules. */
export const AUTH_RESOURCES = Symbol.for('nestjs-surreal.auth');
