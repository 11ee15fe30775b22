"""What went wrong in a run: one block per failed job, its error first, and what to do next."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

BLOCKS = 10
"""Failed jobs with a block of their own."""

LINES = 30
"""Failed jobs after these that are named in a line each."""

BEFORE = 3
"""Lines of the log before the error."""

TEXT, END = 20, 3
"""Lines of an error that are shown of its start and of its end."""

RECORD = re.compile(r"^\d\d:\d\d:\d\d [A-Z]+ ", flags=re.M)
ERROR = re.compile(r"^\d\d:\d\d:\d\d (?:ERROR|CRITICAL) ", flags=re.M)
FRAME = re.compile(r'^ +File "(?P<file>[^"]+)", line (?P<line>\d+), in (?P<name>.+)$', flags=re.M)
TRACEBACK = "Traceback (most recent call last):"

NO_LOG = "it left no log of this run: it ended before its script began, or was killed (memory, time limit)"
NO_ERROR = (
    "its log ends without an error: it was killed (memory, time limit), or its outputs are missing"
)


@dataclass(frozen=True)
class Failure:
    """A job that failed.

    Attributes:
        rule: Name of its rule.
        wildcards: Wildcards by name.
        log: Its log; none where the rule has none.
    """

    rule: str
    wildcards: Mapping[str, str]
    log: Path | None

    @property
    def name(self) -> str:
        """Rule and wildcards in one line."""
        wildcards = ", ".join(f"{key}={value}" for key, value in sorted(self.wildcards.items()))
        return f"{self.rule} ({wildcards})" if wildcards else self.rule


def format_failures(failures: Sequence[Failure], waiting: int, since: float = 0.0) -> str:
    """The digest of a failed run.

    Args:
        failures: Jobs that failed.
        waiting: Jobs that were not begun.
        since: Clock at the start of the run; an older log is of another run.
    """
    ordered = sorted(failures, key=lambda failure: failure.name)
    said: dict[str, str] = {}
    lines = [f"{len(ordered)} job{'s' if len(ordered) != 1 else ''} failed:"]
    for number, failure in enumerate(ordered[:BLOCKS], start=1):
        error, before = last_words(failure.log, since)
        lines += ["", f"{number}. {failure.name}"]
        if error in said:
            lines.append(f"   the same as {said[error]}")
        else:
            said[error] = f"{number}. {failure.name}"
            lines += [f"   {line}" for line in _shortened(error)]
            lines += ["   before:", *(f"     {line}" for line in before)] if before else []
        lines += [f"   log: {failure.log}"] if failure.log else []
    lines += _others(ordered[BLOCKS:])
    lines += ["", _next(waiting)]
    return "\n".join(lines)


def last_words(log: Path | None, since: float = 0.0) -> tuple[str, list[str]]:
    """The last error of a log, its message first, and the lines before it.

    Args:
        log: Log file.
        since: Clock before which it is of another run.
    """
    try:
        current = log is not None and log.stat().st_mtime >= since
        text = log.read_text(encoding="utf-8", errors="replace").strip() if log and current else ""
    except OSError:
        text = ""
    if not text:
        return NO_LOG, []
    errors = list(ERROR.finditer(text))
    if not errors:
        return NO_ERROR, text.splitlines()[-2 * BEFORE :]
    following = RECORD.search(text, errors[-1].end())
    error = text[errors[-1].end() : following.start() if following else None].strip()
    return _message_first(error), text[: errors[-1].start()].splitlines()[-BEFORE:]


def _message_first(error: str) -> str:
    """Of a traceback its message and the place in this project, or the last place; other text as it is."""
    if TRACEBACK not in error:
        return error
    trace = error[error.rindex(TRACEBACK) :]
    frames = list(FRAME.finditer(trace))
    own = [frame for frame in frames if "/geolatents/" in frame["file"]] or frames
    message = [line for line in trace.splitlines()[1:] if line and not line.startswith(" ")]
    place = [f"  at {own[-1]['file']}, line {own[-1]['line']}, in {own[-1]['name']}"] if own else []
    return "\n".join([*(message or ["no message"]), *place])


def _shortened(error: str) -> list[str]:
    """A long error without its middle: what to do stands at its end."""
    lines = error.splitlines()
    rest = len(lines) - TEXT - END
    return lines if rest <= 0 else [*lines[:TEXT], f"... {rest} more lines", *lines[-END:]]


def _others(failures: Sequence[Failure]) -> list[str]:
    """Those without a block: one line each, then their number."""
    lines = [f"  - {one.name}: {one.log or 'no log'}" for one in failures[:LINES]]
    rest = len(failures) - LINES
    return (
        ["", "Also failed:", *lines, *([f"  ... and {rest} more"] if rest > 0 else [])]
        if lines
        else []
    )


def _next(waiting: int) -> str:
    kept = "What to do: mend what the messages say and run the same command again; what is finished is kept."
    if not waiting:
        return kept
    count = f"{waiting} other job{'s were' if waiting != 1 else ' was'} not done."
    return f"{count} {kept} `--keep-going` does those that do not need the failed ones."
