import type { Rule } from "../policy/rule";
import { table } from "./architecture";

/** The tables of docs/policies.md, from the rules themselves. Pure; test/unit/docs.test.ts puts them there. */
export function policiesTables(areas: readonly (readonly [string, readonly Rule[]])[]): string {
  const rules = areas.flatMap(([, list]) => list);
  const mandatory = rules.filter(({ severity }) => severity === "mandatory").length;
  return [
    `${rules.length} rules: ${mandatory} mandatory, ${rules.length - mandatory} advisory.`,
    ...areas.map(
      ([title, list]) =>
        `### ${title}\n\n${table(
          ["Rule", "Severity", "What has to be so", "Why", "What to do"],
          list.map(({ name, severity, demand, reason, fix }) => [
            `\`${name}\``,
            severity,
            demand,
            reason,
            fix,
          ]),
        )}`,
    ),
  ].join("\n\n");
}
