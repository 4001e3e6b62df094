import { spawn, spawnSync, type ChildProcess } from "node:child_process";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";

/**
 * A host's image as the lab bakes it, to ask the daemons in it what they think of their files.
 *
 * It is used in place and stays as it is: what is written goes to memory, in mount, network and process namespaces of
 * the session's own, which vanish with it.
 */

export interface Said {
  readonly status: number | null;
  /** Of stdout and stderr, as they came. */
  readonly output: string;
}

/** Folders of the newest image for hosts of these roles, topmost first; undefined if none was baked. */
export function imageLayers(role: string): string[] | undefined {
  const cache =
    process.env.OPENSTACK_HA_CACHE ??
    path.join(process.env.XDG_CACHE_HOME ?? path.join(os.homedir(), ".cache"), "openstack-ha");
  const current = path.join(cache, "images", role, "current");
  if (!fs.existsSync(path.join(current, "base"))) return undefined;
  const base = fs.readFileSync(path.join(current, "base"), "utf8").trim();
  return [
    path.join(fs.realpathSync(current), "layer"),
    path.join(cache, "images/base", base, "root"),
  ];
}

/** Why an image cannot be used, and what to do; undefined if it can. */
export function imageProblem(role: string): string | undefined {
  const skip = "or set OPENSTACK_HA_SKIP_CHECKERS=1 to go without the daemons' own checks";
  if (imageLayers(role) === undefined) {
    return `wanted a baked image ${role}, found none; bake it with \`npm run up\`, ${skip}`;
  }
  if (process.getuid?.() !== 0) {
    return `wanted root, to mount the image ${role}, found user ${process.getuid?.() ?? "unknown"}; run as root, ${skip}`;
  }
  return undefined;
}

const ENTER = `
set -e
mount -t tmpfs tmpfs "$1"
mkdir "$1"/upper "$1"/work "$1"/root
mount -t overlay overlay -o "lowerdir=$2,upperdir=$1/upper,workdir=$1/work" "$1"/root
mount -t proc proc "$1"/root/proc
mount --bind /dev "$1"/root/dev
mount -t tmpfs tmpfs "$1"/root/run
mount -t tmpfs tmpfs "$1"/root/tmp
mkdir "$1"/root/run/lock
ip link set lo up
echo ready
# Until the test's process is gone.
exec cat
`;

export class Image {
  private constructor(
    private readonly holder: ChildProcess,
    private readonly pid: number,
    private readonly folder: string,
  ) {}

  static async open(role: string): Promise<Image> {
    const problem = imageProblem(role);
    if (problem !== undefined) throw new Error(problem);
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), "openstack-ha-image-"));
    const holder = spawn(
      "unshare",
      [
        ...["--mount", "--net", "--pid", "--uts", "--fork", "--kill-child"],
        ...["--propagation", "private"],
        ...["bash", "-c", ENTER, "image", folder, imageLayers(role)!.join(":")],
      ],
      { stdio: ["pipe", "pipe", "pipe"] },
    );
    let trouble = "";
    holder.stderr.setEncoding("utf8").on("data", (text: string) => (trouble += text));
    await new Promise<void>((resolve, reject) => {
      holder.stdout.setEncoding("utf8").once("data", () => {
        resolve();
      });
      holder.once("close", () => {
        reject(new Error(`the image ${role} cannot be mounted: ${trouble}`));
      });
    });
    // The shell is the one child of unshare.
    const children = fs.readFileSync(`/proc/${holder.pid!}/task/${holder.pid!}/children`, "utf8");
    return new Image(holder, Number(children.trim()), folder);
  }

  /** Runs a shell command in the image, as root. */
  run(command: string, input = ""): Said {
    const done = spawnSync(
      "nsenter",
      [
        ...["--target", String(this.pid), "--mount", "--net", "--pid", "--uts"],
        ...["chroot", path.join(this.folder, "root")],
        ...["env", "-i", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
        ...["HOME=/root", "LC_ALL=C.UTF-8", "bash", "-c", `exec 2>&1\n${command}`],
      ],
      { input, encoding: "utf8", timeout: 120_000, maxBuffer: 1 << 28 },
    );
    if (done.error) throw done.error;
    return { status: done.status, output: done.stdout };
  }

  /** The same; an error if it fails. */
  must(command: string, input = ""): string {
    const { status, output } = this.run(command, input);
    if (status !== 0) throw new Error(`${command}: exit ${status ?? "by a signal"}: ${output}`);
    return output;
  }

  write(file: string, content: string): void {
    this.must(`mkdir -p "$(dirname '${file}')" && cat >'${file}'`, content);
  }

  read(file: string): string {
    return this.must(`cat '${file}'`);
  }

  close(): void {
    this.holder.stdin!.end();
    this.holder.kill();
    fs.rmSync(this.folder, { recursive: true, force: true });
  }
}
