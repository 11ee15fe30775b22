"""What the report needs to know of each experiment; cheap to import, since the Snakefile does."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from geolatents.files import canonical_json
from geolatents.settings.base import Name, Section
from geolatents.settings.config import Config
from geolatents.settings.experiments import Experiment


class ExperimentEntry(Section):
    """Names that lead to all files of an experiment."""

    name: Name = Field(description="Experiment.")
    dataset: Name = Field(description="Dataset that the models were trained on.")
    labels: Name = Field(description="Label set of the models.")
    split: Name = Field(description="Split of the models.")
    classifier: Name = Field(description="Model name of the classifier.")
    siamese: Name | None = Field(None, description="Model name of the Siamese network.")
    seeds: list[int] = Field(description="Seeds of the models.")
    apply_to: list[Name] = Field([], description="Other datasets.")
    map_scene: Name | None = Field(None, description="Mapped scene.")
    decoder: bool = Field(False, description="Whether the Siamese network has a decoder.")

    def folder(self, root: Path) -> Path:
        """Folder of the experiment."""
        return root / self.dataset / "experiments" / self.name

    def model_folder(self, root: Path, model: str, seed: int) -> Path:
        """Folder of a trained model."""
        return root / self.dataset / "models" / model / f"seed-{seed}"


class StudyPart(ExperimentEntry):
    """An experiment that plays a part of the predecessor's study."""

    part: str = Field(description="Which part, such as `planetscope.run_1`.")
    batches: Name = Field(description="Batch order of the classifier.")
    network: str = Field(description="Network of the classifier.")
    epochs: int = Field(description="Most epochs of the classifier.")


class StudyEntry(Section):
    """A repetition of the predecessor's study."""

    name: Name = Field(description="Study.")
    parts: list[StudyPart] = Field(description="All that is run.")


def experiment_entries(config: Config) -> list[ExperimentEntry]:
    """Entries of all experiments of a configuration."""
    return [
        ExperimentEntry(**_entry(config, name, experiment))
        for name, experiment in config.experiments.items()
    ]


def study_entry(config: Config, name: str) -> StudyEntry:
    """Entry of a study."""
    parts = []
    for part, experiment in config.study[name].parts():
        settings = config.experiments[experiment]
        model = config.classifier(settings.classifier)
        parts.append(
            StudyPart(
                **_entry(config, experiment, settings),
                part=part,
                batches=model.batches,
                network=model.network.name,
                epochs=model.epochs,
            )
        )
    return StudyEntry(name=name, parts=parts)


def _entry(config: Config, name: str, experiment: Experiment) -> dict[str, Any]:
    model = config.classifier(experiment.classifier)
    return {
        "name": name,
        "dataset": model.dataset,
        "labels": model.labels,
        "split": config.datasets[model.dataset].batches[model.batches].split,
        "classifier": experiment.classifier,
        "siamese": experiment.siamese,
        "seeds": model.seeds,
        "apply_to": experiment.others,
        "map_scene": experiment.map_scene,
        "decoder": experiment.siamese in config.decoders,
    }


def entries_text(entries: Sequence[ExperimentEntry]) -> str:
    """Entries as one canonical JSON string, for a rule's params."""
    return canonical_json([entry.model_dump(mode="json") for entry in entries])


def read_entries(text: str) -> list[ExperimentEntry]:
    """The inverse of :func:`entries_text`."""
    return [ExperimentEntry.model_validate(item) for item in json.loads(text)]
