"""An archive holds a whole run and nothing else; whatever is changed in it afterwards is named."""

from __future__ import annotations

import stat
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from geolatents.archive.__main__ import main
from geolatents.archive.layout import IDENTITIES, INPUTS, MANIFEST, METADATA
from geolatents.archive.reading import open_archive
from geolatents.archive.verify import differences
from geolatents.errors import ArchiveError
from geolatents.files import sha256_file
from tests.unit import archive_data as data
from tests.unit.archive_data import FIGURE, LOG, METRICS, MODEL, RECORD, STORE, TABLE, at

ROOT = Path(__file__).resolve().parents[2]
PARENT = "../outside"


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The archive of a small run."""
    folder = tmp_path_factory.mktemp("packed")
    return data.pack(folder, data.make_run(folder))


@pytest.fixture
def folder(packed: Path, tmp_path: Path) -> Path:
    """The same, unpacked, to be damaged at will."""
    return data.unpacked(packed, tmp_path / "unpacked")


def found(path: Path) -> list[str]:
    with open_archive(path) as archive:
        return [str(one) for one in differences(archive)]


# ---- what is in it


def test_an_archive_is_whole_as_zip_and_unpacked(packed: Path, folder: Path) -> None:
    assert found(packed) == found(folder) == []
    assert main(["verify", str(packed)]) == 0


def test_it_holds_the_run_and_nothing_else(tmp_path: Path) -> None:
    root = data.make_run(tmp_path)
    at(root, "results/demo/tiles/of-another-configuration.json").write_text("{}")
    (at(root, STORE) / ".snakemake_timestamp").touch()
    with zipfile.ZipFile(data.pack(tmp_path, root)) as file:
        names = file.namelist()
    assert {STORE + "/zarr.json", RECORD, TABLE, METRICS, LOG, MODEL + ".prov.json"} <= set(names)
    assert {"config.yaml", "workflow/Snakefile", "workflow/geolatents/code.py"} <= set(names)
    assert not [
        n for n in names if "another" in n or "timestamp" in n or "pyc" in n or "north.tif" in n
    ]


def test_lists_of_searches_come_along(tmp_path: Path) -> None:
    root = data.make_run(tmp_path)
    (tmp_path / "searches").mkdir()
    (tmp_path / "searches/demo.geojson").write_text("{}")
    archive = data.pack(tmp_path, root)
    assert data.read(archive, "searches/demo.geojson") == {}
    assert found(archive) == []


def test_equal_runs_give_equal_bytes(tmp_path: Path) -> None:
    root = data.make_run(tmp_path)
    first = sha256_file(data.pack(tmp_path, root))
    for file in root.rglob("*"):
        file.touch()
    assert sha256_file(data.pack(tmp_path, root)) == first


def test_files_from_outside_are_named_and_stay_outside(packed: Path) -> None:
    known = {"sha256": "0" * 64, "licence": "CC0-1.0", "provider": "files", "record": RECORD}
    assert data.read(packed, INPUTS) == [{"name": "data:north.tif"} | known]
    with zipfile.ZipFile(packed) as file:
        assert not [name for name in file.namelist() if name.endswith(".tif")]


@pytest.mark.parametrize(
    ("licence", "images", "inside"),
    [
        ("CC0-1.0", "open", True),
        ("CC BY-SA 4.0", "open", True),
        ("CC BY-NC 4.0", "open", False),
        ("unknown", "open", False),
        ("Planet Labs PBC; no redistribution of pixels", "open", False),
        ("unknown", "all", True),
        ("CC0-1.0", "none", False),
    ],
)
def test_images_need_an_open_licence(
    tmp_path: Path, licence: str, images: str, inside: bool
) -> None:
    archive = data.pack(tmp_path, data.make_run(tmp_path, licence=licence), images=images)
    with zipfile.ZipFile(archive) as file:
        assert any(name.startswith(STORE + "/") for name in file.namelist()) is inside
    entry = data.read(archive, IDENTITIES)[STORE]
    assert len(entry["sha256"]) == 64
    assert ("left_out" in entry) is not inside
    assert found(archive) == []


def test_photos_and_their_table_never_leave(tmp_path: Path) -> None:
    from geolatents.archive.licences import PHOTOS

    private = [
        "photos",
        "maps",
        "photos.parquet",
        "downloads/photos/3_4.json",
        "downloads/maps/3_4.json",
    ]
    assert all(PHOTOS.match(f"results/town/{name}") for name in private)
    assert not PHOTOS.match("results/town/downloads/landcover.json")


def test_logs_and_provenance_name_no_folder_of_this_machine(packed: Path) -> None:
    with zipfile.ZipFile(packed) as file:
        assert b"cutting results/demo/tiles in " in file.read(LOG)
        for name in file.namelist():
            assert str(packed.parent).encode() not in file.read(name), name


# ---- what stops it


def test_a_secret_stops_the_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = data.make_run(tmp_path)
    monkeypatch.setenv("SOME_API_KEY", "weights 0.9")
    with pytest.raises(ArchiveError, match="SOME_API_KEY") as error:
        data.pack(tmp_path, root)
    assert "weights 0.9" not in str(error.value)
    assert not list(tmp_path.glob("*.zip*"))


def test_an_artifact_changed_by_hand_stops_it(tmp_path: Path) -> None:
    root = data.make_run(tmp_path)
    at(root, METRICS).write_text("{}")
    with pytest.raises(ArchiveError, match="not what their provenance says"):
        data.pack(tmp_path, root)


def test_a_store_changed_by_hand_stops_it(tmp_path: Path) -> None:
    root = data.make_run(tmp_path)
    (at(root, STORE) / "zarr.json").write_text((at(root, STORE) / "zarr.json").read_text() + " ")
    with pytest.raises(ArchiveError, match="not what their provenance says"):
        data.pack(tmp_path, root)


def test_an_artifact_without_provenance_stops_it(tmp_path: Path) -> None:
    root = data.make_run(tmp_path)
    at(root, RECORD + ".prov.json").unlink()
    with pytest.raises(ArchiveError, match="no provenance"):
        data.pack(tmp_path, root)


# ---- what is found in a changed one


def test_a_flipped_bit_is_named(folder: Path) -> None:
    file = folder / MODEL
    content = bytearray(file.read_bytes())
    content[3] ^= 1
    file.write_bytes(content)
    assert found(folder) == [f"differs: {MODEL}"]
    assert main(["verify", str(folder)]) == 1


def test_a_flipped_bit_in_the_zip_is_named(packed: Path, tmp_path: Path) -> None:
    content = bytearray(packed.read_bytes())
    content[content.index(b"weights 0.9")] ^= 1
    damaged = tmp_path / "damaged.zip"
    damaged.write_bytes(content)
    assert found(damaged) == [f"unreadable: {MODEL} (the zip is damaged here)"]


def test_removed_added_and_renamed_files_are_named(folder: Path) -> None:
    (folder / FIGURE).unlink()
    (folder / "results/more.txt").write_text("more")
    (folder / MODEL).rename(folder / "results/renamed.keras")
    assert found(folder) == [
        f"missing: {FIGURE}",
        f"missing: {MODEL}",
        "added: results/more.txt",
        f"added: results/renamed.keras (has the bytes of {MODEL})",
    ]


def test_metadata_that_disagree_with_the_hashes_are_named(folder: Path) -> None:
    """Somebody changed a file and its line in the list, and forgot the metadata."""
    before = sha256_file(folder / MODEL)
    (folder / MODEL).write_bytes(b"other")
    manifest = folder / MANIFEST
    manifest.write_text(manifest.read_text().replace(before, sha256_file(folder / MODEL)))
    assert found(folder) == [f"differs: {MODEL} ({METADATA} states another hash than {MANIFEST})"]


def test_a_changed_line_of_the_list_is_found(folder: Path) -> None:
    manifest = folder / MANIFEST
    before = sha256_file(folder / MODEL)
    manifest.write_text(manifest.read_text().replace(before, "0" * 64))
    assert found(folder) == [f"differs: {MODEL}"]


# ---- what is refused


def entry(name: str, mode: int = stat.S_IFREG) -> Callable[[zipfile.ZipFile], None]:
    def add(file: zipfile.ZipFile) -> None:
        info = zipfile.ZipInfo(name)
        info.external_attr = mode << 16
        file.writestr(info, "x")

    return add


@pytest.mark.parametrize(
    ("add", "problem"),
    [
        (entry(PARENT), "leads out"),
        (entry("results/../../outside"), "leads out"),
        (entry("/outside"), "leads out"),
        (entry("C:/outside"), "leads out"),
        (entry("results\\..\\outside"), "leads out"),
        (entry("results/link", stat.S_IFLNK), "is a link"),
        (entry(METADATA), "two entries"),
    ],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_entries_that_lead_astray_are_refused(
    packed: Path, tmp_path: Path, add: Callable[[zipfile.ZipFile], None], problem: str
) -> None:
    copy = tmp_path / "copy.zip"
    copy.write_bytes(packed.read_bytes())
    with zipfile.ZipFile(copy, "a") as file:
        add(file)
    with pytest.raises(ArchiveError, match=problem):
        found(copy)
    assert main(["verify", str(copy)]) == 2


def test_a_truncated_zip_is_refused(packed: Path, tmp_path: Path) -> None:
    half = tmp_path / "half.zip"
    half.write_bytes(packed.read_bytes()[:5000])
    with pytest.raises(ArchiveError, match="no zip, or its end is missing"):
        found(half)


def test_no_damage_ends_in_a_crash(packed: Path, tmp_path: Path) -> None:
    """Wherever a byte is flipped, a file is named, the archive is refused, or no content has changed."""
    rng, whole = np.random.default_rng(0), packed.read_bytes()
    directory = whole.index(b"PK\1\2")
    places = [*rng.integers(0, len(whole), 40), *rng.integers(directory, len(whole), 40)]
    outcomes = set()
    for place in places:
        content = bytearray(whole)
        content[place] ^= 1 << int(rng.integers(8))
        damaged = tmp_path / "damaged.zip"
        damaged.write_bytes(content)
        try:
            outcomes.add("named" if found(damaged) else "unchanged")
        except ArchiveError:
            outcomes.add("refused")
    assert {"named", "refused"} <= outcomes


def test_what_is_no_archive_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="there is no archive"):
        found(tmp_path / "nothing.zip")
    with pytest.raises(ArchiveError, match="no archive of a run"):
        found(tmp_path)
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as file:
        file.writestr("a", "b")
    with pytest.raises(ArchiveError, match="no archive of a run"):
        found(tmp_path / "other.zip")


def test_a_link_in_a_folder_is_refused(folder: Path) -> None:
    (folder / MODEL).unlink()
    (folder / MODEL).symlink_to("/etc/hostname")
    with pytest.raises(ArchiveError, match="a link"):
        found(folder)


@pytest.mark.parametrize("text", ["[]", "no json", '{"@graph": [{"@id": "./"}]}'])
def test_metadata_that_are_no_run_crate_are_refused(folder: Path, text: str) -> None:
    before = sha256_file(folder / METADATA)
    (folder / METADATA).write_text(text)
    manifest = folder / MANIFEST
    manifest.write_text(manifest.read_text().replace(before, sha256_file(folder / METADATA)))
    with pytest.raises(ArchiveError):
        found(folder)


def test_checking_needs_nothing_but_python(packed: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-S", "-B", "-m", "geolatents.archive", "verify", str(packed)],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "all as stated" in done.stdout
