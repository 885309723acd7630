import { type ArgumentsHost, Catch, type ExceptionFilter, HttpException, Logger } from '@nestjs/common';
import { BaseExceptionFilter, HttpAdapterHost } from '@nestjs/core';
import { SurrealError } from 'surrealdb';
import { translateDatabaseError } from '../session/database-errors.js';
import { SurrealModuleError } from '../surreal.errors.js';

/**
 * Answers errors of this library and of the database with the status of their code. A client is told the code and a fixed
 * sentence; what happened in detail goes to the log.
 */
@Catch(SurrealModuleError, SurrealError)
export class SurrealExceptionFilter implements ExceptionFilter {
  readonly #logger = new Logger('nestjs-surreal');
  readonly #adapterHost: HttpAdapterHost;

  constructor(adapterHost: HttpAdapterHost) {
    this.#adapterHost = adapterHost;
  }

  catch(exception: Error, host: ArgumentsHost): void {
    // The adapter can be replaced after providers are made (testing modules do), so it is looked up here.
    const { httpAdapter } = this.#adapterHost;
    const base = new BaseExceptionFilter(httpAdapter);
    const error = translateDatabaseError(exception);
    if (!(error instanceof SurrealModuleError)) return base.catch(exception, host);
    if (error.status >= 500) this.#logger.error(`${error.code}: ${error.message}`, error.stack);
    else this.#logger.debug(`${error.code}: ${error.message}`);

    const answer = new HttpException(error.toPublic(), error.status, { cause: error });
    // GraphQL and others answer what a filter throws in their own way.
    if (host.getType() !== 'http') throw answer;
    const response: object = host.switchToHttp().getResponse();
    if (!httpAdapter.isHeadersSent(response)) {
      // RFC 9110 wants it with every 401.
      if (error.status === 401) httpAdapter.setHeader(response, 'WWW-Authenticate', 'Bearer');
      if (error.retryAfterSeconds !== undefined) {
        httpAdapter.setHeader(response, 'Retry-After', String(error.retryAfterSeconds));
      }
    }
    base.catch(answer, host);
  }
}
