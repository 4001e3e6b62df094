#!/usr/bin/python3
"""Run one step of the plan on this host: openstack-ha-step [--check | --bake | --secrets] < document.json

A step's document is JSON: where it belongs (service, stage, host), the files it wants, the parameters and names of
the secrets it uses, and a shell script for what is not a file. It never holds a secret: files carry
${secret:NAME} placeholders that are filled in here, from the store that --secrets writes.

  (no option)  make it so; one line on stdout says what was changed, and, of few steps, further lines what was asked
  --check      change nothing; print what differs as JSON; exit 0 if nothing does, 3 if something does. The document
               may be a list of documents, which are checked at the same time. A difference is of a kind: file or
               directory; state (what the script would do); health (its service's check); error (it cannot be said)
  --bake       as the first, in an image that is being built: no service manager is running
  --secrets    read {"name": {"version": 1, "value": "..."}} and replace the store

Exit codes: 0 done, 1 failed (one line on stderr says what was wanted, what was found and what to do), 3 differs.
Only the standard library of Debian 13's python3 is used: this file is all a host needs besides a few shell functions.
"""

import base64
import concurrent.futures
import difflib
import fcntl
import grp
import hashlib
import json
import os
import pwd
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

# openstack-ha-step's own folders; the environment overrides exist for the tests, which run it unprivileged.
ETC = os.environ.get("OPENSTACK_HA_ETC", "/etc/openstack-ha")
LIB = os.environ.get("OPENSTACK_HA_LIB", "/usr/local/lib/openstack-ha")
LOG = os.environ.get("OPENSTACK_HA_LOG", "/var/log/openstack-ha")
RUN = os.environ.get("OPENSTACK_HA_RUN", "/run/openstack-ha")
STATE = os.environ.get("OPENSTACK_HA_STATE", "/var/lib/openstack-ha")
STORE = os.path.join(ETC, "secrets.json")
# The digest of the store as it was brought: another one was written by hand.
STORE_NOTE = f"{STORE}.sha256"
PLACEHOLDER = re.compile(r"\$\{secret:([a-z0-9-]+)\}")
DIFFERS = 3
# A run that lost its connection goes on alone, for the time that its step has; the one that repeats it waits for it,
# and these seconds more, for what a run does around its script.
LOCK_MARGIN = 30
# A step's log is set aside, and the one before it dropped, when it is longer than this.
LOG_BYTES = 1 << 20


class StepError(Exception):
    """What was wanted, what was found, what to do: shown to the operator as it is."""


def one_line(error):
    text = " ".join(str(error).split())
    return text if isinstance(error, StepError) else f"openstack-ha-step: {type(error).__name__}: {text}"


def atomic_write(path, data, mode, uid=0, gid=0):
    """Write a file so that a reader, or a power loss, sees the old one or the new one and nothing between."""
    folder = os.path.dirname(path)
    handle, temporary = tempfile.mkstemp(prefix=".openstack-ha-", dir=folder)
    try:
        with os.fdopen(handle, "wb") as out:
            out.write(data)
            out.flush()
            os.fchmod(out.fileno(), mode)
            if os.geteuid() == 0:
                os.fchown(out.fileno(), uid, gid)
            os.fsync(out.fileno())
        os.replace(temporary, path)
    except BaseException:
        if os.path.exists(temporary):
            os.unlink(temporary)
        raise
    sync_folder(folder)


def sync_folder(folder):
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def load_store():
    try:
        with open(STORE, encoding="utf-8") as store:
            return json.load(store)
    except FileNotFoundError:
        return {}


def write_store():
    """--secrets: the store is replaced as a whole, so that a secret no longer used does not stay on the host."""
    wanted = json.load(sys.stdin)
    for name, secret in wanted.items():
        if not isinstance(secret.get("value"), str) or not isinstance(secret.get("version"), int):
            raise StepError(f"secret {name}: wanted a version and a text value; run `pulumi up` again")
    by_hand = store_was_edited()
    present = {} if by_hand else load_store()
    # Steps name secrets by version: another value under the same one would reach no service, or half of them.
    silent = sorted(
        name
        for name in wanted
        if name in present
        and present[name]["version"] == wanted[name]["version"]
        and present[name]["value"] != wanted[name]["value"]
    )
    if silent:
        raise StepError(
            f"secrets: wanted another value of {summary(silent)} under the version that this host has already; give "
            "each a new version in openstack-ha:secretVersions, or, if the seed was changed, put the old one back"
        )
    changed = sorted(
        name for name in set(wanted) | set(present) if wanted.get(name) != present.get(name)
    )
    if not changed and os.path.exists(STORE_NOTE) and store_is_private():
        return "unchanged"
    os.makedirs(ETC, mode=0o755, exist_ok=True)
    data = (json.dumps(wanted, indent=1, sort_keys=True) + "\n").encode()
    atomic_write(STORE, data, 0o600)
    atomic_write(STORE_NOTE, hashlib.sha256(data).hexdigest().encode() + b"\n", 0o600)
    if by_hand:
        return "changed: the store of secrets, which was edited by hand"
    return f"changed: {len(changed)} secrets ({summary(changed)})" if changed else "changed: the store of secrets"


def store_is_private():
    try:
        found = os.stat(STORE)
    except FileNotFoundError:
        return False
    return found.st_mode & 0o777 == 0o600 and found.st_uid == os.geteuid()


def store_was_edited():
    """Whether somebody else wrote the store since it was brought. One that is gone is not edited."""
    try:
        with open(STORE, "rb") as store, open(STORE_NOTE, encoding="ascii") as note:
            return hashlib.sha256(store.read()).hexdigest() != note.read().strip()
    except FileNotFoundError:
        return False


def summary(items, most=4):
    items = list(items)
    return ", ".join(items[:most]) + (f" and {len(items) - most} more" if len(items) > most else "")


class Step:
    def __init__(self, document, mode):
        self.document = document
        self.mode = mode
        self.check = mode == "check"
        where = document["step"]
        self.service, self.stage, self.host = where["service"], where["stage"], where["host"]
        self.timeout = int(where.get("timeout", 300))
        self.title = f"{self.service} {self.stage} on {self.host}"
        self.changes, self.differences, self.facts = [], [], []
        self.secrets = self.resolve_secrets(document.get("secrets", {}))
        self.log_path = os.path.join(LOG, f"{self.service}-{self.stage}.log")
        self.touched = []

    # -- secrets -------------------------------------------------------------------------------------------------

    def resolve_secrets(self, wanted):
        store = load_store() if wanted else {}
        values = {}
        for name, version in sorted(wanted.items()):
            found = store.get(name)
            if found is None or found["version"] != version:
                have = "none" if found is None else f"version {found['version']}"
                raise StepError(
                    f"{self.title}: wanted secret {name} version {version}, found {have} in {STORE}; "
                    "run `pulumi up`, which brings the secrets first"
                )
            values[name] = found["value"]
        return values

    def fill(self, text, path):
        def value(match):
            name = match.group(1)
            if name not in self.secrets:
                raise StepError(f"{self.title}: {path} names secret {name}, which the step does not declare")
            return self.secrets[name]

        return PLACEHOLDER.sub(value, text)

    def mask(self, text):
        for name, value in self.secrets.items():
            if value:
                text = text.replace(value, f"<secret:{name}>")
        return text

    # -- log -----------------------------------------------------------------------------------------------------

    def log(self, text):
        if self.check:
            return
        with open(self.log_path, "a", encoding="utf-8") as log:
            log.write(time.strftime("%Y-%m-%dT%H:%M:%S%z ") + self.mask(text).rstrip("\n") + "\n")

    def rotate_log(self):
        try:
            if os.path.getsize(self.log_path) > LOG_BYTES:
                os.replace(self.log_path, f"{self.log_path}.1")
        except FileNotFoundError:
            pass

    # -- files ---------------------------------------------------------------------------------------------------

    def owner_ids(self, spec, path):
        try:
            return pwd.getpwnam(spec.get("owner", "root")).pw_uid, grp.getgrnam(spec.get("group", "root")).gr_gid
        except KeyError as missing:
            raise StepError(
                f"{self.title}: {path} should belong to {spec.get('owner', 'root')}:{spec.get('group', 'root')}, "
                f"found no such account ({missing}); is the package that makes it installed?"
            ) from None

    def directories(self):
        for path, spec in sorted(self.document.get("directories", {}).items()):
            mode = int(spec.get("mode", "0755"), 8)
            uid, gid = self.owner_ids(spec, path)
            try:
                found = os.stat(path)
            except FileNotFoundError:
                self.note("directory", path, "missing")
                if not self.check:
                    os.makedirs(path, mode=0o755, exist_ok=True)
                    self.own(path, mode, uid, gid)
            else:
                if self.metadata_differs(found, mode, uid, gid):
                    self.note("directory", path, self.describe(found))
                    if not self.check:
                        self.own(path, mode, uid, gid)

    def purge(self):
        wanted = self.document.get("files", {})
        for folder, spec in sorted(self.document.get("directories", {}).items()):
            if not spec.get("purge") or not os.path.isdir(folder):
                continue
            for name in sorted(os.listdir(folder)):
                path = os.path.join(folder, name)
                if path not in wanted and os.path.isfile(path):
                    self.note("file", path, "present, wanted absent")
                    self.changes.append(f"removed {name}")
                    if not self.check:
                        os.unlink(path)

    @staticmethod
    def own(path, mode, uid, gid):
        if os.geteuid() == 0:
            os.chown(path, uid, gid)
        # Last: another owner takes the special bits away.
        os.chmod(path, mode)

    @staticmethod
    def metadata_differs(found, mode, uid, gid):
        if found.st_mode & 0o7777 != mode:
            return True
        return os.geteuid() == 0 and (found.st_uid, found.st_gid) != (uid, gid)

    @staticmethod
    def describe(found):
        return f"mode {found.st_mode & 0o7777:04o} uid {found.st_uid} gid {found.st_gid}"

    def note(self, kind, what, detail):
        if self.check:
            self.differences.append({"kind": kind, "what": what, "found": self.mask(detail)})
        self.touched.append(what)

    def files(self):
        for path, spec in sorted(self.document.get("files", {}).items(), key=lambda item: (item[1].get("last", False), item[0])):
            if spec.get("encoding") == "base64":
                data = base64.b64decode(self.fill(spec["content"], path))
            else:
                data = self.fill(spec["content"], path).encode()
            mode = int(spec.get("mode", "0644"), 8)
            uid, gid = self.owner_ids(spec, path)
            try:
                with open(path, "rb") as existing:
                    present = existing.read()
                found = os.stat(path)
            except FileNotFoundError:
                present, found = None, None
            if present == data and found and not self.metadata_differs(found, mode, uid, gid):
                continue
            self.note("file", path, self.file_difference(path, present, data, found))
            if self.check:
                continue
            if present == data:
                # Not written anew: who reads it has read this.
                self.own(path, mode, uid, gid)
                self.log(f"mode and owner of {path}")
                continue
            os.makedirs(os.path.dirname(path), exist_ok=True)
            self.validate(spec, path, data)
            atomic_write(path, data, mode, uid, gid)
            self.log(f"wrote {path}")
        for path in sorted(self.document.get("absent", [])):
            if os.path.lexists(path):
                self.note("file", path, "present, wanted absent")
                if not self.check:
                    os.unlink(path)
        files = [path for path in self.touched if path.startswith("/")]
        if files:
            self.changes.append(f"{len(files)} files ({summary(map(os.path.basename, files))})")

    def file_difference(self, path, present, data, found):
        if present is None:
            return "missing"
        if present == data:
            return self.describe(found)
        try:
            before, after = present.decode(), data.decode()
        except UnicodeDecodeError:
            return "other content"
        # The plan's side is its own text, with the placeholders; a host's line that is as planned is shown so too.
        plan = self.document["files"][path]["content"]
        planned = dict(zip(after.splitlines(), plan.splitlines()))
        host = "\n".join(planned.get(line, line) for line in before.splitlines())
        known = set(plan.splitlines())
        shown = [line if line in known else other for line, other in zip(host.splitlines(), self.host_lines(host, plan))]
        named = [[PLACEHOLDER.sub(r"<secret:\1>", line) for line in side] for side in (shown, plan.splitlines())]
        lines = difflib.unified_diff(*named, f"{path} (host)", f"{path} (plan)", lineterm="", n=1)
        return "\n".join(list(lines)[:200])

    def host_lines(self, text, plan):
        """Lines of the host's file that may be shown.

        Where the plan's file holds a secret, the host's may hold another value of it, in a line that nothing marks as
        secret. Shown are lines that the plan has too, and options that the plan has without a secret; of any other line
        only a digest.
        """
        if not PLACEHOLDER.search(plan):
            return text.splitlines()

        def key(line):
            return re.split(r"[=:]", line, maxsplit=1)[0].strip() if re.search(r"[=:]", line) else None

        plain = {line for line in plan.splitlines() if not PLACEHOLDER.search(line)}
        keys = {key(line) for line in plain} - {None}
        secret_keys = {key(line) for line in plan.splitlines() if PLACEHOLDER.search(line)}
        shown = []
        for line in text.splitlines():
            if line in plain or (key(line) in keys - secret_keys):
                shown.append(line)
            elif key(line) in secret_keys - {None}:
                shown.append(f"{key(line)} <other value {hashlib.sha256(line.encode()).hexdigest()[:8]}>")
            else:
                shown.append(f"<other line {hashlib.sha256(line.encode()).hexdigest()[:8]}>")
        return shown

    def validate(self, spec, path, data):
        command = spec.get("validate")
        if not command or self.mode == "bake":
            return
        folder = tempfile.mkdtemp(prefix="validate-", dir=RUN)
        try:
            candidate = os.path.join(folder, os.path.basename(path))
            with open(candidate, "wb") as out:
                out.write(data)
            done = subprocess.run(
                [part.replace("{}", candidate) for part in command],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=60,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise StepError(
                f"{self.title}: wanted {command[0]} to look at the new {path}, found: {error}; the old file stays"
            ) from None
        finally:
            shutil.rmtree(folder)
        if done.returncode != 0:
            output = self.mask(done.stdout.decode(errors="replace")).strip()
            self.log(output)
            raise StepError(
                f"{self.title}: {command[0]} refuses the new {path}, the old one stays: "
                f"{self.reason(output)}; log: {self.log_path}"
            )

    # -- script --------------------------------------------------------------------------------------------------

    def script(self):
        text = self.document.get("script")
        if not text:
            return
        folder = tempfile.mkdtemp(prefix="step-", dir=RUN)
        try:
            self.run_script(text, folder)
        finally:
            shutil.rmtree(folder)

    def run_script(self, text, folder):
        def put(name, content, mode=0o600):
            path = os.path.join(folder, name)
            with open(os.open(path, os.O_CREAT | os.O_WRONLY, mode), "w", encoding="utf-8") as out:
                out.write(content)
            return path

        os.mkdir(os.path.join(folder, "secrets"), 0o700)
        for name, value in self.secrets.items():
            put(f"secrets/{name}", value)
        put("params.json", json.dumps(self.document.get("params", {})))
        put("secret-versions.json", json.dumps(self.document.get("secrets", {})))
        put("changes", "")
        put("differences", "")
        put("health", "")
        put("facts", "")
        put("error", "")
        script = put("script", text)
        environment = {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": "/root",
            "LC_ALL": "C.UTF-8",
            "DEBIAN_FRONTEND": "noninteractive",
            "STEP_DIR": folder,
            "STEP_ETC": ETC,
            "STEP_STATE": STATE,
            "STEP_MODE": self.mode,
            "STEP_SERVICE": self.service,
            "STEP_STAGE": self.stage,
            "STEP_HOST": self.host,
            "STEP_FILES_CHANGED": "yes" if self.touched else "no",
        }
        shell = ["bash", "-c", f'set -euo pipefail; . {LIB}/lib.sh; . "$0"', script]
        # Output into a file, not a pipe: a daemon that the script leaves behind would hold a pipe open.
        output_path = os.path.join(folder, "output")
        with open(output_path, "wb") as output_file:
            process = subprocess.Popen(
                shell,
                stdin=subprocess.DEVNULL,
                stdout=output_file,
                stderr=subprocess.STDOUT,
                env=environment,
                cwd="/",
                start_new_session=True,
            )
        timed_out = False
        try:
            process.wait(timeout=self.timeout)
        except subprocess.TimeoutExpired:
            timed_out = True
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                pass
            # Whoever ignored the request: it must not go on beside the step that repeats this one.
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            process.wait()
        with open(output_path, encoding="utf-8", errors="replace") as output_file:
            output = output_file.read()
        if output.strip():
            self.log(output)

        def lines(name):
            with open(os.path.join(folder, name), encoding="utf-8") as noted:
                return [line for line in self.mask(noted.read()).splitlines() if line]

        self.changes += lines("changes")
        self.differences += [
            {"kind": kind, "what": self.service, "found": line}
            for kind, name in (("state", "differences"), ("health", "health"))
            for line in lines(name)
        ]
        self.facts += lines("facts")
        error = " ".join(lines("error"))
        if timed_out:
            raise StepError(
                f"{self.title}: not done after {self.timeout} s ({error or self.last(output)}); "
                f"see {self.log_path} on the host, then run `pulumi up` again"
            )
        if process.returncode != 0:
            # A check writes no log.
            where = "" if self.check else f"; log: {self.log_path}"
            raise StepError(f"{self.title}: {error or self.last(output)}{where}")

    def reason(self, output):
        """The lines of a checker's output that say why: some print their whole manual after them."""
        lines = [line.strip() for line in self.mask(output).splitlines() if line.strip()]
        named = [
            line
            for line in lines
            if re.search(r"error|alert|fatal|invalid|unknown", line, re.IGNORECASE) and "exiting with status" not in line
        ]
        return "; ".join((named or lines[-1:])[:2])[:400] or "without a word"

    def last(self, output):
        lines = [line for line in self.mask(output).splitlines() if line.strip()]
        return lines[-1][:400] if lines else "the script failed without a word"

    # -- all of it -----------------------------------------------------------------------------------------------

    def run(self):
        for folder, mode in ((RUN, 0o700), (LOG, 0o750), (STATE, 0o755)):
            os.makedirs(folder, mode=mode, exist_ok=True)
        with open(os.path.join(RUN, f"{self.service}.lock"), "w", encoding="utf-8") as lock:
            if not self.check:
                self.wait_for_lock(lock)
                self.rotate_log()
            try:
                self.directories()
                self.files()
                # Last, so that what replaces a file is there before it goes.
                self.purge()
                self.script()
            except OSError as error:
                raise StepError(f"{self.title}: {error}") from error
        if self.check:
            return {
                "service": self.service,
                "stage": self.stage,
                "host": self.host,
                "differences": self.differences,
                "facts": self.facts,
            }
        line = "changed: " + ", ".join(self.changes) if self.changes else "unchanged"
        self.log(line)
        return "\n".join([line, *self.facts])

    def wait_for_lock(self, lock):
        seconds = self.timeout + LOCK_MARGIN
        end = time.monotonic() + seconds
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                if time.monotonic() > end:
                    raise StepError(
                        f"{self.title}: another step of {self.service} still runs on this host after {seconds} s; "
                        "wait for it to end, then run `pulumi up` again"
                    ) from None
                time.sleep(0.2)


def detach():
    """Go on in a child with a session of its own; this process only waits for it.

    A pulumi that is cancelled kills what it runs: it would kill the holder of the lock, while the script went on beside
    the step that repeats it. So nothing that is sent to the connection's processes reaches the work; it ends by itself.
    """
    child = os.fork()
    if child:
        _, status = os.waitpid(child, 0)
        code = os.waitstatus_to_exitcode(status)
        if code < 0:
            sys.stderr.write(
                f"openstack-ha-step: wanted the step to end, found it killed by signal {-code}; run `pulumi up` again\n"
            )
            code = 1
        sys.stderr.flush()
        os._exit(code)
    os.setsid()


def main(arguments):
    # The connection may go while the step runs: it then ends its work alone and the repeated step finds it done.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    os.umask(0o022)
    mode = {"": "apply", "--check": "check", "--bake": "bake", "--secrets": "secrets"}.get(" ".join(arguments))
    if mode is None:
        raise StepError("usage: openstack-ha-step [--check | --bake | --secrets] < document")
    if mode == "secrets":
        print(write_store(), flush=True)
        return 0
    document = json.load(sys.stdin)
    if mode == "check":
        return check(document)
    detach()
    print(Step(document, mode).run(), flush=True)
    return 0


def check(document):
    """A step that cannot even be checked counts as differing: its error is what was found."""

    def one(each):
        step = None
        try:
            step = Step(each, "check")
            return step.run()
        except Exception as error:  # pylint: disable=broad-except # one bad document must not hide the others
            where = each.get("step", {})
            found = {"kind": "error", "what": where.get("service", "?"), "found": one_line(error)}
            return {**where, "differences": [*(step.differences if step else []), found], "facts": []}

    documents = document if isinstance(document, list) else [document]
    with concurrent.futures.ThreadPoolExecutor(max_workers=4) as pool:
        results = list(pool.map(one, documents))
    print(json.dumps(results if isinstance(document, list) else results[0], indent=1), flush=True)
    return DIFFERS if any(result["differences"] for result in results) else 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except BrokenPipeError:
        sys.exit(1)
    except Exception as error:  # pylint: disable=broad-except # an operator gets one line, whatever it is
        sys.stderr.write(one_line(error) + "\n")
        sys.exit(1)
