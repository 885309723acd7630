import { applyDecorators, type INestApplication } from '@nestjs/common';
import { ApiProperty, ApiPropertyOptional, ApiResponse, DocumentBuilder, SwaggerModule } from '@nestjs/swagger';

/** Security of routes for a tenant in general, and of those for a person there. */
export const AT_TENANT = { tenant: [] };
export const AS_PERSON = { tenant: [], person: [] };

/** The body of every answer that is no success. */
class Refusal {
  @ApiProperty({ example: 404 })
  statusCode!: number;

  @ApiPropertyOptional({ example: 'TENANT_NOT_FOUND', description: 'Stable: branch on this, not on the message.' })
  code?: string;

  @ApiProperty({ example: 'There is no such tenant.' })
  message!: string;

  @ApiPropertyOptional({ example: 'email', description: 'The field that the database does not accept (422).' })
  field?: string;

  @ApiPropertyOptional({
    type: 'object',
    additionalProperties: { type: 'string' },
    example: { title: 'The title needs 1 to 120 characters.' },
    description: 'What is wrong with each field (400, `VALIDATION`).',
  })
  fields?: Record<string, string>;
}

const REFUSALS = {
  400: 'The request is malformed (`VALIDATION`), or names no tenant (`TENANT_NOT_IDENTIFIED`, `TENANT_INVALID`).',
  401: 'Not signed in, or not any more (`UNAUTHENTICATED`, `SESSION_EXPIRED`).',
  403: 'Not allowed (`NOT_ALLOWED`), or host, header and token are not of one tenant (`TENANT_MISMATCH`).',
  404: 'There is no such note, or none that the caller may see; or no such tenant (`TENANT_NOT_FOUND`).',
  409: 'There is an account with this email (`ALREADY_EXISTS`).',
  422: 'The database does not accept a value (`INVALID_VALUE`), and names the field.',
  429: 'Too many attempts (`TOO_MANY_ATTEMPTS`). `Retry-After` says how many seconds to wait.',
};

/** Describes the refusals that a route may answer with. */
export function ApiRefusals(...statuses: (keyof typeof REFUSALS)[]): MethodDecorator & ClassDecorator {
  return applyDecorators(
    ...statuses.map((status) => ApiResponse({ status, type: Refusal, description: REFUSALS[status] })),
  );
}

/** A page about the API at `/docs`, and the OpenAPI document behind it at `/docs-json`. */
export function serveOpenApi(app: INestApplication): void {
  const config = new DocumentBuilder()
    .setTitle('Notes')
    .setDescription(
      'Private and shared notes of the people of each tenant. Say for which tenant a request is by the header below, or by ' +
        'the host, such as `acme.localhost`. Then sign up or in, and give the `access` token.',
    )
    .addApiKey(
      { type: 'apiKey', in: 'header', name: 'x-tenant-id', description: 'Such as `acme` or `globex`.' },
      'tenant',
    )
    .addBearerAuth({ type: 'http', scheme: 'bearer', bearerFormat: 'JWT', description: 'An `access` token.' }, 'person')
    .build();
  const document = () => SwaggerModule.createDocument(app, config);
  SwaggerModule.setup('docs', app, document, { raw: ['json'], customSiteTitle: 'The API of Notes' });
}
