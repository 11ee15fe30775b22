"""The whole configuration, read from YAML files, with errors that name file, key and what was probably meant."""

from __future__ import annotations

import difflib
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, Field, TypeAdapter, ValidationError, model_validator

from geolatents.errors import ConfigError
from geolatents.settings.archive import ArchiveSettings
from geolatents.settings.base import Name, Section
from geolatents.settings.dataset import Dataset
from geolatents.settings.experiments import AppliedFolder, Experiment
from geolatents.settings.figures import Figures
from geolatents.settings.models import Classifier, Decoder, Model, Siamese
from geolatents.settings.photos import PhotoSet
from geolatents.settings.proofs import Proof
from geolatents.settings.services import SECRET
from geolatents.settings.study import PLAIN_RUN, RUNS, Study


class Config(Section):
    """The configuration of one run."""

    version: Literal[1] = Field(1, description="Version of the schema.")
    results: str = Field(
        "results",
        description="Root of everything the workflow makes; may lie outside the checkout.",
    )
    data: str | None = Field(
        None,
        description="Folder of input data; default: the environment variable GEOLATENTS_DATA, else `../shared/data`.",
    )
    downloads: str | None = Field(
        None,
        description="Folder of everything that is downloaded, shared by all datasets; default: the environment variable GEOLATENTS_DOWNLOADS, else `downloads`.",
    )
    searches: str = Field(
        "searches",
        description="Folder of the lists of scenes and photos that `snakemake search` writes and that you keep.",
    )
    environment: Literal["cpu", "gpu"] = Field(
        "cpu", description="Conda environment of training rules, where Snakemake deploys software."
    )
    checkpoint_minutes: float = Field(
        3,
        ge=0,
        description="Minutes between two saved states of a training, which goes on from the last one after an interruption; 0: after every step. Changes no result.",
    )
    datasets: dict[Name, Dataset] = Field({}, description="Datasets by name.")
    photos: dict[Name, PhotoSet] = Field(
        {}, description="Sets of geotagged photos by name, each with map images if wanted."
    )
    models: dict[Name, Model] = Field(
        {}, description="Models by name; the name ends in the model's kind."
    )
    decoders: dict[Name, Decoder] = Field(
        {},
        description="Decoders by the name of the Siamese network whose embeddings they redraw tiles from.",
    )
    experiments: dict[Name, Experiment] = Field({}, description="Experiments by name.")
    proofs: dict[Name, Proof] = Field(
        {}, description="Proofs by name: experiments that belong together, and what they must show."
    )
    study: dict[Name, Study] = Field(
        {},
        description="Repetitions of the predecessor's study by name: which experiment plays which part.",
    )
    archive: ArchiveSettings = Field(
        ArchiveSettings(), description="What `snakemake archive` packs."
    )
    figures: Figures = Field(Figures(), description="How figures are drawn.")

    @model_validator(mode="before")
    @classmethod
    def _folders_are_datasets(cls, values: Any) -> Any:
        return with_folders(values) if isinstance(values, dict) else values

    @model_validator(mode="after")
    def _references(self) -> Config:
        both = sorted(set(self.datasets) & set(self.photos))
        if both:
            raise ValueError(f"{both[0]!r} is both a dataset and a photo set; rename one")
        for name, model in self.models.items():
            if not name.endswith(f"-{model.kind}"):
                raise ValueError(f"model {name!r} must end in '-{model.kind}'")
            if isinstance(model, Classifier):
                dataset = _named(self.datasets, model.dataset, f"models.{name}.dataset")
                _named(dataset.labels, model.labels, f"models.{name}.labels")
                _named(dataset.batches, model.batches, f"models.{name}.batches")
            else:
                teacher = _named(self.models, model.teacher, f"models.{name}.teacher")
                if not isinstance(teacher, Classifier):
                    raise ValueError(f"models.{name}.teacher must be a classifier")
        for name in self.decoders:
            if not isinstance(_named(self.models, name, f"decoders.{name}"), Siamese):
                raise ValueError(f"decoders.{name} must be named after a Siamese network")
        for name, experiment in self.experiments.items():
            self._check_experiment(name, experiment)
        for name, proof in self.proofs.items():
            self._check_proof(name, proof)
        for name, study in self.study.items():
            self._check_study(f"study.{name}", study)
        return self

    def _check_experiment(self, name: str, experiment: Experiment) -> None:
        where = f"experiments.{name}"
        if not isinstance(
            _named(self.models, experiment.classifier, f"{where}.classifier"), Classifier
        ):
            raise ValueError(f"{where}.classifier must be a classifier")
        if experiment.siamese is not None:
            siamese = _named(self.models, experiment.siamese, f"{where}.siamese")
            if not isinstance(siamese, Siamese) or siamese.teacher != experiment.classifier:
                raise ValueError(
                    f"{where}.siamese must be a Siamese network on {experiment.classifier!r}"
                )
        for other in experiment.others:
            _named(self.datasets, other, f"{where}.apply_to")
            if other == self.classifier(experiment.classifier).dataset:
                raise ValueError(
                    f"{where}.apply_to: {other!r} holds the training tiles of "
                    f"{experiment.classifier!r}; name other datasets"
                )

    def _check_proof(self, name: str, proof: Proof) -> None:
        where = f"proofs.{name}"
        if len(set(proof.experiments)) < len(proof.experiments):
            raise ValueError(f"{where}.experiments names one twice: {proof.experiments}")
        for each in proof.experiments:
            experiment = _named(self.experiments, each, f"{where}.experiments")
            if experiment.siamese is None:
                raise ValueError(f"{where}.experiments: {each!r} has no `siamese`")
            for endpoint in proof.endpoints:
                if (
                    endpoint.applied_to is not None
                    and endpoint.applied_to not in experiment.apply_to
                ):
                    raise ValueError(
                        f"{where}: {each!r} is not applied to {endpoint.applied_to!r}; add it to `apply_to`"
                    )

    def _check_study(self, where: str, study: Study) -> None:
        """Parts must be what the predecessor's were, and a dataset's all have one test part."""
        for part, name in study.parts():
            _named(self.experiments, name, f"{where}.{part}")
        for group, experiments in (
            ("planetscope", [name for part, name in study.parts() if part.startswith("pl")]),
            ("orthophotos", list(filter(None, [study.orthophotos.standard,
                             study.orthophotos.threshold, study.orthophotos.combined]))),
        ):  # fmt: skip
            found = {name: self._test_part(name) for name in experiments}
            if len(set(found.values())) > 1:
                raise ValueError(
                    f"{where}.{group}: all parts need one dataset and split, so that they have one "
                    f"test part; found {found}"
                )
        for number, (run, wanted) in enumerate(zip(study.planetscope.runs, RUNS, strict=True), 1):
            if run is not None and self._factors(run) != wanted:
                raise ValueError(
                    f"{where}.planetscope.runs: run {number} must be pruned, weighted, randomized = "
                    f"{wanted}; {run!r} is {self._factors(run)}"
                )
        for group, plain, other in (
            ("planetscope", study.planetscope.runs[PLAIN_RUN - 1], study.planetscope.threshold),
            ("orthophotos", study.orthophotos.standard, study.orthophotos.threshold),
        ):
            if plain and other and not self._same_model(plain, other):
                raise ValueError(
                    f"{where}.{group}.threshold: a threshold changes no weights, so {other!r} needs "
                    f"the classifier of {plain!r} and another threshold"
                )

    def _test_part(self, experiment: str) -> tuple[str, str]:
        """Dataset and split of an experiment."""
        model = self.classifier(self.experiments[experiment].classifier)
        return model.dataset, self.datasets[model.dataset].batches[model.batches].split

    def _factors(self, experiment: str) -> tuple[bool, bool, bool]:
        """Whether an experiment has pruned labels, weighted labels and random batches."""
        model = self.classifier(self.experiments[experiment].classifier)
        dataset = self.datasets[model.dataset]
        return (
            dataset.labels[model.labels].kind == "pruned",
            model.loss.label_weights == "balanced",
            dataset.batches[model.batches].order == "randomized",
        )

    def _same_model(self, plain: str, other: str) -> bool:
        one, two = self.experiments[plain], self.experiments[other]
        return one.classifier == two.classifier and one.threshold != two.threshold

    def classifier(self, name: str) -> Classifier:
        """The classifier of a model name: itself, or the teacher of a Siamese network."""
        model = self.models[name]
        return model if isinstance(model, Classifier) else self.classifier(model.teacher)


def with_folders(values: dict[str, Any]) -> dict[str, Any]:
    """A configuration in which folders of `apply_to` are datasets, and are referred to by name.

    What is wrong with the rest is left to its validation.

    Args:
        values: The configuration as the user wrote it.

    Raises:
        ValueError: A folder cannot be a dataset, or not by its name.
    """
    experiments, datasets = values.get("experiments"), values.get("datasets")
    if not isinstance(experiments, dict) or not isinstance(datasets, dict):
        return values
    made: dict[str, Any] = {}
    changed: dict[str, Any] = {}
    for name, experiment in experiments.items():
        others = experiment.get("apply_to") if isinstance(experiment, dict) else None
        if not isinstance(others, list) or not any(isinstance(one, dict) for one in others):
            continue
        named = []
        for place, other in enumerate(others):
            if not isinstance(other, dict):
                named.append(other)
                continue
            where = f"experiments.{name}.apply_to.{place}"
            folder = _folder(other, where)
            dataset = folder.dataset(_own_imagery(values, experiment, where))
            named.append(_free_name(folder, dataset, {**datasets, **made}, made, where))
            made[named[-1]] = dataset
        changed[name] = {**experiment, "apply_to": named}
    if not changed:
        return values
    return {
        **values,
        "datasets": {**datasets, **made},
        "experiments": {**experiments, **changed},
    }


def _folder(other: Mapping[str, Any], where: str) -> AppliedFolder:
    try:
        return AppliedFolder.model_validate(other)
    except ValidationError as error:
        item = error.errors()[0]
        key = str(item["loc"][0]) if item["loc"] else ""
        near = difflib.get_close_matches(key, AppliedFolder.model_fields, n=1, cutoff=0.5)
        hint = f"unknown key; did you mean {near[0]!r}?" if near else "unknown key"
        reason = hint if item["type"] == "extra_forbidden" else item["msg"]
        raise ValueError(f"{where}.{key}: {reason}") from None


def _own_imagery(values: Mapping[str, Any], experiment: Mapping[str, Any], where: str) -> Any:
    """Imagery of the dataset that an experiment's classifier was trained on."""
    found: Any = values
    model = experiment.get("classifier")
    try:
        found = values["datasets"][values["models"][model]["dataset"]]["imagery"]
    except (KeyError, TypeError):
        raise ValueError(f"{where}: the dataset of the classifier {model!r} is not known") from None
    if not isinstance(found, Mapping) or found.get("provider") != "images":
        raise ValueError(
            f"{where}: {model!r} was trained on scenes; make a dataset of the new scenes and name that"
        )
    return found


def _free_name(
    folder: AppliedFolder,
    dataset: Mapping[str, Any],
    known: Mapping[str, Any],
    made: Mapping[str, Any],
    where: str,
) -> str:
    """Name of a folder's dataset; experiments share the same folder read in the same way."""
    name = folder.dataset_name()
    try:
        TypeAdapter(Name).validate_python(name)
    except ValidationError:
        raise ValueError(
            f"{where}: {folder.images!r} gives no name for a dataset ({name!r}); state `name`"
        ) from None
    if name in known and made.get(name) != dataset:
        raise ValueError(
            f"{where}: there is a dataset {name!r} already; state another `name` for {folder.images!r}"
        )
    return name


def load_config(*paths: Path) -> Config:
    """Read YAML files, later ones overriding earlier ones key by key, and validate the result.

    Raises:
        ConfigError: A file is no YAML, or a key or value is wrong; the message names it.
    """
    merged: dict[str, Any] = {}
    for path in paths:
        merged = _merge(merged, _read_yaml(path))
    return validate_config(merged, where=", ".join(map(str, paths)))


def validate_config(values: Mapping[str, Any], where: str = "config.yaml") -> Config:
    """Validate a mapping.

    Raises:
        ConfigError: One line per wrong key, with the nearest key that exists.
    """
    try:
        return Config.model_validate(dict(values))
    except ValidationError as error:
        problems = _problems(error, values)
        raise ConfigError(
            "the configuration is not valid:\n" + "\n".join(f"  - {p}" for p in problems),
            where=where or None,
            fix="see docs/reference/config.md for every key",
        ) from None


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(Path(path).read_text(encoding="utf-8")) or {}
    except FileNotFoundError:
        raise ConfigError("configuration file is missing", where=path) from None
    except yaml.YAMLError as error:
        raise ConfigError("configuration is no YAML", where=path, found=error) from None
    if not isinstance(values, dict):
        raise ConfigError("configuration is no mapping", where=path, found=type(values).__name__)
    return values


def _merge(base: dict[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        old = merged.get(key)
        both = isinstance(old, dict) and isinstance(value, Mapping)
        merged[key] = _merge(old, value) if both else value  # type: ignore[arg-type]
    return merged


def _named(entries: Mapping[str, Any], name: str, where: str) -> Any:
    if name not in entries:
        near = difflib.get_close_matches(name, entries, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"{where}: there is no {name!r} among {sorted(entries)}{hint}")
    return entries[name]


def _problems(error: ValidationError, values: Mapping[str, Any]) -> list[str]:
    """One line per wrong key; what a value may be otherwise (`size`, `threshold`) stands in one line."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for item in error.errors():
        found = (
            "" if item["type"] in {"missing", "extra_forbidden", SECRET} else repr(item["input"])
        )
        reasons.setdefault((_place(item["loc"], values), found), []).append(_reason(item))
    return [
        (f"{place}: " if place else "")
        + "; or ".join(texts)
        + (f" (found {found})" if 0 < len(found) < 120 else "")
        for (place, found), texts in reasons.items()
    ]


def _place(location: Sequence[int | str], values: Mapping[str, Any]) -> str:
    """Dotted path of keys as the user wrote them, without the tags that Pydantic puts between.

    A tag follows a section that has it as `kind` or `provider`, or a value that is no section.
    """
    keys: list[str] = []
    here: Any = values
    tagged = False
    for part in location:
        if isinstance(here, Mapping):
            if part == "[key]" or (not tagged and part in (here.get("kind"), here.get("provider"))):
                tagged = True
                continue
            here = here.get(part)
        elif isinstance(here, list) and isinstance(part, int):
            here = here[part] if part < len(here) else None
        else:
            continue
        keys.append(str(part))
        tagged = False
    return ".".join(keys)


def _reason(item: Any) -> str:
    if item["type"] == "extra_forbidden":
        return f"unknown key; {_key_hint(item['loc'])}"
    if item["type"] == "value_error":
        return str(item["ctx"]["error"])
    return str(item["msg"]).partition(", unable to parse")[0]


def _key_hint(location: Sequence[int | str]) -> str:
    known = _keys_at(location[:-1])
    near = difflib.get_close_matches(str(location[-1]), known, n=1, cutoff=0.5)
    return f"did you mean {near[0]!r}?" if near else f"it may be one of {', '.join(sorted(known))}"


def _keys_at(location: Sequence[int | str]) -> set[str]:
    """Keys of the section at a place, or of all sections that could stand there."""
    sections: list[type[BaseModel]] = [Config]
    for part in location:
        fields = [section.model_fields.get(str(part)) for section in sections]
        below = [s for field in fields if field for s in _sections_in(field.annotation)]
        sections = below or sections  # names that users choose and tags are no fields
    return {name for section in sections for name in section.model_fields}


def _sections_in(annotation: Any) -> list[type[BaseModel]]:
    """Section types in an annotation such as ``dict[Name, A | B] | None``, not those below them."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for item in typing.get_args(annotation) for found in _sections_in(item)]
