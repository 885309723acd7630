export {
  type DegradedReason,
  SurrealHealthIndicator,
  type SurrealHealthDetails,
  type SurrealPingCheckSettings,
} from './surreal.health.js';
export type { DownReason } from './database-probe.js';
