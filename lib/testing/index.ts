export { SurrealTestServer } from './surreal-test-server.js';
export type { HeldAnswers } from './surreal-test-server.js';
export type { SurrealTestServerOptions } from './server-options.js';
export type { CallFilter } from './faults.js';
export type { RecordedRequest } from './request-log.js';
