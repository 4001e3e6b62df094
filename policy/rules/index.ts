import type { Rule } from "../rule";
import { addresses } from "./addresses";
import { fencing } from "./fencing";
import { haproxy } from "./haproxy";
import { production } from "./production";
import { quorum } from "./quorum";
import { secrets } from "./secrets";
import { services } from "./services";
import { spread } from "./spread";
import { steps } from "./steps";

/** All rules, by what they are about. */
export const AREAS: readonly (readonly [title: string, rules: readonly Rule[]])[] = [
  ["Quorum", quorum],
  ["Fencing, and what Pacemaker runs", fencing],
  ["Failure domains", spread],
  ["No service on a single host", services],
  ["HAProxy", haproxy],
  ["Addresses", addresses],
  ["Steps", steps],
  ["Secrets", secrets],
  ["Outside the lab", production],
];

export const RULES: readonly Rule[] = AREAS.flatMap(([, rules]) => rules);
