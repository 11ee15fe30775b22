"""Archives that are fine, broken and hostile."""

from __future__ import annotations

import bz2
import gzip
import io
import itertools
import os
import random
import stat
import struct
import subprocess
import sys
import tarfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geolatents.acquire.fetch import unpack as module
from geolatents.acquire.fetch.unpack import ArchiveError, unpack
from geolatents.errors import FetchError

ROOT = Path(__file__).resolve().parents[2]
LIMIT = 100_000_000
FILES = {
    "data/a.txt": b"first",
    "data/deep/er/b.bin": random.Random(1).randbytes(300_000),
    "ä.txt": b"",
}


def tar_of(files: dict[str, bytes], **settings: object) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", **settings) as archive:  # type: ignore[call-overload]
        for name, body in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(body)
            archive.addfile(info, io.BytesIO(body))
    return stream.getvalue()


def tar_with(*infos: tarfile.TarInfo) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for info in infos:
            archive.addfile(info, io.BytesIO(b"x" * info.size))
    return stream.getvalue()


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", size: int = 0) -> tarfile.TarInfo:  # fmt: skip
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, link, size
    return info


def zip_of(files: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as archive:
        for name, body in files.items():
            archive.writestr(zipfile.ZipInfo(name), body, compression)
    return stream.getvalue()


def zstd(body: bytes) -> bytes:
    stream = pa.BufferOutputStream()
    with pa.CompressedOutputStream(stream, "zstd") as packed:
        packed.write(body)
    return bytes(stream.getvalue())


def pzstd(body: bytes) -> bytes:
    """As the parallel tool writes: several frames, each after one to be skipped (RFC 8878, 3.1.2)."""
    half = len(body) // 2
    frames = [zstd(body[:half]), zstd(body[half:])]
    return b"".join(
        struct.pack("<III", 0x184D2A50, 4, len(frame)) + frame for frame in frames
    )  # fmt: skip


PACKED: dict[str, Callable[[dict[str, bytes]], bytes]] = {
    "zip": zip_of,
    "stored.zip": lambda files: zip_of(files, zipfile.ZIP_STORED),
    "tar": tar_of,
    "gnu.tar": lambda files: tar_of(files, format=tarfile.GNU_FORMAT),
    "tar.gz": lambda files: gzip.compress(tar_of(files)),
    "tar.zst": lambda files: zstd(tar_of(files)),
    "pzstd.tar.zst": lambda files: pzstd(tar_of(files)),
}


def written(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def archive_in(folder: Path, body: bytes, name: str = "archive") -> Path:
    file = folder / name
    file.write_bytes(body)
    return file


def refused(folder: Path, body: bytes, **settings: int) -> str:
    """The message of an archive that must be refused, and that must leave nothing."""
    archive = archive_in(folder, body, "evil.archive")
    with pytest.raises(ArchiveError) as caught:
        unpack(archive, folder / "in/out", settings.pop("limit_bytes", LIMIT), **settings)
    assert list(folder.iterdir()) == [archive, folder / "in"] or sorted(
        path.name for path in folder.iterdir()
    ) == ["evil.archive", "in"]
    assert [path.name for path in (folder / "in").iterdir()] == [".out.lock"]
    assert str(archive) in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("kind", PACKED)
def test_files_come_out_whatever_the_name_of_the_archive(tmp_path: Path, kind: str) -> None:
    unpack(archive_in(tmp_path, PACKED[kind](FILES)), tmp_path / "out", LIMIT)
    assert written(tmp_path / "out") == FILES
    assert sorted(path.name for path in tmp_path.iterdir()) == [".out.lock", "archive", "out"]


@pytest.mark.parametrize("kind", PACKED)
def test_parts_are_joined(tmp_path: Path, kind: str) -> None:
    body = PACKED[kind](FILES)
    cuts = [0, 3, len(body) // 2, len(body) // 2, len(body)]
    parts = [
        archive_in(tmp_path, body[start:end], f"archive{n}")
        for n, (start, end) in enumerate(itertools.pairwise(cuts))
    ]
    unpack(parts, tmp_path / "out", LIMIT)
    assert written(tmp_path / "out") == FILES


def test_what_was_there_is_replaced_as_a_whole(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old").touch()
    unpack(archive_in(tmp_path, zip_of({"new": b"1"})), tmp_path / "out", LIMIT)
    assert written(tmp_path / "out") == {"new": b"1"}
    with pytest.raises(ArchiveError):
        unpack(archive_in(tmp_path, b"PK\x03\x04 broken"), tmp_path / "out", LIMIT)
    assert written(tmp_path / "out") == {"new": b"1"}


def test_empty_folders_are_kept_and_modes_are_not(tmp_path: Path) -> None:
    tool = member("tool", size=3)
    tool.mode = 0o4777
    unpack(archive_in(tmp_path, tar_with(member("./", tarfile.DIRTYPE), member("empty/", tarfile.DIRTYPE), tool)),
           tmp_path / "out", LIMIT)  # fmt: skip
    assert (tmp_path / "out/empty").is_dir()
    assert not (tmp_path / "out/tool").stat().st_mode & (stat.S_ISUID | stat.S_IXUSR)


def test_the_last_of_two_members_with_one_name_counts(tmp_path: Path) -> None:
    unpack(archive_in(tmp_path, tar_with(member("a", size=5), member("a", size=3))), tmp_path / "out", LIMIT)  # fmt: skip
    assert written(tmp_path / "out") == {"a": b"xxx"}


# ---- paths and links that leave the folder


@pytest.mark.parametrize(
    "name",
    ["../x", "a/../../x", "/etc/x", "..", "a/..", "..\\x", "C:\\x", "c:x", "\\x", "a/../b"],
)
@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz"])
def test_paths_outside_the_folder_are_refused(tmp_path: Path, kind: str, name: str) -> None:
    text = refused(tmp_path, PACKED[kind]({"fine": b"1", name: b"2"}))
    assert "has a path outside its folder" in text
    assert f"member {name!r}" in text or kind == "zip"


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.sampled_from(["..", ".", "a", "b", "", "/", "\\", "C:", "~", "*"]),
        min_size=1,
        max_size=6,
    )
)
def test_no_name_at_all_leads_out(tmp_path_factory: pytest.TempPathFactory, words: list[str]) -> None:  # fmt: skip
    base = tmp_path_factory.mktemp("names")
    archive = archive_in(base, tar_with(member("first", size=1), member("/".join(words), size=1)))
    try:
        unpack(archive, base / "deep/er/out", LIMIT)
    except ArchiveError:
        assert not (base / "deep/er/out").exists()
    inside = base / "deep/er/out"
    for path in base.rglob("*"):
        if path.is_file() and path not in {archive, base / "deep/er/.out.lock"}:
            assert path.resolve().is_relative_to(inside.resolve())


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("link", "/etc/passwd"),
        ("link", "../secret"),
        ("a/link", "../../secret"),
        ("a/link", "b/../../../secret"),
        ("link", "fine/../.."),
    ],
)
def test_links_that_leave_the_folder_are_refused(tmp_path: Path, name: str, target: str) -> None:
    body = tar_with(member("fine", size=1), member(name, tarfile.SYMTYPE, target))
    assert "points outside its folder" in refused(tmp_path, body)
    hard = tar_with(member("fine", size=1), member("hard", tarfile.LNKTYPE, f"../{target}"))
    assert "points outside its folder" in refused(tmp_path, hard)
    assert "points outside its folder" in refused(tmp_path, zip_with_link(name, target))


def zip_with_link(name: str, target: str) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("fine", b"1")
        info = zipfile.ZipInfo(name)
        info.create_system, info.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, target)
    return stream.getvalue()


def test_a_link_to_a_folder_does_not_carry_later_members_out(tmp_path: Path) -> None:
    """A classic: a link to a folder outside, then a file through it."""
    body = tar_with(member("way", tarfile.SYMTYPE, ".."), member("way/x", size=4))
    refused(tmp_path, body)
    body = tar_with(
        member("d", tarfile.DIRTYPE), member("way", tarfile.SYMTYPE, "d"), member("way/x", size=4)
    )
    refused(tmp_path, body)


def test_links_inside_become_copies(tmp_path: Path) -> None:
    body = tar_with(
        member("early", tarfile.SYMTYPE, "a/file"),
        member("a/file", size=4),
        member("a/soft", tarfile.SYMTYPE, "../early"),
        member("hard", tarfile.LNKTYPE, "a/file"),
    )
    unpack(archive_in(tmp_path, body), tmp_path / "out", LIMIT)
    assert written(tmp_path / "out") == dict.fromkeys(["a/file", "a/soft", "early", "hard"], b"xxxx")  # fmt: skip
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_symlink()]
    unpack(archive_in(tmp_path, zip_with_link("a/link", "../fine")), tmp_path / "out", LIMIT)
    assert written(tmp_path / "out") == {"fine": b"1", "a/link": b"1"}


def test_a_link_to_itself_leaves_the_file(tmp_path: Path) -> None:
    body = tar_with(member("f", size=4), member("f", tarfile.LNKTYPE, "./f"))
    unpack(archive_in(tmp_path, body), tmp_path / "out", LIMIT)
    assert written(tmp_path / "out") == {"f": b"xxxx"}


def test_a_link_does_not_replace_a_later_member_of_its_name(tmp_path: Path) -> None:
    link = member("f", tarfile.LNKTYPE, "a")
    unpack(archive_in(tmp_path, tar_with(member("a", size=2), link, member("f", size=4))), tmp_path / "out", LIMIT)  # fmt: skip
    assert written(tmp_path / "out") == {"a": b"xx", "f": b"xxxx"}
    unpack(archive_in(tmp_path, tar_with(member("a", size=2), link, member("f", tarfile.DIRTYPE))), tmp_path / "out", LIMIT)  # fmt: skip
    assert (tmp_path / "out/f").is_dir()
    unpack(archive_in(tmp_path, tar_with(member("a", size=2), member("f", size=4), link)), tmp_path / "out", LIMIT)  # fmt: skip
    assert written(tmp_path / "out") == {"a": b"xx", "f": b"xx"}


@pytest.mark.parametrize("target", ["nothing", "link", "d"])
def test_links_to_no_file_are_refused(tmp_path: Path, target: str) -> None:
    body = tar_with(
        member("x"), member("d", tarfile.DIRTYPE), member("link", tarfile.SYMTYPE, target)
    )
    assert "a link to what is no file" in refused(tmp_path, body)


@pytest.mark.parametrize("kind", [tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_devices_are_refused(tmp_path: Path, kind: bytes) -> None:
    assert "neither a file nor a folder" in refused(tmp_path, tar_with(member("dev", kind)))


def test_a_device_in_a_zip_is_refused(tmp_path: Path) -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        info = zipfile.ZipInfo("dev")
        info.create_system, info.external_attr = 3, (stat.S_IFCHR | 0o666) << 16
        archive.writestr(info, b"")
    assert "neither a file nor a folder" in refused(tmp_path, stream.getvalue())


def test_a_file_in_place_of_a_folder_is_an_error(tmp_path: Path) -> None:
    assert "member 'a/b'" in refused(tmp_path, tar_with(member("a", size=1), member("a/b", size=1)))


# ---- bombs


@pytest.mark.parametrize("kind", PACKED)
def test_too_many_bytes(tmp_path: Path, kind: str) -> None:
    body = PACKED[kind](FILES)
    text = refused(tmp_path, body, limit_bytes=300_004)
    assert "at most 300004 bytes unpacked" in text
    unpack(archive_in(tmp_path, body), tmp_path / "out", 300_005)


@pytest.mark.parametrize("kind", PACKED)
def test_too_many_members(tmp_path: Path, kind: str) -> None:
    body = PACKED[kind](FILES)
    assert "at most 2 files" in refused(tmp_path, body, limit_members=2)
    unpack(archive_in(tmp_path, body), tmp_path / "out", LIMIT, limit_members=3)


@pytest.mark.parametrize("kind", ["zip", "tar.gz", "tar.zst"])
def test_a_small_archive_does_not_become_large(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """100 MB of zeros are 100 kB as zip; the default ratio of 200 finds them long before their end."""
    monkeypatch.setattr(module, "RATIO_FROM", 1 << 20)
    body = PACKED[kind]({"zeros": bytes(100_000_000)})
    assert len(body) < 200_000
    text = refused(tmp_path, body, limit_bytes=10**12)
    assert "holds too much" in text
    assert "member 'zeros'" in text


def test_declared_sizes_are_not_believed(tmp_path: Path) -> None:
    """The zip says that its file has some kilobytes, in both of its headers."""
    body = zip_of({"zeros": bytes(30_000_000)})
    lie = body.replace(struct.pack("<I", 30_000_000), struct.pack("<I", 0x1234))
    assert lie.count(struct.pack("<I", 0x1234)) == 2
    refused(tmp_path, lie, limit_bytes=1_000_000)


def test_sparse_files_count_by_what_is_written(tmp_path: Path) -> None:
    """A GNU sparse file of 10 GB in an archive of one kilobyte."""
    info = member("sparse", b"S", size=512)
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    header[386:410] = b"%011o\0%011o\0" % (0, 512)
    header[483:495] = b"%011o\0" % (8 * 10**9)
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    text = refused(tmp_path, bytes(header) + bytes(512 + 1024))
    assert "holds too much" in text


def test_headers_that_say_they_are_huge_are_not_read_into_memory(tmp_path: Path) -> None:
    info = member("pax", tarfile.XHDTYPE)
    info.size = 8 * 10**9
    body = info.tobuf(tarfile.GNU_FORMAT) + bytes(2048)
    assert "8000000000 bytes long" in refused(tmp_path, body)


def test_zeros_after_the_end_are_counted(tmp_path: Path) -> None:
    body = gzip.compress(tar_of({"a": b"1"}) + bytes(200_000_000), compresslevel=1)
    assert "holds too much" in refused(tmp_path, body, limit_bytes=1000)


# ---- broken archives


@pytest.mark.parametrize("kind", PACKED)
@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.9, 1.0])
def test_cut_short(tmp_path: Path, kind: str, share: float) -> None:
    body = PACKED[kind](FILES)
    if kind.endswith("tar"):
        body = body.rstrip(
            b"\0"
        )  # the end mark and its padding, which may be cut to a block of zeros
    refused(tmp_path, body[: int((len(body) - 1) * share)])


@pytest.mark.parametrize("kind", ["zip", "stored.zip", "tar.gz"])
def test_damaged_data(tmp_path: Path, kind: str) -> None:
    """Tar has no checksum of data, zstd only where the tool that packed wrote one."""
    body = bytearray(PACKED[kind](FILES))
    body[len(body) // 2 : len(body) // 2 + 64] = bytes(64)
    refused(tmp_path, bytes(body))


def test_a_damaged_header_is_not_the_end(tmp_path: Path) -> None:
    """tarfile ends silently at a header whose checksum is wrong."""
    body = bytearray(tar_of({"a": b"1", "b": b"2", "c": b"3"}))
    body[1024 + 10] ^= 0xFF
    assert "cut short or damaged" in refused(tmp_path, bytes(body))


@pytest.mark.parametrize(
    "body", [b"", b"hello", b"<html></html>" * 100, bz2.compress(b"x"), bytes(2000), zip_of({})]
)
def test_what_is_no_archive_or_empty(tmp_path: Path, body: bytes) -> None:
    refused(tmp_path, body)


def test_a_password_is_asked_for_clearly(tmp_path: Path) -> None:
    body = bytearray(zip_of({"a": b"1"}, zipfile.ZIP_STORED))
    body[6] |= 1
    body[body.index(b"PK\x01\x02") + 8] |= 1
    assert "password" in refused(tmp_path, bytes(body))


def test_a_compression_that_python_lacks_is_named(tmp_path: Path) -> None:
    body = bytearray(zip_of({"a": b"1"}, zipfile.ZIP_STORED))
    body[8] = 9  # Deflate64, which Windows writes above 2 GB
    body[body.index(b"PK\x01\x02") + 10] = 9
    assert "compression" in refused(tmp_path, bytes(body))


def test_a_missing_archive_is_told_by_its_name(tmp_path: Path) -> None:
    with pytest.raises(FetchError, match="nowhere"):
        unpack(tmp_path / "nowhere.zip", tmp_path / "out", LIMIT)


# ---- killed and full


UNPACK = """
import sys
from pathlib import Path
from geolatents.acquire.fetch.unpack import unpack
limit = int(sys.argv[3])
if limit:
    import resource
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
unpack(Path(sys.argv[1]), Path(sys.argv[2]), 10**12)
"""


def child(archive: Path, folder: Path, limit: int = 0) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", UNPACK, str(archive), str(folder), str(limit)],
        cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def test_killed_in_the_middle(tmp_path: Path) -> None:
    files = {str(n): random.Random(n).randbytes(20_000) for n in range(3000)}
    archive, folder = archive_in(tmp_path, tar_of(files)), tmp_path / "out"
    process = child(archive, folder)
    deadline = time.monotonic() + 60
    while not any(len(os.listdir(path)) > 20 for path in tmp_path.glob(".out.*.partial")):  # noqa: PTH208
        assert time.monotonic() < deadline
        assert process.poll() is None, process.communicate()
        time.sleep(0.001)
    process.kill()
    process.communicate()
    assert not folder.exists()
    assert list(tmp_path.glob(".out.*.partial"))
    unpack(archive, folder, LIMIT)
    assert written(folder) == files
    assert sorted(path.name for path in tmp_path.iterdir()) == [".out.lock", "archive", "out"]


def test_only_leftovers_of_this_folder_are_deleted(tmp_path: Path) -> None:
    other, own = tmp_path / ".out.2.7.partial", tmp_path / ".out.7.partial"
    other.mkdir()  # of a folder "out.2"
    own.mkdir()
    unpack(archive_in(tmp_path, zip_of({"a": b"1"})), tmp_path / "out", LIMIT)
    assert other.exists()
    assert not own.exists()


def test_a_full_disk(tmp_path: Path) -> None:
    archive = archive_in(tmp_path, tar_of({"small": b"1", "large": bytes(1_000_000)}))
    process = child(archive, tmp_path / "out", limit=500_000)
    _, errors = process.communicate(timeout=60)
    assert "FetchError: there is no room" in errors
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob(".out.*.partial"))
