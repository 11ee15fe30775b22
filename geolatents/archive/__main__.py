"""Check an archive of a run: ``python -m geolatents.archive verify ARCHIVE [--results RESULTS]``."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from geolatents.archive.reading import Archive, open_archive
from geolatents.archive.verify import differences
from geolatents.errors import GeolatentsError


def main(arguments: Sequence[str] | None = None) -> int:
    """Check an archive; 0 where all is as it states, 1 otherwise, 2 where it cannot be read."""
    parser = argparse.ArgumentParser(prog="python -m geolatents.archive", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    verify = commands.add_parser("verify", help="recompute the hashes of an archive, zip or folder")
    verify.add_argument("archive", type=Path)
    verify.add_argument(
        "--results", type=Path, help="results of a run made here, to compare with it"
    )
    chosen = parser.parse_args(arguments)
    try:
        with open_archive(chosen.archive) as archive:
            whole = _tell_whether_whole(archive)
            same = chosen.results is None or _tell_whether_same(archive, chosen.results)
        return 0 if whole and same else 1
    except GeolatentsError as error:
        print(error, file=sys.stderr)
        return 2


def _tell_whether_whole(archive: Archive) -> bool:
    found = differences(archive)
    for difference in found:
        print(difference)
    counted = f"{len(archive.names())} files"
    print(
        f"{archive.path}: {counted}, {len(found)} not as stated"
        if found
        else f"{archive.path}: {counted}, all as stated"
    )
    return not found


def _tell_whether_same(archive: Archive, results: Path) -> bool:
    from geolatents.archive.compare import compare, version_differences  # needs zarr and pyarrow

    verdicts: Counter[str] = Counter()
    fails = False
    for one in compare(archive, results):
        print(one)
        verdicts[one.verdict] += 1
        fails |= one.fails
    for line in version_differences(archive, results):
        print(f"other versions: {line}")
    print(f"{results}: " + ", ".join(f"{count} {verdict}" for verdict, count in verdicts.items()))
    return not fails


if __name__ == "__main__":
    sys.exit(main())
