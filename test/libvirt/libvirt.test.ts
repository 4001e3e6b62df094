import { execFileSync } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import test from "ava";
import { readStackFile, set, type Options } from "../fixtures/config/fixtures";
import { imageEnvironment } from "../../components/hosts/libvirt";
import {
  nameOf,
  Project,
  REPOSITORY,
  SEED,
  type Digest,
  type Outcome,
} from "../engine/support/engine";
import { TestHypervisor } from "./support/hypervisor";

// One virtual machine, by the real engine, provider and libvirtd, on a machine that need not have KVM: made, reached,
// its base steps run, changed in place, protected from what would lose its data, and removed without a trace.

const STACK = "libvirt";
const HOST = "ctl1";
const ADDRESS = "10.85.0.11";

let project: Project;
let hypervisor: TestHypervisor;
let pool: string;

test.before(async (t) => {
  t.timeout(1_800_000);
  // Here, and not by the program: that runs where there is no way to the packages.
  const environment = { ...process.env, ...imageEnvironment() };
  execFileSync("scripts/vm/build", { cwd: REPOSITORY, env: environment, stdio: ["ignore", 2, 2] });
  project = await Project.open(STACK);
  fs.rmSync(path.join(project.work, "index.ts"));
  fs.writeFileSync(
    path.join(project.work, "index.ts"),
    'export = require("./test/libvirt/program");\n',
  );
  pool = path.join(project.folder, "pool");
  fs.mkdirSync(pool);
  hypervisor = await TestHypervisor.start(path.join(project.folder, "hypervisor"));
});

test.after.always(async () => {
  await hypervisor.stop();
  project.close();
});

/**
 * The stack file of the repository, on the test's own hypervisor, without a way out, and with hosts that have a disk in
 * the store: 1.5 GiB of memory each.
 */
function options(changes: Options = {}): Options {
  const all = readStackFile("Pulumi.libvirt.yaml");
  const own: Options = {
    hosts: [
      ...[1, 2, 3].map((n) => ({
        name: `ctl${n}`,
        id: 10 + n,
        roles: ["controller", "network", "storage"],
        failureDomain: "here",
      })),
      { name: "cmp1", id: 21, roles: ["compute"], failureDomain: "here" },
    ],
    "networks.external.gateway": undefined,
    "libvirt.hypervisors": [{ name: "local", uri: hypervisor.uri, kvm: false }],
    "libvirt.nameservers": [],
    "libvirt.pool": pool,
    "libvirt.sizes": {
      controller: { vcpus: 2, memoryMiB: 512, diskGiB: 6 },
      network: { vcpus: 1, memoryMiB: 512, diskGiB: 3 },
      storage: { vcpus: 1, memoryMiB: 512, diskGiB: 3 },
    },
    "libvirt.storeDiskGiB": 5,
  };
  for (const [option, value] of Object.entries({ ...own, ...changes })) set(all, option, value);
  return all;
}

async function stackFile(name: string, changes: Options = {}): Promise<string> {
  const file = project.configFile(STACK, name, options(changes));
  await project.setSecret(STACK, file, "seed", SEED);
  return file;
}

function pulumi(file: string, verb: string, ...args: readonly string[]): Promise<Outcome> {
  return project.run(
    hypervisor.wrapper,
    ...[verb, "--stack", STACK, "--config-file", file, ...args],
  );
}

/** Runs on the host, by the stack's own key. */
function ssh(text: string): string {
  const key = path.join(project.folder, "key");
  if (!fs.existsSync(key)) {
    const value = execFileSync(
      "pulumi",
      ["stack", "output", "key", "--show-secrets", "--stack", STACK],
      { cwd: project.work, env: project.environment, encoding: "utf8" },
    );
    fs.writeFileSync(key, value, { mode: 0o600 });
  }
  return hypervisor.run(
    ...["ssh", "-i", key, "-o", "StrictHostKeyChecking=no", "-o", "LogLevel=ERROR"],
    ...["-o", `UserKnownHostsFile=${project.folder}/known_hosts`, `root@${ADDRESS}`, text],
  );
}

const seconds = ({ milliseconds }: Outcome): string => (milliseconds / 1000).toFixed(1);

test.serial("a machine is made, boots, and gets its base", async (t) => {
  const up = await pulumi(await stackFile("first"), "up", "--yes", "--skip-preview");
  t.is(up.status, 0, up.stdout + up.stderr);
  t.log(`up: ${seconds(up)} s`);

  t.is(ssh("cat /etc/hostname"), HOST);
  t.is(ssh("sysctl -n net.ipv4.tcp_retries2"), "4", "base has configured it");
  t.deepEqual(ssh("ip -brief -4 address | awk '{ print $1, $3 }' | sort").split("\n"), [
    "ext0 10.85.3.11/24",
    "lo 127.0.0.1/8",
    "mgmt0 10.85.0.11/24",
    "sto0 10.85.2.11/24",
    "tun0 10.85.1.11/24",
  ]);
  t.regex(ssh("ip -brief link show prv0"), /^prv0 +UP/);
  t.true(
    Number(ssh("df --output=size --block-size=1M / | tail -n 1")) > 5000,
    "its disk is its own",
  );
  t.regex(
    ssh("lsblk --noheadings --nodeps --output SIZE /dev/disk/by-id/wwn-0x3*"),
    /^\s*5G$/,
    "its disk in the store",
  );
  t.is(ssh("systemctl list-units --failed --plain --no-legend"), "");
});

test.serial("a second run changes nothing", async (t) => {
  const again = await pulumi(
    await stackFile("again"),
    ...(["up", "--yes", "--skip-preview", "--expect-no-changes"] as const),
  );
  t.is(again.status, 0, again.stdout + again.stderr);
  t.log(`second up: ${seconds(again)} s`);
});

for (const [what, changes, words] of [
  [
    "a smaller disk",
    { "libvirt.sizes.controller.diskGiB": 5 },
    /disk vda would go from 6 to 5 GiB/,
  ],
  ["another network", { "networks.tunnel.mtu": 1400 }, /the tunnel network would go from/],
  ["another host key", { secretVersions: { "ssh-host-ctl1": 2 } }, /set rebuild of the host to 2/],
  ["another pool", { "libvirt.pool": "/var/lib/elsewhere" }, /its pool would change/],
] as const) {
  test.serial(`${what} is refused in the preview`, async (t) => {
    const preview = await pulumi(await stackFile("refused", changes), "preview");
    t.not(preview.status, 0);
    t.regex(preview.stdout + preview.stderr, words);
  });
}

test.serial(
  "a larger disk and more memory are previewed as changes in place, and made so",
  async (t) => {
    const file = await stackFile("larger", {
      "libvirt.sizes.controller.diskGiB": 7,
      "libvirt.sizes.controller.memoryMiB": 600,
    });
    const preview = await pulumi(file, "preview", "--json");
    const { steps } = JSON.parse(preview.stdout) as Digest;
    t.deepEqual(
      steps
        .filter(({ op }) => op !== "same")
        .map(({ op, urn }) => `${op} ${nameOf(urn)}`)
        .sort(),
      [`libvirt-boot-${HOST}`, `libvirt-plan-${HOST}`, `libvirt-size-${HOST}`].map(
        (name) => `update ${name}`,
      ),
    );
    const before = ssh("cat /proc/sys/kernel/random/boot_id");
    const up = await pulumi(file, "up", "--yes", "--skip-preview");
    t.is(up.status, 0, up.stdout + up.stderr);
    t.regex(
      up.stdout,
      /updated: vda 6 to 7 GiB, memory 1536 to 1624 MiB from its next power cycle/,
    );
    t.true(Number(ssh("df --output=size --block-size=1M / | tail -n 1")) > 6000);
    t.is(ssh("cat /proc/sys/kernel/random/boot_id"), before, "it was not restarted");
    t.log(`grown in place: ${seconds(up)} s`);
  },
);

test.serial("a rebuild makes a new machine, and runs its steps on it again", async (t) => {
  const file = await stackFile("rebuilt", { "hosts[0].rebuild": 2 });
  const before = ssh("cat /etc/machine-id");
  const up = await pulumi(file, "up", "--yes", "--skip-preview");
  t.is(up.status, 0, up.stdout + up.stderr);
  t.log(`rebuilt: ${seconds(up)} s`);
  t.not(ssh("cat /etc/machine-id"), before);
  t.is(ssh("sysctl -n net.ipv4.tcp_retries2"), "4", "base has configured it again");
  t.regex(hypervisor.virsh("vol-list", "libvirt"), /root-ctl1-2\.qcow2/);
  t.notRegex(hypervisor.virsh("vol-list", "libvirt"), /root-ctl1\.qcow2/);
});

test.serial("destroy leaves no machine, network, pool, volume or file", async (t) => {
  const destroy = await pulumi(
    await stackFile("last", { "hosts[0].rebuild": 2 }),
    ...(["destroy", "--yes", "--skip-preview"] as const),
  );
  t.is(destroy.status, 0, destroy.stdout + destroy.stderr);
  t.log(`destroy: ${seconds(destroy)} s`);
  t.deepEqual(hypervisor.left(pool), {
    bridges: "",
    domains: "",
    files: "",
    networks: "",
    pools: "",
  });
});
