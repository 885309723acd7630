import { type Tokens, Uuid } from 'surrealdb';
import type { RpcTransport } from './rpc-transport.js';

/**
 * Where passwords become tokens. A server works at a password (argon2) while everybody else on that socket waits, so
 * sign-ins have a socket of their own; nothing but sign-ins is ever sent here, and what the session there becomes by
 * them does not matter.
 */
export class SigninChannel {
  readonly #transport: RpcTransport;
  readonly #session: Uuid | undefined;

  /** On a socket of its own. */
  static onSocket(transport: RpcTransport): SigninChannel {
    return new SigninChannel(transport, undefined);
  }

  /** On the embedded engine, whose default session is the central one: in a session of its own. */
  static async onEmbedded(transport: RpcTransport): Promise<SigninChannel> {
    const session = Uuid.v4();
    await transport.send({ method: 'attach', session });
    return new SigninChannel(transport, session);
  }

  private constructor(transport: RpcTransport, session: Uuid | undefined) {
    this.#transport = transport;
    this.#session = session;
  }

  /** @throws the SDK's ServerError when the database refuses */
  async request(method: 'signin' | 'signup', params: Record<string, unknown>): Promise<Tokens> {
    await this.#transport.ready();
    const answer = await this.#transport.send<string | Tokens>({ method, params: [params], session: this.#session });
    return typeof answer === 'string' ? { access: answer } : answer;
  }
}
