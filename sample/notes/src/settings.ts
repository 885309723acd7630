/** How long what somebody gets at a sign-in is good for, as SurrealQL writes durations. */
export interface Durations {
  /** An access token, which a page renews without asking anybody. */
  token: string;
  /** What the database keeps open for a token, and no longer than that. */
  session: string;
  /** A refresh token: after this long without a visit one signs in again. */
  refresh: string;
}

/** @throws Error naming the variable that is no duration */
export function durations(env = process.env): Durations {
  return {
    token: duration(env, 'NOTES_TOKEN_DURATION', '15m'),
    session: duration(env, 'NOTES_SESSION_DURATION', '12h'),
    refresh: duration(env, 'NOTES_REFRESH_DURATION', '30d'),
  };
}

/**
 * How many attempts a minute somebody has at each of signing up, signing in and refreshing.
 * @throws Error when the variable is no count
 */
export function attemptsPerMinute(env = process.env): number {
  const name = 'NOTES_ATTEMPTS_PER_MINUTE';
  const text = env[name] ?? '10';
  if (/^[1-9]\d{0,8}$/.test(text)) return Number(text);
  throw new Error(`${name} must be a whole number above 0, not ${JSON.stringify(text)}.`);
}

/** It goes into the schema, and a token's end counts in whole seconds. */
function duration(env: NodeJS.ProcessEnv, name: string, otherwise: string): string {
  const text = env[name] ?? otherwise;
  if (/^(?:[1-9]\d{0,5}[smhdw])+$/.test(text)) return text;
  throw new Error(`${name} must be a duration such as 30s, 15m, 12h or 30d, not ${JSON.stringify(text)}.`);
}
