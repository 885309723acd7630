// Writing: a new note in the composer, and changes to one in its place in the list.

import { request } from './api.js';
import { showProblems, submit } from './forms.js';
import { element, fromTemplate } from './page.js';

const composer = element('#composer');

/** @param {(note: object) => Promise<void>} showNote what becomes of a new note */
export function startComposing(showNote) {
  composer.addEventListener('submit', async (event) => {
    event.preventDefault();
    const { title, body, is_shared } = composer.elements;
    const values = { title: title.value, body: body.value, is_shared: is_shared.checked };
    await submit(composer, async (isCurrent) => {
      const note = await request('/notes', { method: 'POST', body: values });
      if (!isCurrent()) return;
      composer.reset();
      title.focus();
      await showNote(note);
    });
  });
}

export const isComposing = () => composer.elements.title.value !== '' || composer.elements.body.value !== '';

export function clearComposer() {
  composer.reset();
  showProblems(composer, {});
}

/**
 * Puts a form in the place of a note.
 * @param {(note: object) => void} stop shows the note again, changed or not
 */
export function startEditing(item, note, stop) {
  const form = fromTemplate('editor');
  const { title, body } = form.elements;
  title.value = note.title;
  body.value = note.body;
  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    const changes = { title: title.value, body: body.value };
    await submit(form, async (isCurrent) => {
      const edited = await request(`/notes/${note.id}`, { method: 'PATCH', body: changes });
      if (isCurrent()) stop(edited);
    });
  });
  form.addEventListener('keydown', (event) => event.key === 'Escape' && stop(note));
  element('.cancel', form).addEventListener('click', () => stop(note));
  item.replaceChildren(form);
  title.focus();
}
