export function faultSequence(seed: number, tenants: string[]): Iterable<{ kind: string; pauseMillis: number }>;
export function operationSequence(
  seed: number,
  application: number,
  worker: number,
  tenants: string[],
): Iterable<{ kind: string; tenant: string }>;
