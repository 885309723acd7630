// Signing up, in and out: the card that asks for it, and who it is in the bar.

import { request, requestAsNobody, SignedOutError } from './api.js';
import { showProblems, submit } from './forms.js';
import { element, showAlert } from './page.js';
import { place, sameVisit } from './place.js';
import { forgetTokens, keepTokens } from './session.js';

const form = element('#account');
const who = element('#who');
const [notice, refusal] = ['.notice', '.refusal'].map((selector) => element(selector, form));
const { name, email, password } = form.elements;
const isSigningUp = () => form.dataset.mode === 'signup';

/** What differs between the two things that the card is for. */
const MODES = {
  signin: { title: 'Sign in to', yes: 'Sign in', question: 'No account yet?', other: 'Sign up', password: 'current-password' },
  signup: { title: 'Sign up at', yes: 'Sign up', question: 'You have an account?', other: 'Sign in', password: 'new-password' },
}; // prettier-ignore

/**
 * @param {{ entered: () => Promise<void>, left: () => void, mayLeave: () => Promise<boolean> }} page what the rest of the page
 * does about it
 */
export function startAccount({ entered, left, mayLeave }) {
  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    await enter(entered);
  });
  element('.toggle', form).addEventListener('click', () => {
    setMode(isSigningUp() ? 'signin' : 'signup');
    (isSigningUp() ? name : email).focus();
  });
  element('button', who).addEventListener('click', async ({ currentTarget }) => {
    if (await mayLeave()) await leave(currentTarget, left);
  });
}

/**
 * Asks to sign in.
 * @param {{ message?: string, address?: string }} [options] why, and whom it asks
 */
export function showAccountCard({ message = '', address = '' } = {}) {
  form.reset();
  setMode('signin');
  notice.textContent = message;
  notice.hidden = message === '';
  email.value = address;
  form.hidden = false;
  who.hidden = true;
  (address ? password : email).focus();
}

/** Out of the way, and empty: the next one to see it may be another person. */
export function hideAccountCard() {
  form.hidden = true;
  form.reset();
}

export function showPerson(person) {
  element('.name', who).textContent = person?.name ?? '';
  element('.name', who).title = person?.email ?? '';
  who.hidden = false;
}

function setMode(mode) {
  form.dataset.mode = mode;
  const { title, yes, question, other, password: kind } = MODES[mode];
  element('h2 span', form).textContent = title;
  element('[type=submit]', form).textContent = yes;
  element('.question', form).textContent = question;
  element('.toggle', form).textContent = other;
  element('.field', form).hidden = element('.rule', form).hidden = mode === 'signin';
  // Says to a password manager whether to fill in the one there is, or to make one up.
  password.autocomplete = kind;
  showProblems(form, {});
  refusal.hidden = true;
}

async function enter(entered) {
  const { tenant } = place;
  const { mode } = form.dataset;
  const values = { ...(isSigningUp() ? { name: name.value } : {}), email: email.value, password: password.value };
  refusal.hidden = true;
  const send = async (isCurrent) => {
    const tokens = await requestAsNobody(`/${mode}`, { method: 'POST', body: values }).catch((error) => {
      // The database knows the field, and this page what it is for.
      if (error.status === 422 && error.fields.email) error.fields.email = 'This is no email address.';
      throw error;
    });
    // One has gone to another tenant meanwhile: nobody is signed in behind one's back.
    if (!isCurrent()) return;
    keepTokens(tenant, tokens);
    await entered();
  };
  await submit(form, send, showRefusal, () => undefined);
}

function showRefusal({ status, message }) {
  if (status === 409) {
    showProblems(form, { email: 'There is an account with this email already. Sign in instead.' });
    return;
  }
  refusal.textContent = status === 401 ? 'That email and password do not belong together.' : message;
  refusal.hidden = false;
  if (status === 401) password.select();
}

async function leave(button, left) {
  const { tenant } = place;
  const isCurrent = sameVisit();
  button.disabled = true;
  try {
    await request('/signout', { method: 'POST', body: ({ refresh }) => ({ refresh }) });
  } catch (error) {
    // Over already is what was wanted. Otherwise one is signed out here at least.
    if (!(error instanceof SignedOutError)) showAlert(`Signed out in this browser only. ${error.message}`);
  } finally {
    button.disabled = false;
  }
  forgetTokens(tenant);
  if (isCurrent()) left();
}
