import { LIVE_ACTIONS, RecordId, Uuid, type LiveMessage } from 'surrealdb';

type Listener = (message: LiveMessage) => void;

/** Routes the notifications of one socket to whoever listens to each live query. */
export class LiveNotifications {
  readonly #listeners = new Map<string, Set<Listener>>();

  listen(id: Uuid, listener: Listener): () => void {
    const key = id.toString();
    const listeners = this.#listeners.get(key) ?? new Set();
    this.#listeners.set(key, listeners.add(listener));
    return () => {
      listeners.delete(listener);
      if (listeners.size === 0) this.#listeners.delete(key);
    };
  }

  publish(message: LiveMessage): void {
    for (const listener of [...(this.#listeners.get(message.queryId.toString()) ?? [])]) listener(message);
  }
}

/** Reads the `result` of a frame that answers no call; undefined when it is no notification. */
export function parseNotification(value: unknown): LiveMessage | undefined {
  if (typeof value !== 'object' || value === null || !('id' in value) || !(value.id instanceof Uuid)) return undefined;
  const { id, action, record, result } = value as unknown as Record<string, unknown> & { id: Uuid };
  if (action === 'KILLED') return { queryId: id, action };
  const isChange = LIVE_ACTIONS.some((known) => known === action) && record instanceof RecordId;
  if (!isChange || typeof result !== 'object' || result === null) return undefined;
  return { queryId: id, action, recordId: record as RecordId, value: result } as LiveMessage;
}
