import * as fs from "node:fs";
import * as path from "node:path";
import test from "ava";
import {
  carriers,
  isWhole,
  SERVICES,
  service,
  servicesIn,
  servicesOf,
  type Port,
  type ServiceName,
} from "../../catalogue";
import type { Cloud } from "../../config";
import { secretCatalogue, type SecretEntry } from "../../config/secret-names";
import { CHECKS } from "../../components/checks";
import { parsedCloud } from "../fixtures/config/fixtures";
import { clouds } from "./support/clouds";

// The catalogue by itself, and what has to be there for each service of it: a component, scripts, a check.

const ROOT = path.join(__dirname, "../..");
const read = (file: string): string => fs.readFileSync(path.join(ROOT, file), "utf8");
const parsed: readonly Cloud[] = clouds.map(({ stack, options }) => parsedCloud(options, stack));

// ---- The uniform skeleton ---------------------------------------------------------------------------------------

for (const { name, layer } of SERVICES) {
  test(`${name} has a component, its scripts and a check`, (t) => {
    const component = read(`components/${layer}/${name}.ts`);
    if (/^export class \w+ extends ApiService \{$/m.test(component)) {
      t.true(component.includes(`super(\n      "${name}",\n      context,\n`));
    } else {
      t.regex(component, /^export class \w+ extends Service \{$/m);
      t.true(component.includes(`super("${name}", context, opts);`));
      t.true(component.includes("this.registerOutputs({});"));
    }

    const scripts = fs.readdirSync(path.join(ROOT, "scripts", name));
    t.true(scripts.includes("verify.sh"));
    // It changes nothing and never waits.
    const verify = read(`scripts/${name}/verify.sh`);
    t.regex(verify, /^verify\(\) \{$/m);
    t.notRegex(verify, /^\s*(?:change|changed|wait_for|sleep|alone_in_cluster|fail)\b/m);

    const check = CHECKS[name as ServiceName];
    for (const cloud of parsed) {
      for (const host of carriers(cloud, { roles: ["controller", "compute"] })) {
        t.is(check(cloud, host).verify, `${name}/verify.sh`);
      }
    }
  });
}

test("there is no component, folder of scripts or check without a service", (t) => {
  const names = SERVICES.map(({ name }) => name).sort();
  t.deepEqual(Object.keys(CHECKS).sort(), names);
  const shared = ["guest", "lab", "lib", "vm"];
  t.deepEqual(
    fs
      .readdirSync(path.join(ROOT, "scripts"), { withFileTypes: true })
      .filter((entry) => entry.isDirectory() && !shared.includes(entry.name))
      .map((entry) => entry.name)
      .sort(),
    names,
  );
  const others =
    "api backend content fencing host inventory lab libvirt members memory oslo registration".split(
      " ",
    );
  t.deepEqual(
    ["hosts", "ha", "shared", "openstack"]
      .flatMap((layer) => fs.readdirSync(path.join(ROOT, "components", layer)))
      .map((file) => path.basename(file, ".ts"))
      .filter((name) => !others.includes(name))
      .sort(),
    names,
  );
});

test("a script is one that its runner sources, and says what it is", (t) => {
  for (const { name } of SERVICES) {
    for (const file of fs.readdirSync(path.join(ROOT, "scripts", name))) {
      if (!file.endsWith(".sh")) continue;
      const [first, second] = read(`scripts/${name}/${file}`).split("\n");
      t.true(first!.startsWith("# shellcheck shell=bash"), `${name}/${file}`);
      const stage = path.basename(file, ".sh");
      // Keystone's roles are asked for by a step to verify, and a host is drained by what would start it.
      const said = { drain: "start", roles: "verify" }[stage] ?? stage;
      t.true(second!.startsWith(`# ${name}, ${said}`), `${name}/${file}: ${second!}`);
    }
  }
});

test("the last step of a service waits for its check, and one that restarts units knows when they are ready", (t) => {
  for (const { name } of SERVICES) {
    // Pacemaker is told what to run once it runs.
    const last = `scripts/${name}/${name === "pacemaker" ? "bootstrap" : "start"}.sh`;
    // These have nothing that starts.
    const without = ["base", "ceph-client"].includes(name);
    t.is(fs.existsSync(path.join(ROOT, last)), !without, last);
    if (!without) t.regex(read(last), /^verified \d+$/m, last);
    for (const file of ["bootstrap", "start"].map((stage) => `scripts/${name}/${stage}.sh`)) {
      if (!fs.existsSync(path.join(ROOT, file))) continue;
      const script = read(file);
      if (/^ *units?_running /m.test(script)) t.regex(script, /^ready\(\) \{/m, file);
    }
  }
});

// ---- The entries ------------------------------------------------------------------------------------------------

test("a name is used once", (t) => {
  const names = SERVICES.map(({ name }) => name);
  t.is(new Set(names).size, names.length);
  const frontends = SERVICES.flatMap((entry) => entry.frontends ?? []).map(({ name }) => name);
  t.is(new Set(frontends).size, frontends.length);
  for (const name of names) t.is(service(name as ServiceName).name, name);
});

test("a service depends on services before it, that its hosts or the cloud have", (t) => {
  SERVICES.forEach(({ name, dependsOn, whole = false }, i) => {
    const earlier = SERVICES.slice(0, i);
    for (const each of dependsOn) {
      const found = earlier.find((entry) => entry.name === each);
      t.truthy(found, `${name} depends on ${each}`);
      if (!whole) t.falsy(found?.whole, `${name}, which every cloud has, depends on ${each}`);
    }
  });
});

test("no two services of a host share a port, in any cloud", (t) => {
  const key = ({ port, protocol }: Port): string => `${port}/${protocol}`;
  for (const cloud of parsed) {
    for (const host of cloud.hosts) {
      const ports = servicesOf(cloud, host).flatMap(({ ports }) => ports.map(key));
      t.deepEqual(
        ports.filter((port, i) => ports.indexOf(port) !== i),
        [],
        host.name,
      );
    }
  }
});

test("a frontend is at a port of its service; the first is that of the API which is registered", (t) => {
  for (const { name, frontends = [], ports, registration } of SERVICES) {
    t.true(frontends.length > 0 || registration === undefined, name);
    for (const { name: frontend, port, vips, check, checkPort, mode } of frontends) {
      t.true(frontend === name || frontend.startsWith(`${name}-`), frontend);
      t.true(
        ports.some((each) => each.port === port && each.protocol === "tcp"),
        frontend,
      );
      t.true(check.startsWith("/"), frontend);
      t.true(vips.length > 0 && new Set(vips).size === vips.length, frontend);
      // What does not speak HTTP is asked at another port.
      t.is(checkPort !== undefined, mode === "tcp", frontend);
    }
    if (registration) {
      t.is(frontends[0]!.name, name);
      t.deepEqual(frontends[0]!.vips, ["internal", "public"], name);
    }
  }
});

test("what every request of the cloud passes is asked often, and all else is watched by its traffic", (t) => {
  const asked = SERVICES.flatMap((entry) => entry.frontends ?? [])
    .filter(({ observed = false }) => !observed)
    .map(({ name }) => name);
  t.deepEqual(asked, ["mariadb", "keystone"]);
});

test("the secrets of a service are known ones, each named once", (t) => {
  const known = Object.entries<SecretEntry>(secretCatalogue);
  const single = known.filter(([, { per }]) => per === undefined).map(([name]) => name);
  const families = known.filter(([, { per }]) => per === "host").map(([name]) => name);
  for (const { name, secrets, secretsPerPeer = [] } of SERVICES) {
    for (const each of secrets) t.true(single.includes(each), `${name}: ${each}`);
    for (const each of secretsPerPeer) t.true(families.includes(each), `${name}: ${each}`);
    t.is(new Set(secrets).size, secrets.length, name);
    t.deepEqual(secrets, [...secrets].sort(), name);
  }
});

test("a unit is either started, or disabled, or masked; and packages are named once", (t) => {
  for (const { name, units = [], disabled = [], masked = [], packages } of SERVICES) {
    const all = [...units, ...disabled, ...masked];
    t.is(new Set(all).size, all.length, name);
    for (const unit of all) t.regex(unit, /^[\w@.-]+\.(?:service|socket|target)$/, name);
    t.is(new Set(packages).size, packages.length, name);
  }
});

test("no service disables or masks what another one of its host starts", (t) => {
  for (const cloud of parsed) {
    for (const host of cloud.hosts) {
      const entries = servicesOf(cloud, host);
      const started = entries.flatMap(({ units = [] }) => units);
      for (const { name, disabled = [], masked = [] } of entries) {
        for (const unit of [...disabled, ...masked]) {
          t.false(started.includes(unit), `${name} on ${host.name}: ${unit}`);
        }
      }
    }
  }
});

test("a service is for the hosts of a role or more, and only controllers' services make an identity service", (t) => {
  for (const { name, roles, whole = false } of SERVICES) {
    t.true(roles.length > 0 && new Set(roles).size === roles.length, name);
    if (!whole) t.true(roles.includes("controller"), name);
    // All of a service's own words.
    const { why, whenItDies, health } = service(name as ServiceName);
    for (const text of [why, whenItDies, health]) t.true(text.length > 5, name);
  }
});

test("which services a cloud has follows from whether it runs guests", (t) => {
  for (const cloud of parsed) {
    const compute = cloud.hosts.some(({ roles }) => roles.includes("compute"));
    t.is(isWhole(cloud), compute);
    t.deepEqual(
      servicesIn(cloud),
      SERVICES.filter(({ whole = false }) => compute || !whole),
    );
    for (const host of cloud.hosts) {
      t.deepEqual(
        servicesOf(cloud, host),
        servicesIn(cloud).filter((entry) => carriers(cloud, entry).includes(host)),
      );
      t.true(servicesOf(cloud, host).some(({ name }) => name === "base"));
    }
  }
});
