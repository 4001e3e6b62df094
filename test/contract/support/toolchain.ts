import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";

export const repository = resolve(__dirname, "../../..");

type Environment = Record<string, string>;

function readEnvironment(): Environment {
  const script = 'set -e; exports=$("$1" env); eval "$exports"; exec env -0';
  const toolchain = join(repository, "toolchain/toolchain");
  const output = execFileSync("bash", ["-c", script, "bash", toolchain], {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "inherit"],
  });
  const env: Environment = {};
  for (const entry of output.split("\0")) {
    const at = entry.indexOf("=");
    if (at > 0) env[entry.slice(0, at)] = entry.slice(at + 1);
  }
  // Would be dialled by each SSH connection, whether it needs it or not.
  delete env.SSH_AUTH_SOCK;
  return env;
}

/** The environment in which `pulumi` is the one of the toolchain. */
export const environment: Readonly<Environment> = readEnvironment();

// The Automation API looks for `pulumi` with the variables of this process.
process.env.PATH = environment.PATH;

/**
 * Whether the plugins and the language host are this repository's. The tests of what ours do on purpose beyond the official
 * ones run only then; all others hold for both.
 */
export const ours = environment.PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION === "true";

/** A folder for one test file, and how to remove it. */
export function temporaryFolder(name: string): { path: string; remove: () => void } {
  const path = mkdtempSync(join(tmpdir(), `contract-${name}-`));
  return {
    path,
    remove: () => {
      rmSync(path, { recursive: true, force: true });
    },
  };
}

export function sleep(milliseconds: number): Promise<void> {
  return new Promise((done) => setTimeout(done, milliseconds));
}

/** Asks until the answer is yes, and says whether it was in time. */
export async function eventually(
  condition: () => boolean | Promise<boolean>,
  milliseconds: number,
): Promise<boolean> {
  const end = Date.now() + milliseconds;
  while (!(await condition())) {
    if (Date.now() > end) return false;
    await sleep(50);
  }
  return true;
}

export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
  } catch {
    return false;
  }
  // A zombie that nobody has waited for yet is as dead as can be.
  try {
    const stat = execFileSync("ps", ["-o", "stat=", "-p", String(pid)], { encoding: "utf8" });
    return !stat.startsWith("Z");
  } catch {
    return false;
  }
}
