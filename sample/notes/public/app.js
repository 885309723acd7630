// The page of the notes sample: what is shown when, and to whom.

import { hideAccountCard, showAccountCard, showPerson, startAccount } from './account.js';
import { request, requestAsNobody, SignedOutError } from './api.js';
import { clearComposer, isComposing, startComposing } from './editor.js';
import { clearNotes, loadNotes, openEditors, showNewNote } from './notes.js';
import { ask, closeAlert, element, showAlert } from './page.js';
import { beginVisit, hostTenant, moveTo, nameOf, place, sameVisit } from './place.js';
import { onSessionChange, tokensOf } from './session.js';

const room = element('#room');
/** Who is, or was just, signed in here. */
let person;

// ---- Coming and going

/** Shows a tenant: its notes where somebody is signed in there, else the card to sign in. */
async function enter(id) {
  moveTo(id);
  checkTenant();
  beginVisit();
  closeAlert();
  forgetPerson();
  if (tokensOf(id) === undefined) return showDoor();
  showRoom();
  await arrive();
}

/** Nothing of whoever was here stays on the page. */
function forgetPerson() {
  person = undefined;
  clearComposer();
  clearNotes();
}

function showDoor(options) {
  room.hidden = true;
  showAccountCard(options);
}

function showRoom() {
  hideAccountCard();
  showPerson(person);
  room.hidden = false;
  clearNotes({ isLoading: true, keepsEditors: true });
}

async function arrive() {
  const isCurrent = sameVisit();
  try {
    const me = await request('/me');
    if (!isCurrent()) return;
    person = me;
  } catch (error) {
    if (!isCurrent() || error instanceof SignedOutError) return;
    clearNotes({ keepsEditors: true });
    return showAlert(error.message, arrive);
  }
  showPerson(person);
  await loadNotes();
}

/** Somebody has signed in. Who was only away for a moment finds all as it was. */
async function entered() {
  const isCurrent = sameVisit();
  const me = await request('/me');
  if (!isCurrent()) return;
  if (me.id !== person?.id) forgetPerson();
  person = me;
  beginVisit();
  showRoom();
  element('#title').focus();
  await loadNotes();
}

function left() {
  beginVisit();
  forgetPerson();
  showDoor();
}

onSessionChange(({ tenant, type }) => {
  if (tenant !== place.tenant || type === 'renewed' || room.hidden) return;
  const isExpired = type === 'expired';
  const kept = isExpired && isWriting() ? ': what you were writing is still there' : '';
  const message = isExpired ? `Your session has expired. Sign in again${kept}.` : 'You have signed out in another tab.';
  const address = person?.email;
  beginVisit();
  if (isExpired) clearNotes({ keepsEditors: true });
  else forgetPerson();
  showDoor({ message, address });
});

const isWriting = () => isComposing() || openEditors().length > 0;

const mayLeave = async () =>
  !isWriting() || (await ask({ title: 'Leave what you are writing?', text: 'It is not saved.', yes: 'Leave it' }));

// ---- Tenants

function showTenants() {
  const shown = hostTenant === undefined ? place.tenants : [{ id: hostTenant, name: nameOf(hostTenant) }];
  const labels = shown.map(({ id, name }) => {
    const label = document.createElement('label');
    const input = Object.assign(document.createElement('input'), { type: 'radio', name: 'tenant', value: id });
    input.addEventListener('change', () => switchTo(id));
    label.append(input, name);
    return label;
  });
  const fieldset = element('#tenants');
  fieldset.replaceChildren(element('legend', fieldset), ...labels);
  fieldset.disabled = hostTenant !== undefined;
  if (fieldset.disabled) fieldset.title = `${location.hostname} is this tenant's own address.`;
}

async function switchTo(id) {
  if (id === place.tenant) return;
  if (await mayLeave()) return await enter(id);
  checkTenant();
}

function checkTenant() {
  for (const input of document.querySelectorAll('#tenants input')) input.checked = input.value === place.tenant;
}

// ---- Keys

document.addEventListener('keydown', (event) => {
  const isInField = event.target.closest('input, textarea, dialog') !== null;
  if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) event.target.closest('form')?.requestSubmit();
  if (event.key === '/' && !isInField && !event.ctrlKey && !event.metaKey && !room.hidden) {
    event.preventDefault();
    element('#search').focus();
  }
});

async function start() {
  try {
    place.tenants = await requestAsNobody('/tenants');
  } catch (error) {
    return showAlert(error.message, start);
  }
  showTenants();
  const isKnown = place.tenants.some(({ id }) => id === place.tenant);
  if (hostTenant !== undefined && !isKnown) {
    moveTo(hostTenant);
    checkTenant();
    clearNotes();
    return showAlert('There is no such tenant.');
  }
  await enter(isKnown ? place.tenant : place.tenants[0]?.id);
}

startAccount({ entered, left, mayLeave });
startComposing(showNewNote);
void start();
