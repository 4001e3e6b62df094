import { spawn } from "node:child_process";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import test from "ava";

// What the machine of a lab lacks is installed, with a double for apt-get: a machine that has everything but jq and mmdebstrap.

const SCRIPTS = path.join(__dirname, "../../scripts");
const FOLDERS = ["/bin", "/sbin", "/usr/bin", "/usr/sbin"];

interface Ended {
  readonly status: number | null;
  readonly said: string;
}

function run(command: string, args: readonly string[], env: NodeJS.ProcessEnv): Promise<Ended> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { env: { ...process.env, ...env } });
    let said = "";
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding("utf8").on("data", (data: string) => (said += data));
    child.on("error", reject);
    child.on("close", (status) => {
      resolve({ status, said });
    });
  });
}

const asRoot = process.getuid?.() === 0 ? test : test.skip;

asRoot(
  "a plan builds the test image while the lab is set up: who comes second waits, and installs nothing twice",
  async (t) => {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), "openstack-ha-setup-"));
    t.teardown(() => {
      fs.rmSync(folder, { recursive: true });
    });
    const programs = path.join(folder, "programs");
    const log = path.join(folder, "apt");
    fs.mkdirSync(programs);
    const taken = new Set<string>();
    for (const each of FOLDERS.filter((name) => fs.existsSync(name))) {
      for (const name of fs.readdirSync(each)) {
        if (!["apt-get", "jq", "mmdebstrap"].includes(name) && !taken.has(name))
          fs.symlinkSync(path.join(each, name), path.join(programs, name));
        taken.add(name);
      }
    }
    // Whatever else this machine may lack comes with it.
    const double = `#!/bin/bash
echo "$*" >>${log}
sleep 1
for each in "$@"; do
  case $each in
  -* | install | debian-archive-keyring) ;;
  *) ln -sf "$([[ $each == jq ]] && echo /usr/bin/jq || echo /bin/true)" "${programs}/$each" ;;
  esac
done
`;
    fs.writeFileSync(path.join(programs, "apt-get"), double, { mode: 0o755 });
    const env = { PATH: programs, OPENSTACK_HA_CACHE: path.join(folder, "cache") };
    const [setup, build] = await Promise.all([
      run(path.join(SCRIPTS, "lab/lab"), ["setup"], env),
      // It ends where it reads what to build, when it has what it takes.
      run(path.join(SCRIPTS, "guest/build"), [], { ...env, GUEST_SPEC: '{"suite": "No"}' }),
    ]);
    t.regex(setup.said, /created: packages installed/, setup.said);
    t.regex(build.said, /suite: wanted .* fix GUEST_SPEC/, build.said);
    const installs = fs.readFileSync(log, "utf8").match(/^.*\bmmdebstrap\b.*$/gm);
    t.is(installs?.length, 1, fs.readFileSync(log, "utf8"));
    const again = await run(path.join(SCRIPTS, "guest/build"), [], {
      ...env,
      GUEST_SPEC: '{"suite": "No"}',
    });
    t.regex(
      again.said,
      /^error: guest: suite: wanted .*\n$/,
      "nothing else where nothing is missing",
    );
  },
);
