import test from "ava";
import fc from "fast-check";
import { parseCloud } from "../../config";
import { Plan, type Resource } from "../../policy/plan";
import { RULES } from "../../policy/rules";
import { project, type Options, readStackFile, set } from "../fixtures/config/fixtures";
import { alone, development, five } from "./support/clouds";
import { planOf } from "./support/plan";
import { Broken, judged, stackOf } from "./support/policy";
import { asSite, type Seed, SEEDS } from "./support/violations";

// Every rule of the policy pack, on plans of the real program: silent as they are, and heard once when one thing is broken.

let dev: readonly Resource[];
let site: readonly Resource[];

test.before(async () => {
  dev = stackOf(await planOf(development.options));
  site = asSite(new Broken(dev)).stack;
});

/** What is wrong with what the rules say of a stack in which one thing is broken: it is to be said once, and nothing else. */
function misjudged(stack: readonly Resource[], seed: Seed): string[] {
  const broken = new Broken(stack);
  seed.breaks(broken);
  const said = judged(broken.stack, seed.passphrase);
  const own = said.filter((each) => each.startsWith(`${seed.rule}: `));
  const others = said.filter(
    (each) => !own.includes(each) && !seed.also?.includes(each.split(":")[0]!),
  );
  return own.length === 1 && others.length === 0
    ? []
    : [`${seed.rule}, ${seed.what}: ${own.length === 0 ? "missed" : own.join(" ")}`, ...others];
}

// ---- One thing broken -------------------------------------------------------------------------------------------

for (const seed of SEEDS) {
  test(`${seed.rule}: ${seed.what}`, (t) => {
    t.deepEqual(misjudged(seed.needs === "site" ? site : dev, seed), []);
  });
}

test("every rule has a stack that breaks it", (t) => {
  t.deepEqual(
    [...new Set(SEEDS.map(({ rule }) => rule))].sort(),
    RULES.map(({ name }) => name).sort(),
  );
  t.log(`${RULES.length} rules, ${SEEDS.length} stacks that break one`);
});

// ---- Nothing broken ---------------------------------------------------------------------------------------------

test("the development stack is in order, and would be outside the lab with TLS and dear hashes", (t) => {
  t.deepEqual(judged(dev), []);
  t.deepEqual(judged(site), []);
});

test("outside the lab the development stack is refused", (t) => {
  const { stack } = new Broken(dev).remove(({ type }) => type === "openstack-ha:hosts:Lab");
  t.deepEqual(
    [...new Set(judged(stack).map((each) => each.split(":")[0]))],
    ["tls-outside-the-lab", "hashes-outside-the-lab"],
  );
});

test.serial("the other stack files are in order, with and without a seed", async (t) => {
  for (const [stack, options] of [
    [alone.stack, alone.options],
    ["segregated", readStackFile("Pulumi.segregated.yaml")],
  ] as const) {
    t.deepEqual(judged(stackOf(await planOf(options, { stack }))), [], stack);
  }
  t.deepEqual(
    judged(stackOf(await planOf(development.options, { seed: false, preview: true }))),
    [],
  );
});

test.serial(
  "controllers on libvirt are in order, held to what only a lab may leave out",
  async (t) => {
    const stack = stackOf(await planOf(readStackFile("Pulumi.libvirt.yaml"), { stack: "libvirt" }));
    t.false(new Plan(stack, "own").isLab);
    t.deepEqual(judged(stack, "own"), []);
  },
);

test.serial("hosts that are reached by sudo are judged like any others", async (t) => {
  const options = readStackFile("Pulumi.production.example.yaml");
  set(options, "secrets", { "pacemaker-bmc": "Bmc-of-all-12345" });
  const stack = stackOf(await planOf(options, { stack: "production" }));
  t.is(new Plan(stack).hosts().length, 12);
  t.deepEqual(judged(stack), []);
});

test.serial(
  "hosts that are reached at an address of its own are judged by those of the cloud",
  async (t) => {
    const options = readStackFile("Pulumi.production.example.yaml");
    set(options, "secrets", { "pacemaker-bmc": "Bmc-of-all-12345" });
    for (let i = 0; i < 12; i++) set(options, `hosts[${i}].ssh.address`, `192.0.2.${i + 1}`);
    t.deepEqual(judged(stackOf(await planOf(options, { stack: "production" }))), []);
  },
);

test.serial("two storage hosts in one room of three are advised against", async (t) => {
  const said = judged(stackOf(await planOf(five.options, { stack: five.stack })));
  t.deepEqual(said, [
    "copies-spread: the failure domain room-a: wanted 1 of 4 storage hosts at most, found charlie, golf; " +
      "have at most ceph.replicas - ceph.minReplicas storage hosts in one failure domain",
  ]);
});

test("a rule says what it wants in sentences, and has a name of its own", (t) => {
  t.is(new Set(RULES.map(({ name }) => name)).size, RULES.length);
  for (const { demand, fix, name, reason } of RULES) {
    t.regex(name, /^[a-z]+(-[a-z]+)*$/);
    t.regex(demand, /^[A-Z].*\.$/, name);
    t.regex(reason, /^[A-Z].*\.$/, name);
    t.regex(fix, /[^.]$/, name);
  }
});

test("a message is one line that says where, what was wanted, what was found and what to do, and shows no secret", (t) => {
  const store = dev.find(({ name }) => name === "base-secrets-ctl1")!.props.stdin as string;
  const values = Object.values(JSON.parse(store) as Record<string, { value: string }>);
  for (const seed of SEEDS) {
    const broken = new Broken(seed.needs === "site" ? site : dev);
    seed.breaks(broken);
    for (const message of judged(broken.stack, seed.passphrase)) {
      t.regex(message, /^[a-z-]+: [^\n]+: wanted [^\n]+, found [^\n]+; [^\n]+$/);
      t.false(
        values.some(({ value }) => message.includes(value)),
        seed.rule,
      );
    }
  }
});

// ---- Any cloud --------------------------------------------------------------------------------------------------

/** Topologies to try; `POLICY_RUNS=100 npx ava test/unit/policy.test.ts` tries more. */
const RUNS = Number(process.env.POLICY_RUNS ?? 4);

/**
 * Clouds that are in order: three or five controllers, alone, or with computes and the roles of network and storage on
 * the controllers or apart; each host a failure domain of its own, all in one, or spread over racks as they should be.
 */
const topologies: fc.Arbitrary<Options> = fc
  .record({
    controllers: fc.constantFrom(3, 5),
    computes: fc.integer({ min: 0, max: 3 }),
    networks: fc.integer({ min: 2, max: 3 }),
    storages: fc.integer({ min: 3, max: 4 }),
    networkApart: fc.boolean(),
    storageApart: fc.boolean(),
    domains: fc.constantFrom("none", "one", "racks"),
    ids: fc.uniqueArray(fc.integer({ min: 20, max: 90 }), { minLength: 16, maxLength: 16 }),
    content: fc.boolean(),
  })
  .map((shape) => {
    const whole = shape.computes > 0;
    const roles: string[][] = Array.from({ length: shape.controllers }, () => ["controller"]);
    const place = (role: string, count: number, apart: boolean): void => {
      if (apart) roles.push(...Array.from({ length: count }, () => [role]));
      else roles.slice(0, Math.min(count, shape.controllers)).forEach((each) => each.push(role));
    };
    if (whole) {
      place("network", shape.networks, shape.networkApart);
      place("storage", shape.storages, shape.storageApart);
      place("compute", shape.computes, true);
    }
    const options: Options = structuredClone(development.options);
    options.hosts = roles.map((each, i) => ({
      name: `h${i + 1}`,
      id: shape.ids[i]!,
      roles: each,
      ...domain(shape.domains, i),
    }));
    set(options, "content.enabled", shape.content);
    return options;
  });

/** Of as many racks as there can be hosts of a role: then no rack has two of them. */
function domain(domains: string, index: number): { failureDomain?: string } {
  if (domains === "one") return { failureDomain: "rack" };
  return domains === "racks" ? { failureDomain: `rack${index % 8}` } : {};
}

test.serial(
  "property: a valid cloud is in order, and each thing broken in it is said once",
  async (t) => {
    t.timeout(3_600_000);
    const count = { topologies: 0, broken: 0 };
    const wrong = { alarms: [] as string[], misjudged: [] as string[] };
    await fc.assert(
      fc.asyncProperty(topologies, async (options) => {
        const { hosts } = parseCloud(options, { project, stack: "dev" });
        const stack = stackOf(await planOf(options));
        const guests = hosts.some(({ roles }) => roles.includes("compute"));
        const content = stack.some(({ type }) => type.endsWith(":Subnet"));
        const oneDomain = new Set(hosts.map(({ failureDomain }) => failureDomain)).size === 1;
        count.topologies++;
        wrong.alarms.push(...judged(stack));
        const lawful = asSite(new Broken(stack)).stack;
        wrong.alarms.push(...judged(lawful));
        for (const seed of SEEDS) {
          if (seed.needs === "guests" && !guests) continue;
          if (seed.needs === "content" && !content) continue;
          // What is registered is for guests too.
          if (seed.rule === "tls-outside-the-lab" && !guests) continue;
          // A rack more would be a second domain, with all the others in the first.
          if (seed.also?.includes("controllers-spread") && oneDomain) continue;
          count.broken++;
          wrong.misjudged.push(...misjudged(seed.needs === "site" ? lawful : stack, seed));
        }
        if (wrong.alarms.length + wrong.misjudged.length > 0)
          throw new Error(JSON.stringify(wrong));
      }),
      { numRuns: RUNS },
    );
    t.log(
      `${RULES.length} rules: ${count.topologies} topologies, ${count.broken} violations; ` +
        `missed or said twice ${wrong.misjudged.length}, false alarms ${wrong.alarms.length}`,
    );
    t.pass();
  },
);
