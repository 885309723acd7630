import type * as OpenTelemetry from '@opentelemetry/api';
import type { SocketStats, TenancyStats } from '../context/stats.js';
import { SCOPE } from './query-spans.js';

type Observe = (value: number, attributes?: OpenTelemetry.Attributes) => void;

interface Instrument {
  name: string;
  unit: string;
  description: string;
  /** A counter only grows. */
  isCounter?: boolean;
  read: (stats: TenancyStats, observe: Observe) => void;
}

const STATES: readonly SocketStats['state'][] = ['idle', 'connecting', 'open', 'closed'];

/** Those of the conventions, whose pooled "connections" are this library's sessions, and its own. */
const INSTRUMENTS: readonly Instrument[] = [
  {
    name: 'db.client.connection.count',
    unit: '{connection}',
    description: 'Sessions on the server, by whether a unit of work uses them.',
    read: ({ sessions }, observe) => {
      observe(sessions.idle, { 'db.client.connection.state': 'idle' });
      observe(sessions.inUse, { 'db.client.connection.state': 'used' });
    },
  },
  {
    name: 'db.client.connection.max',
    unit: '{connection}',
    description: 'How many sessions there may be at once.',
    read: ({ sessions }, observe) => observe(sessions.max),
  },
  {
    name: 'db.client.connection.pending_requests',
    unit: '{request}',
    description: 'Units of work that wait for a session.',
    read: ({ sessions }, observe) => observe(sessions.waiting),
  },
  {
    name: 'nestjs_surreal.socket.count',
    unit: '{socket}',
    description: 'Sockets, by what they are for and their state.',
    read: ({ sockets }, observe) => {
      for (const [purpose, ofPurpose] of byPurpose(sockets)) {
        for (const state of STATES) {
          const count = ofPurpose.filter((socket) => socket.state === state).length;
          observe(count, { 'nestjs_surreal.socket.purpose': purpose, 'nestjs_surreal.socket.state': state });
        }
      }
    },
  },
  {
    name: 'nestjs_surreal.socket.reconnects',
    unit: '{reconnect}',
    description: 'How often a socket had to be opened again.',
    isCounter: true,
    read: ({ sockets }, observe) => {
      for (const [purpose, ofPurpose] of byPurpose(sockets)) {
        const reconnects = ofPurpose.reduce((sum, socket) => sum + socket.reconnects, 0);
        observe(reconnects, { 'nestjs_surreal.socket.purpose': purpose });
      }
    },
  },
  {
    name: 'nestjs_surreal.signin.requests',
    unit: '{request}',
    description: 'Sign-ins with a password, of tenants and of end users.',
    isCounter: true,
    read: ({ signins }, observe) => observe(signins.total),
  },
  {
    name: 'nestjs_surreal.signin.refusals',
    unit: '{refusal}',
    description: "How often a tenant's own credentials did not work.",
    isCounter: true,
    read: ({ signins }, observe) => observe(signins.refused),
  },
  {
    name: 'nestjs_surreal.signin.pending_requests',
    unit: '{request}',
    description: 'Sign-ins that have not been answered.',
    read: ({ signins }, observe) => observe(signins.pending),
  },
  {
    name: 'nestjs_surreal.call.in_flight',
    unit: '{call}',
    description: 'Calls of tenants that the server works at.',
    read: ({ calls }, observe) => observe(calls.inFlight),
  },
  {
    name: 'nestjs_surreal.call.waiting',
    unit: '{call}',
    description: 'Calls of tenants that have not been sent yet.',
    read: ({ calls }, observe) => observe(calls.waiting),
  },
  {
    name: 'nestjs_surreal.call.failures',
    unit: '{call}',
    description: 'Calls of units of work that failed or were refused, by the code of the error.',
    isCounter: true,
    read: ({ calls }, observe) => {
      for (const [code, count] of Object.entries(calls.failures)) observe(count, { 'error.type': code });
    },
  },
  {
    name: 'nestjs_surreal.unit_of_work.count',
    unit: '{unit}',
    description: 'Units of work that are running.',
    read: ({ units }, observe) => observe(units),
  },
  {
    name: 'nestjs_surreal.session.leaks',
    unit: '{leak}',
    description: 'Units of work that held a session for longer than sessions.leakDetectionMillis.',
    isCounter: true,
    read: ({ leaks }, observe) => observe(leaks),
  },
];

function byPurpose(sockets: readonly SocketStats[]): Map<string, SocketStats[]> {
  const groups = new Map<string, SocketStats[]>();
  for (const socket of sockets) groups.set(socket.purpose, [...(groups.get(socket.purpose) ?? []), socket]);
  return groups;
}

/** Pool names in use: of two applications in one process that would have the same, each must show figures of its own. */
const poolNames = new Set<string>();

/**
 * Shows a snapshot of the application's figures whenever metrics are collected. It costs nothing in between.
 * @param address where the database is, for the name of the pool
 * @returns to be called when the figures end
 */
export function observeMetrics(api: typeof OpenTelemetry, address: string, stats: () => TenancyStats): () => void {
  const meter = api.metrics.getMeter(SCOPE);
  if (meter === api.createNoopMeter()) return () => undefined;
  const poolName = takePoolName(address);
  const pool = { 'db.client.connection.pool.name': poolName };
  const instruments = INSTRUMENTS.map(({ name, unit, description, isCounter, read }) => ({
    read,
    observable: isCounter
      ? meter.createObservableCounter(name, { unit, description })
      : meter.createObservableUpDownCounter(name, { unit, description }),
  }));
  const observables = instruments.map(({ observable }) => observable);
  const callback = (result: OpenTelemetry.BatchObservableResult) => {
    const snapshot = stats();
    for (const { read, observable } of instruments) {
      read(snapshot, (value, attributes) => result.observe(observable, value, { ...pool, ...attributes }));
    }
  };
  meter.addBatchObservableCallback(callback, observables);
  return () => {
    meter.removeBatchObservableCallback(callback, observables);
    poolNames.delete(poolName);
  };
}

function takePoolName(address: string): string {
  let name = address;
  for (let number = 2; poolNames.has(name); number++) name = `${address}#${number}`;
  poolNames.add(name);
  return name;
}
