import { spawn, type ChildProcess } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import test from "ava";
import type { Cloud } from "../../../config";
import { sshKeyPair } from "../../../secrets";
import { REPOSITORY, SEED, type Project } from "./engine";

/**
 * Where the engine can do all it does to a cloud, and nothing happens: the hosts' addresses in a network namespace of the
 * test's own, a real SSH server on each that keeps what it is sent and answers as the runner would, a double of Keystone
 * on the VIP, and a lab that only takes note.
 */
export interface WorldSpec {
  readonly hosts: readonly { readonly name: string; readonly address: string }[];
  readonly vip: string;
  readonly region: string;
  readonly stack: string;
  readonly seed: string;
  /** Hosts have the real runner, in a folder of each host's own: it brings files and secrets, and runs no script. */
  readonly runner?: boolean;
}

/** What a host was sent. */
export interface Received {
  readonly host: string;
  /** `haproxy-start`, or the command, where it is no step. */
  readonly what: string;
  readonly began: bigint;
  readonly ended: bigint;
}

/** Why there can be no world on this machine. */
export const problem = worldProblem();

/** Tests that are one story in a world; they are left out, and it is said why, where there can be none. */
export const story = problem === undefined ? test.serial : test.serial.skip;

if (problem !== undefined) process.stderr.write(`# ${test.meta.file} is left out: ${problem}\n`);

function worldProblem(): string | undefined {
  if (process.getuid?.() !== 0) return "network namespaces need root";
  if (!fs.existsSync("/usr/sbin/sshd")) return "sshd is not installed";
  return undefined;
}

export class World {
  private readonly children: ChildProcess[] = [];
  private readonly folder: string;
  private holder = 0;

  private constructor(project: Project) {
    this.folder = path.join(project.folder, "world");
    fs.mkdirSync(this.folder);
    for (const each of ["received", "orders"]) fs.mkdirSync(this.at(each));
  }

  /** Of a cloud's hosts. */
  static async open(
    project: Project,
    { hosts, vips, region, stack }: Cloud,
    options: Pick<WorldSpec, "runner"> = {},
  ): Promise<World> {
    const world = new World(project);
    try {
      await world.make({
        hosts: hosts.map(({ name, addresses }) => ({ name, address: addresses.management })),
        vip: vips.internal,
        region,
        stack,
        seed: SEED,
        ...options,
      });
    } catch (error) {
      world.close();
      throw error;
    }
    return world;
  }

  /** Before a pulumi that is to be in it. */
  get enter(): readonly string[] {
    return ["nsenter", "--target", String(this.holder), "--net", "--mount", "--"];
  }

  /** Has a host do something else than well, once: `fail` a step, or `drop` its connection. */
  order(what: "fail" | "drop", step: string): void {
    fs.writeFileSync(this.at(`orders/${what}-${step}`), "");
  }

  /** All that the hosts were sent since it was asked last, in order of its beginning. */
  received(): Received[] {
    const folder = this.at("received");
    const found = fs.readdirSync(folder).map((name) => {
      const [host, what, began, ended] = fs
        .readFileSync(path.join(folder, name), "utf8")
        .trim()
        .split(" ");
      fs.rmSync(path.join(folder, name));
      return { host: host!, what: what!, began: BigInt(began!), ended: BigInt(ended ?? 0) };
    });
    return found.sort((a, b) => (a.began < b.began ? -1 : 1));
  }

  /** What the lab was asked since it was asked last, sorted. */
  lab(): string[] {
    const file = this.at("lab");
    const text = fs.existsSync(file) ? fs.readFileSync(file, "utf8") : "";
    fs.rmSync(file, { force: true });
    return text.split("\n").filter(Boolean).sort();
  }

  /** A path on a host, where hosts have the real runner. */
  hostPath(host: string, file: string): string {
    return this.at(`root-${host}${file}`);
  }

  close(): void {
    for (const child of this.children) child.kill("SIGKILL");
  }

  private at(name: string): string {
    return path.join(this.folder, name);
  }

  private program(name: string, text: string): string {
    fs.writeFileSync(this.at(name), text, { mode: 0o755 });
    return this.at(name);
  }

  private async make(spec: WorldSpec): Promise<void> {
    const lab = this.program(
      "lab-double",
      `#!/bin/sh
cat >/dev/null
name=$(printf %s "$LAB_SPEC" | jq -r '.name // .role // empty' 2>/dev/null)
echo "$* $name" >>${this.at("lab")}
echo unchanged
`,
    );
    // The real lab is out of reach, even if the engine looked for it in another folder.
    await this.process(
      ["unshare", "--net", "--mount", "--propagation", "private"],
      "sh",
      "-ec",
      `
mount -t tmpfs tmpfs /run
mkdir /run/sshd
[ ! -d /var/lib/openstack-ha ] || mount -t tmpfs tmpfs /var/lib/openstack-ha
mount --bind ${lab} ${path.join(REPOSITORY, "scripts/lab/lab")}
ip link set lo up
for address in ${[spec.vip, ...spec.hosts.map((host) => host.address)].join(" ")}; do
  ip address add $address/32 dev lo
done
echo ready
exec sleep infinity`,
    );
    this.holder = this.children[0]!.pid!;

    const keystone = path.join(__dirname, "keystone-double.ts");
    await this.process(
      this.enter,
      process.execPath,
      ...["--require", require.resolve("tsx/cjs"), keystone, spec.vip, "5000", spec.region],
    );
    await Promise.all(spec.hosts.map((host) => this.host(spec, host)));
  }

  private async host(
    spec: WorldSpec,
    { name, address }: { name: string; address: string },
  ): Promise<void> {
    const answer = this.program(
      `answer-${name}`,
      `#!/bin/bash
began=$(date +%s%N)
document=$(cat)
what=$(jq -r '.step // empty | "\\(.service)-\\(.stage)"' <<<"$document" 2>/dev/null)
[[ $what ]] || what=\${SSH_ORIGINAL_COMMAND// /_}
order() { [[ -e ${this.at("orders")}/$1-$what-${name} ]] && rm ${this.at("orders")}/$1-$what-${name}; }
note=$(mktemp ${this.at("received")}/XXXXXXXX)
echo "${name} $what $began $(date +%s%N)" >"$note"
if order drop; then kill -KILL $PPID; sleep 1; fi
if order fail; then
  echo "$what on ${name}: wanted a good end, found the order to fail; run it again" >&2
  exit 1
fi
${spec.runner ? this.runner(name) : "echo unchanged"}
`,
    );
    const { stack, seed } = spec;
    const hostKey = sshKeyPair({ seed, stack, name: `ssh-host-${name}`, version: 1 }).privateKey;
    const deployer = sshKeyPair({ seed, stack, name: "ssh-deployer", version: 1 }).publicKey;
    fs.writeFileSync(this.at(`key-${name}`), hostKey, { mode: 0o600 });
    fs.writeFileSync(this.at(`authorized-${name}`), `${deployer}\n`, { mode: 0o600 });
    const config = this.at(`sshd-${name}`);
    fs.writeFileSync(
      config,
      `ListenAddress ${address}:22
HostKey ${this.at(`key-${name}`)}
AuthorizedKeysFile ${this.at(`authorized-${name}`)}
ForceCommand ${answer}
PidFile none
StrictModes no
UsePAM no
PermitRootLogin yes
MaxStartups 200
LogLevel VERBOSE
`,
    );
    await this.process(this.enter, "/usr/sbin/sshd", "-D", "-e", "-f", config);
  }

  /** The end of a host's answer: the real runner, told of paths below the host's own folder. */
  private runner(host: string): string {
    const root = this.hostPath(host, "");
    const step = path.join(REPOSITORY, "scripts/lib/step.py");
    const own = `def own: with_entries(.key |= "${root}" + .) | map_values(del(.owner, .group, .validate));
      def at(key; change): if has(key) then .[key] |= change else . end;
      def here: at("files"; own) | at("directories"; own) | at("absent"; map("${root}" + .))
        | if .step.stage == "secrets" then . else del(.script) end;`;
    return `
mkdir -p ${root}
export OPENSTACK_HA_LIB=${path.join(REPOSITORY, "scripts/lib")} OPENSTACK_HA_ETC=${root}/etc/openstack-ha
export OPENSTACK_HA_LOG=${root}/log OPENSTACK_HA_RUN=${root}/run OPENSTACK_HA_STATE=${root}/state
case $SSH_ORIGINAL_COMMAND in
"sh -s") sed -E -e 's#^(install_file [0-9]+) /#\\1 ${root}/#' -e '/^want_packages jq/d' <<<"$document" | sh -s ;;
*--secrets) /usr/bin/python3 ${step} --secrets <<<"$document" ;;
*--check) jq '${own} map(here)' <<<"$document" | /usr/bin/python3 ${step} --check ;;
*) jq '${own} here' <<<"$document" | /usr/bin/python3 ${step} ;;
esac`;
  }

  /** Starts a process that says when it is ready, and ends with the test's. */
  private async process(wrapper: readonly string[], ...command: readonly string[]): Promise<void> {
    const child = spawn("setpriv", ["--pdeathsig", "KILL", ...wrapper, ...command], {
      stdio: ["ignore", "pipe", "pipe"],
    });
    this.children.push(child);
    let said = "";
    await new Promise<void>((resolve, reject) => {
      const hear = (text: string): void => {
        said += text;
        if (/^ready$|Server listening/m.test(said)) resolve();
      };
      child.stdout.setEncoding("utf8").on("data", hear);
      child.stderr.setEncoding("utf8").on("data", hear);
      child.on("close", () => {
        reject(new Error(`${command.join(" ")}: ${said}`));
      });
    });
  }
}
