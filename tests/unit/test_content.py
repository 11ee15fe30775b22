"""Files that are what they should be, and all that services send instead."""

from __future__ import annotations

import gzip
import io
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import rasterio
from PIL import Image

from geolatents.acquire.fetch.content import (
    Content,
    ContentError,
    anything,
    image_content,
    json_content,
    tar_content,
    tiff_content,
    zip_content,
)
from geolatents.acquire.fetch.secrets import remember

CHECKS = [anything, json_content, tiff_content, image_content, zip_content, tar_content]
HTML = b"<!DOCTYPE html>\n<html><head><title>Please\n log in</title></head></html>"


def tiff(folder: Path, **settings: object) -> bytes:
    file = folder / "source.tif"
    pixels = np.random.default_rng(0).integers(0, 255, (3, 300, 200), "uint8")
    with rasterio.open(
        file, "w", driver="GTiff", count=3, height=300, width=200, dtype="uint8", **settings
    ) as image:
        image.write(pixels)
    return file.read_bytes()


def picture(kind: str) -> bytes:
    stream = io.BytesIO()
    Image.effect_noise((64, 64), 50).save(stream, kind)
    return stream.getvalue()


def packed(kind: str) -> bytes:
    stream = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(stream, "w") as archive:
            archive.writestr("a", b"1" * 100)
        return stream.getvalue()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        info = tarfile.TarInfo("a")
        info.size = 100
        archive.addfile(info, io.BytesIO(b"1" * 100))
    if kind == "tar.zst":
        return bytes(pa.Codec("zstd").compress(stream.getvalue()))
    return gzip.compress(stream.getvalue()) if kind == "tar.gz" else stream.getvalue()


GOOD = [
    (anything, b"a,b\n1,2\n"),
    (json_content, b'{"a": [1, null]}'),
    (image_content, picture("PNG")),
    (image_content, picture("JPEG")),
    (zip_content, packed("zip")),
    (tar_content, packed("tar")),
    (tar_content, packed("tar.gz")),
    (tar_content, packed("tar.zst")),
]


def checked(content: Content, folder: Path, body: bytes) -> None:
    file = folder / "x.part"
    file.write_bytes(body)
    content(file)


@pytest.mark.parametrize(("content", "body"), GOOD, ids=range(len(GOOD)))
def test_good_files(content: Content, tmp_path: Path, body: bytes) -> None:
    checked(content, tmp_path, body)


@pytest.mark.parametrize(("content", "body"), GOOD[1:], ids=range(1, len(GOOD)))
def test_files_cut_short(content: Content, tmp_path: Path, body: bytes) -> None:
    with pytest.raises(ContentError):
        checked(content, tmp_path, body[: min(len(body) // 2, 300)])


@pytest.mark.parametrize(
    "settings",
    [{}, {"tiled": True, "blockxsize": 64, "blockysize": 64}, {"interleave": "pixel"},
     {"compress": "deflate", "interleave": "band"}],
)  # fmt: skip
def test_tiffs_whole_and_cut_short(tmp_path: Path, settings: dict) -> None:
    body = tiff(tmp_path, **settings)
    checked(tiff_content, tmp_path, body)
    for share in (0.1, 0.5, 0.98):
        with pytest.raises(ContentError, match="a TIFF image"):
            checked(tiff_content, tmp_path, body[: int(len(body) * share)])


@pytest.mark.parametrize("content", CHECKS)
@pytest.mark.parametrize(
    "body",
    [HTML, b"  \n" + HTML, b"\xef\xbb\xbf" + HTML, HTML.lower()[16:], b"<!-- hi -->\n" + HTML,
     b"<?xml version='1.0'?>\n" + HTML],
)  # fmt: skip
def test_no_check_takes_html(content: Content, tmp_path: Path, body: bytes) -> None:
    with pytest.raises(ContentError, match=r"an HTML page titled '[Pp]lease log in'") as caught:
        checked(content, tmp_path, body)
    assert "found: an HTML page" in str(caught.value)


@pytest.mark.parametrize("content", CHECKS)
@pytest.mark.parametrize("body", [b"", b" \n\n"])
def test_no_check_takes_nothing(content: Content, tmp_path: Path, body: bytes) -> None:
    with pytest.raises(ContentError):
        checked(content, tmp_path, body)


@pytest.mark.parametrize("content", CHECKS[2:])
def test_the_message_repeats_what_the_service_says(content: Content, tmp_path: Path) -> None:
    report = (
        b"<?xml version='1.0'?><ServiceExceptionReport>Layer not defined</ServiceExceptionReport>"
    )
    with pytest.raises(ContentError, match="Layer not defined"):
        checked(content, tmp_path, report)


@pytest.mark.parametrize("before", [130, *range(250, 310, 7)])
@pytest.mark.parametrize("times", [1, 60])
def test_the_message_repeats_no_part_of_a_secret(tmp_path: Path, before: int, times: int) -> None:
    """Where the message ends within the secret, and where what is read of the file does."""
    remember("0123456789" * 10)
    report = f"{'.' * before}{'0123456789' * 10 * times}".encode()
    with pytest.raises(ContentError) as caught:
        checked(zip_content, tmp_path, report)
    assert "012" not in caught.value.brief
    assert "..." in caught.value.brief


def test_a_picture_is_no_archive(tmp_path: Path) -> None:
    for content in (json_content, tiff_content, zip_content, tar_content):
        with pytest.raises(ContentError, match="bytes of other data"):
            checked(content, tmp_path, picture("JPEG"))


def test_a_picture_that_unpacks_to_gigabytes_is_refused(tmp_path: Path) -> None:
    stream = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(stream, "PNG")
    with pytest.raises(ContentError, match="decompression bomb"):
        checked(image_content, tmp_path, stream.getvalue())
