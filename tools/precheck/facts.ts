/** What scripts/base/precheck.sh, and the management controllers, say; as data, and without a judgement. Pure. */

export interface Link {
  readonly name: string;
  readonly mac: string;
  /** What the port has from its maker, where a bond gave it another. */
  readonly permanentMac?: string;
  readonly mtu: number;
  readonly up: boolean;
  readonly carrier: boolean;
  /** The bond or bridge that it is in. */
  readonly master?: string;
  /** The link that it is a VLAN of. */
  readonly parent?: string;
  readonly vlan?: number;
}

export interface Address {
  readonly nic: string;
  readonly address: string;
  readonly prefix: number;
}

export interface Disk {
  readonly path: string;
  /** Undefined if there is no such block device. */
  readonly device?: string;
  /** disk, part, lvm, rom … */
  readonly type?: string;
  readonly bytes?: number;
  /** Partitions, mount points and signatures on it. */
  readonly content: readonly string[];
}

export interface Listener {
  readonly protocol: "tcp" | "udp";
  readonly address: string;
  readonly port: number;
  readonly process: string;
}

export interface Ping {
  /** A network, or `vip`. */
  readonly network: string;
  readonly to: string;
  /** A packet of the network's own size arrives. */
  readonly full: boolean;
  /** A small one does. */
  readonly small: boolean;
  readonly mac?: string;
}

export interface HostFacts {
  /** Seconds that its clock is ahead of this machine's, as near as a connection tells. */
  readonly clockAhead: number;
  readonly root: boolean;
  readonly hostname: string;
  readonly machineId: string;
  readonly os: { readonly id: string; readonly version: string; readonly name: string };
  readonly architecture: string;
  readonly cpus: number;
  readonly virtualisation: boolean;
  readonly kvm: boolean;
  readonly openvswitch: boolean;
  readonly memoryMiB: number;
  /** Whether a time service holds the clock; undefined where systemd does not say. */
  readonly synchronised?: boolean;
  /** Of the root file system. */
  readonly freeMiB: number;
  readonly links: readonly Link[];
  readonly addresses: readonly Address[];
  readonly disks: readonly Disk[];
  readonly unresolved: readonly string[];
  /** Those of the host's packages that its source offers. */
  readonly packages: readonly string[];
  readonly sourceErrors: readonly string[];
  readonly listeners: readonly Listener[];
  /** The stacks whose names of VIPs it knows: it is, or was, part of their cloud. */
  readonly clouds: readonly string[];
  /** Corosync's name of its cluster, and Ceph's of the store. */
  readonly corosync?: string;
  readonly ceph?: string;
  readonly leftovers: readonly { readonly what: string; readonly path: string }[];
  readonly dmi: Readonly<Record<string, string>>;
  readonly pings: readonly Ping[];
}

/** A host that could not be asked. */
export interface Unreached {
  readonly problem: "down" | "host-key" | "login" | "sudo" | "bastion" | "other";
  /** The client's own words. */
  readonly detail: string;
  /** Fingerprint of the key that was offered instead of the pinned one. */
  readonly offered?: string;
}

export interface BmcFacts {
  readonly problem?: string;
  readonly powerOn?: boolean;
  /** As the controller writes it. */
  readonly guid?: string;
  readonly serials: readonly string[];
}

export interface Facts {
  readonly hosts: Readonly<Record<string, HostFacts | Unreached>>;
  /** By host; those that nobody could ask are not there. */
  readonly bmcs: Readonly<Record<string, BmcFacts>>;
}

export function isReached(facts: HostFacts | Unreached | undefined): facts is HostFacts {
  return facts !== undefined && !("problem" in facts);
}

/**
 * Reads what the script printed.
 *
 * @param arrived When the first line came, in seconds since 1970 by this machine's clock.
 * @throws Error if it was cut off.
 */
export function parseFacts(text: string, arrived: number): HostFacts {
  const sections = sectionsOf(text);
  if (!sections.has("end")) throw new Error("its answer was cut off");
  const rows = (name: string): readonly string[] => sections.get(name) ?? [];
  const first = (name: string): string => rows(name)[0] ?? "";
  const os = new Map(rows("os").map((line) => assignment(line)));
  const corosync = first("corosync");
  const ceph = first("ceph");
  const synchronised = first("synchronized");
  return {
    clockAhead: Number(first("clock")) - arrived,
    root: first("root") === "0",
    hostname: first("hostname"),
    machineId: first("machine"),
    os: {
      id: os.get("ID") ?? "",
      version: os.get("VERSION_ID") ?? "",
      name: os.get("PRETTY_NAME") ?? "",
    },
    architecture: first("architecture"),
    cpus: Number(first("cpu")),
    virtualisation: rows("cpu").length > 1,
    kvm: first("kvm") === "yes",
    openvswitch: first("openvswitch") === "yes",
    memoryMiB: Math.floor(Number(/\d+/.exec(first("memory"))?.[0] ?? 0) / 1024),
    ...(synchronised === "" ? {} : { synchronised: synchronised === "yes" }),
    freeMiB: Number.parseInt(first("free"), 10),
    links: links(rows("links"), rows("carriers")),
    addresses: rows("addresses").flatMap((line) => {
      const found = /^\d+: (\S+)\s+inet ([\d.]+)\/(\d+)/.exec(line);
      return found ? [{ nic: found[1]!, address: found[2]!, prefix: Number(found[3]) }] : [];
    }),
    disks: [...sections].flatMap(([name, lines]) =>
      name.startsWith("disk ") ? [disk(name.slice("disk ".length), lines)] : [],
    ),
    unresolved: rows("resolved").flatMap((line) => {
      const [name, answer] = line.split(" ");
      return answer === "no" ? [name!] : [];
    }),
    packages: rows("packages"),
    sourceErrors: rows("source"),
    listeners: rows("listeners").flatMap(listener),
    clouds: rows("cloud"),
    ...(corosync === "" ? {} : { corosync }),
    ...(ceph === "" ? {} : { ceph }),
    leftovers: rows("leftovers").map((line) => {
      const [what, path] = line.split(" ");
      return { what: what!, path: path ?? "" };
    }),
    dmi: Object.fromEntries(
      rows("dmi").map((line) => [line.split(" ")[0]!, line.split(" ").slice(1).join(" ").trim()]),
    ),
    pings: rows("pings").map(ping),
  };
}

function sectionsOf(text: string): Map<string, string[]> {
  const sections = new Map<string, string[]>();
  let current: string[] = [];
  for (const line of text.split("\n")) {
    if (line.startsWith("@@ ")) sections.set(line.slice(3), (current = []));
    else if (line.trim() !== "") current.push(line);
  }
  return sections;
}

function assignment(line: string): [string, string] {
  const at = line.indexOf("=");
  return [line.slice(0, at), line.slice(at + 1).replace(/^"(.*)"$/, "$1")];
}

/** `ip -d -o link show`. */
function links(rows: readonly string[], carriers: readonly string[]): Link[] {
  const carrier = new Map(carriers.map((line) => line.split(" ") as [string, string]));
  return rows.flatMap((line) => {
    const head = /^\d+: ([^:@\s]+)(?:@(\S+?))?: <([^>]*)> mtu (\d+)/.exec(line);
    if (!head) return [];
    const [, name, parent, flags, mtu] = head;
    const word = (pattern: RegExp): string | undefined => pattern.exec(line)?.[1];
    const permanentMac = word(/permaddr ([0-9a-f:]{17})/);
    const master = word(/ master (\S+)/);
    const vlan = word(/ vlan protocol \S+ id (\d+)/);
    return [
      {
        name: name!,
        mac: word(/link\/\S+ ([0-9a-f:]{17})/) ?? "",
        ...(permanentMac ? { permanentMac } : {}),
        mtu: Number(mtu),
        up: flags!.split(",").includes("UP"),
        carrier: carrier.get(name!) === "1",
        ...(master ? { master } : {}),
        ...(vlan && parent ? { parent, vlan: Number(vlan) } : {}),
      },
    ];
  });
}

function disk(path: string, rows: readonly string[]): Disk {
  const of = (what: string): string[] =>
    rows
      .filter((line) => line.startsWith(`${what} `))
      .map((line) => line.slice(what.length + 1).trim());
  const [device] = of("device");
  const [type] = of("type");
  return {
    path,
    ...(device ? { device, bytes: Number(of("bytes")[0]) } : {}),
    ...(type ? { type } : {}),
    content: of("content"),
  };
}

/** `ss -H -l -n -t -u -p`. */
function listener(line: string): Listener[] {
  const [protocol, , , , local, , ...rest] = line.trim().split(/\s+/);
  const at = local?.lastIndexOf(":") ?? -1;
  if ((protocol !== "tcp" && protocol !== "udp") || at < 0) return [];
  return [
    {
      protocol,
      address: local!.slice(0, at).replace(/%.*$/, ""),
      port: Number(local!.slice(at + 1)),
      process: /\(\("([^"]+)"/.exec(rest.join(" "))?.[1] ?? "somebody",
    },
  ];
}

function ping(line: string): Ping {
  const [network, to, full, small, mac] = line.split(" ");
  return {
    network: network!,
    to: to!,
    full: full === "yes",
    small: small === "yes",
    ...(mac ? { mac } : {}),
  };
}

/** What `ssh` says when it does not get in. */
export function parseRefusal(detail: string, code: number | null): Unreached {
  const words = detail.trim().split("\n");
  const last = words.at(-1)?.trim() ?? "";
  const offered = /(SHA256:[A-Za-z0-9+/]+)/.exec(detail)?.[1];
  // It warns first, of a name that it cannot resolve.
  const sudo = words.findLast((line) => line.startsWith("sudo: "));
  if (sudo !== undefined) return { problem: "sudo", detail: sudo };
  if (/Host key verification failed|HOST IDENTIFICATION HAS CHANGED/.test(detail)) {
    return { problem: "host-key", detail: last, ...(offered ? { offered } : {}) };
  }
  if (detail.includes("Permission denied")) return { problem: "login", detail: last };
  if (/stdio forwarding failed|Connection closed by UNKNOWN port 65535/.test(detail)) {
    return { problem: "bastion", detail: words[0]?.trim() ?? last };
  }
  if (
    /timed out|Connection refused|No route to host|Could not resolve|Network is unreachable/.test(
      detail,
    )
  ) {
    return { problem: "down", detail: last };
  }
  return { problem: "other", detail: last === "" ? `ssh ended with code ${String(code)}` : last };
}

/** What ipmitool says to `power status`, `mc guid` and `fru print 0`, one after the other. */
export function parseBmc(text: string): BmcFacts {
  const power = /Chassis Power is (on|off)/.exec(text)?.[1];
  const guid = /(?:System|Device) GUID\s*:\s*([0-9a-fA-F-]{32,36})/.exec(text)?.[1];
  const serials = [...text.matchAll(/(?:Product|Chassis|Board) Serial\s*:\s*(\S.*?)\s*$/gm)].map(
    (match) => match[1]!,
  );
  return {
    ...(power === undefined
      ? {
          problem:
            text
              .split("\n")
              .map((line) => line.trim())
              .find((line) => /error|unable|invalid|denied/i.test(line)) ?? "no answer",
        }
      : { powerOn: power === "on" }),
    ...(guid ? { guid: guid.toLowerCase() } : {}),
    serials: [...new Set(serials)],
  };
}
