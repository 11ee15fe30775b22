"""Archives are downloaded over real sockets, from hosts that answer as the published ones do."""

from __future__ import annotations

import hashlib
import json
from contextlib import ExitStack
from dataclasses import replace

import pytest

from geolatents.acquire.archives import provider as archives
from geolatents.acquire.archives.provider import download_archive, planned
from geolatents.acquire.archives.table import archive_table
from geolatents.acquire.fetch.fetcher import preview
from geolatents.errors import FetchError
from geolatents.settings.archives import ArchiveService
from geolatents.settings.images import ImageFolder
from geolatents.tiles.pack import open_images
from tests import archive_makers as make
from tests.services.archives import Drive, HuggingFace, Robots, Storage, Zenodo
from tests.services.base import CLOSED, HTML_PAGE, Answer, cut_after


class Hosts:
    """All hosts of the registry on loopback; each holds every file that was made."""

    def __init__(self, stack: ExitStack) -> None:
        self.files: dict[str, bytes] = {}
        self.ids: dict[str, bytes] = {}
        run = stack.enter_context
        self.storage = run(Storage(self.files).running())
        self.mirror = run(Storage(self.files).running())
        self.university = run(Storage(self.files).running())
        self.zenodo = run(Zenodo(self.files).running())
        self.hugging_face = run(HuggingFace(self.files, self.storage).running())
        self.robots = run(Robots(self.storage).running())
        self.drive = run(Drive(self.ids).running())
        self.all = [
            self.storage, self.mirror, self.university, self.zenodo, self.hugging_face, self.robots, self.drive,
        ]  # fmt: skip

    def service(self, **values) -> ArchiveService:
        endpoints = {
            "https://zenodo.org": self.zenodo.url,
            "https://huggingface.co": self.hugging_face.url,
            "https://hf.co": self.hugging_face.url,
            "http://madm.dfki.de": self.university.url,
            "http://weegee.vision.ucmerced.edu": self.university.url,
            "https://git.wur.nl": self.university.url,
            "https://www.cs.toronto.edu": self.university.url,
            "https://thor.robots.ox.ac.uk": self.storage.url,
            "https://www.robots.ox.ac.uk": self.robots.url,
            "https://drive.google.com": self.drive.url,
        }
        return ArchiveService(
            **{"endpoints": endpoints, "rate": 1000, "attempts": 2, "timeout": 5} | values
        )

    @property
    def n_calls(self) -> int:
        return sum(len(host.calls) for host in self.all)


@pytest.fixture
def hosts(tmp_path, monkeypatch):
    """Hosts that hold generated copies, and the registry with the checksums of these copies."""
    table = dict(archive_table())
    with ExitStack() as stack:
        found = Hosts(stack)

        def offer(name, maker):
            """Make the files of an archive, put them on the hosts and pin them where the originals are pinned."""
            folder = tmp_path / "made" / name
            folder.mkdir(parents=True)
            maker(folder)
            files = []
            for file in table[name].files:
                content = (folder / file.name).read_bytes()
                found.files[file.name] = content
                if file.drive:
                    found.ids[file.drive] = content
                hashes = {a: hashlib.new(a, content).hexdigest() for a in file.digests}
                size = len(content) if file.size else None
                files.append(replace(file, size=size, **hashes))
            table[name] = replace(table[name], files=tuple(files))

        found.offer = offer
        monkeypatch.setattr(archives, "archive_table", lambda: table)
        monkeypatch.setattr("geolatents.acquire.archives.table.archive_table", lambda: table)
        yield found


def eurosat(folder):
    make.eurosat_rgb(folder / "EuroSAT_RGB.zip")


def eurosat_2018(folder):
    make.eurosat_rgb(folder / "EuroSAT.zip", "2750")


def cifar(folder):
    make.cifar10(folder / "cifar-10-python.tar.gz")


def rows(root):
    return [
        json.loads(line) for line in (root / "archives/manifest.jsonl").read_text().splitlines()
    ]


def test_an_archive_is_fetched_checked_entered_and_not_asked_for_again(hosts, tmp_path):
    hosts.offer("eurosat_rgb", eurosat)
    root = tmp_path / "downloads"
    files = download_archive("eurosat_rgb", hosts.service(), root)
    assert files == {"EuroSAT_RGB.zip": root / "archives/eurosat/EuroSAT_RGB.zip"}
    assert files["EuroSAT_RGB.zip"].read_bytes() == hosts.files["EuroSAT_RGB.zip"]
    (row,) = rows(root)
    assert row["md5"] == hashlib.md5(hosts.files["EuroSAT_RGB.zip"]).hexdigest()
    assert row["licence"].startswith("MIT")
    assert "Helber" in row["citation"]
    assert row["request"]["url"].startswith(
        "https://zenodo.org/records/7711810/files/EuroSAT_RGB.zip"
    )
    asked = hosts.n_calls
    download_archive("eurosat_rgb", hosts.service(), root)
    download_archive("eurosat_rgb", hosts.service(mirror=hosts.mirror.url), root)
    assert hosts.n_calls == asked == 1


def test_a_preview_knows_sizes_and_asks_nothing(hosts, tmp_path):
    hosts.offer("eurosat_rgb", eurosat)
    found = preview(tmp_path, planned("eurosat_rgb"))
    assert (found.items, found.requests, found.unknown) == (1, 1, 0)
    assert found.bytes == len(hosts.files["EuroSAT_RGB.zip"])
    assert preview(tmp_path, planned("bigearthnet_v2")).bytes > 63e9
    assert hosts.n_calls == 0


def test_a_mirror_is_asked_first_and_by_file_name(hosts, tmp_path):
    hosts.offer("eurosat_rgb", eurosat)
    download_archive("eurosat_rgb", hosts.service(mirror=f"{hosts.mirror.url}/data/"), tmp_path)
    assert [call.path for call in hosts.mirror.calls] == ["/data/EuroSAT_RGB.zip"]
    assert hosts.zenodo.calls == []


@pytest.mark.parametrize(
    "fault",
    [
        Answer.text("gone", 404),
        Answer.text("busy", 503),
        HTML_PAGE,
        CLOSED,
        Answer(200, b"PK" + b"\0" * 5000),
    ],
    ids=["404", "503", "page", "closed", "other file"],
)
def test_the_next_address_is_asked_when_one_fails(hosts, tmp_path, fault):
    hosts.offer("eurosat_rgb_2018", eurosat_2018)
    hosts.hugging_face.fault(r"/.*", fault, times=9)
    file = download_archive("eurosat_rgb_2018", hosts.service(), tmp_path)["EuroSAT.zip"]
    assert file.read_bytes() == hosts.files["EuroSAT.zip"]
    assert [call.path for call in hosts.university.calls] == ["/files/sentinel/EuroSAT.zip"]


def test_a_redirect_to_a_storage_host_is_followed_and_its_signature_kept_out(hosts, tmp_path):
    hosts.offer("eurosat_rgb_2018", eurosat_2018)
    download_archive("eurosat_rgb_2018", hosts.service(), tmp_path)
    assert hosts.storage.calls[0].query["Signature"] == "signed-by-storage"
    assert "signed-by-storage" not in (tmp_path / "archives/manifest.jsonl").read_text()


def test_a_lost_connection_is_continued_where_it_broke(hosts, tmp_path):
    hosts.offer("eurosat_rgb", eurosat)
    size = len(hosts.files["EuroSAT_RGB.zip"])
    hosts.zenodo.fault(r"/.*", cut_after(size // 2))
    file = download_archive("eurosat_rgb", hosts.service(), tmp_path)["EuroSAT_RGB.zip"]
    assert file.read_bytes() == hosts.files["EuroSAT_RGB.zip"]
    assert hosts.zenodo.calls[1].headers["range"] == f"bytes={size // 2}-"


def test_what_one_run_began_the_next_one_continues(hosts, tmp_path):
    hosts.offer("eurosat_rgb", eurosat)
    size = len(hosts.files["EuroSAT_RGB.zip"])
    hosts.zenodo.fault(r"/.*", cut_after(size // 2))
    with pytest.raises(FetchError):
        download_archive("eurosat_rgb", hosts.service(attempts=1), tmp_path)
    download_archive("eurosat_rgb", hosts.service(attempts=1), tmp_path)
    assert hosts.zenodo.calls[1].headers["range"] == f"bytes={size // 2}-"


def test_zenodos_limit_is_waited_for(hosts, tmp_path):
    hosts.offer("eurosat_rgb", eurosat)
    hosts.zenodo.fault(r"/.*", Answer.text("Too many requests", 429, **{"Retry-After": "0"}))
    download_archive("eurosat_rgb", hosts.service(), tmp_path)
    assert len(hosts.zenodo.calls) == 2


def test_a_file_with_another_checksum_is_refused_and_not_kept(hosts, tmp_path):
    hosts.offer("eurosat_rgb", eurosat)
    content = bytearray(hosts.files["EuroSAT_RGB.zip"])
    content[100] ^= 1
    hosts.files["EuroSAT_RGB.zip"] = bytes(content)
    with pytest.raises(FetchError, match=r"no address gives EuroSAT_RGB\.zip") as error:
        download_archive("eurosat_rgb", hosts.service(), tmp_path)
    assert "wrong checksum" in str(error.value)
    assert "https://zenodo.org/records/7711810" in str(error.value)
    assert not (tmp_path / "archives/eurosat/EuroSAT_RGB.zip").exists()


def test_a_page_instead_of_an_archive_is_refused_and_named(hosts, tmp_path):
    hosts.offer("paris", make.paris)
    for host in (hosts.storage, hosts.robots):
        host.fault(r"/.*paris_2.*", HTML_PAGE, times=20)
    # Neither a size nor a checksum is known of it; only its content tells.
    with pytest.raises(FetchError, match=r"no address gives paris_2\.tgz(.|\n)*HTML page"):
        download_archive("paris", hosts.service(), tmp_path)
    assert [file.name for file in (tmp_path / "archives/paris").glob("*.tgz")] == ["paris_1.tgz"]


def test_files_without_checksum_are_pinned_at_first_use(hosts, tmp_path, caplog):
    hosts.offer("paris", make.paris)
    # The first address is closed; the old one leads there by a redirect.
    hosts.storage.fault(r"/parisbuildings/paris_1\.tgz", Answer.text("closed", 404), times=2)
    root = tmp_path / "downloads"
    download_archive("paris", hosts.service(), root)
    assert hosts.robots.calls_to(r"/~vgg/data/parisbuildings/paris_1\.tgz")
    pinned = {row["path"]: row["sha256"] for row in rows(root)}
    for name in ("paris_1.tgz", "paris_2.tgz"):
        expected = hashlib.sha256(hosts.files[name]).hexdigest()
        assert pinned[f"archives/paris/{name}"] == expected
    imagery = ImageFolder(provider="images", archive="paris", size=16)
    assert len(open_images(imagery, tmp_path, root).ids) == 24
    asked = hosts.n_calls
    download_archive("paris", hosts.service(), root)
    assert hosts.n_calls == asked


def test_a_downloaded_tar_is_unpacked_when_it_is_read(hosts, tmp_path):
    hosts.offer("cifar10", cifar)
    download_archive("cifar10", hosts.service(), tmp_path)
    assert not (tmp_path / "archives/cifar10/unpacked").exists()
    imagery = ImageFolder(provider="images", archive="cifar10", size=32)
    images = open_images(imagery, tmp_path, tmp_path)
    assert len(images.ids) == 18
    assert images.decode(0).shape == (32, 32, 3)


def test_an_archive_in_parts_is_fetched_and_joined(hosts, tmp_path):
    hosts.offer("bigearthnet_v2_parts", lambda folder: make.bigearthnet_v2(folder, parts=True))
    hosts.files |= {f"V2/{name}": content for name, content in hosts.files.items()}
    download_archive("bigearthnet_v2_parts", hosts.service(), tmp_path)
    imagery = ImageFolder(provider="images", archive="bigearthnet_v2_parts", size=16)
    assert len(open_images(imagery, tmp_path, tmp_path).ids) == 2


# By hand


def test_a_set_behind_a_login_says_what_to_put_where(hosts, tmp_path):
    with pytest.raises(FetchError) as error:
        download_archive("dfc2019", hosts.service(), tmp_path)
    for text in (
        "https://ieee-dataport.org/open-access/data-fusion-contest-2019-dfc2019",
        f"{tmp_path}/archives/dfc2019/Train-Track1-RGB.zip",
        f"{tmp_path}/archives/dfc2019/Train-Track1-Truth.zip",
        "sign in",
        "terms of the contest",
    ):
        assert text in str(error.value)
    assert hosts.n_calls == 0


def test_files_put_there_by_hand_are_checked_taken_and_pinned(hosts, tmp_path, caplog):
    folder = tmp_path / "archives/dfc2019"
    make.dfc2019(folder)
    files = download_archive("dfc2019", hosts.service(), tmp_path)
    found = {row["path"]: row["sha256"] for row in rows(tmp_path)}
    assert {f"archives/dfc2019/{name}": _sha256(file) for name, file in files.items()} == found
    download_archive("dfc2019", hosts.service(), tmp_path)
    assert len(rows(tmp_path)) == 2
    assert sorted(p.name for p in folder.iterdir()) == [
        "Train-Track1-RGB.zip",
        "Train-Track1-Truth.zip",
    ]
    imagery = ImageFolder(provider="images", archive="dfc2019", size=16)
    assert len(open_images(imagery, tmp_path, tmp_path).ids) == 3
    assert hosts.n_calls == 0


@pytest.mark.parametrize("content", [b"<html><title>Sign in</title></html>", b"PK\3\4 cut short"])
def test_a_wrong_file_put_there_by_hand_is_refused_and_left_in_place(hosts, tmp_path, content):
    folder = tmp_path / "archives/dfc2019"
    make.dfc2019(folder)
    file = folder / "Train-Track1-RGB.zip"
    file.write_bytes(content)
    with pytest.raises(FetchError, match=r"put into the downloads folder(.|\n)*RGB\.zip"):
        download_archive("dfc2019", hosts.service(), tmp_path)
    assert file.read_bytes() == content


def test_a_copy_with_the_right_checksum_needs_no_request(hosts, tmp_path):
    hosts.offer("celeba", make.celeba)
    folder = tmp_path / "archives/celeba"
    folder.mkdir(parents=True)
    for name, content in hosts.files.items():
        (folder / name).write_bytes(content)
    download_archive("celeba", hosts.service(), tmp_path)
    assert hosts.n_calls == 0
    assert len(rows(tmp_path)) == 3


def test_a_set_without_address_can_come_from_a_mirror(hosts, tmp_path):
    hosts.offer("terrassa", lambda folder: make.terrassa(folder / "TerrassaBuildings900.zip"))
    with pytest.raises(FetchError, match=r"ask the group(.|\n)*archives/terrassa"):
        download_archive("terrassa", hosts.service(), tmp_path)
    download_archive("terrassa", hosts.service(mirror=hosts.mirror.url), tmp_path)
    imagery = ImageFolder(provider="images", archive="terrassa", size=16)
    assert len(open_images(imagery, tmp_path, tmp_path).ids) == 26


# Google Drive


def test_drive_is_asked_for_a_confirmation_where_it_wants_one(hosts, tmp_path):
    hosts.offer("celeba", make.celeba)
    hosts.drive.scanned = len(hosts.files["img_align_celeba.zip"]) - 1
    files = download_archive("celeba", hosts.service(), tmp_path)
    assert {name: file.read_bytes() for name, file in files.items()} == hosts.files
    confirmed = [call for call in hosts.drive.calls_to("/download") if "confirm" in call.query]
    assert len(confirmed) == 1  # the images; tables are small
    assert confirmed[0].query["uuid"]
    urls = [row["request"]["url"] for row in rows(tmp_path)]
    assert urls[0] == "https://drive.google.com/uc?export=download&id=0B7EVK8r0v71pZjFTYXZWM3FlRnM"
    assert "uuid" not in (tmp_path / "archives/manifest.jsonl").read_text()


def test_a_closed_file_at_drive_is_said_with_what_to_do(hosts, tmp_path):
    hosts.offer("celeba", make.celeba)
    hosts.drive.closed = True
    with pytest.raises(FetchError) as error:
        download_archive("celeba", hosts.service(), tmp_path)
    for text in ("Quota exceeded", "24 hours", "http://mmlab.ie.cuhk.edu.hk", "archives/celeba"):
        assert text in str(error.value)
    assert not list((tmp_path / "archives/celeba").glob("*.zip"))


def test_a_page_of_drive_is_never_kept_as_the_file(hosts, tmp_path):
    """A page although the confirmation was given: the checksum and the content say so."""
    hosts.offer("celeba", make.celeba)
    hosts.drive.fault(
        r"/download", lambda call, true: HTML_PAGE if "confirm" in call.query else true, 9
    )
    with pytest.raises(FetchError, match=r"no address gives img_align_celeba\.zip"):
        download_archive("celeba", hosts.service(), tmp_path)
    assert not list((tmp_path / "archives/celeba").glob("*.zip"))


def _sha256(file):
    return hashlib.sha256(file.read_bytes()).hexdigest()
