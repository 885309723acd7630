// Who is signed in: one pair of tokens for each tenant, { access, refresh }.
//
// They are kept in sessionStorage: for this tab alone, over reloads, until it is closed. localStorage would keep them on disk and
// share them with every tab; a variable would sign people out at a reload. Either way a script that runs in this page can read
// them, and be the person (a cookie that scripts cannot read would only keep it from taking the tokens along, and would need
// measures against requests from other pages). So no script may get in: the Content-Security-Policy allows none but the files of
// this folder, and nothing that people write is ever put into the page as HTML.

/** Tabs of one browser that were one: a tab that is duplicated takes a copy of sessionStorage along. */
const tabs = new window.BroadcastChannel('notes');
/** How long another tab may take to answer, in milliseconds. */
const ANSWER_MILLIS = 400;

const key = (tenant) => `session:${tenant}`;
/** Refresh tokens that this tab has had: a copy of it may still have them. */
const past = new Set();
const listeners = new Set();

/** @param {(change: { tenant: string, type: 'expired' | 'signed-out' | 'renewed' }) => void} listener not told of what this tab's person does */
export const onSessionChange = (listener) => listeners.add(listener);

/** @returns {{ access: string, refresh: string } | undefined} */
export function tokensOf(tenant) {
  const text = sessionStorage.getItem(key(tenant));
  return text === null ? undefined : JSON.parse(text);
}

export function keepTokens(tenant, { access, refresh }) {
  sessionStorage.setItem(key(tenant), JSON.stringify({ access, refresh }));
}

/** New tokens in the place of others, for this tab and its copies. */
export function replaceTokens(tenant, old, tokens) {
  past.add(old.refresh);
  keepTokens(tenant, tokens);
  tabs.postMessage({ tenant, after: old.refresh, tokens });
}

/** Somebody has signed out, here and in copies of this tab. */
export function forgetTokens(tenant) {
  const old = tokensOf(tenant);
  sessionStorage.removeItem(key(tenant));
  if (old !== undefined) tabs.postMessage({ tenant, after: old.refresh, tokens: null });
}

/** The tokens are good for nothing any more. */
export function endSession(tenant) {
  sessionStorage.removeItem(key(tenant));
  tell({ tenant, type: 'expired' });
}

/** Asks copies of this tab for the tokens that came after these. @returns {Promise<boolean>} whether there are some now */
export function askOtherTabs(tenant, { refresh }) {
  tabs.postMessage({ tenant, wanted: refresh });
  return new Promise((resolve) => {
    const hear = (change) => change.tenant === tenant && settle();
    const settle = () => {
      clearTimeout(timer);
      listeners.delete(hear);
      resolve((tokensOf(tenant)?.refresh ?? refresh) !== refresh);
    };
    const timer = setTimeout(settle, ANSWER_MILLIS);
    listeners.add(hear);
  });
}

tabs.addEventListener('message', ({ data: { tenant, after, tokens, wanted } }) => {
  const own = tokensOf(tenant);
  if (wanted !== undefined) {
    if (past.has(wanted) && own !== undefined) tabs.postMessage({ tenant, after: wanted, tokens: own });
    return;
  }
  // Another person's, or this tab has newer ones.
  if (own?.refresh !== after) return;
  if (tokens === null) {
    sessionStorage.removeItem(key(tenant));
    return tell({ tenant, type: 'signed-out' });
  }
  past.add(after);
  keepTokens(tenant, tokens);
  tell({ tenant, type: 'renewed' });
});

function tell(change) {
  for (const listener of listeners) listener(change);
}
