// The page of the notes sample. Whatever comes from a person goes into the page by textContent or value, never as HTML.

const PAGE_SIZE = 24;
const HUES = [275, 165, 45, 330];
const element = (selector, root = document) => root.querySelector(selector);
const [composer, search, list, empty, more, alertBox, question] = [
  '#composer', '#search', '#notes', '#empty', '#more', '#alert', '#question',
].map((selector) => element(selector)); // prettier-ignore

/** On acme.localhost the host says which tenant it is; elsewhere the switch does, and a header carries it. */
const hostTenant = /^(.+)\.localhost$/.exec(location.hostname)?.[1];
let tenant = hostTenant ?? new URLSearchParams(location.search).get('tenant');
let tenants = [];
/** Counts what makes answers that are still under way useless: another tenant, another search. */
let generation = 0;

/** What the server refused, in its own words. */
class RequestError extends Error {
  constructor(message, { status, fields = {} } = {}) {
    super(message);
    this.status = status;
    this.fields = fields;
  }
}

async function request(path, { method = 'GET', body } = {}) {
  let response;
  try {
    response = await fetch(path, {
      method,
      headers: {
        ...(hostTenant === undefined && tenant ? { 'x-tenant-id': tenant } : {}),
        ...(body ? { 'content-type': 'application/json' } : {}),
      },
      ...(body ? { body: JSON.stringify(body) } : {}),
    });
  } catch {
    throw new RequestError('The server cannot be reached. Is it still running?');
  }
  if (response.status === 204) return undefined;
  const answer = await response.json().catch(() => ({}));
  if (response.ok) return answer;
  // The schema's own refusal names one field; the validation's names all.
  const fields = answer.fields ?? (answer.field ? { [answer.field]: answer.message } : {});
  throw new RequestError(answer.message ?? `The server answered ${response.status}.`, {
    status: response.status,
    fields,
  });
}

// ---- The list

async function load({ append = false } = {}) {
  const asked = ++generation;
  const term = search.value.trim();
  const start = append ? list.children.length : 0;
  const query = new URLSearchParams({ limit: PAGE_SIZE, start, ...(term ? { search: term } : {}) });
  list.ariaBusy = 'true';
  try {
    const notes = await request(`/notes?${query}`);
    if (asked !== generation) return;
    const known = new Set(append ? [...list.children].map(({ dataset }) => dataset.id) : []);
    const cards = notes.filter(({ id }) => !known.has(id)).map((note) => editorOf(note.id) ?? card(note));
    // What somebody is writing stays, also where the search does not find it.
    const open = [...list.children].filter((child) => element('form', child) && !cards.includes(child));
    if (append) list.append(...cards);
    else list.replaceChildren(...open, ...cards);
    more.hidden = notes.length < PAGE_SIZE;
    closeAlert();
  } catch (error) {
    if (asked !== generation) return;
    for (const skeleton of list.querySelectorAll('.loading')) skeleton.remove();
    showAlert(error.message, () => load({ append }));
  }
  list.ariaBusy = 'false';
  describe();
}

const editorOf = (id) => [...list.children].find((child) => child.dataset.id === id && element('form', child));

/** Says how many notes there are, or why there are none. */
function describe() {
  const count = list.children.length;
  const term = search.value.trim();
  const isQuiet = list.ariaBusy === 'true' || !alertBox.hidden;
  empty.hidden = count > 0 || isQuiet;
  element('h2', empty).textContent = term ? `Nothing matches “${term}”` : 'No notes yet';
  element('p', empty).textContent = term
    ? 'Try the beginning of another word.'
    : `The first note of ${nameOf(tenant)} starts above.`;
  const noun = count === 1 ? 'note' : 'notes';
  element('#status').textContent =
    count === 0 || isQuiet
      ? ''
      : `${count}${more.hidden ? '' : '+'} ${noun}${term ? ' found' : ` of ${nameOf(tenant)}`}`;
}

function card(note) {
  const item = element('#note').content.cloneNode(true).firstElementChild;
  item.dataset.id = note.id;
  element('h2', item).textContent = note.title;
  element('.text', item).textContent = note.body;
  element('.text', item).hidden = note.body === '';
  const time = element('time', item);
  const isEdited = new Date(note.updated_at) - new Date(note.created_at) > 1000;
  time.dateTime = note.updated_at;
  time.title = new Date(note.updated_at).toLocaleString();
  time.textContent = `${isEdited ? 'Edited ' : ''}${day(note.updated_at)}`;
  const [edit, remove] = [element('.edit', item), element('.delete', item)];
  edit.ariaLabel = `Edit “${note.title}”`;
  remove.ariaLabel = `Delete “${note.title}”`;
  edit.addEventListener('click', () => startEditing(item, note));
  remove.addEventListener('click', () => removeNote(item, note));
  return item;
}

function day(text) {
  const date = new Date(text);
  return date.toDateString() === new Date().toDateString()
    ? date.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' })
    : date.toLocaleDateString([], { day: 'numeric', month: 'short', year: 'numeric' });
}

// ---- Writing

composer.addEventListener('submit', async (event) => {
  event.preventDefault();
  const values = { title: composer.elements.title.value, body: composer.elements.body.value };
  await submit(composer, async (isCurrent) => {
    const note = await request('/notes', { method: 'POST', body: values });
    if (!isCurrent()) return;
    composer.reset();
    composer.elements.title.focus();
    if (search.value) {
      // The new note may not match: show all.
      search.value = '';
      return await load();
    }
    list.prepend(card(note));
    describe();
  });
});

function startEditing(item, note) {
  const form = element('#editor').content.cloneNode(true).firstElementChild;
  const { title, body } = form.elements;
  title.value = note.title;
  body.value = note.body;
  const stop = (shown) => {
    const next = card(shown);
    item.replaceWith(next);
    element('.edit', next).focus();
  };
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

async function removeNote(item, { id, title }) {
  const isSure = await ask({ title: `Delete “${title}”?`, text: 'It cannot be brought back.', yes: 'Delete' });
  if (!isSure) return;
  const from = tenant;
  try {
    await request(`/notes/${id}`, { method: 'DELETE' });
  } catch (error) {
    // Gone already is what was wanted.
    if (error.status !== 404) return showAlert(error.message);
  }
  if (tenant !== from) return;
  const next = item.nextElementSibling ?? item.previousElementSibling;
  item.remove();
  (next ? element('h2, input', next) : composer.elements.title).focus();
  if (list.children.length === 0 && !more.hidden) await load();
  describe();
}

/** Sends a form once, and puts what the server does not like next to the fields. */
async function submit(form, send) {
  const from = tenant;
  const button = element('[type=submit]', form);
  if (button.disabled) return;
  button.disabled = true;
  showProblems(form, {});
  try {
    await send(() => tenant === from);
    closeAlert();
  } catch (error) {
    const lost = tenant === from ? '' : `Not saved for ${nameOf(from)}: `;
    if (tenant !== from || !showProblems(form, error.fields ?? {})) showAlert(lost + error.message);
  } finally {
    button.disabled = false;
  }
}

let problemIds = 0;

/** @returns whether any of the problems has a field here to stand next to */
function showProblems(form, fields) {
  let first;
  for (const field of form.querySelectorAll('.field')) {
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

// ---- Tenants

const nameOf = (id) => tenants.find((one) => one.id === id)?.name ?? id ?? 'this tenant';

function enter(id) {
  tenant = id;
  document.documentElement.style.setProperty(
    '--hue',
    HUES[
      Math.max(
        0,
        tenants.findIndex((one) => one.id === id),
      ) % 4
    ],
  );
  document.title = `Notes of ${nameOf(id)}`;
  if (hostTenant === undefined) history.replaceState(null, '', `?tenant=${encodeURIComponent(id)}`);
  for (const input of document.querySelectorAll('#tenants input')) input.checked = input.value === id;
  // Nothing of the tenant before stays on the page, not even until the answer is there.
  search.value = '';
  composer.reset();
  showProblems(composer, {});
  element('#status').textContent = '';
  empty.hidden = more.hidden = true;
  closeAlert();
  list.replaceChildren(...Array.from({ length: 3 }, skeleton));
  return load();
}

function skeleton() {
  const item = document.createElement('li');
  item.className = 'card loading';
  item.ariaHidden = 'true';
  return item;
}

function showTenants() {
  const shown = hostTenant === undefined ? tenants : [{ id: hostTenant, name: nameOf(hostTenant) }];
  const labels = shown.map(({ id, name }) => {
    const label = document.createElement('label');
    const input = Object.assign(document.createElement('input'), { type: 'radio', name: 'tenant', value: id });
    input.addEventListener('change', () => switchTo(id));
    label.append(input, name);
    return label;
  });
  const fieldset = element('#tenants');
  fieldset.append(...labels);
  fieldset.disabled = hostTenant !== undefined;
  if (fieldset.disabled) fieldset.title = `${location.hostname} is this tenant's own address.`;
}

async function switchTo(id) {
  if (id === tenant) return;
  if (
    isWriting() &&
    !(await ask({ title: 'Leave what you are writing?', text: 'It is not saved.', yes: 'Leave it' }))
  ) {
    for (const input of document.querySelectorAll('#tenants input')) input.checked = input.value === tenant;
    return;
  }
  await enter(id);
}

const isWriting = () =>
  composer.elements.title.value !== '' || composer.elements.body.value !== '' || element('form', list) !== null;

async function start() {
  try {
    tenants = await request('/tenants');
  } catch (error) {
    return showAlert(error.message, start);
  }
  showTenants();
  const isKnown = hostTenant !== undefined || tenants.some(({ id }) => id === tenant);
  await enter(isKnown ? tenant : tenants[0]?.id);
}

// ---- What is told and asked

let retry;

function showAlert(message, again) {
  retry = again;
  element('p', alertBox).textContent = message;
  element('.retry', alertBox).hidden = again === undefined;
  alertBox.hidden = false;
}

function closeAlert() {
  alertBox.hidden = true;
}

element('.close', alertBox).addEventListener('click', closeAlert);
element('.retry', alertBox).addEventListener('click', () => {
  closeAlert();
  void retry?.();
});

function ask({ title, text, yes }) {
  element('h2', question).textContent = title;
  element('p', question).textContent = text;
  element('.danger', question).textContent = yes;
  question.returnValue = 'no';
  question.showModal();
  return new Promise((resolve) =>
    question.addEventListener('close', () => resolve(question.returnValue === 'yes'), { once: true }),
  );
}

// ---- Search and keys

let typing;
search.addEventListener('input', () => {
  clearTimeout(typing);
  typing = setTimeout(() => load(), 200);
});
more.addEventListener('click', () => load({ append: true }));
document.addEventListener('keydown', (event) => {
  const isInField = event.target.closest('input, textarea, dialog') !== null;
  if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) event.target.closest('form')?.requestSubmit();
  if (event.key === '/' && !isInField && !event.ctrlKey && !event.metaKey) {
    event.preventDefault();
    search.focus();
  }
});

void start();
