import { execFileSync } from "node:child_process";
import * as fs from "node:fs";
import * as http from "node:http";
import type { AddressInfo } from "node:net";
import * as os from "node:os";
import * as path from "node:path";
import test, { type ExecutionContext } from "ava";
import { findChromium, visit, type Visit } from "../../tools/dashboard";
import {
  type Found,
  lookUp,
  planned,
  type Planned,
  tempestConf,
  type TempestInput,
  writeTempestFiles,
} from "../../tools/tempest-conf";
import { OpenStack } from "../../tools/openstack";
import { listTests, wanted } from "../../tools/verify";
import { parseCloud } from "../../config";
import { project, readStackFile } from "../fixtures/config/fixtures";
import { exclusions, outcome, report, type TestEvent, withoutExcluded } from "../tempest/report";
import { pythonEnvironment, readyPython } from "../tempest/venv";

// What `npm run verify` and `npm run dashboard` are made of, without a cloud.

const ROOT = path.join(__dirname, "../..");
const read = (file: string): string => fs.readFileSync(path.join(ROOT, file), "utf8");

const whole: Planned = {
  image: true,
  compute: true,
  network: true,
  volume: "volumev3",
  dashboard: true,
  computes: 2,
};

const everything: Found = {
  image: {
    containerFormats: ["bare", "aki", "ari"],
    diskFormats: ["raw", "qcow2", "aki", "ari"],
    id: "image-id",
    properties: { kernel_id: "kernel", ramdisk_id: "ramdisk" },
  },
  flavors: { normal: "flavor-id", larger: "larger-id" },
  network: { externalId: "external-id", extensions: ["port-security", "router"] },
  volume: {
    backends: ["rbd"],
    backup: false,
    extensions: ["os-hosts"],
    multiattachType: "shared",
    protocol: "ceph",
    vendor: "Open Source",
  },
};

const input: TempestInput = {
  outputs: {
    adminPassword: "pass$word",
    authUrl: "http://192.0.2.10:5000/v3",
    region: "RegionOne",
  },
  planned: whole,
  found: everything,
  dashboardUrl: "http://192.0.2.10/horizon/",
  authority: undefined,
  folder: "/somewhere/tempest",
};

/** The options of an INI file, by section. */
function options(text: string): Map<string, Map<string, string>> {
  const sections = new Map<string, Map<string, string>>();
  let section = new Map<string, string>();
  for (const line of text.split("\n")) {
    const name = /^\[(.*)\]$/.exec(line)?.[1];
    const [, key, value] = /^(\w+) =(.*)$/.exec(line) ?? [];
    if (name !== undefined) sections.set(name, (section = new Map<string, string>()));
    else if (key !== undefined) section.set(key, (value ?? "").trim());
  }
  return sections;
}

const conf = options(tempestConf(input));

// ---- tempest.conf -----------------------------------------------------------------------------------------------

test("tempest.conf has what the cloud says of itself", (t) => {
  t.is(conf.get("compute")?.get("image_ref"), "image-id");
  t.is(conf.get("compute")?.get("flavor_ref_alt"), "larger-id");
  t.is(conf.get("compute")?.get("min_compute_nodes"), "2");
  t.is(conf.get("image")?.get("disk_formats"), "raw,qcow2,aki,ari");
  t.is(conf.get("scenario")?.get("img_properties"), "kernel_id:kernel,ramdisk_id:ramdisk");
  t.is(conf.get("network")?.get("public_network_id"), "external-id");
  t.is(conf.get("network-feature-enabled")?.get("api_extensions"), "port-security,router");
  t.is(conf.get("network-feature-enabled")?.get("port_security"), "true");
  t.is(conf.get("volume")?.get("catalog_type"), "volumev3");
  t.is(conf.get("volume")?.get("storage_protocol"), "ceph");
  t.is(conf.get("volume-feature-enabled")?.get("multi_backend"), "false");
  t.is(conf.get("dashboard")?.get("dashboard_url"), "http://192.0.2.10/horizon/");
  t.is(conf.get("validation")?.get("run_validation"), "true");
});

test("guests move where there are two compute hosts, and their disks stay", (t) => {
  const alone = options(tempestConf({ ...input, planned: { ...whole, computes: 1 } }));
  for (const option of ["live_migration", "volume_backed_live_migration"]) {
    t.is(conf.get("compute-feature-enabled")?.get(option), "true", option);
    t.is(alone.get("compute-feature-enabled")?.get(option), "false", option);
  }
  const blocks = conf.get("compute-feature-enabled")?.get("block_migration_for_live_migration");
  t.is(blocks, "false");
});

test("what the plan lacks is not available, and what it has is, found or not", (t) => {
  const none: Planned = {
    image: false,
    compute: false,
    network: false,
    volume: undefined,
    dashboard: false,
    computes: 0,
  };
  const available = (plan: Planned): Record<string, string> =>
    Object.fromEntries(
      options(tempestConf({ ...input, planned: plan, found: {} })).get("service_available") ?? [],
    );
  const services = ["glance", "nova", "neutron", "cinder", "horizon"];
  t.deepEqual(available(none), {
    ...Object.fromEntries(services.map((name) => [name, "false"])),
    swift: "false",
  });
  t.deepEqual(available(whole), {
    ...Object.fromEntries(services.map((name) => [name, "true"])),
    swift: "false",
  });
});

test("a cloud of controllers alone is an identity service", (t) => {
  const cloud = parseCloud(readStackFile("test/fixtures/config/valid-smallest.yaml"), {
    project,
    stack: "dev",
  });
  t.like(planned(cloud), { compute: false, dashboard: false, volume: undefined, computes: 0 });
});

test("the files of tempest are their owner's, and the disk is no archive", (t) => {
  const folder = path.join(fs.mkdtempSync(path.join(os.tmpdir(), "tempest-test-")), "tempest");
  t.teardown(() => {
    fs.rmSync(path.dirname(folder), { recursive: true });
  });
  writeTempestFiles({ ...input, folder });
  writeTempestFiles({ ...input, folder });
  t.is(fs.statSync(folder).mode & 0o777, 0o700);
  t.is(fs.statSync(path.join(folder, "tempest.conf")).mode & 0o777, 0o600);
  const disk = fs.readFileSync(path.join(folder, "disk.raw"));
  t.true(disk.subarray(0, 512).some((byte) => byte !== 0));
  // The magic number of ext4.
  t.is(disk.readUInt16LE(1024 + 56), 0xef53);
});

// ---- What the cloud is asked ------------------------------------------------------------------------------------

const answers: Record<string, unknown> = {
  "/image/v2/images?name=test&status=active": {
    images: [{ id: "i", name: "test", kernel_id: "k", ramdisk_id: "r" }],
  },
  "/image/v2/schemas/image": {
    properties: {
      container_format: { enum: [null, "ami", "bare"] },
      disk_format: { enum: [null, "ami", "raw", "qcow2"] },
    },
  },
  "/compute/flavors?is_public=none": {
    flavors: [
      { id: "n", name: "m1.nano" },
      { id: "m", name: "m1.micro" },
    ],
  },
  "/network/v2.0/networks?name=external&router:external=true": {
    networks: [{ id: "e", name: "external" }],
  },
  "/network/v2.0/extensions": { extensions: [{ alias: "router" }, { alias: "port-security" }] },
  "/volumev3/scheduler-stats/get_pools?detail=true": {
    pools: [
      {
        capabilities: {
          storage_protocol: ["ceph", "rbd"],
          vendor_name: "Open Source",
          volume_backend_name: "rbd",
        },
      },
    ],
  },
  "/volumev3/os-services?binary=cinder-backup": { services: [] },
  "/volumev3/types": {
    volume_types: [
      { name: "ceph", extra_specs: { volume_backend_name: "ceph" } },
      { name: "shared", extra_specs: { multiattach: "<is> True" } },
    ],
  },
  "/volumev3/extensions": { extensions: [{ alias: "os-hosts" }] },
};

/** A cloud that gives these answers. */
async function cloudDouble(given: Record<string, unknown>): Promise<http.Server> {
  const server = http.createServer((request, response) => {
    const url = `http://${request.headers.host ?? ""}`;
    const types = ["image", "compute", "network", "volumev3"];
    const body =
      request.method === "POST"
        ? {
            token: {
              catalog: types.map((type) => ({
                type,
                endpoints: [{ interface: "public", url: `${url}/${type}` }],
              })),
            },
          }
        : given[request.url ?? ""];
    const known = request.method === "POST" || request.headers["x-auth-token"] === "token";
    const fine = request.method === "POST" ? 201 : 200;
    response.writeHead(body === undefined ? 404 : known ? fine : 401, {
      "x-subject-token": "token",
    });
    response.end(JSON.stringify(body ?? {}));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return server;
}

const addressOf = (server: http.Server): string =>
  `http://127.0.0.1:${(server.address() as AddressInfo).port}`;

const loggedIn = (server: http.Server): Promise<OpenStack> =>
  OpenStack.login({
    authUrl: `${addressOf(server)}/identity`,
    user: "admin",
    password: "pass$word",
    project: "admin",
  });

test("ids, formats and extensions are those of the cloud", async (t) => {
  const server = await cloudDouble(answers);
  t.teardown(() => server.close());
  const api = await loggedIn(server);
  t.deepEqual(await lookUp(api, whole), {
    image: {
      containerFormats: ["bare", "ami"],
      diskFormats: ["raw", "ami", "qcow2"],
      id: "i",
      properties: { kernel_id: "k", ramdisk_id: "r" },
    },
    flavors: { normal: "n", larger: "m" },
    network: { externalId: "e", extensions: ["port-security", "router"] },
    volume: {
      backends: ["rbd"],
      backup: false,
      extensions: ["os-hosts"],
      multiattachType: "shared",
      protocol: "ceph",
      vendor: "Open Source",
    },
  });
});

test("what is missing in the cloud is named", async (t) => {
  const server = await cloudDouble({
    ...answers,
    "/compute/flavors?is_public=none": { flavors: [] },
  });
  t.teardown(() => server.close());
  const api = await loggedIn(server);
  await t.throwsAsync(lookUp(api, whole), {
    message: "flavor m1.nano: wanted one in the cloud, found none; run npm run up",
  });
  await t.throwsAsync(lookUp(api, { ...whole, volume: "block-storage" }), {
    message: /no public endpoint of type block-storage/,
  });
});

// ---- Which tests, and what became of them -----------------------------------------------------------------------

test("the command line selects tests, and a mistake in it is told", (t) => {
  t.deepEqual(wanted([]), { verb: "run", selection: ["--smoke"] });
  t.deepEqual(wanted(["--list", "a.*b"]), { verb: "list", selection: ["--regex", "a.*b"] });
  t.is(wanted(["--full"]).selection[0], "--regex");
  t.throws(() => wanted(["--ful"]), { message: /no such option: --ful/ });
  t.throws(() => wanted(["--full", "a"]), { message: /found more/ });
});

test("the full set is what its words say", (t) => {
  const full = new RegExp(wanted(["--full"]).selection[1]!);
  t.regex("tempest.api.compute.test_a.A.test_b[id-1]", full);
  t.regex("tempest.scenario.test_a.A.test_b[compute,id-1,network]", full);
  t.notRegex("tempest.scenario.test_a.A.test_b[compute,id-1,slow]", full);
  t.notRegex("tempest.api.object_storage.test_a.A.test_b[id-1]", full);
});

test("each excluded test has a reason", (t) => {
  const found = exclusions(read("test/tempest/exclude.txt"));
  t.true(found.length > 0);
  for (const { pattern, reason } of found) {
    t.regex(pattern.source, /^\^tempest\\\./, "it names a test from its start");
    t.true(reason.length > 40, `${pattern.source}: ${reason}`);
  }
  t.throws(() => exclusions("# A heading.\n\n^tempest\\.a\n"), {
    message: /line 3: wanted the reason/,
  });
  t.throws(() => exclusions("# Why.\na\n# \nb\n"), { message: /line 4: wanted the reason/ });
  t.deepEqual(
    exclusions("# One\n# reason.\na\nb\n# Another.\nc\n").map(({ reason }) => reason),
    ["One reason.", "One reason.", "Another."],
  );
});

test("every selected test is accounted for", (t) => {
  const tests = [
    "A.one[id-1]",
    "A.two[id-2]",
    "B.one[id-3]",
    "B.two[id-4]",
    "C.one[id-5]",
    "C.two[id-6]",
  ].map((name) => `tempest.api.test_x.${name}`);
  const [a1, a2, b1, , c1] = tests as [string, string, string, string, string];
  const selection = withoutExcluded(tests, [{ pattern: /C\.two/, reason: "because" }]);
  const events: TestEvent[] = [
    { status: "started", id: a1 },
    { status: "passed", id: a1, seconds: 1 },
    {
      status: "failed",
      id: a2,
      error: "Traceback\n  File x\ntempest.lib.exceptions.NotFound: not there\nDetails: none\n",
    },
    {
      status: "skipped",
      id: "setUpClass (tempest.api.test_x.B)",
      reason: "B skipped as it is far",
    },
    { status: "skipped", id: c1, reason: "" },
    { status: "failed", id: "tearDownClass (tempest.api.test_x.A)", error: "KeyError: 1" },
  ];
  const { passed, failed, skipped } = outcome(selection.run, events);
  t.deepEqual(passed, ["tempest.api.test_x.A.one"]);
  t.deepEqual(failed, [
    {
      test: "tempest.api.test_x.A.two",
      error: "tempest.lib.exceptions.NotFound: not there Details: none",
    },
    { test: "tempest.api.test_x.C.one", error: "skipped, without a reason" },
    { test: "tearDownClass (tempest.api.test_x.A)", error: "KeyError: 1" },
  ]);
  t.deepEqual(
    skipped.map(({ reason }) => reason),
    Array(2).fill("B skipped as it is far"),
  );
  t.like(
    outcome([b1], []),
    { failed: [{ test: "tempest.api.test_x.B.one" }] },
    "no word of it is a failure",
  );
  t.is(
    report({ passed, failed, skipped: [...skipped, ...selection.skipped] }),
    `Skipped:
  it is far (2)
    tempest.api.test_x.B (2 tests)
  because (1)
    tempest.api.test_x.C.two

Failed:
  KeyError: 1
    tearDownClass (tempest.api.test_x.A)
  skipped, without a reason
    tempest.api.test_x.C.one
  tempest.lib.exceptions.NotFound: not there Details: none
    tempest.api.test_x.A.two

1 passed, 3 failed, 3 skipped`,
  );
});

// ---- What tempest itself says, where it has been downloaded -----------------------------------------------------

const python = readyPython();
const withTempest = (title: string, run: (t: ExecutionContext) => void): void => {
  if (python === undefined) test.skip(`${title} (npm run verify has not downloaded tempest)`, run);
  else test(title, run);
};

withTempest("tempest knows every option of tempest.conf, and none is on its way out", (t) => {
  const names = ["tempest.config", "oslo.log", "oslo.concurrency"];
  const known = execFileSync(
    python!,
    ["-m", "oslo_config.generator", ...names.flatMap((name) => ["--namespace", name])],
    { encoding: "utf8", env: pythonEnvironment() },
  );
  const current = known.split("\n\n").filter((block) => !block.includes("# DEPRECATED: "));
  const sections = options(current.join("\n\n").replaceAll(/^#(\w+ =)/gm, "$1"));
  for (const [section, values] of conf) {
    for (const option of values.keys()) {
      t.true(sections.get(section)?.has(option), `[${section}] ${option}`);
    }
  }
});

withTempest("oslo.config reads what was meant", (t) => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "tempest-test-"));
  t.teardown(() => {
    fs.rmSync(folder, { recursive: true });
  });
  const adminPassword = `"a$b$$c{d}%s,e#f;g=h'`;
  const text = tempestConf({ ...input, folder, outputs: { ...input.outputs, adminPassword } });
  fs.writeFileSync(path.join(folder, "tempest.conf"), text);
  const program = `
import json
from tempest import config
c = config.CONF
print(json.dumps([c.auth.admin_password, c.image.disk_formats, c.scenario.img_properties, c.volume.manage_snapshot_ref,
                  c.image.http_image, c.compute_feature_enabled.live_migration, c.network.build_timeout]))`;
  const answer = execFileSync(python!, ["-c", program], {
    encoding: "utf8",
    env: { ...pythonEnvironment(), TEMPEST_CONFIG_DIR: folder, TEMPEST_CONFIG: "tempest.conf" },
  });
  t.deepEqual(JSON.parse(answer), [
    adminPassword,
    ["raw", "qcow2", "aki", "ari"],
    { kernel_id: "kernel", ramdisk_id: "ramdisk" },
    ["source-name", "snapshot-%s"],
    "",
    true,
    600,
  ]);
});

withTempest("each exclusion names a test that there is", (t) => {
  const tests = listTests(python!, []);
  t.true(tests.length > 1000);
  for (const { pattern } of exclusions(read("test/tempest/exclude.txt"))) {
    t.true(
      tests.some((name) => pattern.test(name)),
      pattern.source,
    );
  }
});

// ---- The dashboard ----------------------------------------------------------------------------------------------

const browser = ((): string | undefined => {
  try {
    return findChromium();
  } catch {
    return undefined;
  }
})();
const withBrowser = (title: string, run: (t: ExecutionContext) => Promise<void>): void => {
  if (browser === undefined) test.skip(`${title} (there is no chromium)`, run);
  else test(title, run);
};

/** What of Horizon a visit meets: Django's form with its token, sessions, lists, a logout that may not end the session. */
async function horizonDouble(forgetful: boolean): Promise<http.Server> {
  const sessions = new Set<string>();
  const server = http.createServer((request, response) => {
    let body = "";
    request.on("data", (data: Buffer) => (body += data.toString()));
    request.on("end", () => {
      const { pathname } = new URL(request.url ?? "", "http://horizon");
      const cookies = new Map(
        (request.headers.cookie ?? "")
          .split("; ")
          .map((each) => each.split("=") as [string, string]),
      );
      const session = cookies.get("sessionid") ?? "";
      const page = (content: string, ...set: string[]): void => {
        response.writeHead(200, { "content-type": "text/html", "set-cookie": set });
        response.end(`<!doctype html><html><body>${content}</body></html>`);
      };
      const redirect = (to: string, ...set: string[]): void => {
        response.writeHead(302, { location: `/horizon/${to}`, "set-cookie": set });
        response.end();
      };
      const form = (message: string): void => {
        page(
          `<p>${message}</p><form method="post" action="/horizon/auth/login/">
            <input type="hidden" name="csrfmiddlewaretoken" value="t0ken">
            <input id="id_domain" name="domain"><input id="id_username" name="username">
            <input id="id_password" name="password" type="password">
            <button id="loginBtn" type="submit">Sign In</button></form>`,
          "csrftoken=t0ken; Path=/",
        );
      };
      if (pathname === "/horizon/auth/login/" && request.method === "POST") {
        const sent = new URLSearchParams(body);
        const right =
          sent.get("csrfmiddlewaretoken") === cookies.get("csrftoken") &&
          sent.get("domain") === "Default" &&
          sent.get("username") === "admin" &&
          sent.get("password") === "p&ss word";
        if (!right) {
          form("Invalid credentials.");
          return;
        }
        sessions.add("s1");
        redirect("project/", "sessionid=s1; Path=/; HttpOnly");
      } else if (pathname === "/horizon/auth/login/") form("");
      else if (!sessions.has(session)) redirect(`auth/login/?next=${pathname}`);
      else if (pathname === "/horizon/auth/logout/") {
        if (!forgetful) sessions.delete(session);
        redirect("auth/login/", "sessionid=; Path=/; Max-Age=0");
      } else {
        const row =
          pathname === "/horizon/admin/instances/" ? "<tr><td><a>web 1</a></td></tr>" : "";
        page(`<div style="display: none"><a href="/horizon/auth/logout/">Sign Out</a></div>
          <table id="instances"><tr><th>Name</th></tr>${row}</table>`);
      }
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return server;
}

withBrowser("a real browser logs in, sees the instance, logs out, and is out", async (t) => {
  t.timeout(180_000);
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "dashboard-test-"));
  const [server, forgetful] = await Promise.all([horizonDouble(false), horizonDouble(true)]);
  t.teardown(() => {
    server.close();
    forgetful.close();
    fs.rmSync(folder, { recursive: true });
  });
  const plan: Visit = {
    url: `${addressOf(server)}/horizon/`,
    user: "admin",
    password: "p&ss word",
    domain: "Default",
    instance: "web 1",
    pictures: [path.join(folder, "a", "horizon.png")],
  };
  await visit(plan);
  t.is(fs.readFileSync(plan.pictures[0]!).subarray(1, 4).toString(), "PNG");

  await t.throwsAsync(visit({ ...plan, password: "wrong" }), {
    message: /wanted to be logged in as admin, found "Invalid credentials\./,
  });
  await t.throwsAsync(visit({ ...plan, instance: "web 2" }), {
    message: /wanted an instance web 2 in its lists/,
  });
  await t.throwsAsync(visit({ ...plan, url: `${addressOf(forgetful)}/horizon/` }), {
    message: /wanted the login for the cookies from before the logout/,
  });
});
