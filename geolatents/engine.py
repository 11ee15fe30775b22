"""Snakemake's own view of the workflow, from outside of a run: the jobs of a configuration, the object of a script.

Nothing is run here and nothing is locked. Snakemake's parser, profiles and DAG are used as they are, so
that what is said here is what `snakemake` would do.
"""

from __future__ import annotations

import difflib
import io
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import yaml

from geolatents.errors import ConfigError, GeolatentsError
from geolatents.paths import DATA_VARIABLE, DOWNLOADS_VARIABLE, data_root, downloads_root

SNAKEFILE = Path(__file__).resolve().parents[1] / "Snakefile"


@contextmanager
def opened(arguments: Sequence[str]) -> Iterator[Any]:
    """Read the Snakefile as `snakemake` with these arguments would, and give its API of the graph.

    The current directory, the environment's variables and the log are Snakemake's only within the block.

    Args:
        arguments: The usual arguments: targets, `--configfile`, `--directory`, `--forcerun`, ...

    Raises:
        ConfigError: The arguments or the configuration are wrong.
    """
    from snakemake.api import SnakemakeApi
    from snakemake.cli import parse_args
    from snakemake.settings import types

    said = io.StringIO()
    try:
        with redirect_stderr(said), _variables_of_one_configuration():
            _, args = parse_args(list(arguments))
            local = args.executor in (None, "local")
            quiet = types.OutputSettings(
                quiet={types.Quietness.ALL}, enable_file_logging=False, log_level_override=100
            )
            with SnakemakeApi(quiet) as api:
                yield api.workflow(
                    resource_settings=types.ResourceSettings(
                        cores=args.cores or (args.jobs if local else None) or os.cpu_count(),
                        nodes=None if local else args.jobs,
                        resources=args.resources,
                        overwrite_threads=args.set_threads,
                        overwrite_resources=args.set_resources,
                        default_resources=args.default_resources,
                    ),
                    config_settings=_config_settings(args),
                    snakefile=args.snakefile or SNAKEFILE,
                    workdir=args.directory,
                ).dag(
                    types.DAGSettings(
                        targets=args.targets,
                        forcetargets=args.force,
                        forceall=args.forceall,
                        forcerun=args.forcerun,
                        until=args.until,
                        omit_from=args.omit_from,
                        force_incomplete=args.rerun_incomplete,
                        rerun_triggers=args.rerun_triggers,
                        max_checksum_file_size=args.max_checksum_file_size,
                    )
                )
    except GeolatentsError:
        raise
    except (Exception, SystemExit) as error:
        text = said.getvalue() if isinstance(error, SystemExit) else str(error)
        raise ConfigError(f"Snakemake cannot read this workflow: {_told(text)}") from None


_left: dict[str, tuple[str | None, str | None]] = {}
"""Variables that the last configuration set: what was there before, and what it set."""


@contextmanager
def _variables_of_one_configuration() -> Iterator[None]:
    """Keep what a configuration says of its folders from the next one; its own scripts still see it."""
    for name, (before, after) in _left.items():
        if os.environ.get(name) == after:  # nobody has set another since
            _set(name, before)
    _left.clear()
    found = {name: os.environ.get(name) for name in (DATA_VARIABLE, DOWNLOADS_VARIABLE)}
    try:
        yield
    finally:
        _left.update({name: (before, os.environ.get(name)) for name, before in found.items()})


def _set(name: str, value: str | None) -> None:
    if value is None:
        os.environ.pop(name, None)
    else:
        os.environ[name] = value


def _told(text: str) -> str:
    """What Snakemake said, without its greeting."""
    lines = [line for line in text.strip().splitlines() if not line.startswith("Using ")]
    return "\n".join(lines).strip() or "it gave no reason"


def _config_settings(args: Any) -> Any:
    from snakemake.cli import parse_config
    from snakemake.settings.types import ConfigSettings

    return ConfigSettings(
        config=parse_config(args.config), configfiles=args.configfile, config_args=args.config
    )


@dataclass(frozen=True)
class PlannedJob:
    """A job of the graph.

    Attributes:
        rule: Name of its rule.
        wildcards: Wildcards by name.
        needed: Whether a run would do it now.
        threads: Threads that it takes.
        resources: Its whole-number resources.
        after: Positions of the jobs that must end before it, in the list that it stands in.
        outputs: What it makes.
        benchmark: Where its time is written.
        scripted: Whether it runs a script; targets do not.
    """

    rule: str
    wildcards: Mapping[str, str]
    needed: bool
    threads: int
    resources: Mapping[str, int]
    after: tuple[int, ...]
    outputs: tuple[Path, ...]
    benchmark: Path | None
    scripted: bool


@dataclass(frozen=True)
class Graph:
    """All jobs of some targets, and what a run has for them.

    Attributes:
        jobs: Jobs, those that come first in front.
        plan: The plan of the configuration.
        cores: Cores of the run; none where jobs are given to a cluster.
        limits: Global resources of the run.
        folder: Where Snakemake runs, which relative paths start from.
    """

    jobs: list[PlannedJob]
    plan: Any
    cores: int | None
    limits: Mapping[str, int]
    folder: Path = Path()


def read_graph(arguments: Sequence[str]) -> Graph:
    """What `snakemake` with these arguments would do now.

    Raises:
        ConfigError: The arguments or the configuration are wrong, or a target cannot be made.
    """
    from snakemake.settings.types import ExecutionSettings

    with opened(arguments) as dag_api:
        settings = ExecutionSettings(lock=False, ignore_incomplete=True, no_hooks=True)
        dag_api.execute_workflow(executor="dryrun", execution_settings=settings)
        return graph_of(dag_api.workflow_api._workflow)


def graph_of(workflow: Any) -> Graph:
    """The jobs of a workflow whose graph Snakemake has built.

    Args:
        workflow: Snakemake's workflow, as the Snakefile sees it.
    """
    dag = workflow.dag
    needed = set(dag.needrun_jobs(exclude_finished=False))
    reached = dag.bfs(dag.dependencies, *dag.targetjobs)
    order = list(
        TopologicalSorter({job: list(dag.dependencies[job]) for job in reached}).static_order()
    )
    place = {job: i for i, job in enumerate(order)}
    return Graph(
        jobs=[
            PlannedJob(
                rule=job.rule.name,
                wildcards=dict(job.wildcards_dict),
                needed=job in needed,
                threads=int(job.threads),
                resources=_numbers(job.resources.items()),
                after=tuple(sorted(place[one] for one in dag.dependencies[job])),
                outputs=tuple(Path(str(file)) for file in job.output),
                benchmark=Path(str(job.benchmark)) if job.benchmark else None,
                scripted=bool(job.rule.script),
            )
            for job in order
        ],
        plan=workflow.globals["PLAN"],
        cores=workflow.cores if workflow.local_exec and not workflow.nodes else None,
        limits=_numbers(workflow.global_resources.items()),
        folder=Path.cwd(),
    )


def _numbers(items: Any) -> dict[str, int]:
    """Resources that are whole numbers and below Snakemake's word for 'any amount'."""
    values = {name: getattr(value, "value", value) for name, value in items}
    return {
        name: value
        for name, value in values.items()
        if isinstance(value, int) and not name.startswith("_") and value < sys.maxsize
    }


def script_object(
    rule: str,
    wildcards: Mapping[str, str],
    *,
    configfile: str | Path | None = None,
    directory: str | Path | None = None,
    into: str | Path | None = None,
    cores: int | None = None,
) -> Any:
    """The `snakemake` object of a rule's script; see :func:`geolatents.workflow.job`."""
    here, folder = Path.cwd(), Path(directory or SNAKEFILE.parent).resolve()
    file = Path(configfile).resolve() if configfile else None
    overrides = {} if folder == here else absolute_folders(file, folder)
    arguments = [
        *("--snakefile", str(SNAKEFILE), "--directory", str(folder)),
        *("--cores", str(cores or os.cpu_count() or 1)),
        *(("--configfile", str(file)) if file else ()),
        *(("--config", *(f"{k}={v}" for k, v in overrides.items())) if overrides else ()),
    ]
    with opened(arguments) as dag_api:
        workflow = dag_api.workflow_api._workflow
        found = _rule(workflow, rule)
        _check_wildcards(workflow, found, wildcards)
        workflow._prepare_dag(
            forceall=False, ignore_incomplete=True, lock_warn_only=True, nolock=True
        )
        made = workflow.async_run(
            workflow.dag.new_job(found, wildcards_dict={k: str(v) for k, v in wildcards.items()})
        )
        result = _as_script_sees_it(made, workflow)
    if into is not None:
        _redirect(result, Path(into).resolve(), folder)
    result.in_notebook = True  # errors are shown there instead of in a run's digest
    return result


def absolute_folders(configfile: Path | None, folder: Path) -> dict[str, str]:
    """Folders of a configuration, named from the root, for a script that runs in another folder.

    Args:
        configfile: Configuration; none for the demo's.
        folder: Where Snakemake would run.
    """
    file = configfile or SNAKEFILE.parent / "config.yaml"
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    except (OSError, yaml.YAMLError) as error:
        raise ConfigError(
            "the configuration cannot be read", where=file, found=str(error).splitlines()[0]
        ) from None
    usual = {
        "results": "results",
        "searches": "searches",
        "data": os.environ.get(DATA_VARIABLE) or data_root(),
        "downloads": os.environ.get(DOWNLOADS_VARIABLE) or downloads_root(),
    }
    return {
        key: str((folder / Path(str(content.get(key) or default)).expanduser()).resolve())
        for key, default in usual.items()
    }


def _rule(workflow: Any, name: str) -> Any:
    names = sorted(rule.name for rule in workflow.rules)
    if name not in names:
        nearest = difflib.get_close_matches(name, names, n=1)
        raise ConfigError(
            f"there is no rule {name!r}",
            expected=", ".join(names),
            fix=f"did you mean {nearest[0]!r}?" if nearest else None,
        )
    rule = workflow.get_rule(name)
    if not rule.script:
        raise ConfigError(f"rule {name!r} has no script", fix="name a rule that makes something")
    return rule


def _check_wildcards(workflow: Any, rule: Any, given: Mapping[str, str]) -> None:
    where, wanted = f"rule {rule.name}", sorted(rule.wildcard_names)
    for name in sorted({*wanted, *given}):
        constraint = _constraint(workflow, rule, name)
        if name not in given:
            raise ConfigError(
                f"wildcard {name!r} is missing",
                where=where,
                expected=_choices(constraint),
                fix=f"job({rule.name!r}, {name}=...)",
            )
        if name not in wanted:
            nearest = difflib.get_close_matches(name, wanted, n=1)
            raise ConfigError(
                f"{where} has no wildcard {name!r}",
                expected=", ".join(wanted) or "no wildcards",
                fix=f"did you mean {nearest[0]!r}?" if nearest else None,
            )
        if constraint and not re.fullmatch(constraint, str(given[name])):
            choices = _choices(constraint)
            nearest = difflib.get_close_matches(str(given[name]), choices.split(", "), n=1)
            raise ConfigError(
                f"wildcard {name!r} cannot be {given[name]!r}",
                where=where,
                expected=choices,
                fix=f"did you mean {nearest[0]!r}?" if nearest else None,
            )


def _constraint(workflow: Any, rule: Any, name: str) -> str | None:
    found = rule.wildcard_constraints.get(name) or workflow.wildcard_constraints.get(name)
    return None if found is None else str(found)


def _choices(constraint: str | None) -> str:
    """Names that a constraint made by :func:`geolatents.plan.pattern` allows."""
    text = constraint or "any text"
    return ", ".join(re.sub(r"\\(.)", r"\1", one) for one in text.split("|"))


def _as_script_sees_it(job: Any, workflow: Any) -> Any:
    from snakemake.script import Snakemake

    return Snakemake(
        job.input, job.output, job.params, job.wildcards, job.threads, job.resources, job.log,
        workflow.globals["config"], job.rule.name, None, str(_script(job)),
    )  # fmt: skip


def _script(job: Any) -> Path:
    folder = Path(str(job.rule.basedir.get_path_or_uri(secret_free=True)))
    return Path(folder, str(job.rule.script)).resolve().parent


def _redirect(found: Any, into: Path, folder: Path) -> None:
    """Let outputs and log of a script object lie below another folder."""
    for files in (found.output, found.log):
        for i, file in enumerate(files):
            path = (folder / file).resolve()
            inside = (
                path.relative_to(folder) if path.is_relative_to(folder) else Path(*path.parts[1:])
            )
            (into / inside).parent.mkdir(parents=True, exist_ok=True)
            files[i] = str(into / inside)
        for name, (start, stop) in files._get_names():
            files._set_name(name, start, end=stop)
