import type { SessionSockets } from '../connection/session-sockets.js';
import type { CallStatistics } from './call-statistics.js';
import type { LeakWatch } from './leak-watch.js';
import type { QueryTracer } from './query-tracer.js';
import type { SlotResources } from './session-slot.js';

/** What all units of work have in common. */
export interface LeaseResources extends SlotResources {
  sockets: SessionSockets;
  requestTimeoutMillis: number;
  /** The module's option. */
  strictWrites: boolean;
  /** False for servers before 3.1, on which `$auth` is NONE inside an interactive transaction. */
  transactionsKeepAuth: boolean;
  statistics: CallStatistics;
  /** Only when leaks are watched for. */
  leaks?: LeakWatch | undefined;
  /** Only when queries are traced. */
  tracer?: QueryTracer | undefined;
}
