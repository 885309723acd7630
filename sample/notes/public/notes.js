// The list of notes: those of the person who is signed in, and those that others share.

import { request, SignedOutError } from './api.js';
import { startEditing } from './editor.js';
import { ask, closeAlert, element, fromTemplate, hasAlert, showAlert } from './page.js';
import { nameOf, place, sameVisit } from './place.js';

const PAGE_SIZE = 24;
const [search, list, empty, more] = ['#search', '#notes', '#empty', '#more'].map((selector) => element(selector));
/** Counts the searches: the answer to an earlier one is of no use. */
let generation = 0;

export async function loadNotes({ append = false } = {}) {
  const asked = ++generation;
  const sameVisitor = sameVisit();
  const isCurrent = () => asked === generation && sameVisitor();
  const term = search.value.trim();
  const start = append ? list.children.length : 0;
  const query = new URLSearchParams({ limit: PAGE_SIZE, start, ...(term ? { search: term } : {}) });
  list.ariaBusy = 'true';
  try {
    const notes = await request(`/notes?${query}`);
    if (!isCurrent()) return;
    const known = new Set(append ? [...list.children].map(({ dataset }) => dataset.id) : []);
    const cards = notes.filter(({ id }) => !known.has(id)).map((note) => editorOf(note.id) ?? card(note));
    // What somebody is writing stays, also where the search does not find it.
    const open = openEditors().filter((child) => !cards.includes(child));
    if (append) list.append(...cards);
    else list.replaceChildren(...open, ...cards);
    more.hidden = notes.length < PAGE_SIZE;
    closeAlert();
  } catch (error) {
    if (!isCurrent()) return;
    for (const skeleton of list.querySelectorAll('.loading')) skeleton.remove();
    if (!(error instanceof SignedOutError)) showAlert(error.message, () => loadNotes({ append }));
  }
  list.ariaBusy = 'false';
  describe();
}

/**
 * For whoever comes next: nothing of before stays, not even until the answer is there.
 * @param {{ isLoading?: boolean, keepsEditors?: boolean }} [options] what somebody is writing may stay, for when they are back
 */
export function clearNotes({ isLoading = false, keepsEditors = false } = {}) {
  generation++;
  if (!keepsEditors) search.value = '';
  list.replaceChildren(...(keepsEditors ? openEditors() : []), ...Array.from({ length: isLoading ? 3 : 0 }, skeleton));
  list.ariaBusy = String(isLoading);
  element('#status').textContent = '';
  empty.hidden = more.hidden = true;
}

/** Shows a new note on top of the others. */
export async function showNewNote(note) {
  if (search.value) {
    // It may not match: show all.
    search.value = '';
    return await loadNotes();
  }
  list.prepend(card(note));
  describe();
}

export const openEditors = () => [...list.children].filter((child) => element('form', child));
const editorOf = (id) => openEditors().find((child) => child.dataset.id === id);

/** Says how many notes there are, or why there are none. */
function describe() {
  const count = list.children.length;
  const term = search.value.trim();
  const isQuiet = list.ariaBusy === 'true' || hasAlert();
  empty.hidden = count > 0 || isQuiet;
  element('h2', empty).textContent = term ? `Nothing matches “${term}”` : 'No notes yet';
  element('p', empty).textContent = term
    ? 'Try the beginning of another word.'
    : `Your first note at ${nameOf(place.tenant)} starts above.`;
  const noun = count === 1 ? 'note' : 'notes';
  element('#status').textContent =
    count === 0 || isQuiet
      ? ''
      : `${count}${more.hidden ? '' : '+'} ${noun}${term ? ' found' : ` at ${nameOf(place.tenant)}`}`;
}

function card(note) {
  const item = fromTemplate('note');
  item.dataset.id = note.id;
  element('h2', item).textContent = note.title;
  element('.text', item).textContent = note.body;
  element('.text', item).hidden = note.body === '';
  const time = element('time', item);
  const isChanged = new Date(note.updated_at) - new Date(note.created_at) > 1000;
  time.dateTime = note.updated_at;
  time.title = new Date(note.updated_at).toLocaleString();
  time.textContent = `${isChanged ? 'Changed ' : ''}${day(note.updated_at)}`;
  const [sharing, owner, actions] = ['.sharing', '.owner', '.actions'].map((selector) => element(selector, item));
  sharing.hidden = actions.hidden = !note.is_mine;
  owner.hidden = note.is_mine;
  owner.textContent = `Shared by ${note.owner_name}`;
  if (!note.is_mine) return item;

  const isShared = element('input', sharing);
  isShared.checked = note.is_shared;
  isShared.ariaLabel = `Share “${note.title}”`;
  element('span', sharing).textContent = note.is_shared ? `Shared at ${nameOf(place.tenant)}` : 'Private';
  isShared.addEventListener('change', () => share(item, note, isShared));
  const [edit, remove] = [element('.edit', item), element('.delete', item)];
  edit.ariaLabel = `Edit “${note.title}”`;
  remove.ariaLabel = `Delete “${note.title}”`;
  edit.addEventListener('click', () =>
    startEditing(item, note, (shown) => {
      const next = card(shown);
      item.replaceWith(next);
      element('.edit', next).focus();
    }),
  );
  remove.addEventListener('click', () => removeNote(item, note));
  return item;
}

function day(text) {
  const date = new Date(text);
  return date.toDateString() === new Date().toDateString()
    ? date.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' })
    : date.toLocaleDateString([], { day: 'numeric', month: 'short', year: 'numeric' });
}

async function share(item, note, isShared) {
  const isCurrent = sameVisit();
  isShared.disabled = true;
  let shown = note;
  try {
    shown = await request(`/notes/${note.id}`, { method: 'PATCH', body: { is_shared: isShared.checked } });
    if (isCurrent()) closeAlert();
  } catch (error) {
    if (isCurrent() && !(error instanceof SignedOutError)) showAlert(error.message);
  }
  if (!isCurrent()) return;
  // A list that was asked for before may show it as it was.
  if (list.ariaBusy === 'true') return await loadNotes();
  const now = [...list.children].find((child) => child.dataset.id === note.id && !element('form', child));
  if (now === undefined) return;
  const next = card(shown);
  now.replaceWith(next);
  if (now === item) element('.sharing input', next).focus();
}

async function removeNote(item, { id, title }) {
  const isSure = await ask({ title: `Delete “${title}”?`, text: 'It cannot be brought back.', yes: 'Delete' });
  if (!isSure) return;
  const isCurrent = sameVisit();
  try {
    await request(`/notes/${id}`, { method: 'DELETE' });
  } catch (error) {
    if (error instanceof SignedOutError) return;
    // Gone already is what was wanted.
    if (error.status !== 404) return showAlert(error.message);
  }
  if (!isCurrent()) return;
  const next = item.nextElementSibling ?? item.previousElementSibling;
  item.remove();
  (next ? element('h2, input', next) : element('#title')).focus();
  if (list.children.length === 0 && !more.hidden) await loadNotes();
  describe();
}

function skeleton() {
  const item = document.createElement('li');
  item.className = 'card loading';
  item.ariaHidden = 'true';
  return item;
}

let typing;
search.addEventListener('input', () => {
  clearTimeout(typing);
  typing = setTimeout(() => loadNotes(), 200);
});
more.addEventListener('click', () => loadNotes({ append: true }));
