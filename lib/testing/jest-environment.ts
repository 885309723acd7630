import { TestEnvironment } from 'jest-environment-node';

const SHARED = [
  'BigInt64Array', 'BigUint64Array', 'DataView', 'Float32Array', 'Float64Array', 'Int8Array', 'Int16Array', 'Int32Array',
  'SharedArrayBuffer', 'Uint16Array', 'Uint32Array', 'Uint8ClampedArray',
] as const; // prettier-ignore

/**
 * Jest's Node environment, with the typed arrays of the process. Jest gives each test file a realm with typed arrays of its
 * own, but bytes that come from sockets and from the native engine are of the process's, and the SDK tells bytes by
 * `instanceof`: without this environment every connection times out.
 *
 * Name it in jest's configuration: `testEnvironment: 'nestjs-surreal/testing/jest-environment'`.
 */
export default class SurrealTestEnvironment extends TestEnvironment {
  override async setup(): Promise<void> {
    await super.setup();
    for (const name of SHARED) Object.assign(this.global, { [name]: globalThis[name] });
  }
}
