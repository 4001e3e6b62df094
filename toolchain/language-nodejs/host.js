// @ts-check
"use strict";

// The Node language host of the Pulumi engine: runs programs, policy packs and Node plugins as the official one does. The engine
// starts it with its own address as the argument, reads a port from its standard output, and then calls it.

const { spawn } = require("node:child_process");
const fs = require("node:fs");
const path = require("node:path");
const grpc = require("@grpc/grpc-js");
const { Empty } = require("google-protobuf/google/protobuf/empty_pb.js");
const { LanguageRuntimeService } = require("@pulumi/pulumi/proto/language_grpc_pb.js");
const language = require("@pulumi/pulumi/proto/language_pb.js");
const plugin = require("@pulumi/pulumi/proto/plugin_pb.js");
const { version } = require("./package.json");

/**
 * @typedef {import("node:child_process").ChildProcess} ChildProcess
 * @typedef {{ directory: string, entryPoint: string, options: Record<string, unknown> }} Program
 * @typedef {{ typescript: boolean, nodeArgs: string[], tsconfig: string | undefined, packageManager: string | undefined }} Options
 * @typedef {{ code: number | null, signal: NodeJS.Signals | null }} Ending
 */

// The code by which a program says that it has already told the user what is wrong.
const EXIT_REPORTED = 32;
const GRACE_MS = 3000;
const PARENT_POLL_MS = 500;

const SDK_MISSING =
  "It looks like the Pulumi SDK has not been installed. Have you run npm install or yarn install?";

/** An error to be shown to the user as it is. */
class UserError extends Error {}

/** @type {Set<ChildProcess>} */
const children = new Set();
let cancelled = false;

/** @param {ChildProcess} child */
function end(child) {
  child.kill("SIGTERM");
  setTimeout(() => child.kill("SIGKILL"), GRACE_MS).unref();
}

/**
 * @param {string} command
 * @param {readonly string[]} args
 * @param {import("node:child_process").SpawnOptions} options
 */
function start(command, args, options) {
  const child = spawn(command, args, options);
  children.add(child);
  /** @type {Promise<Ending>} */
  const ended = new Promise((resolve, reject) => {
    child.once("error", (error) => {
      children.delete(child);
      reject(error);
    });
    // "close" and not "exit": all output has arrived by then.
    child.once("close", (code, signal) => {
      children.delete(child);
      resolve({ code, signal });
    });
  });
  if (cancelled) end(child);
  return { child, ended };
}

/** @param {import("@pulumi/pulumi/proto/language_pb").ProgramInfo | undefined} info */
function programOf(info) {
  if (info === undefined) throw new UserError("missing program info");
  /** @type {Program} */
  const program = {
    directory: info.getProgramDirectory(),
    entryPoint: info.getEntryPoint(),
    options: /** @type {Record<string, unknown>} */ (info.getOptions()?.toJavaScript() ?? {}),
  };
  return program;
}

/**
 * @param {Record<string, unknown>} given
 * @returns {Options}
 */
function optionsOf(given) {
  /**
   * @param {string} name
   * @param {"string" | "boolean"} type
   */
  const read = (name, type) => {
    const value = given[name];
    if (value !== undefined && value !== null && typeof value !== type) {
      throw new UserError(`${name} option must be a ${type}, got ${JSON.stringify(value)}`);
    }
    return value ?? undefined;
  };
  return {
    typescript: /** @type {boolean | undefined} */ (read("typescript", "boolean")) ?? true,
    nodeArgs: words(/** @type {string | undefined} */ (read("nodeargs", "string")) ?? ""),
    tsconfig: /** @type {string | undefined} */ (read("tsconfig", "string")),
    packageManager: /** @type {string | undefined} */ (read("packagemanager", "string")),
  };
}

/**
 * Splits a command line into words, with quotes and backslashes as in a shell.
 * @param {string} line
 */
function words(line) {
  /** @type {string[]} */
  const result = [];
  const word = /(?:[^\s"'\\]|\\[^]|"(?:[^"\\]|\\[^])*"|'[^']*')+/g;
  const part = /\\([^])|"((?:[^"\\]|\\[^])*)"|'([^']*)'/g;
  for (const match of line.match(word) ?? []) {
    result.push(
      match.replace(
        part,
        (_, escaped, double, single) => escaped ?? single ?? double.replace(/\\(["\\$`])/g, "$1"),
      ),
    );
  }
  return result;
}

/**
 * @param {string} module
 * @param {string} directory
 */
function resolveFrom(module, directory) {
  try {
    return require.resolve(module, { paths: [directory] });
  } catch {
    throw new UserError(SDK_MISSING);
  }
}

/** @param {Options} options */
function runtimeEnvironment(options) {
  /** @type {NodeJS.ProcessEnv} */
  const env = {};
  if (options.typescript) env.PULUMI_NODEJS_TYPESCRIPT = "true";
  if (options.tsconfig) env.PULUMI_NODEJS_TSCONFIG_PATH = options.tsconfig;
  return env;
}

/**
 * The runtime wants "namespace:name"; the engine may say "namespace:config:name".
 * @param {import("google-protobuf").Map<string, string>} map
 */
function configOf(map) {
  /** @type {Record<string, string>} */
  const config = {};
  map.forEach((value, key) => {
    config[key.replace(/^([^:]*):config:/, "$1:")] = value;
  });
  return JSON.stringify(config);
}

/**
 * @param {string} engine
 * @param {import("@grpc/grpc-js").ServerUnaryCall<import("@pulumi/pulumi/proto/language_pb").RunRequest, unknown>} call
 */
async function run(engine, call) {
  const request = call.request;
  const response = new language.RunResponse();
  try {
    const info = request.getInfo();
    const program = programOf(info);
    const options = optionsOf(program.options);
    const runner = process.env.PULUMI_LANGUAGE_NODEJS_RUN_PATH ?? "@pulumi/pulumi/cmd/run";
    /** @type {string[]} */
    const flags = [];
    /** @type {(name: string, value: string | number | undefined) => void} */
    const flag = (name, value) => {
      if (value !== undefined && value !== "") flags.push(`--${name}`, String(value));
    };
    flag("monitor", request.getMonitorAddress());
    flag("engine", engine);
    flag("organization", request.getOrganization());
    flag("project", request.getProject());
    flag("root-directory", info?.getRootDirectory());
    flag("stack", request.getStack());
    flag("pwd", request.getPwd());
    if (request.getDryrun()) flags.push("--dry-run");
    flag("parallel", request.getParallel());
    const { child, ended } = start(
      process.execPath,
      [
        ...options.nodeArgs,
        ...(request.getAttachDebugger() ? ["--inspect-brk=0"] : []),
        resolveFrom(runner, program.directory),
        ...flags,
        program.entryPoint || ".",
        ...request.getArgsList(),
      ],
      {
        cwd: program.directory,
        stdio: ["ignore", "inherit", "inherit"],
        env: {
          ...process.env,
          ...runtimeEnvironment(options),
          PULUMI_CONFIG: configOf(request.getConfigMap()),
          PULUMI_CONFIG_SECRET_KEYS: JSON.stringify(request.getConfigsecretkeysList()),
        },
      },
    );
    call.on("cancelled", () => end(child));
    const { code, signal } = await ended;
    if (code === EXIT_REPORTED) response.setBail(true);
    else if (signal !== null) response.setError(`Program was ended by the signal ${signal}`);
    else if (code !== 0) response.setError(`Program exited with non-zero exit code: ${code}`);
  } catch (error) {
    response.setError(messageOf(error));
  }
  return response;
}

/**
 * Sends the output of a child process as messages, each carrying one piece.
 * @template {{ setStdout(b: Uint8Array): unknown, setStderr(b: Uint8Array): unknown }} Message
 * @param {import("@grpc/grpc-js").ServerWritableStream<unknown, Message>} call
 * @param {ChildProcess} child
 * @param {() => Message} message
 */
function forward(call, child, message) {
  call.on("cancelled", () => end(child));
  child.stdout?.on("data", (/** @type {Buffer} */ data) => {
    const piece = message();
    piece.setStdout(data);
    call.write(piece);
  });
  child.stderr?.on("data", (/** @type {Buffer} */ data) => {
    const piece = message();
    piece.setStderr(data);
    call.write(piece);
  });
}

/**
 * @param {import("@grpc/grpc-js").ServerWritableStream<
 *   import("@pulumi/pulumi/proto/language_pb").RunPluginRequest,
 *   import("@pulumi/pulumi/proto/language_pb").RunPluginResponse>} call
 */
async function runPlugin(call) {
  const request = call.request;
  const program = programOf(request.getInfo());
  const options = optionsOf(program.options);
  const isPolicyPack = request.getKind() === "analyzer";
  const runner = isPolicyPack ? "run-policy-pack" : "run-plugin";
  const runPath = resolveFrom(`@pulumi/pulumi/cmd/${runner}`, program.directory);
  const args = isPolicyPack
    ? [...request.getArgsList(), program.directory]
    : [program.directory, ...request.getArgsList()];
  /** @type {NodeJS.ProcessEnv} */
  const env = {};
  for (const variable of request.getEnvList()) {
    const at = variable.indexOf("=");
    if (at > 0) env[variable.slice(0, at)] = variable.slice(at + 1);
  }
  const { child, ended } = start(process.execPath, [...options.nodeArgs, runPath, ...args], {
    // A policy pack reads files of its own; a plugin's working directory is for the engine to say.
    cwd: isPolicyPack ? program.directory : request.getPwd() || program.directory,
    stdio: ["ignore", "pipe", "pipe"],
    env: {
      ...(request.getEnvList().length > 0 ? env : process.env),
      ...runtimeEnvironment(options),
    },
  });
  forward(call, child, () => new language.RunPluginResponse());
  const { code } = await ended;
  const last = new language.RunPluginResponse();
  // Ended by a signal, for which there is no code.
  last.setExitcode(code ?? 255);
  call.write(last);
}

/** @param {string} directory */
function packageManagerOf(directory) {
  const locks = { "pnpm-lock.yaml": "pnpm", "yarn.lock": "yarn" };
  for (const [file, manager] of Object.entries(locks)) {
    if (fs.existsSync(path.join(directory, file))) return manager;
  }
  return "npm";
}

/**
 * @param {import("@grpc/grpc-js").ServerWritableStream<
 *   import("@pulumi/pulumi/proto/language_pb").InstallDependenciesRequest,
 *   import("@pulumi/pulumi/proto/language_pb").InstallDependenciesResponse>} call
 */
async function installDependencies(call) {
  const directory = call.request.getDirectory();
  const options = optionsOf(call.request.getInfo()?.getOptions()?.toJavaScript() ?? {});
  const manager = options.packageManager ?? packageManagerOf(directory);
  // "ci" installs exactly what the lock file says, but starts by removing what is there.
  const fresh =
    fs.existsSync(path.join(directory, "package-lock.json")) &&
    !fs.existsSync(path.join(directory, "node_modules"));
  const args = manager === "npm" ? [fresh ? "ci" : "install", "--loglevel=error"] : ["install"];
  const { child, ended } = start(manager, args, {
    cwd: directory,
    stdio: ["ignore", "pipe", "pipe"],
  });
  forward(call, child, () => new language.InstallDependenciesResponse());
  const { code } = await ended;
  if (code !== 0)
    throw new UserError(`${manager} ${args[0]} failed in ${directory} with exit code ${code}`);
}

/** @param {string} file */
function readJson(file) {
  return /** @type {Record<string, any>} */ (JSON.parse(fs.readFileSync(file, "utf8")));
}

/** @param {import("@pulumi/pulumi/proto/language_pb").GetProgramDependenciesRequest} request */
function programDependencies(request) {
  const { directory } = programOf(request.getInfo());
  const manifest = readJson(path.join(directory, "package.json"));
  const response = new language.GetProgramDependenciesResponse();
  for (const name of Object.keys({
    ...manifest.devDependencies,
    ...manifest.dependencies,
  }).sort()) {
    const installed = path.join(directory, "node_modules", name, "package.json");
    const found = fs.existsSync(installed) ? String(readJson(installed).version) : "not installed";
    const dependency = new language.DependencyInfo();
    dependency.setName(name);
    dependency.setVersion(found);
    response.addDependencies(dependency);
  }
  return response;
}

function about() {
  const response = new language.AboutResponse();
  response.setExecutable(process.execPath);
  response.setVersion(process.version);
  return response;
}

function pluginInfo() {
  const response = new plugin.PluginInfo();
  response.setVersion(version);
  return response;
}

function cancel() {
  cancelled = true;
  children.forEach(end);
  return new Empty();
}

/** @param {unknown} error */
function messageOf(error) {
  if (error instanceof UserError) return error.message;
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}

/** @param {unknown} error */
function statusOf(error) {
  return { code: grpc.status.UNKNOWN, details: messageOf(error) };
}

/**
 * Makes a gRPC method of a function that returns or promises the answer.
 * @param {(call: any) => unknown} handler
 */
function unary(handler) {
  /** @type {import("@grpc/grpc-js").handleUnaryCall<any, any>} */
  const method = (call, callback) => {
    Promise.resolve()
      .then(() => handler(call))
      .then(
        (value) => {
          callback(null, value);
        },
        (error) => {
          callback(statusOf(error));
        },
      );
  };
  return method;
}

/**
 * Makes a gRPC method of a function that writes to the call.
 * @param {(call: any) => Promise<void>} handler
 */
function streaming(handler) {
  return (/** @type {any} */ call) => {
    handler(call).then(
      () => call.end(),
      (error) => call.emit("error", statusOf(error)),
    );
  };
}

/**
 * Ends this host and its children when the engine has died without a word. The engine makes each host the leader of a process
 * group, to which its children belong.
 */
function watchParent() {
  const parent = process.ppid;
  if (parent <= 1) return;
  setInterval(() => {
    if (process.ppid === parent) return;
    try {
      process.kill(-process.pid, "SIGKILL");
    } catch {
      children.forEach((child) => child.kill("SIGKILL"));
    }
    process.exit(1);
  }, PARENT_POLL_MS).unref();
}

function main() {
  // The address is the last argument; before it there may be flags for logs and traces.
  const engine = process.argv
    .slice(2)
    .filter((arg) => !arg.startsWith("-"))
    .at(-1);
  if (engine === undefined) {
    process.stderr.write(
      "pulumi-language-nodejs: is started by the engine, with its address as the argument\n",
    );
    process.exit(1);
  }
  watchParent();
  const server = new grpc.Server({
    "grpc.max_receive_message_length": -1,
    "grpc.max_send_message_length": -1,
  });
  server.addService(LanguageRuntimeService, {
    handshake: unary(() => new language.LanguageHandshakeResponse()),
    getPluginInfo: unary(pluginInfo),
    // Plugins are found when they are used. To name them here would make the engine try to download them.
    getRequiredPackages: unary(() => new language.GetRequiredPackagesResponse()),
    getRequiredPlugins: unary(() => new language.GetRequiredPluginsResponse()),
    run: unary((call) => run(engine, call)),
    runPlugin: streaming(runPlugin),
    installDependencies: streaming(installDependencies),
    runtimeOptionsPrompts: unary(() => new language.RuntimeOptionsResponse()),
    template: unary(() => new language.TemplateResponse()),
    about: unary(about),
    getProgramDependencies: unary((call) => programDependencies(call.request)),
    cancel: unary(cancel),
  });
  server.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), (error, port) => {
    if (error) {
      process.stderr.write(`pulumi-language-nodejs: ${error.message}\n`);
      process.exit(1);
    }
    process.stdout.write(`${port}\n`);
  });
}

main();
