import { SessionHandle } from '../session/session-handle.js';
import type { TenantSession } from './tenant-session.js';
import type { UnitContext } from './unit-context.js';

/**
 * The `TenantSession` that singletons are given: at each use it stands for the session of the unit of work that is running
 * then. What it answers (a query builder, a transaction) stays with that unit.
 */
export function currentSession(context: UnitContext): TenantSession {
  return new Proxy(Object.create(SessionHandle.prototype) as SessionHandle, {
    get(target, key) {
      // Nest and others look for hooks, `then` and the like on every provider: those are not there.
      if (!(key in target) || key === 'constructor') return Reflect.get(target, key) as unknown;
      const { session } = context.require();
      const value: unknown = Reflect.get(session, key, session);
      return typeof value === 'function' ? (value.bind(session) as unknown) : value;
    },
  });
}
