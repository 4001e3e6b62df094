import { SERVICES, type TakeUp } from "../../catalogue";
import { type Change, changesOf, compare } from "./changes";
import type { StepDocument } from "../../components/document";
import { MEMBER } from "../../components/hosts/members";
import type { Plan } from "./plan";
import { secretsIn } from "../../components/step";

/** What of a plan somebody may notice, in the order in which it happens. Pure. */

export interface Event {
  /** From 1. What has the same number may happen at the same time. */
  readonly order: number;
  /** `is replaced`, `is deleted`, `restarts` … */
  readonly how: string;
  readonly what: string;
  /** Undefined for what is not on a host. */
  readonly hosts: readonly string[] | undefined;
  /** One host after the other. */
  readonly turns: boolean;
  readonly notice: string;
  readonly apiCallsMayFail: boolean;
  /** Something is gone afterwards that was there, or is no longer looked after. */
  readonly destructive: boolean;
}

type Found = Omit<Event, "order" | "hosts"> & {
  readonly urn: string;
  readonly host: string | undefined;
};

/** All events, those of several hosts together, in order. */
export function eventsOf(plan: Plan, changes: readonly Change[] = changesOf(plan)): Event[] {
  const filesByHost = changedFiles(changes);
  const found = changes.flatMap((change) => [
    ...removals(change, changes),
    ...drains(change),
    ...takeUps(change, filesByHost),
    ...clusterEvents(change),
    ...labEvents(change),
    ...virtualMachineEvents(change),
    ...contentEvents(change),
    ...rotations(change),
  ]);
  const depths = depthsOf(plan, new Set(found.map(({ urn }) => urn)));
  return inOrder(grouped(found, (each) => lastly(each) ?? depths.get(each.urn) ?? 0));
}

/** The engine deletes at the end. */
function lastly({ how }: Found): number | undefined {
  return how === "is deleted" || how === "is left as it is" ? Number.MAX_SAFE_INTEGER : undefined;
}

function grouped(found: readonly Found[], depth: (each: Found) => number): Event[] {
  const groups = new Map<string, { first: Found; depth: number; hosts: Set<string> }>();
  for (const each of found) {
    const key = JSON.stringify([
      each.how,
      each.what,
      each.notice,
      each.turns,
      each.apiCallsMayFail,
    ]);
    const group = groups.get(key) ?? { first: each, depth: depth(each), hosts: new Set<string>() };
    group.depth = Math.min(group.depth, depth(each));
    if (each.host !== undefined) group.hosts.add(each.host);
    groups.set(key, group);
  }
  return [...groups.values()].map(
    ({ first: { urn: _, host: __, ...event }, depth: order, hosts }) => ({
      ...event,
      order,
      hosts: hosts.size ? [...hosts].sort() : undefined,
    }),
  );
}

/** Depths become 1, 2, 3 … */
function inOrder(events: readonly Event[]): Event[] {
  const depths = [...new Set(events.map(({ order }) => order))].sort((a, b) => a - b);
  return events
    .map((event) => ({ ...event, order: depths.indexOf(event.order) + 1 }))
    .sort((a, b) => a.order - b.order || compare(a.what, b.what) || compare(a.how, b.how));
}

/** A virtual machine, of all that one is made of. */
const DOMAIN = "libvirt-domain-";
const isMachine = (name: string): boolean =>
  name.startsWith(DOMAIN) || name.startsWith("lab-host-");

// ---- What is replaced or removed --------------------------------------------------------------------------------

function removals(change: Change, changes: readonly Change[]): Found[] {
  const { op, name, type, urn, host } = change;
  const base = { urn, host, turns: false, apiCallsMayFail: false, destructive: true };
  const balances = changes.some((each) => each.host === host && each.component === "haproxy");
  const machine = changes.find(({ urn: each }) => each === change.deletedWith);
  if (op.includes("replace")) {
    // It is told with its host.
    if (machine?.op.includes("replace") && host !== undefined) return [];
    if (isMachine(name)) {
      const virtual = name.startsWith(DOMAIN);
      return [
        {
          ...base,
          how: "is made anew",
          what: virtual ? "the host with its root disk" : "the host with its disk",
          notice: `it is switched off, what runs on it is gone, guests too, and all its steps run again${
            virtual ? "; its disk in the store stays" : ""
          }`,
          apiCallsMayFail: balances,
        },
      ];
    }
    const because = change.replaceReasons.join(", ");
    return [
      {
        ...base,
        how: "is replaced",
        what: name,
        notice: `it cannot be changed in place${because ? ` (${because})` : ""}; what uses it is without it meanwhile`,
        apiCallsMayFail: type.startsWith("openstack:"),
      },
    ];
  }
  if (op !== "delete") {
    return ["create", "update"].includes(op)
      ? []
      : [
          {
            ...base,
            how: `has the operation ${op}`,
            what: name,
            notice: "unknown to this report: see the engine's own preview",
          },
        ];
  }
  if (isMachine(name)) {
    return [
      {
        ...base,
        how: "is deleted",
        what: name.startsWith(DOMAIN) ? "the host with its disks" : "the host with its disk",
        notice: "what is on it is gone",
        apiCallsMayFail: balances,
      },
    ];
  }
  if (type === MEMBER) {
    return [
      {
        ...base,
        how: "leaves the cloud",
        what: name.replace(/^host-/, ""),
        notice:
          "it has to be drained by then, or the engine refuses; Nova, Placement and OVN forget it",
      },
    ];
  }
  // It is told with its host.
  if (machine?.op === "delete" && host !== undefined) return [];
  // The step that drains the host stops what it has no more steps for.
  if (changes.some((each) => each.host === host && isDrain(each))) return [];
  if (change.forgotten) {
    return [
      {
        ...base,
        how: "is left as it is",
        what: change.before ? `what ${change.component} has set up` : `what ${name} has made`,
        notice:
          "the plan no longer has it and nothing is undone: what runs goes on, and nobody looks after it",
      },
    ];
  }
  return [{ ...base, how: "is deleted", what: name, notice: "whoever uses it" }];
}

/** What takes the guests away from a host that had its part in the cloud. */
function isDrain({ before, after }: Change): boolean {
  return after?.params?.state === "drained" && before?.params?.state !== "drained";
}

function drains(change: Change): Found[] {
  const { host, urn } = change;
  if (!isDrain(change)) return [];
  return [
    {
      ...{ urn, host, turns: false, apiCallsMayFail: false, destructive: false },
      how: "is drained",
      what: "the host",
      notice:
        "guests that run move to other hosts without a stop, those that are off are taken over; then nova-compute, OVN's controller and the metadata agent stop there",
    },
  ];
}

// ---- What restarts ----------------------------------------------------------------------------------------------

/** What a file says before and after; a secret in it may be another. */
interface ChangedFile {
  readonly before: string;
  readonly after: string;
  readonly rotated: boolean;
}

/** By host and path, the files whose content will be another, also by a secret in them. */
function changedFiles(changes: readonly Change[]): Map<string, Map<string, ChangedFile>> {
  const byHost = new Map<string, Map<string, ChangedFile>>();
  for (const { host, before, after, secrets } of changes) {
    if (host === undefined || !before || !after) continue;
    const names = new Set(secrets.map(({ name }) => name));
    const files = byHost.get(host) ?? new Map<string, ChangedFile>();
    byHost.set(host, files);
    for (const path of paths(before, after)) {
      const was = before.files?.[path];
      const now = after.files?.[path];
      const rotated =
        now !== undefined && secretsIn({ [path]: now }).some((name) => names.has(name));
      if (was?.content !== now?.content || rotated) {
        files.set(path, { before: was?.content ?? "", after: now?.content ?? "", rotated });
      }
    }
  }
  return byHost;
}

function paths(before: StepDocument, after: StepDocument): string[] {
  return [...new Set([...Object.keys(before.files ?? {}), ...Object.keys(after.files ?? {})])];
}

function takeUps(
  change: Change,
  filesByHost: ReadonlyMap<string, ReadonlyMap<string, ChangedFile>>,
): Found[] {
  const { after, host, urn } = change;
  // What runs for the first time interrupts nothing.
  if (!after || host === undefined || change.op !== "update") return [];
  const files = [...(filesByHost.get(host) ?? [])];
  const entry = SERVICES.find(({ name }) => name === after.step.service);
  return (entry?.takeUp ?? [])
    .filter(({ stage = "start" }) => stage === after.step.stage)
    .filter((takeUp) => files.some(([path, file]) => isFor(takeUp, path) && isRead(takeUp, file)))
    .map(({ how, what, turns, notice, apiCallsMayFail }) => ({
      ...{ urn, host, how, what, turns, notice, apiCallsMayFail },
      destructive: false,
    }));
}

/** More of it has changed than what its step leaves for the next start. */
function isRead({ exceptLines }: TakeUp, { before, after, rotated }: ChangedFile): boolean {
  if (exceptLines === undefined || rotated) return true;
  const [was, now] = [before, after].map((content) =>
    content
      .split("\n")
      .filter((line) => !line.startsWith(exceptLines))
      .join("\n"),
  );
  return was !== now;
}

export function isFor({ files }: Pick<TakeUp, "files">, path: string): boolean {
  return files.some((each) =>
    each.endsWith("*") ? path.startsWith(each.slice(0, -1)) : path === each,
  );
}

// ---- What Pacemaker does ----------------------------------------------------------------------------------------

/** Pacemaker restarts a resource whose agent or parameters change, wherever it runs and at once. */
function clusterEvents({ after, before, op, urn }: Change): Found[] {
  if (op !== "update" || !before || !after) return [];
  const { service, stage } = after.step;
  if (service !== "pacemaker" || stage !== "bootstrap") return [];
  const old = primitives(text(before.params?.resources));
  const now = primitives(text(after.params?.resources));
  return [...new Set([...old.keys(), ...now.keys()])].sort().flatMap((id) => {
    const [from, to] = [old.get(id), now.get(id)];
    if (from === to || from === undefined) return [];
    const base = { urn, host: undefined, turns: false, what: id, destructive: to === undefined };
    if (to === undefined) {
      return [
        {
          ...base,
          how: "is stopped and removed",
          notice: "whoever uses it",
          apiCallsMayFail: true,
        },
      ];
    }
    return [{ ...base, ...restartOf(id, from, to) }];
  });
}

function restartOf(
  id: string,
  from: string,
  to: string,
): Pick<Found, "how" | "notice" | "apiCallsMayFail"> {
  if (id.startsWith("vip-")) {
    const [old, now] = [from, to].map((each) => /name="ip" value="([^"]*)"/.exec(each)?.[1] ?? "?");
    return old === now
      ? {
          how: "fails over",
          notice: "the address is removed and added again: connections to it are cut",
          apiCallsMayFail: true,
        }
      : {
          how: "moves",
          notice: `clients of ${old ?? "?"} find nobody there any more, and have to ask ${now ?? "?"}`,
          apiCallsMayFail: true,
        };
  }
  if (id.startsWith("fence-")) {
    return {
      how: "restarts",
      notice: "nobody, if no host has to be fenced meanwhile",
      apiCallsMayFail: false,
    };
  }
  if (id === "galera" && withoutMembers(from) === withoutMembers(to)) {
    return {
      how: "is told who the members are",
      notice: "nobody: it goes on where it runs, and new members begin with a copy",
      apiCallsMayFail: false,
    };
  }
  return {
    how: "restarts",
    notice:
      "Pacemaker restarts it on all controllers: the database or the balancer is away until then",
    apiCallsMayFail: true,
  };
}

/** What `push_members` in scripts/pacemaker/bootstrap.sh changes without a restart. */
function withoutMembers(primitive: string): string {
  return primitive.replaceAll(
    /name="(cluster_host_map|wsrep_cluster_address)" value="[^"]*"/g,
    "$1",
  );
}

/** Agent and parameters of each resource by id; its operations can change without a restart. */
function primitives(xml: string): Map<string, string> {
  return new Map(
    [...xml.matchAll(/<primitive id="([^"]+)"([^>]*)>([\s\S]*?)<\/primitive>/g)].map(
      ([, id = "", agent = "", body = ""]) => [
        id,
        agent + (/<instance_attributes[\s\S]*?<\/instance_attributes>/.exec(body)?.[0] ?? ""),
      ],
    ),
  );
}

function text(value: unknown): string {
  return typeof value === "string" ? value : "";
}

// ---- What is no step --------------------------------------------------------------------------------------------

function labEvents({ name, op, texts, urn, host }: Change): Found[] {
  if (op !== "update" || !name.startsWith("lab-host-")) return [];
  const roles = texts.some(({ diff }) => diff.lines.some((line) => /^[-+]\s*role:/.test(line)));
  return [
    {
      ...{ urn, host, turns: false, what: "the lab's host", destructive: false },
      ...(roles
        ? {
            how: "is refused",
            notice:
              "its disk was made for other roles, and up refuses another one: give the role to a new host",
            apiCallsMayFail: false,
          }
        : {
            how: "may restart",
            notice:
              "a change of its networks or devices powers it off and on; all else is taken over",
            apiCallsMayFail: true,
          }),
    },
  ];
}

function virtualMachineEvents({ name, op, urn, host }: Change): Found[] {
  if (op !== "update" || !name.startsWith("libvirt-size-")) return [];
  return [
    {
      ...{ urn, host, turns: false, destructive: false, apiCallsMayFail: false },
      how: "changes in place",
      what: "the virtual machine's size",
      notice:
        "nobody: disks grow while it runs, memory and processors wait for its next power cycle",
    },
  ];
}

/** A secret of an account changes in Keystone at once, and in its service when that has restarted. */
function contentEvents({ name, op, type, blinded, urn }: Change): Found[] {
  if (op !== "update" || !type.startsWith("openstack:") || blinded.length === 0) return [];
  return [
    {
      ...{ urn, host: undefined, turns: false, destructive: false },
      how: "changes at once",
      what: `${blinded.join(", ")} of ${name}`,
      notice: "who logs in with the old one is refused until its service has the new one",
      apiCallsMayFail: true,
    },
  ];
}

/**
 * A password that a step gives to the database, the message bus, the store or a BMC is another at once; who uses it learns
 * of it by another step.
 */
function rotations({ after, host, op, secrets, urn }: Change): Found[] {
  if (op !== "update" || !after || host === undefined) return [];
  const { service, stage } = after.step;
  const step = `${service} ${stage}`;
  const gives = stage === "bootstrap" || ["rabbitmq start", "pacemaker configure"].includes(step);
  if (!gives) return [];
  return secrets
    .filter(
      ({ from, name, to }) => from !== undefined && to !== undefined && name !== "corosync-authkey",
    )
    .map(({ name }) => ({
      ...{ urn, host, turns: false, destructive: false },
      how: "changes at once",
      what: `the secret ${name}`,
      notice:
        service === "pacemaker"
          ? "a host cannot be fenced until its BMC and the cluster know the same one"
          : "who logs in anew with the old one is refused until its service has the new one",
      apiCallsMayFail: service !== "pacemaker",
    }));
}

// ---- Order ------------------------------------------------------------------------------------------------------

/** How many of these come before each resource, along the longest way through all it waits for. */
function depthsOf(plan: Plan, counted: ReadonlySet<string>): Map<string, number> {
  const dependencies = new Map(
    plan.steps.map(({ urn, newState }) => [urn, newState?.dependencies ?? []]),
  );
  const depths = new Map<string, number>();
  const depth = (urn: string): number => {
    const known = depths.get(urn);
    if (known !== undefined) return known;
    // A plan has no circle; a file that has one shall not hang.
    depths.set(urn, 0);
    const found = Math.max(
      0,
      ...(dependencies.get(urn) ?? []).map((each) => depth(each) + (counted.has(each) ? 1 : 0)),
    );
    depths.set(urn, found);
    return found;
  };
  for (const urn of dependencies.keys()) depth(urn);
  return depths;
}
