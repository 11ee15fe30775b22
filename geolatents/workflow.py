"""What scripts and the Snakefile need beside the plan: fingerprints, the frame of a job, its `snakemake` object.

Only this module knows the `snakemake` object of a script; engine.py reads the workflow from outside.
"""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geolatents import logs
from geolatents.acquire.fetch.secrets import redacted
from geolatents.disk import disk_error
from geolatents.errors import DiskError, GeolatentsError, StoreError
from geolatents.files import read_json, remove_leftovers
from geolatents.fingerprint import fingerprint
from geolatents.hashes import sha256_of
from geolatents.places import RESULTS
from geolatents.provenance import Job, library_versions, provenance_path, recorded

if TYPE_CHECKING:
    from geolatents.learning.checkpoints import Checkpoints
    from geolatents.plan import Plan


@cache
def code(*modules: str) -> str:
    """Fingerprint of library modules, as a rule's param."""
    return fingerprint(*(f"geolatents.{module}" for module in modules))


@dataclass(frozen=True)
class Unwatched:
    """A param that a script needs and that changes no result, such as how patiently a service is asked.

    Snakemake compares params of plain types only and leaves all others out, so that a change of this
    one runs nothing again.
    """

    value: str


def unwatched(param: Callable[[Any], str]) -> Callable[[Any], Unwatched]:
    """Param: the same, but a change of it runs nothing again."""
    return lambda wildcards: Unwatched(param(wildcards))


@contextmanager
def rule_log(snakemake: Any) -> Iterator[None]:
    """Frame of a job: log file, errors in plain words, provenance beside every output.

    Args:
        snakemake: The object that Snakemake gives to a script.
    """
    logs.configure(
        file=str(snakemake.log[0]) if snakemake.log else None,
        shown=redacted,
        # Snakemake's run ends with a digest of all errors; in a notebook nobody else shows them.
        errors_on_terminal=not snakemake.log or getattr(snakemake, "in_notebook", False),
    )
    params = {
        key: value.value if isinstance(value, Unwatched) else value
        for key, value in snakemake.params.items()
    }
    outputs = paths(snakemake.output)
    for output in outputs:
        remove_leftovers(output)
        remove_leftovers(provenance_path(output))
    record = recorded(
        outputs,
        inputs=[Path(p) for p in snakemake.input],
        config={key: value for key, value in params.items() if key not in {"code", "source"}},
        seed=_seed(snakemake),
        code=params.get("code"),
        job=_job(snakemake),
        results=Path(snakemake.config.get("results", RESULTS)),
    )
    try:
        with record:
            yield
    except GeolatentsError as error:
        logs.LOG.error("%s", error)
        _tell_disk(disk_error(error, outputs))
        sys.exit(1)
    except Exception as error:
        # Not raised again: the interpreter would print it a second time, with what the log hides.
        if not _tell_disk(disk_error(error, outputs)):
            logs.LOG.error("%s", traceback.format_exc())
        sys.exit(1)


def _tell_disk(error: DiskError | None) -> bool:
    """Log the error of a full disk, and print it too: the log, which a digest reads, may have no room for it."""
    if error is None:
        return False
    logs.LOG.error("%s", error)
    print(redacted(str(error)), file=sys.stderr)
    return True


def checkpoints(snakemake: Any) -> Checkpoints:
    """Saved states of a training job, named by all that determines its result.

    Args:
        snakemake: The object that Snakemake gives to a training's script.
    """
    from geolatents.learning.checkpoints import open_checkpoints  # NumPy is not needed for parsing

    settings = json.loads(snakemake.params.checkpoints.value)
    watched = {k: v for k, v in snakemake.params.items() if not isinstance(v, Unwatched)}
    determined_by = {
        "params": watched,
        "inputs": {Path(p).as_posix(): sha256_of(Path(p)) for p in snakemake.input},
        "libraries": library_versions(),
    }
    root = Path(settings["folder"])
    return open_checkpoints(
        root, trained(snakemake.output.model, root), determined_by, settings["minutes"]
    )


def trained(model: str, state: Path) -> str:
    """Name of a trained model and seed: the folder of its ``model.keras`` below the results root."""
    return Path(model).parent.relative_to(state.parent).as_posix()


def job(
    rule: str,
    *,
    configfile: str | Path | None = None,
    directory: str | Path | None = None,
    into: str | Path | None = None,
    cores: int | None = None,
    **wildcards: str | int,
) -> Any:
    """The `snakemake` object that a rule's script gets, for a notebook; runs nothing, locks nothing, needs no network.

    Example:
        >>> snakemake = job("cut_tiles", dataset="demo-a", scene="a-01", into="/tmp/trial")
        >>> runpy.run_path("workflow_scripts/tiles/cut_tiles.py", {"snakemake": snakemake})

    Args:
        rule: Name of the rule.
        configfile: Configuration; default: the demo's.
        directory: Where `snakemake` runs; default: the folder of the Snakefile. From any other folder, paths are absolute.
        into: Folder that takes outputs and log instead of the results; without it, a script writes where the rule would.
        cores: Cores of the run, which bound the threads; default: all.
        wildcards: Wildcards of the rule by name.

    Raises:
        ConfigError: No such rule, a missing or wrong wildcard, or a wrong configuration.
    """
    from geolatents.engine import script_object  # Snakemake's own parts are not needed in a script

    found = {name: str(value) for name, value in wildcards.items()}
    return script_object(
        rule, found, configfile=configfile, directory=directory, into=into, cores=cores
    )


def paths(items: Iterable[str | Path]) -> list[Path]:
    """Inputs as paths."""
    return [Path(item) for item in items]


def stores(manifests: Iterable[str]) -> list[Path]:
    """Zarr stores of the given manifests."""
    from geolatents.stores import store_of  # Zarr is not needed for parsing

    return [store_of(Path(item)) for item in manifests]


def optional_path(items: Iterable[str | Path]) -> Path | None:
    """The only path of an input that may be empty."""
    return next(iter(paths(items)), None)


def parse_or_explain(build: Callable[[], Plan]) -> Plan:
    """Build the plan; a mistake in the configuration ends in its message, without a traceback."""
    try:
        return build()
    except GeolatentsError as error:
        print(f"\n{error}\n", file=sys.stderr)
        sys.exit(1)


def verify_results(root: Path) -> None:
    """Compare every store with its manifest.

    Raises:
        StoreError: Stores that are missing, damaged or different, and how to make them again.
    """
    from geolatents.stores import store_of, verify_store  # Zarr is not needed for parsing

    wrong = []
    for manifest in sorted([*root.glob("*/*/*.json")]):
        content = read_json(manifest)
        if isinstance(content, dict) and {"arrays", "attributes"} <= set(content):
            found = verify_store(store_of(manifest), content)
            logs.LOG.info(
                "%s: %s", store_of(manifest), "differs" if found else "as its manifest says"
            )
            wrong += [(manifest, text) for text in found]
    if wrong:
        raise StoreError(
            "stores are not what their manifests say:\n"
            + "\n".join(f"  - {text}" for _, text in wrong),
            fix="delete these and run again: " + " ".join(sorted({str(path) for path, _ in wrong})),
        )


def _job(snakemake: Any) -> Job:
    return Job(
        rule=snakemake.rule,
        wildcards=dict(snakemake.wildcards.items()),
        threads=snakemake.threads,
        log=Path(snakemake.log[0]) if snakemake.log else None,
    )


def _seed(snakemake: Any) -> int | None:
    seed = getattr(snakemake.wildcards, "seed", None)
    return None if seed is None else int(seed)
