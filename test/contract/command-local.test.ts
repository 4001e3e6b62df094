// The contract of command:local:*, driven by the real engine.

import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { local } from "@pulumi/command";
import * as pulumi from "@pulumi/pulumi";
import test from "ava";
import { saying, Session } from "./support/session";
import { eventually, isAlive, ours, temporaryFolder } from "./support/toolchain";

const folder = temporaryFolder("local");
const at = (name: string): string => join(folder.path, name);
const lines = (name: string): string[] =>
  readFileSync(at(name), "utf8").split("\n").filter(Boolean);

const LARGE = "0123456789abcde\n".repeat(65_536);

let session: Session;

test.before(async () => {
  session = await Session.open(folder.path, "main");
  mkdirSync(at("files/assets/logos"), { recursive: true });
  mkdirSync(at("files/src"));
  for (const name of ["assets/logos/logo.svg", "src/index.js", "src/secret.js"]) {
    writeFileSync(at(`files/${name}`), name);
  }
});

test.after.always(async () => {
  await session.destroy();
  folder.remove();
});

interface Version {
  text: string;
  trigger: string;
  directory: string;
}

const first: Version = { text: "one", trigger: "a", directory: "/" };

const logged = (name: string, what: string): string => `echo ${what} >>${at(`${name}.log`)}`;

/** What is found of assets, with their content. */
const contents = (
  assets: Record<string, pulumi.asset.Asset | pulumi.asset.Archive> | undefined,
): Promise<Record<string, string>> =>
  Promise.all(
    Object.entries(assets ?? {}).map(async ([name, asset]) => {
      const path = await (asset as pulumi.asset.FileAsset).path;
      return [name, readFileSync(path, "utf8")] as const;
    }),
  ).then((entries) => Object.fromEntries(entries));

function program(version: Version): pulumi.automation.PulumiFn {
  return () => {
    const basic = new local.Command("basic", {
      create: "printf 'out\\n\\n'; printf 'err\\n' >&2",
    });
    const large = new local.Command("large", {
      create: "cat",
      interpreter: ["/bin/sh", "-e", "-c"],
      stdin: LARGE,
      logging: "none",
    });
    const interpreter = new local.Command("interpreter", {
      create: "process.stdout.write(String(6 * 7))",
      interpreter: [process.execPath, "-e"],
    });
    const directory = new local.Command("directory", {
      create: "pwd",
      dir: version.directory,
    });
    const environment = new local.Command("environment", {
      create: 'echo "$GREETING $HOME"',
      environment: { GREETING: "hello", HOME: "/overridden" },
    });
    const updated = new local.Command("updated", {
      create: `${logged("updated", "create")}; echo created`,
      update: `${logged("updated", "update")}; echo "$PULUMI_COMMAND_STDOUT+"; echo e >&2`,
      delete: logged("updated", '"delete $PULUMI_COMMAND_STDOUT $PULUMI_COMMAND_STDERR"'),
      stdin: version.text,
    });
    const recreated = new local.Command("recreated", {
      create: `${logged("recreated", "create")}; echo "[$PULUMI_COMMAND_STDOUT]"`,
      addPreviousOutputInEnv: false,
      stdin: version.text,
    });
    new local.Command("triggered", {
      create: logged("triggered", `create-${version.trigger}`),
      delete: logged("triggered", `delete-${version.trigger}`),
      triggers: [version.trigger],
    });
    const nothing = new local.Command("nothing", { delete: logged("nothing", "delete") });
    // What a command prints is not secret by itself, whatever it was given.
    const secret = new local.Command(
      "secret",
      {
        create: "echo $PASSWORD",
        environment: { PASSWORD: pulumi.secret("correct horse") },
        logging: "none",
      },
      { additionalSecretOutputs: ["stdout"] },
    );
    for (const logging of ["stdout", "stderr", "stdoutAndStderr", "none"] as const) {
      new local.Command(`logging-${logging}`, { create: "echo is-out; echo is-err >&2", logging });
    }
    new local.Command("logging-unset", { create: "echo is-out; echo is-err >&2" });

    return Promise.resolve({
      basic: basic.stdout,
      basicErr: basic.stderr,
      large: large.stdout.apply((s) => s.length),
      interpreter: interpreter.stdout,
      directory: directory.stdout,
      environment: environment.stdout,
      updated: updated.stdout,
      recreated: recreated.stdout,
      nothing: nothing.stdout,
      secret: secret.stdout,
    });
  };
}

test.serial("a preview of what is to be created runs nothing", async (t) => {
  const outcome = await session.preview(program(first));
  t.is(outcome.error, undefined);
  t.deepEqual([...new Set(Object.values(outcome.operations).flat())], ["create"]);
  t.false(existsSync(at("updated.log")));
});

test.serial("create runs each command once and keeps what it prints", async (t) => {
  const outcome = await session.up(program(first));
  t.is(outcome.error, undefined);
  t.deepEqual(outcome.outputs, {
    // Exactly one line end is taken off.
    basic: "out\n",
    basicErr: "err",
    large: LARGE.length - 1,
    interpreter: "42",
    directory: "/",
    environment: "hello /overridden",
    updated: "created",
    recreated: "[]",
    nothing: "",
    secret: "correct horse",
  });
  t.true((await session.stack.outputs()).secret?.secret);
  t.false(session.stored().includes("correct horse"));

  const log = (name: string): string[] =>
    outcome.messages
      .filter((m) => m.resource === `logging-${name}` && m.severity === "info")
      .map((m) => `${m.ephemeral ? "" : "kept "}${m.text.trim()}`)
      .sort();
  t.deepEqual(log("stdout"), ["is-out"]);
  t.deepEqual(log("stderr"), ["is-err"]);
  t.deepEqual(log("stdoutAndStderr"), ["is-err", "is-out"]);
  t.deepEqual(log("unset"), ["is-err", "is-out"]);
  t.deepEqual(log("none"), []);
});

test.serial("without a change nothing is done, and a refresh finds nothing", async (t) => {
  t.deepEqual(
    [...new Set(Object.values((await session.refresh()).operations).flat())],
    ["refresh"],
  );
  const outcome = await session.up(program(first));
  t.deepEqual([...new Set(Object.values(outcome.operations).flat())], ["same"]);
  t.deepEqual(lines("updated.log"), ["create"]);
});

test.serial("a change updates or, of a trigger, replaces", async (t) => {
  const outcome = await session.up(program({ text: "two", trigger: "b", directory: "/tmp" }));
  t.is(outcome.error, undefined);
  t.deepEqual(outcome.operations.updated, ["update"]);
  t.deepEqual(outcome.operations.recreated, ["update"]);
  t.deepEqual(outcome.operations.directory, ["update"]);
  t.deepEqual(outcome.operations.triggered, ["create-replacement", "replace", "delete-replaced"]);
  t.deepEqual(lines("updated.log"), ["create", "update"]);
  t.deepEqual(lines("recreated.log"), ["create", "create"]);
  t.deepEqual(lines("triggered.log"), ["create-a", "create-b", "delete-a"]);
  t.is(outcome.outputs.updated, "created+");
  t.is(outcome.outputs.recreated, "[]");
  t.is(outcome.outputs.directory, "/tmp");
});

test.serial("destroy runs delete, with what was printed last", async (t) => {
  const outcome = await session.destroy();
  t.is(outcome.error, undefined);
  t.is(lines("updated.log").at(-1), "delete created+ e");
  t.is(lines("triggered.log").at(-1), "delete-b");
  t.deepEqual(lines("nothing.log"), ["delete"]);
});

// Not part of the life above: the engine sends no paths to be refreshed, so that these outputs are unusable after a refresh,
// with the official plugin as with ours.
test.serial("what a command leaves can be had as assets and as an archive", async (t) => {
  const outcome = await session.up(() => {
    const files = new local.Command("files", {
      create: "printf made >made.txt",
      dir: at("files"),
      assetPaths: ["assets/**", "src/**.js", "!**secret.*", "*.txt"],
      archivePaths: ["src/*"],
    });
    return Promise.resolve({
      assets: files.assets.apply((assets) => contents(assets)),
      archive: files.archive.apply(async (archive) => {
        const members = await (archive as pulumi.asset.AssetArchive | undefined)?.assets;
        return Object.keys(members ?? {}).sort();
      }),
    });
  });
  t.is(outcome.error, undefined);
  t.deepEqual(outcome.outputs, {
    assets: {
      "assets/logos/logo.svg": "assets/logos/logo.svg",
      "made.txt": "made",
      "src/index.js": "src/index.js",
    },
    archive: ["src/index.js", "src/secret.js"],
  });
  await session.destroy();
});

test.serial("a failure tells the command, its exit code and all it printed", async (t) => {
  const outcome = await session.up(
    () => {
      new local.Command("exit-code", { create: "echo before; echo why >&2; exit 3" });
      new local.Command("no-directory", { create: "true", dir: at("nowhere") });
      new local.Command("no-interpreter", { create: "true", interpreter: [at("nobody")] });
      return Promise.resolve();
    },
    { continueOnError: true },
  );
  t.regex(
    saying(outcome, "exit-code", "error"),
    /exit status 3: running "echo before; echo why >&2; exit 3":\n(before\nwhy|why\nbefore)\n/,
  );
  t.regex(saying(outcome, "no-directory", "error"), /nowhere: no such file or directory/);
  t.regex(saying(outcome, "no-interpreter", "error"), /nobody: no such file or directory/);
  t.deepEqual(await session.names(), []);
});

test.serial("run runs each time, in a preview too", async (t) => {
  const run = (): Promise<Record<string, unknown>> => {
    const result = local.runOutput({
      command: `${logged("run", "run")}; cat; pwd; echo $A; touch made`,
      stdin: "in\n",
      dir: at("files"),
      environment: { A: pulumi.secret("a secret") },
      assetPaths: ["made"],
      logging: "none",
    });
    return Promise.resolve({
      stdout: result.stdout,
      assets: result.assets?.apply((assets) => Object.keys(assets ?? {})),
    });
  };
  t.is((await session.preview(run)).error, undefined);
  t.deepEqual(lines("run.log"), ["run"]);
  const outcome = await session.up(run);
  t.deepEqual(outcome.outputs, {
    stdout: `in\n${at("files")}\na secret`,
    assets: ["made"],
  });
  t.true((await session.stack.outputs()).stdout?.secret);
  t.deepEqual(lines("run.log"), ["run", "run"]);
  // A failure is looked at in language-host.test.ts: it ends the program, which is part of this process here.
});

test.serial("standard input need not be read, and may come from a pipe", async (t) => {
  const digest = createHash("sha256").update(LARGE).digest("hex");
  const outcome = await session.up(() => {
    const unread = new local.Command("unread", { create: "echo done", stdin: LARGE });
    const piped = new local.Command("piped", {
      create: "sha256sum",
      stdin: unread.stdin.apply((s) => s ?? ""),
    });
    return Promise.resolve({ unread: unread.stdout, piped: piped.stdout });
  });
  t.deepEqual(outcome.outputs, { unread: "done", piped: `${digest}  -` });
  await session.destroy();
});

(ours ? test.serial : test.serial.skip)(
  // The official plugin ends only the shell, and then waits for what the shell has started.
  "a time limit ends a command with all that it has started",
  async (t) => {
    const outcome = await session.up(() => {
      new local.Command(
        "endless",
        { create: `sleep 300 & echo $! >${at("endless.pid")}; wait` },
        { customTimeouts: { create: "2s" } },
      );
      return Promise.resolve();
    });
    t.regex(saying(outcome, "endless", "error"), /context deadline exceeded/);
    t.true(outcome.milliseconds < 20_000, `took ${outcome.milliseconds} ms`);
    const pid = Number(lines("endless.pid")[0]);
    t.true(await eventually(() => !isAlive(pid), 5_000));
  },
);
