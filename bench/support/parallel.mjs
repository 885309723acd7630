/** Does something with each of a list, with so many under way at once. */
export async function inParallel(list, concurrency, work) {
  const rest = list[Symbol.iterator]();
  const drive = async () => {
    for (const item of rest) await work(item);
  };
  await Promise.all(Array.from({ length: concurrency }, drive));
}
