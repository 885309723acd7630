// What all of the page uses: its elements, and what it tells and asks. Whatever comes from a person goes into the page by
// textContent or value, never as HTML.

export const element = (selector, root = document) => root.querySelector(selector);

/** @param {string} id of a template @returns a new copy of what is in it */
export const fromTemplate = (id) => element(`#${id}`).content.cloneNode(true).firstElementChild;

const alertBox = element('#alert');
const question = element('#question');
let retry;

/** @param {() => void} [again] what “Try again” does */
export function showAlert(message, again) {
  retry = again;
  element('p', alertBox).textContent = message;
  element('.retry', alertBox).hidden = again === undefined;
  alertBox.hidden = false;
}

export function closeAlert() {
  alertBox.hidden = true;
}

export const hasAlert = () => !alertBox.hidden;

element('.close', alertBox).addEventListener('click', closeAlert);
element('.retry', alertBox).addEventListener('click', () => {
  closeAlert();
  void retry?.();
});

let answer;

/** @returns {Promise<boolean>} whether the answer was yes */
export function ask({ title, text, yes }) {
  element('h2', question).textContent = title;
  element('p', question).textContent = text;
  element('.danger', question).textContent = yes;
  question.returnValue = 'no';
  question.showModal();
  return new Promise((resolve) => (answer = resolve));
}

function takeAnswer() {
  answer?.(question.returnValue === 'yes');
  answer = undefined;
}

// At once; the event `close` comes a little later. By the Escape key it is all that comes.
element('form', question).addEventListener('submit', (event) => {
  event.preventDefault();
  question.close(event.submitter?.value ?? 'no');
  takeAnswer();
});
question.addEventListener('close', takeAnswer);
