import { BadRequestException, ValidationPipe } from '@nestjs/common';

/** Refuses what a DTO does not allow: 400 with one sentence per field, for the page to show next to the field. */
export const validation = new ValidationPipe({
  transform: true,
  whitelist: true,
  forbidNonWhitelisted: true,
  stopAtFirstError: true,
  exceptionFactory: (errors) => {
    const fields = errors.map(({ property, constraints = {} }): [string, string] => [
      property,
      'whitelistValidation' in constraints
        ? `There is no field "${property}".`
        : (Object.values(constraints)[0] ?? `The field "${property}" is not valid.`),
    ]);
    return new BadRequestException({
      statusCode: 400,
      code: 'VALIDATION',
      message: fields.map(([, sentence]) => sentence).join(' '),
      fields: Object.fromEntries(fields),
    });
  },
});
