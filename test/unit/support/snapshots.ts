import * as fs from "node:fs";
import * as path from "node:path";
import type { ExecutionContext } from "ava";

/** Expected text in plain files, for a reviewer to read: `UPDATE=1 npx ava test/unit` writes them anew. */

const FOLDER = path.join(__dirname, "..", "snapshots");
const update = process.env.UPDATE === "1";

/** Compares files, given by path below snapshots/`folder`, byte by byte with those that are there: no more, no fewer. */
export function matchFolder(
  t: ExecutionContext,
  folder: string,
  files: ReadonlyMap<string, string>,
): void {
  const root = path.join(FOLDER, folder);
  if (update) {
    fs.rmSync(root, { recursive: true, force: true });
    for (const [name, content] of files) write(path.join(root, name), content);
    t.log(`wrote ${files.size} files to snapshots/${folder}`);
  }
  const found = list(root);
  const missing = [...files.keys()].filter((name) => !found.includes(name)).sort();
  const surplus = found.filter((name) => !files.has(name));
  const different = [...files]
    .filter(([name]) => found.includes(name))
    .filter(([name, content]) => fs.readFileSync(path.join(root, name), "utf8") !== content)
    .map(([name]) => name)
    .sort();
  const first = different[0];
  if (first !== undefined) {
    t.is(
      files.get(first),
      fs.readFileSync(path.join(root, first), "utf8"),
      `snapshots/${folder}: ${different.length} of ${found.length} files differ (${different.join(", ")}); ` +
        `read the difference of the first, then UPDATE=1 npx ava test/unit`,
    );
  }
  t.deepEqual({ missing, surplus }, { missing: [], surplus: [] }, `snapshots/${folder}`);
}

/** Compares one text with snapshots/`name`. */
export function matchFile(t: ExecutionContext, name: string, content: string): void {
  const file = path.join(FOLDER, name);
  if (update) write(file, content);
  const expected = fs.existsSync(file) ? fs.readFileSync(file, "utf8") : "(there is no such file)";
  t.is(content, expected, `snapshots/${name}; if it is as wanted: UPDATE=1 npx ava test/unit`);
}

function write(file: string, content: string): void {
  fs.mkdirSync(path.dirname(file), { recursive: true });
  fs.writeFileSync(file, content);
}

function list(root: string): string[] {
  if (!fs.existsSync(root)) return [];
  return fs
    .readdirSync(root, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => path.relative(root, path.join(entry.parentPath, entry.name)))
    .sort();
}
