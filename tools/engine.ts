import { spawn } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";

/** The engine on this program, in a project folder that is nobody's: for plans that shall change nothing. */

export interface Outcome {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Makes a folder the project of a checkout, by links but for what Pulumi writes to. Stack files are left out. */
export function linkProject(checkout: string, folder: string): void {
  fs.mkdirSync(folder);
  for (const name of fs.readdirSync(checkout)) {
    const [from, to] = [path.join(checkout, name), path.join(folder, name)];
    if (name === "Pulumi.yaml") fs.copyFileSync(from, to);
    else if (!name.startsWith(".") && !name.startsWith("Pulumi.")) fs.symlinkSync(from, to);
  }
}

/** The environment of a person, with a state backend, a passphrase and a lab's folder that are not theirs. */
export function ownEnvironment(
  own: Readonly<{ backend: string; labState: string; passphrase: string }>,
): NodeJS.ProcessEnv {
  const environment: NodeJS.ProcessEnv = {
    ...process.env,
    OPENSTACK_HA_STATE: own.labState,
    PULUMI_BACKEND_URL: `file://${own.backend}`,
    PULUMI_CONFIG_PASSPHRASE: own.passphrase,
    PULUMI_SKIP_UPDATE_CHECK: "true",
  };
  for (const name of ["PULUMI_ACCESS_TOKEN", "PULUMI_CONFIG_PASSPHRASE_FILE", "SSH_AUTH_SOCK"]) {
    Reflect.deleteProperty(environment, name);
  }
  return environment;
}

/**
 * Runs pulumi in a project's folder; a wrapper comes before it on the command line.
 * @throws Error if there is no such program.
 */
export function runPulumi(
  folder: string,
  environment: NodeJS.ProcessEnv,
  wrapper: readonly string[],
  args: readonly string[],
): Promise<Outcome> {
  // A wrapper may have gone elsewhere.
  const common = ["--cwd", folder, "--non-interactive", "--color", "never"];
  const [program, ...rest] = [...wrapper, "pulumi", ...common, ...args];
  const child = spawn(program!, rest, {
    cwd: folder,
    env: environment,
    stdio: ["ignore", "pipe", "pipe"],
  });
  let stdout = "";
  let stderr = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => (stdout += text));
  child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
  return new Promise((resolve, reject) => {
    child.on("error", () => {
      reject(new Error(`wanted ${program!} on the PATH, found none; run: eval "$(tools/env)"`));
    });
    child.on("close", (status) => {
      resolve({ status, stdout, stderr });
    });
  });
}
