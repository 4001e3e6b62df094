/** Unified diffs, and text that is safe in Markdown. Pure. */

const CONTEXT = 3;
/** Cells of the table of a longest common subsequence: beyond it a changed middle is shown as removed and added whole. */
const MOST_CELLS = 4_000_000;

type Mark = " " | "-" | "+";
export type Line = readonly [mark: Mark, text: string];

/** Lines of both texts with what became of them: those that stay are as many as can be. */
export function diffLines(before: string, after: string): Line[] {
  const a = split(before);
  const b = split(after);
  let start = 0;
  while (start < a.length && start < b.length && a[start] === b[start]) start++;
  let end = 0;
  while (
    end < a.length - start &&
    end < b.length - start &&
    a[a.length - 1 - end] === b[b.length - 1 - end]
  ) {
    end++;
  }
  const same = (text: string): Line => [" ", text];
  return [
    ...a.slice(0, start).map(same),
    ...middle(a.slice(start, a.length - end), b.slice(start, b.length - end)),
    ...a.slice(a.length - end).map(same),
  ];
}

function middle(a: readonly string[], b: readonly string[]): Line[] {
  if (a.length * b.length > MOST_CELLS) {
    return [...a.map((text): Line => ["-", text]), ...b.map((text): Line => ["+", text])];
  }
  const width = b.length + 1;
  // Lengths of the longest common subsequence of the rests from (i, j) on.
  const common = new Uint32Array((a.length + 1) * width);
  for (let i = a.length - 1; i >= 0; i--) {
    for (let j = b.length - 1; j >= 0; j--) {
      common[i * width + j] =
        a[i] === b[j]
          ? at(common, (i + 1) * width + j + 1) + 1
          : Math.max(at(common, (i + 1) * width + j), at(common, i * width + j + 1));
    }
  }
  const lines: Line[] = [];
  let i = 0;
  let j = 0;
  while (i < a.length || j < b.length) {
    if (i < a.length && j < b.length && a[i] === b[j]) {
      lines.push([" ", a[i] as string]);
      i++;
      j++;
    } else if (
      i < a.length &&
      (j === b.length || at(common, (i + 1) * width + j) >= at(common, i * width + j + 1))
    ) {
      lines.push(["-", a[i++] as string]);
    } else {
      lines.push(["+", b[j++] as string]);
    }
  }
  return lines;
}

const at = (table: Uint32Array, index: number): number => table[index] ?? 0;

/** A text without an end of line at its end differs from the one that has it, as in diff(1). */
function split(text: string): string[] {
  if (text === "") return [];
  const lines = text.split("\n");
  if (lines.at(-1) === "") lines.pop();
  else lines.push(`${lines.pop() ?? ""}\n\\ No newline at end of file`);
  return lines;
}

export interface Diff {
  /** Hunks with three lines of context, without the names of files. */
  readonly lines: readonly string[];
  readonly added: number;
  readonly removed: number;
}

/** @returns undefined if the texts are equal. */
export function unifiedDiff(before: string, after: string): Diff | undefined {
  if (before === after) return undefined;
  const lines = diffLines(before, after);
  const changed = lines.flatMap(([mark], i) => (mark === " " ? [] : [i]));
  const hunks: [from: number, to: number][] = [];
  for (const i of changed) {
    const last = hunks.at(-1);
    const from = Math.max(0, i - CONTEXT);
    const to = Math.min(lines.length, i + CONTEXT + 1);
    if (last && from <= last[1]) last[1] = to;
    else hunks.push([from, to]);
  }
  return {
    lines: hunks.flatMap(([from, to]) => [
      hunkHead(lines, from, to),
      ...lines.slice(from, to).flatMap(([mark, text]) => `${mark}${text}`.split("\n")),
    ]),
    added: lines.filter(([mark]) => mark === "+").length,
    removed: lines.filter(([mark]) => mark === "-").length,
  };
}

function hunkHead(lines: readonly Line[], from: number, to: number): string {
  const count = (part: readonly Line[], mark: Mark): number =>
    part.filter(([each]) => each !== mark).length;
  const range = (mark: Mark): string => {
    const size = count(lines.slice(from, to), mark);
    const first = count(lines.slice(0, from), mark);
    return `${size === 0 ? first : first + 1},${size}`;
  };
  return `@@ -${range("+")} +${range("-")} @@`;
}

// ---- Markdown ---------------------------------------------------------------------------------------------------

/**
 * What nobody sees, and what would show text in another order than it is in: control characters (a tab and the end of a
 * line are none) and Unicode's marks of direction and width.
 */
const UNSEEN = /(?![\n\t])[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu;

/** What cannot be seen, as it would be written in a program. */
export function visible(text: string): string {
  return text.replace(
    UNSEEN,
    (character) => `\\u${(character.codePointAt(0) ?? 0).toString(16).padStart(4, "0")}`,
  );
}

/** Text in a line of Markdown or a cell of a table, that means nothing but itself: no link, mention, tag or second cell. */
export function code(text: string): string {
  const plain = visible(text.replaceAll(/[\n\t]/g, " ")).replaceAll("|", "\\|");
  const longest = Math.max(0, ...[...plain.matchAll(/`+/g)].map(([run]) => run.length));
  const fence = "`".repeat(longest + 1);
  const pad = plain === "" || plain.startsWith("`") || plain.endsWith("`") ? " " : "";
  return `${fence}${pad}${plain}${pad}${fence}`;
}

/** The same without the look of code: in a cell, and in HTML. */
export function html(text: string): string {
  return visible(text.replaceAll(/[\n\t]/g, " ")).replaceAll(
    /(?!: )[^a-zA-Z0-9 ./,;()'+−→…-]/gu,
    (character) => `&#${character.codePointAt(0) ?? 0};`,
  );
}

/** Lines in a block that none of them can end. */
export function fenced(lines: readonly string[], language: string): string {
  const text = lines.map(visible);
  const longest = Math.max(
    2,
    ...text.flatMap((line) => [...line.matchAll(/`+/g)].map(([run]) => run.length)),
  );
  const fence = "`".repeat(longest + 1);
  return [`${fence}${language}`, ...text, fence].join("\n");
}
