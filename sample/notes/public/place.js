// Where one is: at which tenant, and since when.

const HUES = [275, 165, 45, 330];

/** On acme.localhost the host says which tenant it is; elsewhere the switch does, and a header carries it. */
export const hostTenant = /^(.+)\.localhost$/.exec(location.hostname)?.[1];

export const place = {
  /** Id of the tenant that is shown. */
  tenant: hostTenant ?? new URLSearchParams(location.search).get('tenant'),
  /** All that there are, as { id, name }. */
  tenants: [],
  /** Another one after each switch, sign-in and sign-out: an answer that was asked for before is nobody's any more. */
  visit: {},
};

/** Begins another visit. @returns {() => boolean} whether it is still that one */
export function beginVisit() {
  place.visit = {};
  return sameVisit();
}

/** @returns {() => boolean} whether the visit of now still goes on */
export function sameVisit() {
  const { visit } = place;
  return () => place.visit === visit;
}

export const nameOf = (id) => place.tenants.find((one) => one.id === id)?.name ?? id ?? 'this tenant';

/** Makes another tenant the one that all of the page is about. */
export function moveTo(id) {
  place.tenant = id;
  const index = place.tenants.findIndex((one) => one.id === id);
  document.documentElement.style.setProperty('--hue', HUES[Math.max(0, index) % HUES.length]);
  document.title = `Notes of ${nameOf(id)}`;
  if (hostTenant === undefined) history.replaceState(null, '', `?tenant=${encodeURIComponent(id)}`);
  for (const node of document.querySelectorAll('.tenant-name')) node.textContent = nameOf(id);
}
