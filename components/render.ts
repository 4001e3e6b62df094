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
