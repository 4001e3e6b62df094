/** Small readers of the files that the rules look into: no more of each format than this program writes. */

/** An INI file by section and option. Lines before the first section are in `""`. */
export type Ini = ReadonlyMap<string, ReadonlyMap<string, string>>;

export function readIni(text: string): Ini {
  const sections = new Map([["", new Map<string, string>()]]);
  let options = sections.get("")!;
  for (const line of text.split("\n")) {
    const heading = /^\[(.*)\]$/.exec(line)?.[1];
    const [, key, value] = /^\s*([^#;=\s][^=]*?)\s*=\s*(.*)$/.exec(line) ?? [];
    if (heading !== undefined) {
      options = sections.get(heading) ?? new Map<string, string>();
      sections.set(heading, options);
    } else if (key !== undefined) {
      options.set(key, value!);
    }
  }
  return sections;
}

/** A file of `key = value` lines, such as rabbitmq.conf or sysctl's. */
export function readProperties(text: string): ReadonlyMap<string, string> {
  return readIni(text).get("")!;
}

/** A section of haproxy.cfg: `listen nova` and its lines, split into words. */
export interface HaproxySection {
  readonly kind: string;
  readonly name: string;
  readonly lines: readonly (readonly string[])[];
}

export function readHaproxy(text: string): HaproxySection[] {
  const sections: { kind: string; name: string; lines: string[][] }[] = [];
  for (const line of text.split("\n")) {
    const words = line.trim().split(/\s+/);
    if (line.trim() === "" || line.startsWith("#")) continue;
    if (/^\s/.test(line)) sections.at(-1)?.lines.push(words);
    else sections.push({ kind: words[0]!, name: words[1] ?? "", lines: [] });
  }
  return sections;
}

export interface CorosyncNode {
  readonly name: string;
  readonly address: string;
  readonly id: string;
}

/** The nodes of corosync.conf. */
export function readCorosyncNodes(text: string): CorosyncNode[] {
  return [...text.matchAll(/\bnode\s*\{([^}]*)\}/g)].map(([, body = ""]) => {
    const option = (name: string): string =>
      new RegExp(`^\\s*${name}:\\s*(\\S+)`, "m").exec(body)?.[1] ?? "";
    return { name: option("name"), address: option("ring0_addr"), id: option("nodeid") };
  });
}

export interface Element {
  readonly tag: string;
  readonly attributes: Readonly<Record<string, string>>;
  readonly children: readonly Element[];
}

/** Every element of a piece of Pacemaker's configuration, parents before their children. */
export function readXml(text: string): Element[] {
  const all: Element[] = [];
  const open: { children: Element[] }[] = [];
  for (const [, closing, tag = "", rest = "", empty] of text.matchAll(
    /<(\/?)([\w-]+)([^<>]*?)(\/?)>/g,
  )) {
    if (closing) {
      open.pop();
      continue;
    }
    const attributes = Object.fromEntries(
      [...rest.matchAll(/([\w-]+)="([^"]*)"/g)].map(([, name, value]) => [name!, value!]),
    );
    const element = { tag, attributes, children: [] as Element[] };
    all.push(element);
    open.at(-1)?.children.push(element);
    if (!empty) open.push(element);
  }
  return all;
}

/** All elements below one. */
export function below(element: Element): Element[] {
  return element.children.flatMap((child) => [child, ...below(child)]);
}

/** The values of an element's nvpairs, by name. */
export function nvpairs(element: Element): ReadonlyMap<string, string> {
  return new Map(
    below(element)
      .filter(({ tag }) => tag === "nvpair")
      .map(({ attributes }) => [attributes.name ?? "", attributes.value ?? ""]),
  );
}

/** Every IPv4 address in a text, in its order. */
export function addressesIn(text: string): string[] {
  return text.match(/\b\d{1,3}(?:\.\d{1,3}){3}\b/g) ?? [];
}
