"""The plan of a configuration: names, paths, targets and parameters of everything that it asks for."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import cached_property
from glob import escape
from pathlib import Path
from typing import Any

from geolatents.acquire.archives.table import table_beside
from geolatents.acquire.files import scene_files, sidecars
from geolatents.acquire.landcover.read import landcover_files
from geolatents.acquire.searches import Searches
from geolatents.acquire.synthetic.names import scene_names
from geolatents.errors import ConfigError, GeolatentsError, SceneError
from geolatents.files import canonical_json, read_json, remove_leftovers, sha256_file, write_json
from geolatents.labels.mappings import find_mapping
from geolatents.learning.weights import IMAGENET, require_weights, weights_file
from geolatents.paths import DATA_VARIABLE, DOWNLOADS_VARIABLE, data_root
from geolatents.places import CONTACT
from geolatents.report.entries import (
    ExperimentEntry,
    StudyPart,
    entries_text,
    experiment_entries,
    study_entry,
)
from geolatents.settings.archives import ARCHIVE_LAYOUTS, PARTITION
from geolatents.settings.base import NO_SECTION, Section
from geolatents.settings.config import Config
from geolatents.settings.dataset import Dataset
from geolatents.settings.experiments import Experiment
from geolatents.settings.imagery import DOWNLOADED
from geolatents.settings.models import Network

PACKED = "images"
"""Name of the one tile store of a packed image folder."""

STATE = ".state"
"""Folder below the results root of what may be deleted at any time: hashes, states of trainings."""

NOTHING = r"(?!)"
"""A regular expression that no name matches."""


STUDY_FIGURES = tuple(f"figure-{number}" for number in range(16, 25))
"""Figures of the predecessor's study."""

SYSTEMS_TO_COME = ("vae", "landuse", "ground")
"""Systems that no section of the configuration can ask for yet; as targets they exist and are empty."""


class Plan:
    """Names and paths of everything that a configuration asks for.

    Args:
        config: The validated configuration.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self.root = Path(config.results)
        if config.data is not None:
            os.environ[DATA_VARIABLE] = config.data
        if config.downloads is not None:
            os.environ[DOWNLOADS_VARIABLE] = config.downloads
        self.searches = Searches(config)
        self._hashes = HashCache(self.root / STATE / "hashes.json")
        self._find_files()  # what is missing is said at once
        self._check_map_scenes()

    # ---- names

    def datasets(self, *providers: str) -> list[str]:
        """Datasets, or those of the given providers."""
        return [
            name
            for name, dataset in self.config.datasets.items()
            if not providers or dataset.imagery.provider in providers
        ]

    def with_scenes(self) -> list[str]:
        """Datasets of scenes, which are cut into tiles."""
        return [name for name in self.config.datasets if self.provider(name) != "images"]

    def downloaded(self) -> list[str]:
        """Datasets whose scenes are downloaded."""
        return [
            name
            for name, dataset in self.config.datasets.items()
            if isinstance(dataset.imagery, DOWNLOADED)
        ]

    def archived(self) -> list[str]:
        """Datasets whose images are an archive of the registry."""
        return [name for name in self.datasets("images") if self.archive(name)]

    def provider(self, name: str) -> str:
        """Provider of a dataset's imagery or of a photo set."""
        section = self.config.photos[name].source if name in self.config.photos else None
        return str((section or self.config.datasets[name].imagery).provider)

    def mapped(self) -> list[str]:
        """Photo sets with a map image for each photo."""
        return [name for name, photos in self.config.photos.items() if photos.maps is not None]

    def with_landcover(self, source: str) -> list[str]:
        """Datasets with land cover from a source."""
        return [
            name
            for name, dataset in self.config.datasets.items()
            if dataset.landcover is not None and dataset.landcover.source == source
        ]

    def cells(self, photos: str) -> list[str]:
        """Grid cells of a photo set that hold photos."""
        return list(self.searches.cells[photos])

    def models(self, kind: str) -> list[str]:
        """Models of a kind."""
        return [name for name, model in self.config.models.items() if model.kind == kind]

    def with_siamese(self) -> list[str]:
        """Experiments with a Siamese network."""
        return [name for name, one in self.config.experiments.items() if one.siamese]

    def pretrained(self) -> list[str]:
        """Classifiers with pretrained weights."""
        return [name for name in self.models("classifier") if self._network(name).weights]

    def covered(self, dataset: str) -> list[str]:
        """Scenes of a dataset that have cover: all, or none without land cover."""
        return self.scenes(dataset) if self.config.datasets[dataset].has_cover else []

    def scenes(self, dataset: str) -> list[str]:
        """Scenes of a dataset, in a fixed order; a packed image folder is one scene."""
        return list(self._scene_files[dataset])

    def order(self, dataset: str, model: str) -> str:
        """Batch order of a model."""
        return self.config.classifier(model).batches

    def split(self, dataset: str, model: str) -> str:
        """Split of a model."""
        return self.config.datasets[dataset].batches[self.order(dataset, model)].split

    def experiment(self, wildcards: Any) -> Experiment:
        """The experiment of a job."""
        return self.config.experiments[wildcards.experiment]

    def seeds(self, model: str) -> list[int]:
        """Seeds of a model."""
        return self.config.classifier(model).seeds

    def names(self, kind: str) -> set[str]:
        """All names of a kind (``scenes``, ``labels``, ``splits``, ``batches``) over all datasets."""
        if kind == "scenes":
            return {scene for dataset in self.config.datasets for scene in self.scenes(dataset)}
        return {name for item in self.config.datasets.values() for name in getattr(item, kind)}

    # ---- targets

    def targets(self, *stages: str) -> list[str]:
        """Paths of everything that the given stages leave behind.

        As long as the list of a search is missing, nothing is known but the check that says so.
        """
        if self.searches.missing:
            return [f"{self.root}/{name}/checks/search.json" for name in self.searches.missing]
        return [
            f"{self.root}/{path}"
            for stage in stages
            if stage not in SYSTEMS_TO_COME
            for path in getattr(self, f"_{stage}_targets")()
        ]

    def target_message(self, stage: str) -> str:
        """What the target of a stage says: that it is made, or that there is nothing of it to make."""
        if self.targets(stage):
            return f"All of {stage} is made"
        return f"Nothing to do: the configuration asks for nothing of {stage}"

    def _download_targets(self) -> Iterator[str]:
        for dataset in self.downloaded():
            yield from (f"{dataset}/downloads/{scene}.json" for scene in self.scenes(dataset))
        yield from (f"{dataset}/downloads/archive.json" for dataset in self.archived())
        yield from (f"{name}/downloads/landcover.json" for name in self.with_landcover("corine"))
        for name in self.config.photos:
            kinds = ("photos", "maps") if name in self.mapped() else ("photos",)
            for kind in kinds:
                yield from (f"{name}/downloads/{kind}/{cell}.json" for cell in self.cells(name))

    def _photos_targets(self) -> Iterator[str]:
        yield from (f"{name}/photos.parquet" for name in self.config.photos)

    def _tiles_targets(self) -> Iterator[str]:
        for dataset in self.config.datasets:
            yield from (f"{dataset}/tiles/{scene}.json" for scene in self.scenes(dataset))

    def _index_targets(self) -> Iterator[str]:
        yield from (f"{dataset}/tiles.json" for dataset in self.config.datasets)

    def _labels_targets(self) -> Iterator[str]:
        for name, dataset in self.config.datasets.items():
            for labels in dataset.labels:
                yield f"{name}/labels/{labels}.json"
                for split in dataset.splits:
                    yield from _with_figure(f"{name}/labels/{labels}/cooccurrence-{split}.json")

    def _batches_targets(self) -> Iterator[str]:
        for name, dataset in self.config.datasets.items():
            yield from (f"{name}/splits/{split}.json" for split in dataset.splits)
            for order in dataset.batches:
                yield f"{name}/batches/{order}.json"
                for labels in dataset.labels:
                    yield from _with_figure(f"{name}/batches/{order}/{labels}-counts.csv")

    def _olr_targets(self) -> Iterator[str]:
        for model in self.config.models:
            yield from (f"{folder}/metrics.json" for folder in self._model_folders(model))
        for model in self.models("siamese"):
            for folder in self._model_folders(model):
                yield from _with_figure(f"{folder}/embedding.json")
        for model in self.config.decoders:
            for folder in self._model_folders(model):
                yield from (f"{folder}/decoder/{name}" for name in ("scores.json", "decoder.png"))
        for name, experiment in self.config.experiments.items():
            folder = self.experiment_folder(name)
            yield from _with_figure(f"{folder}/agreement.json")
            for other in experiment.others:
                yield from _with_figure(f"{folder}/on-{other}/agreement.json")
            if experiment.map_scene:
                yield f"{folder}/map.tif"

    def _proof_targets(self) -> Iterator[str]:
        yield from (f"proof/{name}.json" for name in self.config.proofs)

    def _report_targets(self) -> Iterator[str]:
        if self.config.datasets:
            yield "summary.csv"
            yield "report/index.html"

    def _study_targets(self) -> Iterator[str]:
        for study in self.config.study:
            yield from (f"study/{study}.json", f"study/{study}.md")
            yield from (f"study/{study}/{figure}.png" for figure in STUDY_FIGURES)

    def experiment_folder(self, experiment: str) -> str:
        """Folder of an experiment below the results root."""
        dataset = self.config.classifier(self.config.experiments[experiment].classifier).dataset
        return f"{dataset}/experiments/{experiment}"

    def experiment_paths(self, name: str) -> list[str]:
        """Paths of a file of every experiment, on its own dataset and on those that it is applied to."""
        found = []
        for experiment, settings in self.config.experiments.items():
            folder = f"{self.root}/{self.experiment_folder(experiment)}"
            found.append(f"{folder}/{name}")
            found += [f"{folder}/on-{other}/{name}" for other in settings.others]
        return found

    def metrics(self) -> list[str]:
        """Paths of the metrics of all models."""
        return [
            f"{self.root}/{folder}/metrics.json"
            for model in self.config.models
            for folder in self._model_folders(model)
        ]

    def entries(self) -> str:
        """What the report says of which experiments, as a param."""
        return entries_text(experiment_entries(self.config))

    def proof_entries(self, proof: str) -> list[ExperimentEntry]:
        """What the report says of the experiments of a proof."""
        entries = {entry.name: entry for entry in experiment_entries(self.config)}
        return [entries[name] for name in self.config.proofs[proof].experiments]

    def proof_files(self, proof: str) -> list[str]:
        """Paths of everything that a proof reads."""
        found = []
        for entry in self.proof_entries(proof):
            folder = entry.folder(self.root)
            found += [f"{folder}/agreement.json"]
            found += [f"{folder}/on-{other}/agreement.json" for other in entry.apply_to]
            found += [f"{self.root}/{entry.dataset}/splits/{entry.split}.json"]
            for seed in entry.seeds:
                for model in (entry.classifier, str(entry.siamese)):
                    found.append(f"{entry.model_folder(self.root, model, seed)}/metrics.json")
                siamese = entry.model_folder(self.root, str(entry.siamese), seed)
                found.append(f"{siamese}/embedding.json")
        return found

    def study(self, name: str) -> str:
        """What a study compares, as a param."""
        return study_entry(self.config, name).complete()

    def study_results(self, name: str) -> list[str]:
        """Paths of what a study's experiments and their models found."""
        return self._of_parts(name, self._study_files)

    def study_tables(self, name: str) -> list[str]:
        """Paths of the co-occurrence and the label counts that a study draws."""
        return self._of_parts(name, _tables_of)

    def _of_parts(self, name: str, files: Callable[[StudyPart], Iterable[str]]) -> list[str]:
        parts = study_entry(self.config, name).parts
        return list(dict.fromkeys(f"{self.root}/{f}" for part in parts for f in files(part)))

    def _study_files(self, part: StudyPart) -> Iterator[str]:
        folder = self.experiment_folder(part.name)
        yield from (f"{folder}/agreement.json", f"{folder}/per-label.csv")
        for model in filter(None, (part.classifier, part.siamese)):
            yield from (f"{one}/metrics.json" for one in self._model_folders(model))

    def saved_states(self) -> str:
        """Where trainings save their state and how often, as canonical JSON."""
        minutes = self.config.checkpoint_minutes
        return canonical_json({"folder": self.root / STATE, "minutes": minutes})

    def _model_folders(self, model: str) -> list[str]:
        dataset = self.config.classifier(model).dataset
        return [f"{dataset}/models/{model}/seed-{seed}" for seed in self.seeds(model)]

    # ---- files

    def makes_scenes(self, dataset: str) -> bool:
        """Whether scenes are made by the workflow itself: drawn, or assembled from downloads."""
        return self.provider(dataset) not in {"files", "images"}

    def makes_landcover(self, dataset: str) -> bool:
        """Whether land cover is made by the workflow itself: drawn, or combined from downloads."""
        return self._landcover(dataset).source in {"synthetic", "corine"}

    def scene_file(self, dataset: str, scene: str) -> Path:
        """The raster of a scene."""
        return self._scene_files[dataset][scene]

    def landcover_files(self, dataset: str) -> list[Path]:
        """Files of a dataset's land-cover layer."""
        landcover = self._landcover(dataset)
        if self.makes_landcover(dataset):
            return [self.root / dataset / "source" / "landcover.parquet"]
        return landcover_files(landcover, data_root())

    def landcover_sources(self, dataset: str) -> list[Path]:
        """Files of a land-cover layer and those that belong to them (index, world file)."""
        return with_siblings(self.landcover_files(dataset))

    def source_hash(self, files: Iterable[Path]) -> str:
        """Content of foreign files; each is read again only when its size or clock has changed."""
        return canonical_json({path.name: self._hashes.of(path) for path in files})

    def scene_sources(self, dataset: str, scene: str) -> list[Path]:
        """A scene's raster and the foreign files that belong to it (mask, metadata, world file)."""
        imagery = self.config.datasets[dataset].imagery
        file = self.scene_file(dataset, scene)
        return [file, *sidecars(file, imagery)] if imagery.provider == "files" else [file]

    def image_sources(self, dataset: str) -> list[Path]:
        """An image folder's archive (or folder) and label table; of the layout `legacy` every file.

        The listing of a folder, by names and sizes, does not show a changed array of equal shape.
        """
        imagery = self.config.datasets[dataset].imagery
        if imagery.provider != "images":
            raise ConfigError(f"dataset {dataset!r} is no image folder")
        if self.archive(dataset):
            return []  # its files come in through the record of their download
        images = [data_root() / imagery.images]
        if imagery.layout == "legacy" and images[0].is_dir():
            images = sorted(p for p in images[0].rglob("*") if p.suffix in {".npy", ".txt"})
        table = imagery.table
        if imagery.archive and not table:  # a copy that the user has brings its table along
            layout = ARCHIVE_LAYOUTS[imagery.archive]
            table = table_beside(data_root(), imagery.images, layout.table)
        tables = [data_root() / table] if table else []
        if imagery.reads == "celeba":
            parts = [file.with_name(PARTITION) for file in tables]
            tables += [file for file in parts if file.is_file()]
        return [*images, *tables]

    def mapping_sources(self, dataset: str, labels: str) -> list[Path]:
        """The mapping file of a combined label set."""
        settings = self.config.datasets[dataset].labels[labels]
        return [find_mapping(settings.mapping, data_root())] if settings.kind == "combined" else []

    def split_sources(self, dataset: str, split: str) -> list[Path]:
        """The file of a listed split."""
        settings = self.config.datasets[dataset].splits[split]
        return [data_root() / settings.file] if settings.kind == "listed" else []

    def weights_sources(self, model: str) -> list[Path]:
        """The file of a classifier's pretrained weights; none where Keras keeps its own, or there are none."""
        network = self._network(model)
        file = weights_file(network)
        return [] if file is None or network.weights == IMAGENET else [file]

    # ---- downloads

    def scene_item(self, dataset: str, scene: str) -> str:
        """A scene's entry in the list of its search, as canonical JSON; none where the list is missing."""
        item = self.searches.scenes.get(dataset, {}).get(scene)
        return NO_SECTION if item is None else item.canonical()

    def scene_imagery(self, dataset: str) -> str:
        """Imagery as the check of a scene sees it: what only the search or the download need is left out."""
        imagery = self.config.datasets[dataset].imagery
        return (imagery.assembled() if isinstance(imagery, DOWNLOADED) else imagery).complete()

    def search_requests(self) -> str:
        """What `snakemake search` asks for, as canonical JSON: kind, provider, settings and list by name."""
        return canonical_json(
            {
                name: {
                    "kind": "photos" if name in self.config.photos else "scenes",
                    "provider": self.provider(name),
                    "source": section.canonical(),
                    "list": self.searches.file(name),
                }
                for name, section in self.searches.sections()
            }
        )

    def download_requests(self) -> str:
        """What is to be downloaded, as canonical JSON: kind, provider, settings and list by name."""
        requests = json.loads(self.search_requests())
        for name in self.mapped():
            maps = self.section(f"photos/{name}/maps")
            requests[f"{name} (maps)"] = {**requests[name], "maps": maps}
        for name in self.with_landcover("corine"):
            requests[f"{name} (land cover)"] = {
                "kind": "landcover",
                "config": self.section(f"datasets/{name}/landcover"),
                "area": self.landcover_area(name),
            }
        for name in self.archived():
            requests[name] = {"kind": "archive", "archive": self.archive(name)}
        return canonical_json(requests)

    def landcover_area(self, dataset: str) -> str:
        """Area of downloaded land cover; empty where it follows from the scenes' records."""
        found = dataset in self.searches.scenes
        return canonical_json(self.searches.area(dataset)) if found else ""

    # ---- parameters

    def section(self, path: str, leave_out: Iterable[str] = ()) -> str:
        """Canonical JSON of one section of the configuration, such as ``datasets/demo/tiles``, with all defaults."""
        value: Any = self.config
        for key in path.split("/"):
            value = value[key] if isinstance(value, Mapping) else getattr(value, key)
        if value is None:
            return NO_SECTION
        if not isinstance(value, Section):
            raise ConfigError(f"{path} is no section")
        return value.complete(leave_out)

    def scene_lists(self) -> str:
        """Paths of the lists of scenes that searches found, as JSON; the configuration is not whole without them."""
        return canonical_json([self.searches.file(name) for name in self.downloaded()])

    def resolved(self) -> str:
        """The whole configuration as JSON, defaults stated, as it may be published.

        Order is kept, since that of names matters; folders of this machine and the user's address are not.
        """
        values = self.config.model_dump(mode="json")
        values |= {"results": "results", "data": None, "downloads": None, "searches": "searches"}
        return json.dumps(_impersonal(values))

    # ---- inside

    def _network(self, model: str) -> Network:
        return self.config.classifier(model).network

    @cached_property
    def _scene_files(self) -> dict[str, dict[str, Path]]:
        return {
            name: self._files_of(name, dataset) for name, dataset in self.config.datasets.items()
        }

    def _check_map_scenes(self) -> None:
        """Scenes are known only when their files are found, so this is no matter of the settings."""
        for name, experiment in self.config.experiments.items():
            dataset = self.config.classifier(experiment.classifier).dataset
            if experiment.map_scene is None or dataset in self.searches.missing:
                continue
            if self.config.datasets[dataset].imagery.provider == "images":
                raise ConfigError(
                    "images without position cannot be mapped",
                    where=f"experiments.{name}.map_scene",
                    fix="remove `map_scene`",
                )
            if experiment.map_scene not in self.scenes(dataset):
                raise ConfigError(
                    f"dataset {dataset!r} has no scene {experiment.map_scene!r}",
                    where=f"experiments.{name}.map_scene",
                    expected=f"one of {', '.join(self.scenes(dataset))}",
                    fix="correct `map_scene`, or remove it",
                )

    def _find_files(self) -> None:
        for name, dataset in self.config.datasets.items():
            self.scenes(name)
            if dataset.landcover is not None:
                self.landcover_files(name)
            if dataset.imagery.provider == "images":
                _require_files(self.image_sources(name), f"datasets.{name}.imagery")
            for labels in dataset.labels:
                self.mapping_sources(name, labels)
            for split in dataset.splits:
                _require_files(self.split_sources(name, split), f"datasets.{name}.splits.{split}")
        for name in self.pretrained():
            require_weights(self._network(name), f"models.{name}.network.weights")

    def _files_of(self, name: str, dataset: Dataset) -> dict[str, Path]:
        imagery = dataset.imagery
        if imagery.provider == "images":
            return {PACKED: data_root() / imagery.images}
        if imagery.provider == "files":
            return scene_files(imagery, data_root())
        if isinstance(imagery, DOWNLOADED):
            return {s: self._made(name, s) for s in self.searches.scenes.get(name, {})}
        return {s: self._made(name, s) for s in scene_names(imagery)}

    def _made(self, dataset: str, scene: str) -> Path:
        return self.root / dataset / "scenes" / f"{scene}.tif"

    def archive(self, dataset: str) -> str | None:
        """The archive that a dataset's images are downloaded from."""
        imagery = self.config.datasets[dataset].imagery
        if imagery.provider != "images" or imagery.images:
            return None  # a copy that the user has is no download
        return imagery.archive

    def _landcover(self, dataset: str) -> Any:
        landcover = self.config.datasets[dataset].landcover
        if landcover is None:
            raise ConfigError(f"dataset {dataset!r} has no land cover")
        return landcover


class HashCache:
    """Content hashes of foreign files, kept by path, size and clock, so that parsing stays quick.

    A touched file is hashed again and found equal; so a clock alone reruns nothing.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self._known: dict[str, list[Any]] = {}
        if file.exists():
            try:
                self._known = read_json(file)
            except GeolatentsError:
                self._known = {}  # it is only a cache

    def of(self, path: Path) -> str:
        """Content hash of a file, of the listing of a folder, or a word where there is none yet."""
        if path.is_dir():
            listing = sorted(
                (p.relative_to(path).as_posix(), p.stat().st_size) for p in path.rglob("*")
            )
            return canonical_json(listing)
        if not path.exists():
            return "missing"
        stat = path.stat()
        key, state = path.resolve().as_posix(), [stat.st_size, stat.st_mtime_ns]
        known = self._known.get(key)
        if known is None or known[:2] != state:
            known = self._known[key] = [*state, sha256_file(path)]
            with suppress(OSError):  # a full disk: jobs say so better, and this is only a cache
                remove_leftovers(self.file, older_than=3600)
                write_json(self.file, self._known)
        return str(known[2])


def _impersonal(values: Any) -> Any:
    """Nested values in which a stated contact is a stand-in; some services need one."""
    if isinstance(values, list):
        return [_impersonal(value) for value in values]
    if not isinstance(values, dict):
        return values
    return {
        name: CONTACT if name == "contact" and value else _impersonal(value)
        for name, value in values.items()
    }


def _with_figure(table: str) -> list[str]:
    """A table or matrix, and the figure that is drawn of it."""
    return [table, str(Path(table).with_suffix(".png"))]


def _tables_of(part: StudyPart) -> Iterator[str]:
    """Co-occurrence of a part's labels, and their counts in its batches."""
    yield f"{part.dataset}/labels/{part.labels}/cooccurrence-{part.split}.json"
    yield f"{part.dataset}/batches/{part.batches}/{part.labels}-counts.csv"


def _require_files(files: Iterable[Path], where: str) -> None:
    for file in files:
        if not file.exists():
            raise SceneError(
                "a file of the configuration is missing",
                where=where,
                expected=file.resolve(),
                found="no such file" if data_root().is_dir() else f"no folder {data_root()}",
                fix="correct its path, or name the data folder with `data:` or GEOLATENTS_DATA",
            )


def pattern(names: Iterable[str]) -> str:
    """Wildcard constraint that matches exactly the given names."""
    return "|".join(re.escape(name) for name in sorted(names)) or NOTHING


def with_siblings(files: Iterable[Path]) -> list[Path]:
    """Files and those beside them that differ only in their ending."""
    return sorted(
        {found for file in files for found in [file, *file.parent.glob(f"{escape(file.stem)}.*")]}
    )
