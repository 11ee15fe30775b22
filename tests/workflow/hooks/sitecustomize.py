"""Kills jobs at chosen moments; Python reads it by itself where a test puts this folder in front of its path.

An event is what a job's script is about to do to a file of the results: open it for writing, rename, remove or link
it, make or remove a folder. `GEOLATENTS_TEST_HOOK` is a JSON object:

- `results`: root of the results;
- `events`: a file to which each event is written (rule, number, what, path);
- `used`: a folder in which each kill leaves a mark, so that it happens once;
- `kills`: per rule a list of kills, one for each attempt. A kill is `[whom, when]`: whom is `job` (the script's
  process), `run` (the process group of Snakemake and all its jobs) or `nobody` (it only waits until a file `go` lies
  in `used`); when is the number of an event, before which
  it dies, `"whole"` (the first output is whole and has not got its name yet), `"named"` (it just got it, and nothing
  came after), `"end"` (everything is written, Snakemake does not know it yet) or `"S s"` (after S seconds).
"""

# Names of files come as texts here:
# ruff: noqa: PTH100, PTH110, PTH118, PTH119, PTH120, PTH123

import atexit
import json
import os
import re
import signal
import sys
import threading
import time

WRITING = os.O_WRONLY | os.O_RDWR
EVENTS = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.truncate"}


class Hook:
    """Counts the events of one script."""

    def __init__(self, rule, results, used, kills, events=None):
        self.rule = rule
        self.root = os.path.join(os.path.abspath(results), "")
        self.log = events
        self.count = 0
        self.named = False
        self.plan = self.next_kill(used, kills.get(rule, []))

    def next_kill(self, used, kills):
        """The first kill of this rule that has not happened; the mark is set now, before it does."""
        for number, kill in enumerate(kills):
            mark = os.path.join(used, f"{self.rule}.{number}")
            try:
                os.close(os.open(mark, os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                continue
            self.mark = mark
            return kill
        return None

    def start(self):
        """Begin to listen."""
        when = self.plan[1] if self.plan else None
        if self.log or isinstance(when, int) or when in ("whole", "named"):
            sys.addaudithook(self.on_event)
        elif when == "end":
            atexit.register(self.kill)
        elif when:
            timer = threading.Timer(float(when.split()[0]), self.kill)
            timer.daemon = True
            timer.start()

    def on_event(self, event, arguments):
        """Count what changes a file of the results."""
        if event == "open":
            path, mode, flags = arguments
            writes = bool(set(mode or "") & set("wax+")) or (flags or 0) & WRITING
        elif event in EVENTS:
            path, writes = arguments[0], True
        else:
            return
        if not writes or not isinstance(path, str | bytes | os.PathLike):
            return
        name = os.path.abspath(os.fsdecode(path))
        if not name.startswith(self.root):
            return
        self.count += 1
        if self.log:
            line = json.dumps([self.rule, self.count, event, name]) + "\n"
            handle = os.open(self.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
            os.write(handle, line.encode())
            os.close(handle)
        renames = event == "os.rename" and ".partial" in os.path.basename(name)
        when = self.plan[1] if self.plan else None
        if when == self.count or self.named or (renames and when == "whole"):
            self.kill()
        self.named = renames and when == "named"

    def kill(self):
        """Die as in a power cut."""
        with open(self.mark, "a") as stream:
            stream.write("killed")
            stream.flush()
            os.fsync(stream.fileno())
        while self.plan[0] == "nobody":
            if os.path.exists(os.path.join(os.path.dirname(self.mark), "go")):
                self.plan = None
                return
            time.sleep(0.1)
        if self.plan[0] == "run":
            os.killpg(os.getpgid(0), signal.SIGKILL)
        os.kill(os.getpid(), signal.SIGKILL)


def rule_of_this_process():
    """The rule whose script this process runs, or none."""
    found = re.search(r"[\\/]scripts[\\/]tmp\w+\.(\w+)\.py$", sys.orig_argv[-1])
    return found and found[1]


if os.environ.get("GEOLATENTS_TEST_HOOK") and rule_of_this_process():
    Hook(rule_of_this_process(), **json.loads(os.environ["GEOLATENTS_TEST_HOOK"])).start()
