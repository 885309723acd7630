/**
 * A source of numbers that depends on the seed and on who asks, and on nothing else: mulberry32.
 * @param {number} seed
 * @param {...(string | number)} path who asks; each has a sequence of its own
 */
export function randomSource(seed, ...path) {
  let state = hash([seed, ...path].join('/'));
  const next = () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
  const between = (least, most) => least + Math.floor(next() * (most - least + 1));
  return {
    /** A whole number, both ends included. */
    between,
    pick: (list) => list[between(0, list.length - 1)],
    /** The list in another order. */
    shuffled: (list) => {
      const rest = [...list];
      return list.map(() => rest.splice(between(0, rest.length - 1), 1)[0]);
    },
  };
}

/** As many of each name as the table says. */
export function deckOf(table) {
  return Object.entries(table).flatMap(([name, count]) => Array(count).fill(name));
}

function hash(text) {
  let value = 0x811c9dc5;
  for (const character of text) value = Math.imul(value ^ character.codePointAt(0), 0x01000193);
  return value | 0;
}
