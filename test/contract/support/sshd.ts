import { execFileSync, spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import type { AddressInfo, Server } from "node:net";
import { connect } from "node:net";
import { userInfo } from "node:os";
import { join } from "node:path";
import { eventually } from "./toolchain";

export const user = userInfo().username;

const SSHD = "/usr/sbin/sshd";

/** Puts the SSH server on the machine if it is missing, without starting the machine's own. */
function needSshd(): void {
  if (existsSync(SSHD)) return;
  if (process.getuid?.() !== 0) throw new Error(`${SSHD} is missing; install openssh-server`);
  // Exit code 101 forbids the package to start services while it is installed.
  const policy = "/usr/sbin/policy-rc.d";
  const script = `
    set -e
    [ -e ${policy} ] || { printf '#!/bin/sh\\nexit 101\\n' >${policy}; chmod 755 ${policy}; trap 'rm -f ${policy}' EXIT; }
    apt-get update
    DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends openssh-server`;
  execFileSync("sh", ["-c", script], { stdio: ["ignore", "ignore", "pipe"] });
}

export interface Key {
  private: string;
  public: string;
}

export function generateKey(file: string, type = "ed25519", passphrase = ""): Key {
  execFileSync("ssh-keygen", ["-q", "-t", type, "-N", passphrase, "-C", "contract", "-f", file]);
  return {
    private: readFileSync(file, "utf8"),
    public: readFileSync(`${file}.pub`, "utf8").trim(),
  };
}

export async function freePort(): Promise<number> {
  const server = createServer();
  const { port } = await listen(server);
  await new Promise((done) => server.close(done));
  return port;
}

export function listen(server: Server): Promise<AddressInfo> {
  return new Promise((done, failed) => {
    server.once("error", failed);
    server.listen(0, "127.0.0.1", () => {
      done(server.address() as AddressInfo);
    });
  });
}

export interface SshServer {
  port: number;
  /** The host's public key. */
  hostKey: Key;
  stop(): void;
}

export interface SshServerOptions {
  authorized: readonly string[];
  port?: number;
  hostKeyType?: string;
  /** More lines for the configuration. */
  config?: readonly string[];
  /** What to run the server with, by default nothing. */
  wrapper?: readonly string[];
}

/** Starts an SSH server of the current user's own, on loopback. */
export async function startSshd(folder: string, options: SshServerOptions): Promise<SshServer> {
  needSshd();
  // The privilege separation folder of the package, which a boot would make.
  if (process.getuid?.() === 0) mkdirSync("/run/sshd", { recursive: true });
  mkdirSync(folder, { recursive: true });
  const hostKey = generateKey(join(folder, "host"), options.hostKeyType);
  const port = options.port ?? (await freePort());
  const authorizedKeys = join(folder, "authorized_keys");
  writeFileSync(authorizedKeys, `${options.authorized.join("\n")}\n`);
  const config = join(folder, "sshd_config");
  const lines = [
    `Port ${port}`,
    "ListenAddress 127.0.0.1",
    `HostKey ${join(folder, "host")}`,
    `AuthorizedKeysFile ${authorizedKeys}`,
    "PidFile none",
    // The folder is below a world-writable one.
    "StrictModes no",
    "UsePAM no",
    "PermitRootLogin yes",
    "PrintMotd no",
    "MaxStartups 200",
    // A shell that is not the first reads no .bashrc, which may print what is not the command's.
    "SetEnv SHLVL=2",
    "AcceptEnv GREETING PULUMI_COMMAND_STDOUT PULUMI_COMMAND_STDERR",
    "Subsystem sftp internal-sftp",
    ...(options.config ?? []),
  ];
  writeFileSync(config, `${lines.join("\n")}\n`);
  const args = [...(options.wrapper ?? []), SSHD, "-D", "-e", "-f", config];
  let log = "";
  // Ends with the test, however that ends.
  const child = spawn("setpriv", ["--pdeathsig", "KILL", ...args], {
    stdio: ["ignore", "ignore", "pipe"],
  });
  child.stderr.on("data", (data: Buffer) => (log += data.toString()));
  if (!(await eventually(() => child.exitCode === null && accepts(port), 10_000))) {
    child.kill();
    throw new Error(`sshd does not answer on port ${port}: ${log}`);
  }
  return {
    port,
    hostKey,
    stop: () => child.kill(),
  };
}

function accepts(port: number): Promise<boolean> {
  return new Promise((done) => {
    const socket = connect(port, "127.0.0.1");
    socket.once("connect", () => {
      socket.destroy();
      done(true);
    });
    socket.once("error", () => {
      done(false);
    });
  });
}

export interface Agent {
  socket: string;
  stop(): void;
}

/** Starts an SSH agent that holds one key. */
export async function startAgent(folder: string, keyFile: string): Promise<Agent> {
  const socket = join(folder, "agent.sock");
  const child: ChildProcess = spawn(
    "setpriv",
    ["--pdeathsig", "KILL", "ssh-agent", "-D", "-a", socket],
    { stdio: "ignore" },
  );
  if (!(await eventually(() => existsSync(socket), 5_000)))
    throw new Error("ssh-agent did not start");
  execFileSync("ssh-add", ["-q", keyFile], {
    env: { ...process.env, SSH_AUTH_SOCK: socket },
    stdio: "ignore",
  });
  return { socket, stop: () => child.kill() };
}

/**
 * How to run a server that knows one more user, who may log in by password: in a mount namespace, so that the machine keeps
 * its users. Undefined if this is not possible, for want of rights.
 */
export function withPasswordUser(
  folder: string,
  name: string,
  password: string,
): readonly string[] | undefined {
  try {
    execFileSync("unshare", ["--mount", "true"], { stdio: "ignore" });
    const hash = execFileSync("openssl", ["passwd", "-6", "-stdin"], {
      input: password,
      encoding: "utf8",
    });
    const { uid, gid } = userInfo();
    if (uid !== 0) return undefined;
    mkdirSync(folder, { recursive: true });
    // A uid of its own would need a home and a right to every folder on the way to it.
    const files = {
      passwd: `${readFileSync("/etc/passwd", "utf8")}${name}:x:${uid}:${gid}::/:/bin/sh\n`,
      shadow: `${readFileSync("/etc/shadow", "utf8")}${name}:${hash.trim()}:19000::::::\n`,
    };
    const mounts = Object.entries(files).map(([file, content]) => {
      const path = join(folder, file);
      writeFileSync(path, content, { mode: 0o600 });
      return `mount --bind '${path}' /etc/${file}`;
    });
    return ["unshare", "--mount", "sh", "-c", `${mounts.join(" && ")} && exec "$@"`, "sh"];
  } catch {
    return undefined;
  }
}
