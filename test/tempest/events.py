"""Tell of each test as it starts and ends: subunit on stdin, a JSON object a line on stdout."""

import json
import sys

import subunit
from testtools import StreamResult

ENDS = {
    "success": "passed",
    "xfail": "passed",
    "skip": "skipped",
    "fail": "failed",
    "uxsuccess": "failed",
}


class Events(StreamResult):
    def __init__(self):
        super().__init__()
        self.started = {}
        self.files = {}

    def status(self, test_id=None, test_status=None, file_name=None, file_bytes=None, timestamp=None, **_):
        if test_id is None:
            # What a worker prints besides.
            if file_bytes:
                self.tell(status="said", id=file_name or "", details=bytes(file_bytes).decode(errors="replace"))
            return
        if file_name and file_bytes:
            self.files.setdefault(test_id, {}).setdefault(file_name, []).append(bytes(file_bytes))
        if test_status == "inprogress":
            self.started[test_id] = timestamp
            self.tell(status="started", id=test_id)
        elif test_status in ENDS:
            self.end(test_id, ENDS[test_status], timestamp)

    def end(self, test_id, status, timestamp):
        files = {
            name: b"".join(parts).decode(errors="replace")
            for name, parts in self.files.pop(test_id, {}).items()
        }
        began = self.started.pop(test_id, None)
        event = {"status": status, "id": test_id}
        if began and timestamp:
            event["seconds"] = round((timestamp - began).total_seconds(), 1)
        if status == "skipped":
            event["reason"] = files.get("reason", "").strip()
        if status == "failed":
            event["error"] = files.get("traceback", "").strip()
            event["details"] = "\n\n".join(f"{name}:\n{text}" for name, text in sorted(files.items()))
        self.tell(**event)

    @staticmethod
    def tell(**event):
        print(json.dumps(event), flush=True)


subunit.ByteStreamToStreamResult(sys.stdin.buffer, non_subunit_name="worker").run(Events())
