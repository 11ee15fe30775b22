"""Tiny copies of published archives, with their true layouts: folders, names, formats and tables.

Sources: EuroSAT, UC Merced, BigEarthNet: torchgeo's readers; CIFAR-10 and CelebA: torchvision's readers and
the pages of the sets; DFC2019: pubgeo/dfc2019, data/README.md; Paris and Terrassa: public code that reads them.
"""

from __future__ import annotations

import io
import json
import struct
import tarfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import rasterio
from PIL import Image

from geolatents.acquire.images.classes import CIFAR10, EUROSAT, PARIS, TERRASSA, UCMERCED

HTML = b"<!DOCTYPE HTML><html><head><title>302 Found</title></head><body>Found</body></html>"
"""What the broken files of the Paris Dataset hold."""


def picture(seed: int, size: tuple[int, int] = (16, 16), kind: str = "JPEG") -> bytes:
    """A picture, width and height; smooth enough that JPEG keeps it."""
    rng = np.random.default_rng(seed)
    pixels = np.broadcast_to(rng.integers(0, 256, 3, dtype=np.uint8), (size[1], size[0], 3))
    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(
        stream, kind, **({"quality": 95} if kind == "JPEG" else {})
    )
    return stream.getvalue()


def tiff(bands: np.ndarray) -> bytes:
    """A GeoTIFF without position of (band, y, x)."""
    count, height, width = bands.shape
    shape = {"count": count, "height": height, "width": width, "dtype": bands.dtype}
    with rasterio.MemoryFile() as memory:
        with memory.open(driver="GTiff", **shape) as target:
            target.write(bands)
        return bytes(memory.read())


def write_zip(path: Path, members: Mapping[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def write_tar(path: Path, members: Mapping[str, bytes]) -> Path:
    """A tar archive, packed as the name's ending says."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    codec = "zstd" if path.suffix == ".zst" else "gzip"
    path.parent.mkdir(parents=True, exist_ok=True)
    with pa.CompressedOutputStream(str(path), codec) as out:
        out.write(stream.getvalue())
    return path


def split_file(path: Path, names: Sequence[str]) -> None:
    """Cut a file into parts of about equal size and remove it."""
    content = path.read_bytes()
    step = -(-len(content) // len(names))
    for number, name in enumerate(names):
        path.with_name(name).write_bytes(content[number * step : (number + 1) * step])
    path.unlink()


# One folder per class


def eurosat_rgb(path: Path, inner: str = "EuroSAT_RGB", count: int = 2) -> Path:
    """``EuroSAT_RGB/AnnualCrop/AnnualCrop_1.jpg`` (2018: ``2750/...`` or ``EuroSAT/2750/...``)."""
    members = {
        f"{inner}/{name}/{name}_{i}.jpg": picture(100 * k + i, (64, 64))
        for k, name in enumerate(EUROSAT)
        for i in range(1, count + 1)
    }
    return write_zip(path, members)


def eurosat_ms(path: Path, inner: str = "EuroSAT_MS") -> Path:
    """13 bands of uint16; band i of class k holds 1000 k + i."""
    members = {}
    for k, name in enumerate(EUROSAT):
        bands = np.full((13, 64, 64), 1000 * k, dtype=np.uint16) + np.arange(
            13, dtype=np.uint16
        ).reshape(13, 1, 1)
        members[f"{inner}/{name}/{name}_1.tif"] = tiff(bands)
    return write_zip(path, members)


def ucmerced(path: Path) -> Path:
    members = {"UCMerced_LandUse/readme.txt": b"readme"}
    for k, name in enumerate(UCMERCED):
        content = picture(k, (256, 256), "TIFF")
        members[f"UCMerced_LandUse/Images/{name}/{name}00.tif"] = content
    return write_zip(path, members)


def ucmerced_labels(path: Path) -> Path:
    header = "IMAGE\\LABEL\tairplane\ttrees\twater\n"
    rows = [f"{name}00\t{k % 2}\t{k % 3 == 0:d}\t0\n" for k, name in enumerate(UCMERCED)]
    path.write_text(header + "".join(rows))
    return path


def paris(folder: Path) -> None:
    """``paris/louvre/paris_louvre_000001.jpg`` in two archives, some of the known broken ones among them."""
    members = {
        f"paris/{name}/paris_{name}_{i:06d}.jpg": picture(10 * k + i, (40, 30))
        for k, name in enumerate(PARIS)
        for i in range(2)
    }
    broken = ("louvre_000136", "triomphe_000662")
    members |= {f"paris/{n.split('_')[0]}/paris_{n}.jpg": HTML for n in broken}
    first = {n: c for n, c in members.items() if n.split("/")[1] < "n"}
    write_tar(folder / "paris_1.tgz", first)
    write_tar(folder / "paris_2.tgz", {n: c for n, c in members.items() if n not in first})


def terrassa(path: Path) -> Path:
    """``train/annotation.txt`` and ``train/images/30017-26696-17117.jpg``, the same of ``val``."""
    members: dict[str, bytes] = {}
    for part, seed in (("train", 0), ("val", 50)):
        rows = ["ImageID\tClassID"]
        for k, code in enumerate(TERRASSA):
            name = f"{seed + k}-{k * 7 + 1}-{seed}"
            members[f"TerrassaBuildings900/{part}/images/{name}.jpg"] = picture(seed + k, (30, 40))
            rows.append(f"{name}\t{code}")
        text = "\n".join(rows) + "\n"
        members[f"TerrassaBuildings900/{part}/annotation.txt"] = text.encode()
    return write_zip(path, members)


# CIFAR-10


def cifar_batch(count: int, seed: int) -> tuple[bytes, np.ndarray, list[int]]:
    """A batch as Python 2 pickled it, with its pixels and labels."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (count, 3072), dtype=np.uint8)
    labels = rng.integers(0, 10, count).tolist()
    entries = {
        "batch_label": _text(b"training batch 1 of 5"),
        "labels": b"](" + b"".join(b"K" + bytes([label]) for label in labels) + b"e",
        "data": _array(pixels),
        "filenames": b"](" + b"".join(_text(b"x_%06d.png" % i) for i in range(count)) + b"e",
    }
    return _pickled(entries), pixels, labels


def cifar10(path: Path, count: int = 3) -> Path:
    """``cifar-10-batches-py/data_batch_1`` ... ``test_batch``, ``batches.meta``, ``readme.html``."""
    inner = "cifar-10-batches-py"
    names = b"](" + b"".join(_text(name.encode()) for name in CIFAR10) + b"e"
    members = {
        f"{inner}/batches.meta": _pickled({"label_names": names}),
        f"{inner}/readme.html": b"<html></html>",
        f"{inner}/test_batch": cifar_batch(count, 6)[0],
    }
    for number in range(1, 6):
        members[f"{inner}/data_batch_{number}"] = cifar_batch(count, number)[0]
    return write_tar(path, members)


def _pickled(entries: Mapping[str, bytes]) -> bytes:
    body = b"".join(_text(key.encode()) + value for key, value in entries.items())
    return b"\x80\x02}(" + body + b"u."


def _text(value: bytes) -> bytes:
    return b"T" + struct.pack("<i", len(value)) + value


def _array(values: np.ndarray) -> bytes:
    """uint8 of two dimensions: opcodes of protocol 2, as the published files have them."""
    dtype = b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    shape = b"".join(b"J" + struct.pack("<i", length) for length in values.shape) + b"\x86"
    start = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
    return start + b"(K\x01" + shape + dtype + b"\x89" + _text(values.tobytes()) + b"tb"


# CelebA


def celeba(folder: Path, count: int = 4, attributes: int = 40) -> None:
    """``img_align_celeba/000001.jpg`` of 178 x 218 pixels, attributes of -1 or 1, parts 0, 1, 2."""
    names = [f"{i:06d}.jpg" for i in range(1, count + 1)]
    members = {f"img_align_celeba/{name}": picture(i, (178, 218)) for i, name in enumerate(names)}
    write_zip(folder / "img_align_celeba.zip", members)
    header = " ".join(f"Attribute_{i}" for i in range(attributes)) + " "
    rows = [
        f"{name} " + " ".join(f"{1 if (i + j) % 3 == 0 else -1:2d}" for j in range(attributes))
        for i, name in enumerate(names)
    ]
    text = "\n".join([str(count), header, *rows]) + "\n"
    (folder / "list_attr_celeba.txt").write_text(text)
    parts = "".join(f"{name} {min(i, 2)}\n" for i, name in enumerate(names))
    (folder / "list_eval_partition.txt").write_text(parts)


# DFC2019


def dfc2019(folder: Path, side: int = 64) -> None:
    """``Track1-RGB/JAX_004_006_RGB.tif`` and ``Track1-Truth/JAX_004_006_{CLS,AGL}.tif``, one image without truth."""
    images: dict[str, bytes] = {}
    truth: dict[str, bytes] = {}
    for k, name in enumerate(("JAX_004_006", "JAX_004_007", "OMA_132_002")):
        rgb = np.full((3, side, side), 10 * k, dtype=np.uint8)
        rgb[0, :, side // 2 :] = 200
        images[f"Track1-RGB/{name}_RGB.tif"] = tiff(rgb)
        classes = np.full((1, side, side), 2, dtype=np.uint8)
        classes[0, : side // 4] = (5, 6, 9)[k]
        classes[0, -side // 8 :] = 65
        truth[f"Track1-Truth/{name}_CLS.tif"] = tiff(classes)
        height = np.full((1, side, side), k + 0.5, dtype=np.float32)
        height[0, 0] = np.nan
        truth[f"Track1-Truth/{name}_AGL.tif"] = tiff(height)
    images["Track1-RGB/JAX_163_010_RGB.tif"] = tiff(np.zeros((3, side, side), dtype=np.uint8))
    write_zip(folder / "Train-Track1-RGB.zip", images)
    write_zip(folder / "Train-Track1-Truth.zip", truth)


# BigEarthNet

SIDES = {"B01": 20, "B09": 20, "B02": 120, "B03": 120, "B04": 120, "B08": 120}
BANDS = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12")
V1 = ("S2A_MSIL2A_20170613T101031_0_45", "S2B_MSIL2A_20180525T94031_23_83")
V2 = (
    "S2A_MSIL2A_20170613T101031_N9999_R022_T33UUP_26_57",
    "S2B_MSIL2A_20180525T094029_N9999_R036_T35VPK_23_83",
)
CLOUDY = "S2A_MSIL2A_20170613T101031_N9999_R022_T33UUP_00_00"


def bigearthnet_v1(path: Path) -> Path:
    """``BigEarthNet-v1.0/{patch}/{patch}_B01.tif`` and a JSON with the 43 names under ``labels``."""
    labels = (["Non-irrigated arable land", "Peatbogs"], ["Sea and ocean", "Airports"])
    members: dict[str, bytes] = {}
    for patch, names in zip(V1, labels, strict=True):
        inner = f"BigEarthNet-v1.0/{patch}/{patch}"
        members |= _bands(inner)
        metadata = {
            "labels": names,
            "coordinates": {"ulx": 300000, "uly": 5100000, "lrx": 301200, "lry": 5098800},
            "projection": "",
            "tile_source": "S2A_MSIL1C_20170613T101031_N0205_R022_T33UUP_20170613T101608.SAFE",
            "acquisition_date": "2017-06-13 10:10:31",
        }
        members[f"{inner}_labels_metadata.json"] = json.dumps(metadata).encode()
    return write_tar(path, members)


def bigearthnet_v2(folder: Path, *, parts: bool = False) -> None:
    """``BigEarthNet-S2/{tile}/{patch}/...`` without JSON, reference maps of uint16 codes, ``metadata.parquet``.

    One patch is under clouds: its images are there, and the table leaves it out.
    """
    images: dict[str, bytes] = {}
    maps: dict[str, bytes] = {}
    for patch in (*V2, CLOUDY):
        inner = f"{patch.rsplit('_', 2)[0]}/{patch}/{patch}"
        images |= _bands(f"BigEarthNet-S2/{inner}")
        codes = np.full((1, 120, 120), 211, dtype=np.uint16)
        codes[0, :30] = 523
        maps[f"Reference_Maps/{inner}_reference_map.tif"] = tiff(codes)
    ending = "tar.gz" if parts else "tar.zst"
    first = write_tar(folder / f"BigEarthNet-S2.{ending}", images)
    second = write_tar(folder / f"Reference_Maps.{ending}", maps)
    if parts:
        split_file(first, ["BigEarthNet-S2.tar.gzaa", "BigEarthNet-S2.tar.gzab"])
        split_file(second, ["Reference_Maps.tar.gzaa"])
    columns = {
        "patch_id": list(V2),
        "labels": [["Arable land", "Inland wetlands"], ["Marine waters"]],
        "split": ["train", "test"],
        "country": ["Austria", "Finland"],
        "s1_name": ["S1B_IW_GRDH_1SDV_20170612T165809_33UUP_26_57", "S1A_x"],
        "s2v1_name": list(V1),
        "contains_seasonal_snow": [False, False],
        "contains_cloud_or_shadow": [False, False],
    }
    pq.write_table(pa.table(columns), folder / "metadata.parquet")


def _bands(inner: str) -> dict[str, bytes]:
    members: dict[str, bytes] = {}
    for number, band in enumerate(BANDS, 1):
        side = SIDES.get(band, 60)
        pixels = np.full((1, side, side), 100 * number, dtype=np.uint16)
        members[f"{inner}_{band}.tif"] = tiff(pixels)
    return members
