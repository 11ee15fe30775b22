"""A full or failing disk is told from other errors, in whatever words a library puts it."""

from __future__ import annotations

import errno
import os
import shutil
from collections import namedtuple
from pathlib import Path

import pytest

from geolatents import plan
from geolatents.disk import disk_error
from geolatents.files import sha256_file


@pytest.fixture
def roomy(monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")(10**9, 0, 10**9)
    monkeypatch.setattr(shutil, "disk_usage", lambda _folder: usage)


FULL = [
    OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "results/a.zarr"),
    OSError(errno.EDQUOT, os.strerror(errno.EDQUOT)),
    OSError(errno.EFBIG, os.strerror(errno.EFBIG)),
    RuntimeError("IO error: No space left on device (os error 28)"),
    OSError("[Errno 28] Error writing bytes to file. Detail: [errno 28] No space left on device"),
]


@pytest.mark.parametrize("error", FULL, ids=repr)
def test_a_full_disk_says_what_to_do(error: Exception, roomy: None, tmp_path: Path) -> None:
    found = disk_error(error, [tmp_path / "not" / "yet" / "a.zarr"])
    assert found is not None
    assert "the disk is full" in str(found)
    assert "what to do: make room, and run the same command again" in str(found)
    assert "953.7 MB free" in str(found)


def test_the_file_is_named(roomy: None, tmp_path: Path) -> None:
    assert "where: results/a.zarr" in str(disk_error(FULL[0], [tmp_path / "x"]))
    assert f"where: {tmp_path / 'x'}\n" in str(disk_error(FULL[1], [tmp_path / "x"]))


def test_causes_count(roomy: None, tmp_path: Path) -> None:
    error = ValueError("cannot close the store")
    error.__cause__ = FULL[0]
    assert "the disk is full" in str(disk_error(error, [tmp_path / "x"]))


def test_a_failing_disk(roomy: None, tmp_path: Path) -> None:
    found = disk_error(OSError(errno.EIO, os.strerror(errno.EIO)), [tmp_path / "x"])
    assert "the disk cannot be written or read" in str(found)
    assert "look at the file system" in str(found)


@pytest.mark.parametrize(
    "error", [ValueError("size 28"), FileNotFoundError(errno.ENOENT, "no such file"), KeyError(28)]
)
def test_other_errors_are_not_the_disks(error: Exception, roomy: None, tmp_path: Path) -> None:
    assert disk_error(error, [tmp_path / "x"]) is None
    assert disk_error(error, []) is None


def test_without_room_any_error_may_come_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """GDAL says `write error` and no more."""
    usage = namedtuple("usage", "total used free")(10**9, 10**9, 1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _folder: usage)
    assert "the disk is full" in str(disk_error(ValueError("write error"), [tmp_path / "x"]))


def test_hashes_are_found_where_they_cannot_be_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise FULL[0]

    (tmp_path / "a.tif").write_bytes(b"a")
    monkeypatch.setattr(plan, "write_json", full)
    cache = plan.HashCache(tmp_path / "hashes.json")
    assert cache.of(tmp_path / "a.tif") == sha256_file(tmp_path / "a.tif")
