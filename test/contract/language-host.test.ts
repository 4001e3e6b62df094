// The Node language host: programs, policy packs and what becomes of them when the engine stops. Driven by the real CLI.

import { execFileSync } from "node:child_process";
import { existsSync, readFileSync, realpathSync } from "node:fs";
import { join } from "node:path";
import test from "ava";
import { Project } from "./support/cli";
import type { Running } from "./support/cli";
import { generateKey, startSshd, user } from "./support/sshd";
import { eventually, isAlive, ours, temporaryFolder } from "./support/toolchain";

const folder = temporaryFolder("host");

test.after.always(() => {
  folder.remove();
});

const manifest = JSON.stringify({ name: "program", private: true });
const tsconfig = JSON.stringify({
  compilerOptions: { module: "nodenext", target: "es2022", esModuleInterop: true, strict: true },
});

const settings = (options: string): string => `name: contract
runtime:
  name: nodejs
  options:
${options}`;

// As this repository's own program is run.
const withTsx = settings(`    typescript: false
    nodeargs: "--import tsx"
main: index.ts
`);

const newProject = async (name: string, files: Record<string, string>): Promise<Project> => {
  const project = new Project(folder.path, name, {
    "package.json": manifest,
    "tsconfig.json": tsconfig,
    "Pulumi.yaml": withTsx,
    ...files,
  });
  const { code, output } = await project.run(["stack", "init", "dev"]);
  if (code !== 0) throw new Error(output);
  return project;
};

const up = ["up", "--yes", "--skip-preview"];

test.serial("preview, up, refresh and destroy of a program with configuration", async (t) => {
  const project = await newProject("life", {
    "index.ts": `
      import * as pulumi from "@pulumi/pulumi";
      import { local } from "@pulumi/command";
      const config = new pulumi.Config();
      const made = new local.Command("made", { create: "cat", stdin: config.requireSecret("secret") });
      console.log("running", pulumi.getProject(), pulumi.getStack(), pulumi.getOrganization());
      export const out = made.stdout;
      export const plain = config.requireObject<string[]>("list");
      export const isSecret = pulumi.isSecret(config.getSecret("secret")!);
      export const region = new pulumi.Config("other").get("region");
      export const directory = process.cwd();
      export const dryRun = pulumi.runtime.isDryRun();
    `,
  });
  const set = (...args: string[]): Promise<unknown> => project.run(["config", "set", ...args]);
  await set("--secret", "secret", "correct horse");
  await set("--path", "list[0]", "first");
  await set("other:region", "here");

  const preview = await project.run(["preview"]);
  t.is(preview.code, 0, preview.output);
  t.regex(preview.output, /made create/);
  t.regex(preview.output, /running contract dev organization/);
  t.notRegex(preview.output, /warning/);

  const first = await project.run(up);
  t.is(first.code, 0, first.output);
  t.regex(first.output, /made created/);
  t.notRegex(first.output, /warning/);
  const outputs = await project.run(["stack", "output", "--json", "--show-secrets"]);
  t.deepEqual(JSON.parse(outputs.output), {
    out: "correct horse",
    plain: ["first"],
    isSecret: true,
    region: "here",
    directory: realpathSync(project.folder),
    dryRun: false,
  });

  t.is((await project.run(["preview", "--expect-no-changes"])).code, 0);
  t.is((await project.run(["refresh", "--yes", "--skip-preview", "--expect-no-changes"])).code, 0);
  const destroyed = await project.run(["destroy", "--yes", "--skip-preview"]);
  t.is(destroyed.code, 0, destroyed.output);
  t.regex(destroyed.output, /made deleted/);
});

test.serial("a program that fails says why, once", async (t) => {
  const project = await newProject("failing", {
    "index.ts": `
      import { local } from "@pulumi/command";
      export = async () => { await local.run({ command: "echo why; exit 4" }); };
    `,
  });
  const thrown = await project.run(["preview"]);
  t.not(thrown.code, 0);
  t.regex(thrown.output, /exit status 4: running "echo why; exit 4":\s+why/);
  // The program has told the user; the exit code of Node would tell him nothing.
  t.notRegex(thrown.output, /non-zero exit code/);

  project.write({ "index.ts": "process.exit(5);" });
  const exited = await project.run(["preview"]);
  t.not(exited.code, 0);
  t.regex(exited.output, /non-zero exit code: 5/);

  project.write({
    "index.ts": "process.kill(process.pid, 'SIGKILL'); setInterval(() => {}, 1000);",
  });
  t.not((await project.run(["preview"])).code, 0);

  project.write({
    "index.ts": 'import { RunError } from "@pulumi/pulumi"; throw new RunError("as I said");',
  });
  const told = await project.run(["preview"]);
  t.not(told.code, 0);
  t.regex(told.output, /as I said/);
  t.notRegex(told.output, /non-zero exit code|at Object/);
});

test.serial("the options of the runtime are honoured", async (t) => {
  const project = await newProject("options", {
    // Enums need a compiler: without one Node could not read this.
    "index.ts": `
      enum Colour { Red = "red" }
      export const colour = Colour.Red;
      export const args = process.execArgv.filter((a) => a.startsWith("--t") || a.startsWith("--max"));
    `,
    "Pulumi.yaml": settings(`    nodeargs: "--max-old-space-size=1234 --title='a title'"
    tsconfig: other.json
main: index.ts
`),
    "other.json": tsconfig,
  });
  const compiled = await project.run(up);
  t.is(compiled.code, 0, compiled.output);
  const outputs = await project.run(["stack", "output", "--json"]);
  t.deepEqual(JSON.parse(outputs.output), {
    colour: "red",
    args: ["--max-old-space-size=1234", "--title=a title"],
  });

  project.write({ "Pulumi.yaml": settings("    typescript: maybe\nmain: index.ts\n") });
  const wrong = await project.run(["preview"]);
  t.not(wrong.code, 0);
  t.regex(wrong.output, /typescript option must be a boolean/);
});

test.serial("install and about", async (t) => {
  const project = new Project(folder.path, "installed", { "Pulumi.yaml": withTsx });
  // Without a node_modules of its own.
  execFileSync("rm", [join(project.folder, "node_modules")]);
  project.write({
    "index.ts": "",
    "package.json": JSON.stringify({ name: "p", private: true, dependencies: { it: "file:./it" } }),
  });
  execFileSync("mkdir", [join(project.folder, "it")]);
  project.write({ "it/package.json": JSON.stringify({ name: "it", version: "1.2.3" }) });
  const installed = await project.run(["install"]);
  t.is(installed.code, 0, installed.output);
  t.true(existsSync(join(project.folder, "node_modules/it/package.json")));

  const about = await project.run(["about", "--json"]);
  t.is(about.code, 0, about.output);
  const { runtime, dependencies } = JSON.parse(about.output) as {
    runtime: { version: string };
    dependencies: { name: string; version: string }[];
  };
  t.regex(runtime.version, /^v?\d+\./);
  t.deepEqual(dependencies, [{ name: "it", version: "1.2.3" }]);

  await project.run(["stack", "init", "dev"]);
  const missing = await project.run(["preview"]);
  t.not(missing.code, 0);
  t.regex(missing.output, /the Pulumi SDK has not been installed/);
});

test.serial("a policy pack passes or stops an update", async (t) => {
  const project = await newProject("policed", {
    "index.ts": `
      import { local } from "@pulumi/command";
      new local.Command("made", { create: "echo made" });
    `,
  });
  const pack = new Project(folder.path, "pack", {
    "package.json": JSON.stringify({ name: "pack", version: "1.0.0", private: true }),
    "tsconfig.json": tsconfig,
    "PulumiPolicy.yaml": "runtime: nodejs\n",
    "index.ts": `
      import { readFileSync } from "node:fs";
      import { local } from "@pulumi/command";
      import { PolicyPack, validateResourceOfType } from "@pulumi/policy";
      // Beside the pack, wherever it is used from.
      const forbidden = readFileSync("forbidden.txt", "utf8").trim();
      new PolicyPack("contract", {
        policies: [
          {
            name: "words",
            description: "Some words are forbidden.",
            enforcementLevel: "mandatory",
            validateResource: validateResourceOfType(local.Command, (command, args, report) => {
              if (command.create?.includes(forbidden)) report("must not say " + forbidden);
            }),
          },
        ],
      });
    `,
    "forbidden.txt": "unheard",
  });
  const policed = ["--policy-pack", pack.folder];
  const allowed = await project.run([...up, ...policed]);
  t.is(allowed.code, 0, allowed.output);

  pack.write({ "forbidden.txt": "made" });
  const refused = await project.run(["preview", ...policed]);
  t.not(refused.code, 0);
  t.regex(refused.output, /must not say made/);

  pack.write({ "index.ts": "throw new Error('no pack at all');" });
  const broken = await project.run(["preview", ...policed]);
  t.not(broken.code, 0);
  t.regex(broken.output, /no pack at all/);
});

test.serial(
  "a policy of the whole stack stops an update in its preview, and without one comes too late",
  async (t) => {
    const project = await newProject("judged", {
      "index.ts": `
      import { local } from "@pulumi/command";
      new local.Command("made", { create: "touch " + process.cwd() + "/made" });
    `,
    });
    const pack = new Project(folder.path, "stack-pack", {
      "package.json": JSON.stringify({ name: "pack", version: "1.0.0", private: true }),
      "tsconfig.json": tsconfig,
      "PulumiPolicy.yaml": "runtime: nodejs\n",
      "index.ts": `
      import { PolicyPack } from "@pulumi/policy";
      new PolicyPack("contract", {
        policies: [
          {
            name: "never",
            description: "Nothing is good enough.",
            enforcementLevel: "mandatory",
            validateStack: (_args, report) => { report("not good enough"); },
          },
        ],
      });
    `,
    });
    const made = join(project.folder, "made");
    const policed = ["--policy-pack", pack.folder];
    const stopped = await project.run(["up", "--yes", ...policed]);
    t.not(stopped.code, 0);
    t.regex(stopped.output, /not good enough/);
    t.false(existsSync(made));

    const late = await project.run([...up, ...policed]);
    t.not(late.code, 0);
    t.true(existsSync(made));
  },
);

// A program, a local and a remote command that would take five minutes.
const endless = (port: number, key: string): string => `
  import { readFileSync, writeFileSync } from "node:fs";
  import { local, remote } from "@pulumi/command";
  writeFileSync("program.pid", String(process.pid));
  writeFileSync("host.pid", String(process.ppid));
  new local.Command("local", { create: "echo $$ >local.pid; sleep 300 & echo $! >below.pid; wait" });
  new remote.Command("remote", {
    connection: { host: "127.0.0.1", port: ${port}, user: "${user}", privateKey: readFileSync("${key}", "utf8") },
    create: "echo $$ >" + process.cwd() + "/remote.pid; sleep 300 & wait",
  });
  setInterval(() => {}, 1000);
`;

const pidFiles = ["program", "host", "local", "below", "remote"];

async function startEndless(
  name: string,
): Promise<{ running: Running; pids: Record<string, number>; stop: () => void }> {
  const key = join(folder.path, `${name}-key`);
  const server = await startSshd(join(folder.path, `${name}-sshd`), {
    authorized: [generateKey(key).public],
  });
  const project = await newProject(name, { "index.ts": endless(server.port, key) });
  const running = project.start(up);
  const file = (of: string): string => join(project.folder, `${of}.pid`);
  const pid = (of: string): number =>
    Number(existsSync(file(of)) && readFileSync(file(of), "utf8"));
  if (!(await eventually(() => pidFiles.every((of) => pid(of) > 0), 60_000))) {
    throw new Error(running.output());
  }
  const plugin = execFileSync("pgrep", ["-P", String(running.pid), "-f", "resource-command"]);
  const pids = Object.fromEntries(pidFiles.map((of) => [of, pid(of)]));
  return {
    running,
    pids: { ...pids, plugin: Number(plugin.toString()) },
    stop: () => {
      server.stop();
    },
  };
}

(ours ? test.serial : test.serial.skip)(
  // With the official plugin a first Ctrl-C waits for remote commands, and a second one leaves them running.
  "Ctrl-C ends everything, here and at the host",
  async (t) => {
    const { running, pids, stop } = await startEndless("interrupted");
    const start = Date.now();
    process.kill(running.pid, "SIGINT");
    const { code, output } = await running.finished;
    t.not(code, 0);
    const took = Date.now() - start;
    t.true(took < 15_000, `took ${took} ms:\n${output}`);
    for (const [of, pid] of Object.entries(pids)) {
      t.true(await eventually(() => !isAlive(pid), 5_000), `${of} is alive`);
    }
    stop();
  },
);

(ours ? test.serial : test.serial.skip)(
  // The official plugin and host live on for minutes.
  "when the engine is killed nothing is left of it on its machine",
  async (t) => {
    const { running, pids, stop } = await startEndless("killed");
    process.kill(running.pid, "SIGKILL");
    t.is((await running.finished).code, "SIGKILL");
    // At the host a command goes on: nobody is left to end it.
    const { remote, ...here } = pids;
    for (const [of, pid] of Object.entries(here)) {
      t.true(await eventually(() => !isAlive(pid), 5_000), `${of} is alive`);
    }
    execFileSync("pkill", ["-P", String(remote)]);
    stop();
  },
);
