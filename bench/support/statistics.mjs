/** The value that `share` of the numbers do not exceed. */
export function percentile(numbers, share) {
  const sorted = numbers.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.ceil(sorted.length * share) - 1)];
}

export function median(numbers) {
  const sorted = numbers.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** To so many significant digits, and whole numbers whole. */
export function round(number, digits = 3) {
  const rounded = Number(number.toPrecision(digits));
  return Math.abs(rounded) >= 10 ** (digits - 1) ? Math.round(number) : rounded;
}
