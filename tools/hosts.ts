import { spawn } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import { asRoot, RUNNER } from "../components/document";
import type { HostConfig } from "../config";
import { cloudFolder } from "./stack";

/** How the tools ask hosts: one connection each, through the runner's check mode, which changes nothing. */

export interface Difference {
  /** What is as it is not planned: see the head of scripts/lib/step.py. */
  readonly kind: "file" | "directory" | "state" | "health" | "error";
  readonly what: string;
  readonly found: string;
}

/** What the runner says of one document. */
export interface CheckResult {
  readonly service: string;
  readonly stage: string;
  readonly host: string;
  readonly differences: readonly Difference[];
  /** What is worth knowing where all is well. */
  readonly facts: readonly string[];
}

/** The host was not reached, or its runner did not answer. */
export class HostError extends Error {
  constructor(
    message: string,
    /** Of ssh: 255 is its own, all others are the command's. Null if it took too long. */
    readonly code: number | null,
  ) {
    super(message);
  }
}

const SSH_FAILED = 255;

/** Whether ssh did not get to the host at all. */
export function isUnreached(error: unknown): error is HostError {
  return error instanceof HostError && error.code === SSH_FAILED;
}

/** Whether it was the host's runner that failed, and not the way to the host. */
export function isRunnerFailure(error: unknown): error is HostError {
  return error instanceof HostError && error.code !== null && error.code !== SSH_FAILED;
}

/** @throws Error that says how to get the files that ssh needs. */
export function needHostFiles(stack: string): void {
  if (fs.existsSync(sshConfig(stack))) return;
  throw new Error(
    `there are no files of ${stack} in ${path.relative(process.cwd(), cloudFolder(stack))}; ` +
      "run `npm run up`, or `npm run outputs` if the cloud exists",
  );
}

/**
 * Have a host check documents, all over one connection.
 * @throws HostError
 */
export async function checkOnHost(
  stack: string,
  host: Pick<HostConfig, "name" | "ssh">,
  documents: readonly unknown[],
  limitSeconds: number,
): Promise<CheckResult[]> {
  // 0: all is as planned; 3: something is not, and the answer says what.
  const answer = await onHost(stack, host, `${RUNNER} --check`, {
    input: JSON.stringify(documents),
    good: [0, 3],
    limitSeconds,
  });
  return JSON.parse(answer) as CheckResult[];
}

/**
 * Standard output of a command on a host, run as root.
 * @throws HostError
 */
export function onHost(
  stack: string,
  host: Pick<HostConfig, "name" | "ssh">,
  command: string,
  options: {
    readonly input?: string;
    readonly good?: readonly number[];
    readonly limitSeconds: number;
  },
): Promise<string> {
  const { input = "", good = [0], limitSeconds } = options;
  return new Promise((resolve, reject) => {
    const child = spawn("ssh", ["-F", sshConfig(stack), host.name, asRoot(host, command)], {
      timeout: 1000 * limitSeconds,
    });
    let out = "";
    let err = "";
    child.stdout.setEncoding("utf8").on("data", (data: string) => (out += data));
    child.stderr.setEncoding("utf8").on("data", (data: string) => (err += data));
    child.on("error", reject);
    child.on("close", (code) => {
      if (code !== null && good.includes(code)) resolve(out);
      else {
        const said = code === null ? `no answer within ${limitSeconds} s` : lastLine(err);
        reject(new HostError(said || `ssh ended with code ${String(code)}`, code));
      }
    });
    child.stdin.on("error", () => undefined);
    child.stdin.end(input);
  });
}

function lastLine(text: string): string {
  return text.trim().split("\n").pop() ?? "";
}

function sshConfig(stack: string): string {
  return path.join(cloudFolder(stack), "ssh_config");
}
