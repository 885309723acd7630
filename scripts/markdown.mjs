// What check-readme reads from a Markdown document: fenced blocks, anchors and links.

/**
 * The fenced blocks of a document, in order. `ts title="src/main.ts"` is of the language `ts` and has that title,
 * `ts fragment` has the flag `fragment`. `line` is that of the opening fence, `sections` are the headings that the block
 * stands under, outermost first.
 * @returns {{ language: string, title?: string, flags: string[], sections: string[], line: number, text: string }[]}
 */
export function readBlocks(markdown) {
  const blocks = [];
  /** By level; level 1 has the index 1. */
  let headings = [];
  let open;
  for (const [index, line] of markdown.split('\n').entries()) {
    const [, indent, fence, info] = /^(\s*)(`{3,}|~{3,})(.*)$/.exec(line) ?? [];
    if (open !== undefined) {
      if (fence?.startsWith(open.fence) && info.trim() === '') {
        blocks.push({ ...open.block, text: `${open.lines.join('\n')}\n` });
        open = undefined;
      } else {
        open.lines.push(line.startsWith(open.indent) ? line.slice(open.indent.length) : line.trimStart());
      }
    } else if (fence !== undefined) {
      const title = /title="([^"]*)"/.exec(info)?.[1];
      const [language, ...flags] = info
        .replace(/title="[^"]*"/, '')
        .trim()
        .split(/\s+/);
      const sections = headings.filter((heading) => heading !== undefined);
      open = { fence, indent, block: { language, title, flags, sections, line: index + 1 }, lines: [] };
    } else {
      const { level, text } = readHeading(line) ?? {};
      if (level !== undefined) {
        headings = headings.slice(0, level);
        headings[level] = text;
      }
    }
  }
  if (open !== undefined) throw new Error(`line ${open.block.line}: the fenced block is never closed.`);
  return blocks;
}

/** The anchors that headings get, as GitHub makes them. */
export function readAnchors(markdown) {
  const anchors = new Set();
  for (const line of prose(markdown)) {
    const heading = readHeading(line);
    if (heading === undefined) continue;
    const text = heading.text.replace(/\[([^\]]*)\]\([^)]*\)/g, '$1').toLowerCase();
    const slug = text.replace(/[^\p{L}\p{N}\s_-]/gu, '').replaceAll(' ', '-');
    let anchor = slug;
    for (let count = 1; anchors.has(anchor); count++) anchor = `${slug}-${count}`;
    anchors.add(anchor);
  }
  return anchors;
}

/**
 * Targets of links and images, in Markdown or HTML, outside of code.
 * @returns {{ target: string, line: number }[]}
 */
export function readLinks(markdown) {
  const forms = [/\]\(\s*<?([^)\s>]+)/g, /^\s*\[[^\]]+\]:\s+<?([^\s>]+)/g, /(?:href|src)="([^"]+)"/g];
  return prose(markdown).flatMap((text, index) =>
    forms.flatMap((form) => [...text.matchAll(form)].map(([, target]) => ({ target, line: index + 1 }))),
  );
}

function readHeading(line) {
  const [, marks, text] = /^(#{1,6})\s+(.*?)\s*#*\s*$/.exec(line) ?? [];
  return marks === undefined ? undefined : { level: marks.length, text };
}

/** The lines of a document, those of fenced blocks empty and code spans removed from links and headings alike. */
function prose(markdown) {
  let fence;
  return markdown.split('\n').map((line) => {
    const [, found] = /^\s*(`{3,}|~{3,})/.exec(line) ?? [];
    if (fence === undefined && found === undefined) return line.startsWith('#') ? line : line.replace(/`[^`]*`/g, '');
    if (fence === undefined) fence = found;
    else if (found?.startsWith(fence)) fence = undefined;
    return '';
  });
}
