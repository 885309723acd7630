import type { CallFilterMessage } from './faults.js';
import type { ServerSettings } from './server-options.js';

/** What the test asks of the server's process: for each call, what goes in and what comes back. */
export interface ControlCalls {
  start: { argument: ServerSettings & { requestLog: string }; result: { port: number } };
  stop: { argument: undefined; result: undefined };
  dropConnections: { argument: undefined; result: undefined };
  sendGarbage: { argument: undefined; result: undefined };
  loseCall: { argument: CallFilterMessage; result: undefined };
  loseAnswer: { argument: CallFilterMessage; result: undefined };
  holdAnswers: { argument: CallFilterMessage; result: number };
  held: { argument: number; result: number };
  release: { argument: number; result: undefined };
  counts: { argument: undefined; result: ServerCounts };
}

/** What lives on the server at one moment, over all its sockets. */
export interface ServerCounts {
  sessions: number;
  transactions: number;
  liveQueries: number;
}

/** A control call as it crosses to the server's process. */
export interface ControlRequest {
  id: number;
  name: keyof ControlCalls;
  argument: unknown;
}

/** The acknowledgement of a control call. `error` is text meant for the test's author. */
export interface ControlAnswer {
  id: number;
  result?: unknown;
  error?: string;
}
