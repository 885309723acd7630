/** How a call ended: without a code it was answered. */
interface Failure {
  code?: string;
  message?: string;
  outcome?: 'not-sent' | 'unknown';
}

/** In which unit of work, of which generation of which tenant; undefined as long as the library has not said. */
interface Who {
  application: number;
  tenant: string;
  generation?: number;
  /** Milliseconds since 1970, as all times here. */
  unitStart: number;
}

export interface Call extends Who, Failure {
  type: 'call';
  step: string;
  start: number;
  end: number;
}

/** Rows that are to stand or fall together, and how the call that decides about them ended. */
export interface Write extends Who, Failure {
  type: 'write';
  keys: string[];
  /** There was no such call: cancelled, or never committed. */
  isCancelled?: boolean;
}

/** What a reader was shown. */
export interface Sighting extends Who {
  type: 'sighting';
  by: 'read' | 'create' | 'live';
  tags: string[];
  marker?: string;
  expectedMarker?: string;
  namespace?: string;
}

export interface Evidence {
  calls: Call[];
  pending: Omit<Call, 'end'>[];
  writes: Write[];
  sightings: Sighting[];
  /** What root finds in the end, by the database it is in. */
  rows: { tenant: string; generation: number; key: string; tag: string }[];
  generations: {
    tenant: string;
    generation: number;
    namespace: string;
    hasBriefSessions: boolean;
    removed?: 'namespace' | 'access';
    goneAt?: number;
  }[];
  touches: { tenant: string; begin: number; end: number }[];
  leftovers: {
    sessions: number;
    allowedSessions: number;
    transactions: number;
    liveQueries: number;
    sessionsAfterClose: number;
  };
  applications: {
    number: number;
    before: Record<string, number>;
    after: Record<string, number>;
    exit: number | string;
  }[];
  reached: { application: number; tenant: string; millis?: number; error?: string }[];
  /** How long a call may take. */
  limitMillis: number;
}

export type CheckerName =
  | 'foreign rows'
  | 'lost writes'
  | 'duplicates'
  | 'outcomes'
  | 'transactions'
  | 'timeouts'
  | 'leaks'
  | 'neighbours'
  | 'removed tenants'
  | 'liveness';

export const CHECKERS: Record<CheckerName, (evidence: Evidence) => string[]>;
export function check(evidence: Evidence): Record<CheckerName, string[]>;
