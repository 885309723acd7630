import type { CallLimits } from './call-limits.js';
import { FairQueue } from './fair-queue.js';
import type { Lane } from './lane.js';
import type { DispatchingTransport } from './rpc-transport.js';

/**
 * The sockets that carry sessions, tenants spread over them: a server works at the calls of one socket in one task, so
 * what one tenant keeps it busy with holds up those on its own socket most. A socket is opened when it is first needed.
 */
export class SessionSockets {
  readonly queues: readonly FairQueue[];

  constructor(transports: readonly DispatchingTransport[], limits: CallLimits) {
    this.queues = transports.map((transport) => new FairQueue(transport, limits));
  }

  /** The way for one tenant's calls: the same socket each time. Sessions that belong to no tenant share a lane. */
  laneOf(tenantId: string | undefined): Lane {
    return this.queueOf(tenantId).lane(tenantId ?? '');
  }

  queueOf(tenantId: string | undefined): FairQueue {
    const index = tenantId === undefined ? 0 : hash(tenantId) % this.queues.length;
    return this.queues[index] as FairQueue;
  }
}

/** FNV-1a, 32 bits: spreads names that differ in one letter. */
function hash(text: string): number {
  let value = 0x811c9dc5;
  for (let index = 0; index < text.length; index++) {
    value = Math.imul(value ^ text.charCodeAt(index), 0x01000193);
  }
  return value >>> 0;
}
