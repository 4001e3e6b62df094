import { PolicyPack, type PolicyResource, type StackValidationArgs } from "@pulumi/policy";
import { PASSPHRASE_OF_OURS, type PassphraseOrigin, Plan, type Resource } from "./plan";
import { violations } from "./rule";
import { RULES } from "./rules";

/**
 * The policy pack: each rule of `rules/` as a policy of Pulumi's, judged on the whole stack at the end of a preview or an
 * update (`pulumi preview --policy-pack policy`). What the rules say is in docs/policies.md.
 */
new PolicyPack("openstack-ha", {
  policies: RULES.map((rule) => ({
    name: rule.name,
    description: rule.demand,
    enforcementLevel: rule.severity,
    remediationSteps: rule.fix,
    validateStack: (args, report) => {
      for (const { message, urn } of violations(rule, planOf(args))) report(message, urn);
    },
  })),
});

let current: Plan | undefined;

/**
 * The stack, read once for all policies: they are asked one after the other in one turn of the event loop, each with a
 * copy of its own. Reading each of these took a third of the pack's CPU.
 */
function planOf({ resources }: StackValidationArgs): Plan {
  if (current === undefined) {
    current = new Plan(resources.map(resource), passphraseOrigin(process.env));
    setImmediate(() => {
      current = undefined;
    });
  }
  return current;
}

function resource({ name, opts, props, type, urn }: PolicyResource): Resource {
  const { createSeconds, deleteSeconds, updateSeconds } = opts.customTimeouts;
  return {
    name,
    type,
    urn,
    props: known(props) as Resource["props"],
    protect: opts.protect,
    seconds: { create: createSeconds, delete: deleteSeconds, update: updateSeconds },
  };
}

/** A copy in which what is not known yet is undefined: the SDK's own values throw where they are looked at. */
function known(value: unknown): unknown {
  if (typeof value !== "object" || value === null) return value;
  return Array.isArray(value)
    ? Array.from({ length: value.length }, (_, i) => knownAt(value, i))
    : Object.fromEntries(Object.keys(value).map((key) => [key, knownAt(value, key)]));
}

function knownAt(holder: object, key: string | number): unknown {
  let value: unknown;
  try {
    value = (holder as Record<string | number, unknown>)[key];
  } catch {
    return undefined;
  }
  return known(value);
}

/** Where the passphrase of the stack's secrets comes from, as far as a policy can see it. */
function passphraseOrigin(environment: NodeJS.ProcessEnv): PassphraseOrigin {
  const { PULUMI_CONFIG_PASSPHRASE: text, PULUMI_CONFIG_PASSPHRASE_FILE: file } = environment;
  if (text === "") return "empty";
  return text === undefined && file?.endsWith(PASSPHRASE_OF_OURS) ? "made by tools/env" : "own";
}
