import * as fs from "node:fs";
import * as path from "node:path";
import test from "ava";
import { parse, stringify } from "yaml";
import { openLab, ROOT, untilHealthy } from "../../bench/lib";
import { Scratch } from "../../bench/scratch";
import type { Finding } from "../../tools/precheck/judge";
import { withoutSecrets } from "../../tools/report/room";
import { cloudFolder } from "../../tools/stack";
import { type Options, stackFileText } from "../fixtures/config/fixtures";
import { SEED } from "../engine/support/engine";
import { machineState, type Residue } from "../lab/support/machine";
import { FAULTS, PREFIX, written } from "./faults";
import { Machines } from "./support/machines";

/**
 * Machines that exist, by the same program: lab hosts of one stack, handed as addresses, MACs and BMCs to another. The tests
 * are one story: what is wrong with them is named, and nothing on them is changed by that; then they become a cloud.
 */

const RACKS = "racks";
const METAL = "metal";
/** Of its public address: what is no lab is reached by TLS. */
const CERTIFICATE = "tls/metal.pem";

let before: Residue;
let machines: Machines;
let metal: Scratch;
let options: Options;

test.before(async () => {
  before = machineState(RACKS);
  machines = await Machines.open(RACKS, PREFIX);
  await machines.rack();
  options = machines.inventory();
  metal = new Scratch(METAL, stackFileText(options));
  for (const [name, args] of [
    ["stack", ["stack", "init"]],
    ["seed", ["config", "set", "--secret", "openstack-ha:seed", SEED]],
    ["key", ["config", "set", "--secret", "openstack-ha:sshPrivateKey", "--", machines.privateKey]],
    [
      "password",
      [
        "config",
        "set",
        "--secret",
        "--path",
        "openstack-ha:secrets.pacemaker-bmc",
        machines.bmcPassword,
      ],
    ],
  ] as const) {
    const { status } = await metal.pulumi(...args);
    if (status !== 0) throw new Error(`${name} of ${METAL} ended with ${String(status)}`);
  }
  await byTls();
});

/** With a certificate as a person would have it made. */
async function byTls(): Promise<void> {
  const made = await metal.tool("tools/certificate.ts", "--self-signed", CERTIFICATE);
  if (made.status !== 0) throw new Error(`there is no certificate: ${made.stdout}`);
  options = { ...options, tls: { certificate: CERTIFICATE, authority: CERTIFICATE } };
  for (const option of ["certificate", "authority"])
    await metal.pulumi("config", "set", "--path", `openstack-ha:tls.${option}`, CERTIFICATE);
}

test.after.always(async () => {
  try {
    // The first may have failed before there was one.
    await (metal as Scratch | undefined)?.dispose();
  } finally {
    fs.rmSync(path.join(ROOT, CERTIFICATE), { force: true });
    await machines.unrack();
    machines.close();
  }
});

/** With other options in its file, beside the secrets that it has. */
async function withOptions<T>(changed: Options, work: () => Promise<T>): Promise<T> {
  const held = fs.readFileSync(metal.config, "utf8");
  const all = parse(held) as { config: object };
  const { config: plain } = parse(withoutSecrets(held)) as { config: object };
  const secrets = Object.entries(all.config).filter(([key]) => !(key in plain));
  const { config } = parse(stackFileText(changed)) as { config: object };
  fs.writeFileSync(
    metal.config,
    stringify({ ...all, config: { ...config, ...Object.fromEntries(secrets) } }),
  );
  try {
    return await work();
  } finally {
    fs.writeFileSync(metal.config, held);
  }
}

interface Checked {
  readonly status: number | null;
  readonly findings: readonly Finding[];
}

async function precheck(): Promise<Checked> {
  const { status, stdout } = await metal.tool("tools/precheck.ts", METAL, "--json");
  return { status, findings: JSON.parse(stdout) as Finding[] };
}

const sentence = ({ host = "all", check, found }: Finding): string => `${host} ${check} ${found}`;
const errors = ({ findings }: Checked): string[] =>
  findings.filter(({ level }) => level === "error").map(sentence);

/** Lines that only one of two texts has. */
function differing(before: string, after: string): string[] {
  const [old, now] = [before, after].map((text) => new Set(text.split("\n")));
  return [
    ...[...old!].filter((line) => !now!.has(line)),
    ...[...now!].filter((line) => !old!.has(line)),
  ];
}

test.serial("of machines that are as they are written down, nothing is wrong", async (t) => {
  const found = await precheck();
  t.deepEqual(errors(found), []);
  t.is(found.status, 0);
});

test("there are 20 faults or more", (t) => {
  t.true(Object.keys(FAULTS).length >= 20);
});

for (const [name, fault] of Object.entries(FAULTS)) {
  test.serial(`named, and nothing else, and no machine is changed: ${name}`, async (t) => {
    try {
      fault.done?.(machines);
      const listed = machines.listing(fault.off);
      const started = Date.now();
      const found = await withOptions(written(options, fault), precheck);
      t.log(`${((Date.now() - started) / 1000).toFixed(1)} s: ${errors(found).join("; ")}`);
      t.deepEqual(differing(listed, machines.listing(fault.off)), [], "files or packages differ");
      t.is(found.status, 1);
      const said = errors(found);
      t.deepEqual(
        fault.expect.filter((each) => !said.some((text) => each.test(text))).map(String),
        [],
      );
      t.deepEqual(
        said.filter((text) => !fault.expect.some((each) => each.test(text))),
        [],
      );
      t.true(found.findings.every(({ key, fix }) => key.length > 0 && fix.length > 0));
    } finally {
      await fault.undone?.(machines);
    }
  });
}

function tool(file: string): Promise<number | null> {
  return metal.cloud("run", "node", "--require", "tsx/cjs", file);
}

test.serial("then they become a whole cloud, by the same program", async (t) => {
  t.timeout(60 * 60_000);
  const started = Date.now();
  t.is(await metal.cloud("up", "--yes", "--skip-preview"), 0, "up ends well");
  t.log(`up: ${((Date.now() - started) / 1000).toFixed(0)} s`);
  await t.notThrowsAsync(untilHealthy(openLab(METAL), 120));
});

test.serial(
  "servers are reached at floating addresses, and keep what they write to a volume",
  async (t) => {
    t.timeout(20 * 60_000);
    const status = await tool("tools/first-server.ts");
    // What it found goes with the cloud.
    const evidence = path.join(cloudFolder(METAL), "first-server.txt");
    if (status !== 0 && fs.existsSync(evidence)) t.log(fs.readFileSync(evidence, "utf8"));
    t.is(status, 0);
  },
);

test.serial(
  "the precheck lets a cloud's own hosts pass, and a second up changes nothing",
  async (t) => {
    t.deepEqual(errors(await precheck()), []);
    t.is((await metal.pulumi("up", "--yes", "--skip-preview", "--expect-no-changes")).status, 0);
  },
);

test.serial("it passes the smoke tests of tempest", async (t) => {
  t.timeout(60 * 60_000);
  t.is(await tool("tools/verify.ts"), 0);
});

test.serial(
  "a cloud that is destroyed leaves its machines alone, and they leave nothing",
  async (t) => {
    t.timeout(20 * 60_000);
    t.is(await metal.cloud("destroy", "--yes"), 0);
    for (const name of machines.names) await t.notThrowsAsync(machines.answers(name));
    await machines.unrack();
    t.deepEqual(machineState(RACKS), before);
  },
);
