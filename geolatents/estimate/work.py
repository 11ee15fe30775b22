"""How much work a job has, from what is known before it runs: configuration, raster headers, indices of tiles."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

from geolatents.acquire.synthetic.names import BANDS
from geolatents.estimate.networks import drawing_multiplications, multiplications
from geolatents.estimate.sizes import Size, announced_size, pixels, raster_size, tiles_in
from geolatents.files import read_json
from geolatents.paths import data_root
from geolatents.plan import PACKED, Plan
from geolatents.settings.images import ImageFolder

Wildcards = Mapping[str, str]

IMAGES = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff"})
COUNTED = frozenset({"table", "plain", "folders"})
"""Layouts of image folders with one file per image."""

SIAMESE_PASSES = 3
"""Two occluded images of a pair and the teacher's view of it, per tile and epoch."""


class Work:
    """Amounts of work, in the unit that the table of costs names for a rule.

    Args:
        plan: The plan of the configuration.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.size = cache(self._size)
        self.tiles = cache(self._tiles)
        self.units: dict[str, Callable[[Wildcards], float | None]] = {
            "job": lambda wildcards: 1.0,
            "scene": self._scene,
            "dataset": self._dataset,
            "tiles": self._thousand_tiles,
            "other": lambda wildcards: _times(self.tiles(wildcards["other"]), 1e-3),
            "order": self._order,
            "training": self._training,
            "drawing": self._drawing,
            "prediction": self._prediction,
            "embedding": self._embedding,
            "mapping": self._mapping,
        }

    def of(self, unit: str, wildcards: Wildcards) -> float | None:
        """Amount of work of a job; none where it is not known before the job runs.

        Args:
            unit: What the table of costs names.
            wildcards: Wildcards of the job.
        """
        return self.units[unit](wildcards)

    # ---- units

    def _scene(self, wildcards: Wildcards) -> float | None:
        """Million values of a scene."""
        size = self.size(wildcards["dataset"], wildcards.get("scene", PACKED))
        return None if size is None else size.megavalues

    def _dataset(self, wildcards: Wildcards) -> float | None:
        """Million values of all scenes of a dataset."""
        sizes = self._sizes(wildcards["dataset"])
        return None if sizes is None else sum(size.megavalues for size in sizes)

    def _thousand_tiles(self, wildcards: Wildcards) -> float | None:
        """Thousand tiles of a dataset."""
        return _times(self.tiles(wildcards["dataset"]), 1e-3)

    def _order(self, wildcards: Wildcards) -> float | None:
        """Thousand tiles of a batch order, over its epochs."""
        order = self.plan.config.datasets[wildcards["dataset"]].batches[wildcards["order"]]
        return _times(self.tiles(wildcards["dataset"]), 1e-3 * order.epochs)

    def _training(self, wildcards: Wildcards) -> float | None:
        """Tera-multiplications of a training that uses all its epochs."""
        model = self.plan.config.models[wildcards["model"]]
        passes = model.epochs * (SIAMESE_PASSES if model.kind == "siamese" else 1)
        return self._passes(wildcards["dataset"], wildcards["model"], passes)

    def _drawing(self, wildcards: Wildcards) -> float | None:
        """Tera-multiplications of the two decoders of a Siamese network."""
        tiles, image = self.tiles(wildcards["dataset"]), self._image(wildcards["dataset"])
        if tiles is None or image is None:
            return None
        settings = self.plan.config.decoders[wildcards["model"]]
        return 2 * settings.epochs * tiles * drawing_multiplications(settings, *image) / 1e12

    def _prediction(self, wildcards: Wildcards) -> float | None:
        """Tera-multiplications of a classifier of all seeds on another dataset."""
        model = self.plan.experiment(_Names(wildcards)).classifier
        return self._passes(wildcards["other"], model, len(self.plan.seeds(model)))

    def _embedding(self, wildcards: Wildcards) -> float | None:
        """Tera-multiplications of a Siamese network of all seeds on another dataset."""
        model = str(self.plan.experiment(_Names(wildcards)).siamese)
        return self._passes(wildcards["other"], model, len(self.plan.seeds(model)))

    def _mapping(self, wildcards: Wildcards) -> float | None:
        """Tera-multiplications of a classifier of all seeds on one scene of its dataset."""
        model, dataset = self.plan.experiment(_Names(wildcards)).classifier, wildcards["dataset"]
        share = len(self.plan.seeds(model)) / max(1, len(self.plan.scenes(dataset)))
        return self._passes(dataset, model, share)

    # ---- sizes

    def _sizes(self, dataset: str) -> list[Size] | None:
        sizes = [self.size(dataset, scene) for scene in self.plan.scenes(dataset)]
        known = [size for size in sizes if size is not None]
        return known if len(known) == len(sizes) else None

    def _size(self, dataset: str, scene: str) -> Size | None:
        imagery = self.plan.config.datasets[dataset].imagery
        if isinstance(imagery, ImageFolder):
            return self._packed_size(dataset, imagery)
        if imagery.provider == "synthetic":
            return Size(imagery.scene_size, imagery.scene_size, len(imagery.bands), imagery.pixel)
        file = self.plan.scene_file(dataset, scene)
        if file.is_file():
            return raster_size(file)
        item = self.plan.searches.scenes.get(dataset, {}).get(scene)
        return announced_size(item.geometry, getattr(imagery, "product", None)) if item else None

    def _packed_size(self, dataset: str, imagery: ImageFolder) -> Size | None:
        """All images of a folder as one scene: as wide as an image, as high as all of them."""
        count = self.tiles(dataset)
        if count is None:
            return None
        return Size(imagery.size, imagery.size * count, len(imagery.bands or BANDS[:3]), 1.0)

    def _tiles(self, dataset: str) -> float | None:
        """Tiles of a dataset: what its index says, or an expectation."""
        index = self.plan.root / dataset / "tiles.json"
        if index.is_file():
            return float(read_json(index)["n_tiles"])
        settings = self.plan.config.datasets[dataset]
        if isinstance(settings.imagery, ImageFolder):
            counted = settings.imagery.images and settings.imagery.layout in COUNTED
            return _count_images(data_root() / settings.imagery.images) if counted else None
        sizes = self._sizes(dataset)
        return None if sizes is None else sum(tiles_in(one, settings.tiles) for one in sizes)

    def _passes(self, dataset: str, model: str, passes: float) -> float | None:
        """Tera-multiplications of a model's forward passes over all tiles of a dataset."""
        tiles, image = self.tiles(dataset), self._image(self.plan.config.classifier(model).dataset)
        if tiles is None or image is None:
            return None
        return tiles * passes * multiplications(self.plan.config.models[model], *image) / 1e12

    def _image(self, dataset: str) -> tuple[float, int] | None:
        """Pixels and bands of a tile of a dataset."""
        size = (
            self.size(dataset, self.plan.scenes(dataset)[0]) if self.plan.scenes(dataset) else None
        )
        if size is None:
            return None
        settings = self.plan.config.datasets[dataset]
        packed = isinstance(settings.imagery, ImageFolder)
        side = (
            (size.width, size.width)
            if packed
            else pixels(settings.tiles.size, settings.tiles, size)
        )
        return side[0] * side[1], size.bands


class _Names:
    """Wildcards as attributes."""

    def __init__(self, wildcards: Wildcards) -> None:
        self.__dict__.update(wildcards)


def _times(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor


def _count_images(path: Path) -> float | None:
    """Image files of a folder or zip archive."""
    if path.is_dir():
        names = (file.name for file in path.rglob("*"))
        return float(sum(Path(name).suffix.lower() in IMAGES for name in names))
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            return float(sum(Path(name).suffix.lower() in IMAGES for name in archive.namelist()))
    return None
