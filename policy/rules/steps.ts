import { RUNNER, withoutSudo } from "../../components/document";
import { digest } from "../../components/render";
import { REMOTE } from "../plan";
import type { Rule } from "../rule";

/** How hosts are changed: bounded, in place, and by documents. */

/** Longest that a step may take on its host, and any resource in the engine. Seconds; chosen. */
const LONGEST_STEP = 3600;
const LONGEST = 3 * 3600;
/** All that a command on a host may be: the runner, its intake of secrets, and the script that brings it. */
const COMMANDS: readonly unknown[] = [RUNNER, `${RUNNER} --secrets`, "sh -s"];
/** Daemons with a parser that can be asked before their file is replaced. */
const PARSED = [
  "/etc/corosync/corosync.conf",
  "/etc/haproxy/haproxy.cfg",
  "/etc/mysql/mariadb.conf.d/90-openstack-ha.cnf",
];

export const steps: readonly Rule[] = [
  {
    name: "step-bounded",
    severity: "mandatory",
    demand:
      "Every command has a time to create and to update it, and every step one on its host that ends sooner.",
    reason:
      "A host that hangs would hold `up` for ever; one that goes on after the engine has given up works beside its repetition.",
    fix: "set customTimeouts, and the document's timeout to less",
    find: (plan) => [
      ...plan.commands().flatMap((resource) =>
        (["create", "update"] as const)
          .filter((what) => !(resource.seconds[what] > 0 && resource.seconds[what] <= LONGEST))
          .map((what) => ({
            where: `customTimeouts.${what} of ${resource.name}`,
            wanted: `1 to ${LONGEST} s`,
            found: resource.seconds[what] > 0 ? `${resource.seconds[what]} s` : "none",
            at: resource,
          })),
      ),
      ...plan.steps.flatMap(({ resource, step }) => {
        // Without a bound of the engine's own, that is what is told.
        const bound = Math.min(LONGEST_STEP, (resource.seconds.create || LONGEST) - 1);
        const { timeout = 0 } = step;
        return timeout > 0 && timeout <= bound
          ? []
          : [
              {
                where: `the document's timeout of ${resource.name}`,
                wanted: `1 to ${bound} s`,
                found: timeout > 0 ? `${timeout} s` : "none",
                at: resource,
              },
            ];
      }),
    ],
  },
  {
    name: "command-line-is-bare",
    severity: "mandatory",
    demand:
      "A command on a host is the runner and nothing more; what it shall do comes on standard input.",
    reason:
      "Command lines and environments are in every user's process list and in error messages.",
    fix: "make it a Step: components/step.ts",
    find: (plan) =>
      plan.ofType(REMOTE).flatMap((resource) => {
        const { addPreviousOutputInEnv, create, environment, update } = resource.props;
        const wrong = [
          ...[create, update]
            .filter((command) => command !== undefined && command !== null)
            .filter((command) => !COMMANDS.includes(withoutSudo(command)))
            // Not its text: there may be a secret in it.
            .map(() => "another command"),
          ...(Object.keys(environment ?? {}).length > 0 ? ["an environment"] : []),
          ...(addPreviousOutputInEnv === false ? [] : ["its former output in the environment"]),
        ];
        return wrong.map((found) => ({
          where: resource.name,
          wanted: `${RUNNER} and nothing more`,
          found,
          at: resource,
        }));
      }),
  },
  {
    name: "step-runs-in-place",
    severity: "mandatory",
    demand: "No command on a host has triggers, or a command to undo it.",
    reason:
      "Triggers replace: the new one runs, and then the old one is undone on a host that serves. A document that changes runs again by itself.",
    fix: "leave out triggers and delete; put what it depends on into the document",
    find: (plan) =>
      plan.ofType(REMOTE).flatMap((resource) =>
        (["triggers", "delete"] as const)
          .filter((name) => {
            const value = resource.props[name];
            return value !== undefined && value !== null;
          })
          .map((found) => ({ where: resource.name, wanted: "neither", found, at: resource })),
      ),
  },
  {
    name: "host-key-known",
    severity: "mandatory",
    demand: "Every connection knows the host's key, and gives up dialling.",
    reason:
      "Without the key anyone who answers on the address gets the secrets; without an end `up` waits for a dead host.",
    fix: "use the connection of the host",
    find: (plan) =>
      plan.ofType(REMOTE).flatMap((resource) => {
        // Not known in a preview without a seed.
        if (resource.props.connection === undefined) return [];
        const { dialErrorLimit, hostKey, perDialTimeout } = resource.props.connection as {
          dialErrorLimit?: number;
          hostKey?: string;
          perDialTimeout?: number;
        };
        return [
          ...(hostKey ? [] : ["no hostKey"]),
          ...(Number(dialErrorLimit) > 0 ? [] : [`dialErrorLimit ${dialErrorLimit ?? "none"}`]),
          ...(Number(perDialTimeout) > 0 ? [] : [`perDialTimeout ${perDialTimeout ?? "none"}`]),
        ].map((found) => ({
          where: `the connection of ${resource.name}`,
          wanted: "hostKey, dialErrorLimit and perDialTimeout",
          found,
          at: resource,
        }));
      }),
  },
  {
    name: "start-follows-configuration",
    severity: "mandatory",
    demand: "A start step carries the digest of what its host's configure step writes.",
    reason: "A changed file would be written, and the daemon go on with the old one.",
    fix: "make configure and start stages of one service: components/service.ts adds the digest",
    find: (plan) =>
      plan.services().flatMap((service) =>
        plan.stepsOf(service, "start").flatMap(({ host, resource, step }) => {
          const configure = plan.stepsOf(service, "configure").find((each) => each.host === host);
          const wanted = configure && digest(configure.text);
          return step.configuration === wanted
            ? []
            : [
                {
                  where: `the configuration that ${resource.name} names`,
                  wanted: wanted ?? "none",
                  found: step.configuration ?? "none",
                  at: resource,
                },
              ];
        }),
      ),
  },
  {
    name: "parser-asked",
    severity: "advisory",
    demand: "A file whose daemon has a parser is shown to it before it replaces the old one.",
    reason: "A daemon that does not start with its new file takes its host out of the cluster.",
    fix: "give the file a `validate`",
    find: (plan) =>
      PARSED.flatMap((path) =>
        plan
          .file(path)
          .filter(({ validate = [] }) => !validate.some((word) => word.includes("{}")))
          .map(({ host, step }) => ({
            where: path,
            host,
            wanted: "validate",
            found: "none",
            at: step.resource,
          })),
      ),
  },
];
