// What the precheck asks for, against real SSH servers on loopback: it gets in, says why it does not, and changes nothing.

import { execFileSync } from "node:child_process";
import { chmodSync, readdirSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "ava";
import type { Cloud } from "../../config";
import { isReached, type Facts, type HostFacts, type Unreached } from "../../tools/precheck/facts";
import { gather } from "../../tools/precheck/gather";
import { readStackFile, set, parsedCloud } from "../fixtures/config/fixtures";
import { freePort, generateKey, startSshd, user, type Key, type SshServer } from "./support/sshd";
import { temporaryFolder } from "./support/toolchain";

const folder = temporaryFolder("precheck");
const at = (name: string): string => join(folder.path, name);
const servers: SshServer[] = [];
const PASSWORD = "Bmc-pass-word-1";

let key: Key;
let facts: Facts;
let cloud: Cloud;
let before: string;
let after: string;

/** All files of the folders that packages and programs keep things in, with their sizes and times; and all packages. */
function listing(): string {
  const find = ["/etc", "/var/lib/apt", "/var/lib/dpkg", "/var/cache/apt", "/usr/local"];
  return execFileSync(
    "sh",
    ["-c", `find ${find.join(" ")} -xdev -type f -printf '%p %s %T@\\n' | sort; dpkg-query -W`],
    { encoding: "utf8", maxBuffer: 1e8 },
  );
}

test.before(async () => {
  key = generateKey(at("id"));
  const open = await startSshd(at("open"), { authorized: [key.public] });
  const strange = await startSshd(at("strange"), { authorized: [key.public] });
  const closed = await startSshd(at("closed"), { authorized: [] });
  servers.push(open, strange, closed);
  const plain = (public_: string): string => public_.split(" ").slice(0, 2).join(" ");

  const raw = readStackFile("Pulumi.production.example.yaml");
  const hosts = (raw.hosts as Record<string, unknown>[]).slice(0, 3);
  set(raw, "hosts", hosts);
  set(raw, "inventory.ssh", { user });
  const reach = (port: number, hostKey: string): object => ({
    address: "127.0.0.1",
    port,
    hostKey,
  });
  set(raw, "hosts[0].ssh", reach(open.port, plain(open.hostKey.public)));
  set(raw, "hosts[1].ssh", reach(strange.port, plain(key.public)));
  set(raw, "hosts[2].ssh", reach(closed.port, plain(closed.hostKey.public)));
  // Nobody is there, so that ipmitool ends soon.
  for (const i of [0, 1, 2]) set(raw, `hosts[${i}].bmc`, { address: `127.0.0.${i + 11}`, port: 9 });
  cloud = parsedCloud(raw, "precheck");

  const trap = at("bin");
  execFileSync("mkdir", ["-p", trap]);
  // An ipmitool that tells what it was given.
  writeFileSync(
    join(trap, "ipmitool"),
    `#!/bin/sh\necho "$@" >>${at("arguments")}\ncase "$*" in *-f\\ /dev/stdin*) cat >>${at("password")} ;; esac\n` +
      `case "$*" in *power*) echo Chassis Power is on ;; *guid*) echo "System GUID  : 00112233-4455-6677-8899-aabbccddeeff" ;; esac\n`,
  );
  chmodSync(join(trap, "ipmitool"), 0o755);
  process.env.PATH = `${trap}:${process.env.PATH ?? ""}`;

  before = listing();
  facts = await gather(cloud, {
    privateKey: key.private,
    hostKeys: Object.fromEntries(cloud.hosts.map(({ name, ssh }) => [name, ssh.hostKey!])),
    passwords: { "pacemaker-bmc": PASSWORD },
  });
  after = listing();
});

test.after.always(() => {
  for (const server of servers) server.stop();
  folder.remove();
});

test("a host that can be reached says what it is", (t) => {
  const ctl1 = facts.hosts.ctl1 as HostFacts;
  t.true(isReached(ctl1), JSON.stringify(ctl1));
  t.is(ctl1.root, process.getuid?.() === 0);
  t.true(Math.abs(ctl1.clockAhead) < 5, `${ctl1.clockAhead}`);
  t.not(ctl1.os.id, "");
  t.true(ctl1.memoryMiB > 500 && ctl1.cpus > 0 && ctl1.freeMiB > 0);
  t.true(ctl1.links.some(({ name, mtu }) => name === "lo" && mtu > 1500));
  t.true(ctl1.addresses.some(({ nic, address }) => nic === "lo" && address === "127.0.0.1"));
  t.true(ctl1.listeners.some(({ port }) => port === servers[0]!.port));
  // Nobody of the example's is there.
  t.true(ctl1.pings.length > 0 && ctl1.pings.every(({ small }) => !small));
});

test("another host key and a key that is refused are told apart", (t) => {
  const strange = facts.hosts.ctl2 as Unreached;
  t.is(strange.problem, "host-key", strange.detail);
  t.regex(strange.offered ?? "", /^SHA256:/);
  t.is((facts.hosts.ctl3 as Unreached).problem, "login");
});

test("a host where nothing listens is down", async (t) => {
  const port = await freePort();
  const [first] = cloud.hosts;
  const down = { ...cloud, hosts: [{ ...first!, ssh: { ...first!.ssh, port } }] };
  const { hosts } = await gather(down, { privateKey: key.private, hostKeys: {}, passwords: {} });
  t.is((hosts.ctl1 as Unreached).problem, "down");
});

test("management controllers are asked, and their password is in no command line", (t) => {
  t.deepEqual(facts.bmcs.ctl1, {
    powerOn: true,
    guid: "00112233-4455-6677-8899-aabbccddeeff",
    serials: [],
  });
  const said = execFileSync("cat", [at("arguments")], { encoding: "utf8" });
  t.regex(said, /-H 127\.0\.0\.11 -p 9 -U fence -f \/dev\/stdin chassis power status/);
  t.false(said.includes(PASSWORD));
  t.true(execFileSync("cat", [at("password")], { encoding: "utf8" }).startsWith(`${PASSWORD}\n`));
});

test("files and packages are the same before and after, and nothing is left here", (t) => {
  t.is(after, before);
  t.deepEqual(
    readdirSync(tmpdir()).filter((name) => name.startsWith("openstack-ha-precheck-")),
    [],
  );
  t.deepEqual(
    readdirSync("/dev/shm").filter((name) => name.startsWith("openstack-ha-precheck")),
    [],
  );
});
