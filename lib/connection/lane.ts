import type { LiveMessage, Uuid } from 'surrealdb';
import type { FairQueue } from './fair-queue.js';
import type { RpcCall, RpcTransport, SendOptions, TransportListener } from './rpc-transport.js';

/** A transport whose calls are one tenant's. */
export class Lane implements RpcTransport {
  readonly #queue: FairQueue;
  readonly #key: string;

  /** @internal by `FairQueue.lane()` */
  constructor(queue: FairQueue, key: string) {
    this.#queue = queue;
    this.#key = key;
  }

  get epoch(): number {
    return this.#queue.transport.epoch;
  }

  get inFlight(): number {
    return this.#queue.trafficOf(this.#key).inFlight;
  }

  get requestTimeoutMillis(): number {
    return this.#queue.transport.requestTimeoutMillis;
  }

  ready(timeoutMillis?: number): Promise<void> | undefined {
    return this.#queue.transport.ready(timeoutMillis);
  }

  send<Result>(call: RpcCall, options?: SendOptions): Promise<Result> {
    return this.#queue.send<Result>(this.#key, call, options);
  }

  /** As {@link FairQueue.enterWaiting}. */
  enterWaiting(): () => void {
    return this.#queue.enterWaiting(this.#key);
  }

  onLive(id: Uuid, listener: (message: LiveMessage) => void): () => void {
    return this.#queue.transport.onLive(id, listener);
  }

  subscribe(listener: TransportListener): () => void {
    return this.#queue.transport.subscribe(listener);
  }
}
