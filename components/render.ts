import { createHash } from "node:crypto";
import type { Cloud } from "../config";

/** Rendering of configuration files: pure, sorted where the format does not care, and so equal for equal input. */

export type IniValue = string | number | boolean;
export type IniSections = Readonly<Record<string, Readonly<Record<string, IniValue>>>>;

export const MANAGED =
  "# Written by openstack-ha: a change made here is lost at the next `pulumi up`.";

/** An INI file as oslo.config and MariaDB read it: sections in the order given, options sorted. */
export function ini(sections: IniSections): string {
  const blocks = Object.entries(sections).map(([name, options]) =>
    [
      `[${name}]`,
      ...Object.entries(options)
        .sort(([a], [b]) => (a < b ? -1 : 1))
        .map(([key, value]) => `${key} = ${String(value)}`),
    ].join("\n"),
  );
  return `${[MANAGED, ...blocks].join("\n\n")}\n`;
}

/** Lines with the heading that says who wrote them. */
export function lines(...content: readonly string[]): string {
  return `${[MANAGED, ...content].join("\n")}\n`;
}

/** A reference to a secret, filled in on the host. */
export function secret(name: string): string {
  return `\${secret:${name}}`;
}

/** Changes with a text, and is short enough to be read. */
export function digest(text: string): string {
  return createHash("sha256").update(text).digest("hex").slice(0, 16);
}

/** An identifier that this cloud has for something, always the same. */
export function uuidFor(cloud: Pick<Cloud, "stack">, what: string): string {
  const hex = createHash("sha256").update(`openstack-ha/${cloud.stack}/${what}`).digest("hex");
  // Version 8 (RFC 9562): made by a rule of our own.
  return [
    hex.slice(0, 8),
    hex.slice(8, 12),
    `8${hex.slice(13, 16)}`,
    `8${hex.slice(17, 20)}`,
    hex.slice(20, 32),
  ].join("-");
}
