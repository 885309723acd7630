// Forms: sent once at a time, with what the server does not like next to the fields.

import { SignedOutError } from './api.js';
import { closeAlert, element, showAlert } from './page.js';
import { nameOf, place, sameVisit } from './place.js';

/**
 * @param {HTMLFormElement} form
 * @param {(isCurrent: () => boolean) => Promise<void>} send told whether it is still the same visit when the answer is there
 * @param {(error: Error) => void} [show] for what belongs to no field; by default it is an alert
 * @param {(error: Error, from: string) => void} [showLate] for what comes when one has gone to another tenant
 */
export async function submit(form, send, show = showAsAlert, showLate = showAsLost) {
  const isCurrent = sameVisit();
  const from = place.tenant;
  const button = element('[type=submit]', form);
  if (button.disabled) return;
  button.disabled = true;
  showProblems(form, {});
  try {
    await send(isCurrent);
    if (isCurrent()) closeAlert();
  } catch (error) {
    // The card to sign in says it, and what was written is still here.
    if (error instanceof SignedOutError) return;
    if (!isCurrent()) return showLate(error, from);
    if (!showProblems(form, error.fields ?? {})) show(error);
  } finally {
    button.disabled = false;
  }
}

const showAsAlert = ({ message }) => showAlert(message);
const showAsLost = ({ message }, from) => showAlert(`Not saved for ${nameOf(from)}: ${message}`);

let problemIds = 0;

/** @returns {boolean} whether any of the problems has a field here to stand next to */
export function showProblems(form, fields) {
  let first;
  for (const field of form.querySelectorAll('.field:not([hidden])')) {
    const control = element('input, textarea', field);
    const problem = element('.problem', field);
    const sentence = fields[control.name];
    problem.id ||= `problem-${++problemIds}`;
    problem.textContent = sentence ?? '';
    problem.hidden = !sentence;
    control.setAttribute('aria-invalid', String(Boolean(sentence)));
    if (sentence) control.setAttribute('aria-describedby', problem.id);
    else control.removeAttribute('aria-describedby');
    if (sentence) first ??= control;
  }
  first?.focus();
  return first !== undefined;
}
