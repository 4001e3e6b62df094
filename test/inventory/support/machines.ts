import { execFileSync } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import { ROOT } from "../../../bench/lib";
import { committed } from "../../../bench/scratch";
import { type Cloud, parseCloud } from "../../../config";
import { plainSecrets, sshKeyPair } from "../../../secrets";
import { eventually } from "../../../tools/openstack";
import { knownHosts, sshConfig } from "../../../tools/outputs";
import { PROJECT } from "../../../tools/stack";
import { Project, SEED } from "../../engine/support/engine";
import { type Options, optionsOf } from "../../fixtures/config/fixtures";

/** Machines that exist, for a test: the lab hosts of a stack that makes nothing else, known to others by what a person would note. */
export class Machines {
  private readonly cloud: Cloud;
  private readonly folder: string;
  private readonly secrets: ReadonlyMap<string, string>;
  private loop = "";
  private readonly hostKeys: Readonly<Record<string, string>>;

  private constructor(
    private readonly project: Project,
    private readonly options: Options,
    private readonly stack: string,
  ) {
    this.cloud = parseCloud(options, { project: PROJECT, stack });
    this.secrets = plainSecrets(this.cloud, SEED);
    this.hostKeys = Object.fromEntries(
      this.names.map((name) => [
        name,
        sshKeyPair({ seed: SEED, stack, name: `ssh-host-${name}`, version: 1 }).publicKey,
      ]),
    );
    this.folder = path.join(project.folder, "ssh");
    fs.mkdirSync(this.folder, { mode: 0o700 });
    const put = (name: string, content: string): void => {
      fs.writeFileSync(path.join(this.folder, name), content, { mode: 0o600 });
    };
    put("id_ed25519", this.privateKey);
    put("known_hosts", knownHosts(this.cloud, this.hostKeys));
    put("ssh_config", sshConfig(this.cloud, this.folder));
  }

  /** Those of the development stack, under addresses of their own, by a program that makes nothing else. */
  static async open(stack: string, prefix: string): Promise<Machines> {
    const options = optionsOf(committed("dev", prefix));
    const project = await Project.open(stack);
    fs.rmSync(path.join(project.work, "index.ts"));
    fs.writeFileSync(
      path.join(project.work, "index.ts"),
      'export = require("./test/inventory/program");\n',
    );
    return new Machines(project, options, stack);
  }

  get names(): string[] {
    return this.cloud.hosts.map(({ name }) => name);
  }

  get privateKey(): string {
    return this.secrets.get("ssh-deployer")!;
  }

  get bmcPassword(): string {
    return this.secrets.get("pacemaker-bmc")!;
  }

  /** Switch them on for the first time. @throws Error if that fails. */
  async rack(): Promise<void> {
    await this.pulumi("up");
    for (const name of this.names) {
      await this.answers(name);
      this.run(name, AS_INSTALLED + packageSource());
    }
  }

  /** Take them away. @throws Error if that fails. */
  async unrack(): Promise<void> {
    await this.pulumi("destroy");
  }

  close(): void {
    this.project.close();
  }

  private async pulumi(verb: "up" | "destroy"): Promise<void> {
    const file = this.project.configFile(this.stack, verb, this.options);
    await this.project.setSecret(this.stack, file, "seed", SEED);
    const done = await this.project.pulumi(
      ...[verb, "--stack", this.stack, "--config-file", file, "--yes", "--skip-preview"],
    );
    if (done.status !== 0) throw new Error(`${verb} of the machines: ${done.stdout}${done.stderr}`);
  }

  /** What a person writes down of them: an inventory, and the options that a cloud in containers needs. */
  inventory(): Options {
    const { hosts, ...options } = this.options;
    return {
      ...options,
      backend: "inventory",
      neutron: { datapath: "userspace" },
      nova: { virtType: "qemu" },
      inventory: {
        confinesGuests: false,
        nics: Object.fromEntries(Object.entries(NICS).map(([port, name]) => [port, { name }])),
      },
      hosts: (hosts as { name: string; roles: string[] }[]).map((host) => {
        const { bmc } = this.cloud.hosts.find(({ name }) => name === host.name)!;
        const macs = this.macs(host.name);
        return {
          ...host,
          ssh: { hostKey: this.hostKeys[host.name] },
          bmc: { address: bmc!.address, port: bmc!.port, user: bmc!.user },
          nics: Object.fromEntries(
            Object.entries(NICS)
              .filter(([, nic]) => macs.has(nic))
              .map(([port, name]) => [port, { name, mac: macs.get(name) }]),
          ),
          ...(host.roles.includes("storage") ? { disks: [] } : {}),
        };
      }),
    };
  }

  /** Run commands as root on one; their output. */
  run(name: string, commands: string): string {
    return execFileSync(
      "ssh",
      ["-F", path.join(this.folder, "ssh_config"), name, "bash -e -o pipefail"],
      { input: commands, encoding: "utf8", maxBuffer: 1 << 28, timeout: 120_000 },
    );
  }

  /** Run a command where their network is, as whoever owns the switches can. */
  onSwitches(...command: string[]): string {
    return this.labCommand("exec", this.stack, "--", ...command);
  }

  power(name: string, state: "on" | "off"): void {
    this.labCommand("power", this.stack, state, name);
  }

  /** A disk of 12 GiB with a file system on it, at a path that no other disk has. */
  plug(name: string, at: string): void {
    const image = path.join(this.project.folder, "disk");
    execFileSync("truncate", ["--size", "12G", image]);
    execFileSync("mkfs.ext4", ["-q", image]);
    this.loop = execFileSync("losetup", ["--find", "--show", image], { encoding: "utf8" }).trim();
    this.run(name, `mknod ${at} b 7 ${this.loop.replace("/dev/loop", "")}`);
  }

  unplug(name: string, at: string): void {
    this.run(name, `rm -f ${at}`);
    execFileSync("losetup", ["--detach", this.loop]);
    fs.rmSync(path.join(this.project.folder, "disk"));
  }

  answers(name: string): Promise<unknown> {
    return eventually(
      `${name} reached`,
      120,
      () => Promise.resolve(this.run(name, "systemctl is-system-running --wait || true")),
      500,
    );
  }

  /** Every file and package of those that are on, but for logs and what systemd writes by the clock. */
  listing(off?: string): string {
    return this.names
      .filter((name) => name !== off)
      .map((name) => `== ${name}\n${this.run(name, LISTING)}`)
      .join("");
  }

  mac(name: string, nic: string): string {
    return this.macs(name).get(nic) ?? "";
  }

  private macs(name: string): Map<string, string> {
    const links = JSON.parse(this.run(name, "ip -json link show")) as {
      ifname: string;
      address: string;
    }[];
    return new Map(links.map(({ ifname, address }) => [ifname, address]));
  }

  private labCommand(...args: string[]): string {
    return execFileSync(path.join(ROOT, "scripts/lab/lab"), args, {
      encoding: "utf8",
      env: this.project.environment,
      stdio: ["ignore", "pipe", "inherit"],
    });
  }
}

const NICS = {
  management: "mgmt0",
  tunnel: "tun0",
  storage: "sto0",
  external: "ext0",
  provider: "prv0",
} as const;

const LISTING = `find / -xdev -path /var/log -prune -o -path /var/lib/systemd -prune -o -path /tmp -prune -o -path /run -prune -o \
  -type f -printf '%p %s %m %U:%G %T@\\n' | LC_ALL=C sort
dpkg-query --show
`;

/** The provider port as docs/bare-metal.md has it, and what apt asks. */
const AS_INSTALLED = `if [[ -e /sys/class/net/prv0 ]]; then
  printf '[Match]\\nName=prv0\\n\\n[Network]\\nLinkLocalAddressing=no\\nIPv6AcceptRA=no\\nConfigureWithoutCarrier=yes\\n' \
    >/etc/systemd/network/20-prv0.network
  networkctl reload
  for i in {1..100}; do ! ip -brief link show prv0 | grep -qw UP || break; sleep 0.1; done
fi
`;

/** Where apt finds what is installed: a machine's packages come from somewhere, and these have no way out to Debian's. */
function packageSource(): string {
  return `mkdir -p /srv/packages
rm -f /etc/apt/sources.list /etc/apt/sources.list.d/*
dpkg-query --show --showformat 'Package: \${Package}\\nVersion: \${Version}\\nArchitecture: \${Architecture}\\nFilename: none.deb\\nSize: 1\\n\\n' \
  >/srv/packages/Packages
echo 'deb [trusted=yes] file:/srv/packages ./' >/etc/apt/sources.list
apt-get -qq update
`;
}
