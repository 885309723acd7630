const SHOWN = 5;

/** What was done, what went wrong on purpose, and what each checker says, as text. */
export function report({ calls, writes, rows }, faults, findings) {
  return [
    'calls                    answered   slowest   errors by code',
    ...callLines(calls),
    '',
    `rows: ${writes.length} writes noted, ${rows.length} rows found in the end`,
    `faults: ${Object.entries(faults.counts)
      .map(([kind, count]) => `${kind} ${count}`)
      .join(', ')}`,
    `        ${faults.cuts} socket cuts, ${faults.counts.kill ?? 0} SIGKILLs`,
    '',
    ...Object.entries(findings).flatMap(checkerLines),
  ].join('\n');
}

function callLines(calls) {
  return [...grouped(calls, ({ step }) => step)].map(([step, of]) => {
    const failed = of.filter(({ code }) => code !== undefined);
    const errors = [...grouped(failed, nameOf)].map(([name, { length }]) => `${name} ${length}`);
    const answered = String(of.length - failed.length).padStart(8);
    const slowest = String(Math.max(...of.map(({ start, end }) => end - start))).padStart(7);
    return `  ${step.padEnd(23)}${answered}${slowest} ms   ${errors.join(', ')}`;
  });
}

function checkerLines([name, violations]) {
  if (violations.length === 0) return [`${name.padEnd(16)} OK`];
  const more = violations.length > SHOWN ? [`    … and ${violations.length - SHOWN} more`] : [];
  const shown = violations.slice(0, SHOWN).map((violation) => `    ${violation}`);
  return [`${name.padEnd(16)} FAILED (${violations.length})`, ...shown, ...more];
}

function nameOf({ code, outcome }) {
  return outcome === undefined ? code : `${code} (${outcome})`;
}

function grouped(list, keyOf) {
  const groups = new Map();
  for (const item of list) {
    const group = groups.get(keyOf(item));
    if (group === undefined) groups.set(keyOf(item), [item]);
    else group.push(item);
  }
  return groups;
}
