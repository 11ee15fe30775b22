"""The digest of failed jobs: errors first, tracebacks short, thirty failures still readable."""

from __future__ import annotations

import os
from pathlib import Path

from geolatents.report.failures import NO_ERROR, NO_LOG, Failure, format_failures, last_words

TOLD = """\
10:00:01 INFO reading scene-0.tif
10:00:02 WARNING tiles are small
10:00:03 ERROR the scene has no CRS
  where: scene-0.tif
  what to do: give it one
"""

TRACEBACK = """\
10:00:01 INFO one
10:00:03 ERROR Traceback (most recent call last):
  File "/x/geolatents/workflow.py", line 70, in rule_log
    yield
  File "/x/geolatents/tiles/cut.py", line 12, in cut_tiles
    read()
  File "/y/rasterio/io.py", line 99, in read
    raise ValueError("bad block")
ValueError: bad block

"""


def write(folder: Path, name: str, text: str) -> Path:
    file = folder / f"{name}.log"
    file.write_text(text)
    return file


def test_the_error_comes_first_and_whole(tmp_path: Path) -> None:
    error, before = last_words(write(tmp_path, "a", TOLD))
    assert error.splitlines()[0] == "the scene has no CRS"
    assert "what to do: give it one" in error
    assert before == ["10:00:01 INFO reading scene-0.tif", "10:00:02 WARNING tiles are small"]


def test_of_a_traceback_the_message_and_our_own_place_are_left(tmp_path: Path) -> None:
    error, before = last_words(write(tmp_path, "a", TRACEBACK))
    assert error == "ValueError: bad block\n  at /x/geolatents/tiles/cut.py, line 12, in cut_tiles"
    assert before == ["10:00:01 INFO one"]


def test_a_log_without_error_says_what_that_means(tmp_path: Path) -> None:
    error, before = last_words(write(tmp_path, "a", "10:00:01 INFO epoch 1\n"))
    assert (error, before) == (NO_ERROR, ["10:00:01 INFO epoch 1"])


def test_no_log_or_one_of_an_earlier_run_is_none(tmp_path: Path) -> None:
    assert last_words(None) == (NO_LOG, [])
    assert last_words(tmp_path / "none.log") == (NO_LOG, [])
    old = write(tmp_path, "a", TOLD)
    os.utime(old, (1000, 1000))
    assert last_words(old, since=2000) == (NO_LOG, [])
    assert last_words(old, since=500)[0].startswith("the scene has no CRS")


def test_thirty_failures_stay_readable(tmp_path: Path) -> None:
    failures = [
        Failure("check_scene", {"scene": f"s-{i:02d}"}, write(tmp_path, f"s-{i:02d}", TOLD.replace("CRS", f"CRS {i % 2}")))
        for i in range(50)
    ]  # fmt: skip
    text = format_failures(failures, waiting=7)
    assert text.startswith("50 jobs failed:")
    assert text.count("the scene has no CRS") == 2, "each message once"
    assert "the same as 1. check_scene (scene=s-00)" in text
    assert text.count("\n  - check_scene") == 30
    assert "... and 10 more" in text
    assert "7 other jobs were not done." in text
    assert len(text.splitlines()) < 90


def test_one_failure_is_one_block(tmp_path: Path) -> None:
    text = format_failures([Failure("verify", {}, write(tmp_path, "v", TOLD))], waiting=0)
    assert text.startswith("1 job failed:\n\n1. verify\n   the scene has no CRS\n")
    assert "Also failed" not in text
    assert "not done" not in text
    assert text.splitlines()[-1].startswith("What to do: mend")


def test_a_long_error_is_cut(tmp_path: Path) -> None:
    long = "10:00:03 ERROR wrong:\n" + "".join(f"  - store {i}\n" for i in range(100))
    text = format_failures([Failure("verify", {}, write(tmp_path, "v", long))], waiting=0)
    assert "... 78 more lines" in text
    assert text.index("store 18") < text.index("more lines") < text.index("store 99")
    assert len(text.splitlines()) < 35
