import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";

/** Tempest in a Python environment of its own, in the cache: made once for its requirements and a Python, then reused. */

const REQUIREMENTS = path.join(__dirname, "requirements.txt");

/** What the requirements have wheels for. */
const OLDEST = 10;
const NEWEST = 13;

export interface Python {
  readonly command: string;
  /** Such as 3.11. */
  readonly version: string;
}

/** A Python that the requirements fit, Debian's own first. */
export function findPython(): Python | undefined {
  const minors = Array.from({ length: NEWEST - OLDEST + 1 }, (_, i) => `python3.${NEWEST - i}`);
  for (const command of ["/usr/bin/python3", "python3", ...minors]) {
    const asked = run(command, [
      "-c",
      "import sys; print('%d.%d' % sys.version_info[:2], sys.version.split()[0])",
    ]);
    const [version = ""] = asked.stdout.trim().split(" ");
    const [major, minor] = version.split(".").map(Number);
    if (asked.ok && major === 3 && minor! >= OLDEST && minor! <= NEWEST) {
      return { command, version };
    }
  }
  return undefined;
}

/** Where the environment of a Python is, whether or not it has been made. */
export function venvFolder(python: Python): string {
  const key = createHash("sha256")
    .update(fs.readFileSync(REQUIREMENTS))
    .update(`${python.version} ${process.platform} ${process.arch}`)
    .digest("hex")
    .slice(0, 16);
  return path.join(cache(), key);
}

/** The environment's Python, if the environment is there and works. */
export function readyPython(): string | undefined {
  const python = findPython();
  if (!python) return undefined;
  const program = path.join(venvFolder(python), "bin/python");
  return run(program, ["-c", "import tempest.cmd.main"]).ok ? program : undefined;
}

/** The environment's Python; the environment is made if need be. */
export function ensurePython(): string {
  const ready = readyPython();
  if (ready !== undefined) return ready;
  const python = findPython() ?? installed(["python3", "python3-venv"], findPython);
  if (!python) {
    throw new Error(
      `Python: wanted 3.${OLDEST} to 3.${NEWEST} on PATH, found none; install one of them`,
    );
  }
  const whole = (): true | undefined =>
    run(python.command, ["-c", "import ensurepip, venv"]).ok || undefined;
  if (!whole() && !installed(["python3-venv"], whole)) {
    throw new Error(
      `${python.command}: wanted its modules venv and ensurepip, found none; install python3-venv`,
    );
  }
  const folder = venvFolder(python);
  fs.mkdirSync(cache(), { recursive: true });
  const made = fs.mkdtempSync(path.join(cache(), ".new-"));
  try {
    console.error(`tempest: downloading it for Python ${python.version}`);
    must(python.command, ["-m", "venv", made]);
    // Wheels only: nothing is built, so nothing is downloaded that requirements.txt does not name.
    const pip = ["-m", "pip", "--disable-pip-version-check", "--no-input", "--quiet", "install"];
    const exactly = ["--no-deps", "--only-binary", ":all:", "--requirement", REQUIREMENTS];
    must(path.join(made, "bin/python"), [...pip, ...exactly]);
    // One that was here does not work any more, or another run was faster with the same.
    fs.rmSync(folder, { recursive: true, force: true });
    // Programs are started as modules of its Python, so it may move.
    fs.renameSync(made, folder);
  } finally {
    fs.rmSync(made, { recursive: true, force: true });
  }
  return path.join(folder, "bin/python");
}

/** Install Debian packages where that is possible, and ask again. */
export function installed<T>(packages: readonly string[], ask: () => T | undefined): T | undefined {
  if (process.getuid?.() !== 0 || !run("apt-get", ["--version"]).ok) return undefined;
  console.error(`installing ${packages.join(" ")}`);
  const install = ["install", "-qq", "-y", "--no-install-recommends", ...packages];
  const environment = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
  const apt = (args: readonly string[]): boolean =>
    spawnSync("apt-get", args, { env: environment, stdio: ["ignore", "ignore", "inherit"] })
      .status === 0;
  // Its lists may be older than the mirror.
  if (!apt(install) && apt(["update", "-qq"])) apt(install);
  return ask();
}

/** Without what would have Python look elsewhere for its modules. */
export function pythonEnvironment(): NodeJS.ProcessEnv {
  const kept = Object.entries(process.env).filter(
    ([name]) => name !== "PYTHONPATH" && name !== "PYTHONHOME",
  );
  return { ...Object.fromEntries(kept), PYTHONNOUSERSITE: "1" };
}

function cache(): string {
  const { OPENSTACK_HA_CACHE, XDG_CACHE_HOME } = process.env;
  const base = XDG_CACHE_HOME ?? path.join(os.homedir(), ".cache");
  return path.join(OPENSTACK_HA_CACHE ?? path.join(base, "openstack-ha"), "tempest");
}

function run(command: string, args: readonly string[]): { ok: boolean; stdout: string } {
  const done = spawnSync(command, args, {
    encoding: "utf8",
    env: pythonEnvironment(),
    stdio: ["ignore", "pipe", "ignore"],
  });
  return { ok: done.status === 0, stdout: done.status === 0 ? done.stdout : "" };
}

function must(command: string, args: readonly string[]): void {
  const done = spawnSync(command, args, {
    env: pythonEnvironment(),
    stdio: ["ignore", "ignore", "inherit"],
  });
  if (done.status !== 0) {
    throw new Error(
      `tempest: wanted its environment made, found an error of ${args[1] ?? command}`,
    );
  }
}
