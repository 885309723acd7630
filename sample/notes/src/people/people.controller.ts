import { Body, Controller, Get, HttpCode, Post, UseGuards } from '@nestjs/common';
import {
  ApiCreatedResponse,
  ApiNoContentResponse,
  ApiOkResponse,
  ApiOperation,
  ApiSecurity,
  ApiTags,
} from '@nestjs/swagger';
import { RecordUser, SkipRecordUser } from 'nestjs-surreal';
import { ApiRefusals, AS_PERSON, AT_TENANT } from '../openapi.js';
import { AttemptsGuard } from './attempts.guard.js';
import { PeopleService } from './people.service.js';
import { Person, SignIn, SignOut, SignUp, TokenPair } from './person.dto.js';

@ApiTags('people')
@Controller()
export class PeopleController {
  constructor(private readonly people: PeopleService) {}

  @Post('signup')
  @SkipRecordUser()
  @UseGuards(AttemptsGuard)
  @ApiOperation({ summary: 'Makes an account at this tenant, and signs in' })
  @ApiCreatedResponse({ type: TokenPair })
  @ApiSecurity(AT_TENANT)
  @ApiRefusals(400, 403, 404, 409, 422, 429)
  signUp(@Body() person: SignUp): Promise<TokenPair> {
    return this.people.signUp(person);
  }

  @Post('signin')
  @HttpCode(200)
  @SkipRecordUser()
  @UseGuards(AttemptsGuard)
  @ApiOperation({ summary: 'Signs in; a wrong password and an unknown email are told the same' })
  @ApiOkResponse({ type: TokenPair })
  @ApiSecurity(AT_TENANT)
  @ApiRefusals(400, 401, 403, 404, 429)
  signIn(@Body() person: SignIn): Promise<TokenPair> {
    return this.people.signIn(person);
  }

  @Post('refresh')
  @HttpCode(200)
  @SkipRecordUser()
  @UseGuards(AttemptsGuard)
  @ApiOperation({ summary: 'A new pair of tokens for the last one; a refresh token works once' })
  @ApiOkResponse({ type: TokenPair })
  @ApiSecurity(AT_TENANT)
  @ApiRefusals(400, 401, 403, 404, 429)
  refresh(@Body() tokens: TokenPair): Promise<TokenPair> {
    return this.people.refresh(tokens);
  }

  @Post('signout')
  @HttpCode(204)
  @ApiOperation({ summary: 'Signs out: the tokens are refused from now on' })
  @ApiNoContentResponse({ description: 'Signed out.' })
  @ApiSecurity(AS_PERSON)
  @ApiRefusals(400, 401, 403, 404)
  signOut(@Body() { refresh }: SignOut): Promise<void> {
    return this.people.signOut(refresh);
  }

  @Get('me')
  @ApiOperation({ summary: 'Who is signed in' })
  @ApiOkResponse({ type: Person })
  @ApiSecurity(AS_PERSON)
  @ApiRefusals(400, 401, 403, 404)
  me(@RecordUser() user: RecordUser): Promise<Person> {
    return this.people.find(user.id);
  }
}
