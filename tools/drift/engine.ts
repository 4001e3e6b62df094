import { spawn } from "node:child_process";
import { ROOT, type StateResource } from "../stack";

/** Pulumi's engine, for what a scan reads of the cloud's API and for a repair. */

/** What `pulumi preview --json` says, as far as it is looked at. */
export interface Digest {
  readonly steps?: readonly {
    readonly op: string;
    readonly urn: string;
    readonly oldState?: Pick<StateResource, "inputs">;
    readonly newState?: Pick<StateResource, "inputs">;
    readonly diffReasons?: readonly string[];
  }[];
  readonly diagnostics?: readonly { readonly severity: string; readonly message: string }[];
}

/**
 * What a pulumi says on standard output. Without a limit it is for people, and goes to theirs.
 * @throws PulumiError
 */
export function pulumi(args: readonly string[], limitSeconds?: number): Promise<string> {
  const io = limitSeconds === undefined ? "inherit" : "pipe";
  return new Promise((resolve, reject) => {
    const child = spawn("pulumi", ["--non-interactive", ...args], {
      cwd: ROOT,
      stdio: ["ignore", io, io],
      ...(limitSeconds === undefined ? {} : { timeout: limitSeconds * 1000 }),
    });
    let out = "";
    let err = "";
    child.stdout?.setEncoding("utf8").on("data", (text: string) => (out += text));
    child.stderr?.setEncoding("utf8").on("data", (text: string) => (err += text));
    child.on("error", reject);
    child.on("close", (code) => {
      if (code === 0) resolve(out);
      else reject(new PulumiError(args[0] ?? "", code, out, err));
    });
  });
}

/** It ended badly: the message is its first error, if it named one. */
export class PulumiError extends Error {
  constructor(verb: string, code: number | null, stdout: string, stderr: string) {
    const ended = code === null ? "took too long" : `ended with code ${code}`;
    super(
      [`pulumi ${verb} ${ended}`, firstError(stdout) ?? stderr.trim().split("\n").pop()]
        .filter(Boolean)
        .join(": "),
    );
  }
}

function firstError(stdout: string): string | undefined {
  try {
    const { diagnostics = [] } = JSON.parse(stdout) as Digest;
    const message = diagnostics.find(({ severity }) => severity === "error")?.message;
    return message
      ?.replace(/<\{%[^%]*%\}>/g, "")
      .replace(/\s+/g, " ")
      .trim();
  } catch {
    return undefined;
  }
}
