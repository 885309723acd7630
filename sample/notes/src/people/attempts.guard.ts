import { HttpException, Inject, Injectable } from '@nestjs/common';
import { ThrottlerGuard } from '@nestjs/throttler';
import { Tenancy } from 'nestjs-surreal';

/**
 * Counts attempts by client and tenant, so that passwords cannot be tried out, and hashing them cannot keep the database busy.
 * It is on handlers, so it runs after `TenantGuard`: made-up tenants are refused before they take up room here.
 *
 * The count is kept in this process. Behind a proxy the client is the proxy, unless Express is told to trust it
 * (`app.set('trust proxy', …)`); several processes need a storage that they share (`ThrottlerModule`, `storage`).
 */
@Injectable()
export class AttemptsGuard extends ThrottlerGuard {
  @Inject(Tenancy) private readonly tenancy!: Tenancy;

  protected override async getTracker(request: Record<string, unknown>): Promise<string> {
    return `${this.tenancy.current()?.tenant.id} ${await super.getTracker(request)}`;
  }

  protected override async throwThrottlingException(): Promise<void> {
    const message = 'Too many attempts. Wait a minute, then try again.';
    throw new HttpException({ statusCode: 429, code: 'TOO_MANY_ATTEMPTS', message }, 429);
  }
}
