"""Pack a finished run into one file: an RO-Crate with the hash of every file and the identity of every artifact."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from geolatents.archive.citation import read_citation
from geolatents.archive.contents import Member, members
from geolatents.archive.crate import CONFIG, Contents, metadata
from geolatents.archive.identity import identity
from geolatents.archive.layout import IDENTITIES, INPUTS, LISTS, MANIFEST, METADATA, README
from geolatents.archive.licences import left_out
from geolatents.archive.private import Inspector, publishable
from geolatents.archive.run import Run, finished_run
from geolatents.archive.sources import foreign_inputs
from geolatents.archive.writer import ArchiveWriter, Written, new_archive
from geolatents.errors import ArchiveError
from geolatents.files import Json, canonical_json
from geolatents.hashes import sha256_of_names
from geolatents.logs import LOG, progress
from geolatents.places import Places
from geolatents.settings.archive import ArchiveSettings


def write_archive(
    root: Path,
    targets: Iterable[Path],
    output: Path,
    *,
    settings: ArchiveSettings,
    config: Mapping[str, Any],
    checkout: Path,
    lists: Iterable[Path] = (),
) -> None:
    """Pack a finished run into a zip.

    Files are read once, a megabyte at a time. Equal runs give equal bytes: entries are sorted and bear no time.

    Args:
        root: Root of the results.
        targets: What the run was asked for.
        output: The archive.
        settings: What it holds and says of itself.
        config: The resolved configuration, without folders of this machine.
        checkout: Folder of the Snakefile.
        lists: Lists of scenes that searches found.

    Raises:
        ArchiveError: An artifact is missing, without provenance, or not what its provenance says; or a file holds
            a secret.
    """
    run = finished_run(root, targets)
    places = Places(root)
    kept_out = left_out(run, settings.images, config)
    for name, why in kept_out.items():
        LOG.info("%s stays out: %s", name, why)
    identities = {name: identity(run.path(name)) for name in run.makers}
    inspector = Inspector(places)
    with new_archive(output, inspector) as archive:
        for member in progress(members(run, kept_out, checkout), what="Packing", unit="file"):
            _add(archive, member, places)
        _require_as_recorded(run, archive.written)
        for file in sorted(lists):
            archive.add_file(f"{LISTS}/{file.name}", file)
        archive.add_text(CONFIG, yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True))
        archive.add_text(IDENTITIES, _json(_identities(run, identities, kept_out)))
        archive.add_text(INPUTS, _json(foreign_inputs(run)))
        archive.add_text(README, README_TEXT)
        contents = Contents(
            run=run,
            files=dict(archive.written),
            identities=identities,
            left_out=kept_out,
            citation=read_citation(checkout / "CITATION.cff"),
            settings=settings,
            title=f"geolatents: {', '.join([*config['datasets'], *config.get('photos', {})])}",
        )
        archive.add_text(METADATA, _json(metadata(contents)))
        lines = (f"{found.sha256}  {name}\n" for name, found in sorted(archive.written.items()))
        archive.add_text(MANIFEST, "".join(lines))
    inspector.tell()
    LOG.info(
        "%s: %d files of %d jobs, %.1f MB", output, len(archive.written), len(run.jobs), output.stat().st_size / 1e6
    )  # fmt: skip


def _add(archive: ArchiveWriter, member: Member, places: Places) -> None:
    if member.rewritten:
        text = member.path.read_text(encoding="utf-8", errors="replace")
        archive.add_text(member.name, publishable(text, places))
    else:
        archive.add_file(member.name, member.path)


def _require_as_recorded(run: Run, written: Mapping[str, Written]) -> None:
    """An artifact that was changed by hand is not what its provenance tells."""
    found = _hashes(run, written)
    wrong = [
        name
        for name, job in run.makers.items()
        if job.outputs.get(name) and name in found and job.outputs[name] != found[name]
    ]
    if wrong:
        raise ArchiveError(
            f"{len(wrong)} artifacts are not what their provenance says",
            where=", ".join(wrong[:5]) + (", ..." if len(wrong) > 5 else ""),
            expected="the bytes that the rule wrote",
            fix="delete them and run again: " + " ".join(str(run.path(name)) for name in wrong[:5]),
        )


def _hashes(run: Run, written: Mapping[str, Written]) -> dict[str, str]:
    """Hashes of the artifacts as they went into the archive; what stayed out has none."""
    found = {name: one.sha256 for name, one in written.items() if name in run.makers}
    folders: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for name, one in written.items():
        for parent in PurePosixPath(name).parents:
            if parent.as_posix() in run.makers:
                below = PurePosixPath(name).relative_to(parent).as_posix()
                folders[parent.as_posix()].append((below, one.sha256))
    return found | {name: sha256_of_names(sorted(files)) for name, files in folders.items()}


def _identities(run: Run, identities: Mapping[str, str], kept_out: Mapping[str, str]) -> Json:
    return {
        name: {
            "sha256": found,
            "bound": run.bound(name),
            "rule": run.makers[name].rule,
            **({"left_out": kept_out[name]} if name in kept_out else {}),
        }
        for name, found in identities.items()
    }


def _json(value: Json) -> str:
    return json.dumps(json.loads(canonical_json(value)), indent=1, ensure_ascii=False) + "\n"


README_TEXT = f"""\
# A finished run of geolatents

`{METADATA}` describes this archive for machines (RO-Crate, Workflow Run Crate profile).

| file or folder | what it is |
|---|---|
| `results/` | artifacts, beside each its provenance (`.prov.json`); logs, benchmarks and ledgers |
| `{CONFIG}` | the resolved configuration |
| `{LISTS}/` | lists of scenes that searches found, where there are any |
| `workflow/` | the code: Snakefile, rules, scripts, library, environments, lock file, documentation |
| `{MANIFEST}` | sha256 of every other file |
| `{IDENTITIES}` | identity of every artifact by its content, also of those that are not in the archive |
| `{INPUTS}` | files from outside that the run was made from, with their hashes, licences and providers; none of them is in the archive |

Check that nothing was changed, with Python 3.11 or later and nothing else, in this folder:

    cd workflow && python3 -B -m geolatents.archive verify ..

or with coreutils alone: `sha256sum --check {MANIFEST}`.

Make the run again, with the same input data, in a copy of this folder without `results/`:

    make -C workflow .venv/ready
    workflow/.venv/bin/snakemake --snakefile workflow/Snakefile --cores 2 --configfile config.yaml
    make -C workflow verify ARCHIVE=/path/to/this/archive RESULTS="$PWD/results"

In logs and provenance, folders of the machine that made them bear names: `results/`, `data:`, `downloads:`, `workflow/`.
"""
