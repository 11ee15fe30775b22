"""Models: everything that affects weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from geolatents.settings.base import Name, Section

BackboneName = Literal[
    "efficientnet_lite0", "efficientnet_b0", "vgg16", "vgg19", "resnet50", "resnet152"
]

STAGES = 5
"""Stages of every backbone: parts of it whose maps have one size."""


class Network(Section):
    """A network by name."""

    name: Literal["residual", "olr_cnn", "backbone"] = Field(
        "residual",
        description="`residual`: compact residual network; `olr_cnn`: the predecessor's ten convolutions, size-agnostic; "
        "`backbone`: a published network, pretrained where `weights` are given, with average pooling and one dense layer.",
    )
    widths: list[Annotated[int, Field(ge=1)]] = Field(
        [32, 64, 128],
        min_length=1,
        description="`residual`: filters per stage; each stage after the first halves the map.",
    )
    blocks: int = Field(1, ge=1, description="`residual`: residual blocks per stage.")
    stem_stride: int = Field(
        2, ge=1, le=4, description="`residual`: stride of the first convolution."
    )
    dropout: float = Field(0.2, ge=0, lt=1, description="Dropout before the output.")
    backbone: BackboneName | None = Field(
        None, description="`backbone`: which one, without its own output layers."
    )
    weights: str | None = Field(
        None,
        description="`backbone`: pretrained weights: a `.keras`, `.weights.h5` or `.h5` file, relative to the data folder; `imagenet`: Keras' own download; none: from scratch.",
    )
    sha256: str | None = Field(
        None,
        pattern="^[0-9a-f]{64}$",
        description="`backbone`: hash that the file of the weights must have; none: any file of this architecture.",
    )
    units: Literal["own", "lite", "caffe", "torch", "signed"] = Field(
        "own",
        description="`backbone`: what its pixels were in training; `own`: as published with it; `lite`: (x - 127) / 128; "
        "`caffe`: BGR less the mean colour; `torch`: (x / 255 - mean) / std of ImageNet; `signed`: x / 127.5 - 1.",
    )
    values: Literal["bytes", "statistics"] = Field(
        "bytes",
        description="`backbone`: how tiles become its pixels; `bytes`: they are 0..255 already; `statistics`: mean and standard "
        "deviation of each band in the training tiles become those of ImageNet, for reflectances and other ranges.",
    )
    rgb: list[str] | None = Field(
        None,
        min_length=3,
        max_length=3,
        description="`backbone`: bands that it sees as red, green and blue; default: those of these names (or B04, B03, B02), or the only three.",
    )
    side: int | None = Field(
        None,
        ge=32,
        description="`backbone`: pixels of the shorter side, to which tiles are resized inside the network; default: as they are.",
    )
    frozen: Literal["all", "none"] | Annotated[int, Field(ge=1)] = Field(
        "none",
        description="`backbone`: what keeps its weights and statistics: `all`, `none`, or so many first stages; a stage ends where the map is halved, and all backbones have five.",
    )
    statistics: Literal["kept", "learned"] = Field(
        "kept",
        description="`backbone`: batch normalisation uses the pretrained `kept` statistics while its scale and offset learn, or those of each batch (`learned`).",
    )
    learning_rate_scale: float = Field(
        0.1,
        gt=0,
        le=1,
        description="`backbone`: learning rate of its last stage as a share of that of the output layer; from scratch all learn alike.",
    )
    learning_rate_decay: float = Field(
        1.0,
        gt=0,
        le=1,
        description="`backbone`: learning rate of each earlier stage as a share of that of the next one.",
    )

    @model_validator(mode="after")
    def _backbone_fits(self) -> Network:
        if (self.name == "backbone") != (self.backbone is not None):
            raise ValueError(
                "`name: backbone` needs `backbone`, the name of the network"
                if self.backbone is None
                else "`backbone` needs `name: backbone`"
            )
        if self.weights is not None and self.backbone is None:
            raise ValueError("`weights` needs `name: backbone`")
        if self.weights is None and (self.sha256 or self.frozen != "none"):
            key = "sha256" if self.sha256 else "frozen"
            raise ValueError(f"`{key}` needs `weights`: without them nothing is pretrained")
        if self.weights == "imagenet" and self.backbone == "efficientnet_lite0":
            raise ValueError(
                "Keras has no weights of efficientnet_lite0; name a file with `weights`"
            )
        if isinstance(self.frozen, int) and self.frozen > STAGES:
            raise ValueError(f"`frozen` is at most {STAGES}, the number of stages, or `all`")
        return self


class Loss(Section):
    """Multi-label loss."""

    name: Literal["binary_crossentropy", "focal", "asymmetric"] = Field(
        "binary_crossentropy",
        description="`focal`: Lin et al. 2017; `asymmetric`: Ben-Baruch et al. 2021.",
    )
    gamma: float = Field(2.0, ge=0, description="`focal`: focusing exponent.")
    alpha: float | None = Field(
        None, ge=0, le=1, description="`focal`: weight of positives; none by default."
    )
    gamma_positive: float = Field(0.0, ge=0, description="`asymmetric`: exponent for positives.")
    gamma_negative: float = Field(4.0, ge=0, description="`asymmetric`: exponent for negatives.")
    clip: float = Field(
        0.05, ge=0, lt=1, description="`asymmetric`: probability margin of negatives."
    )
    label_weights: Literal["none", "balanced"] = Field(
        "none",
        description="`balanced`: positives of a label weigh negatives / positives of the training part, at most `max_weight`.",
    )
    max_weight: float = Field(20.0, ge=1, description="Upper bound of a label weight.")
    label_smoothing: float = Field(0.0, ge=0, lt=0.5, description="Targets become s/2 and 1 - s/2.")


class Augmentation(Section):
    """Random changes that suit overhead images: no direction is up."""

    flips: bool = Field(True, description="Horizontal and vertical flips.")
    rotations: bool = Field(
        True, description="Quarter turns (square tiles only; half turns for others)."
    )
    shift: float = Field(
        0.0, ge=0, le=0.5, description="Shift by up to this share of the side, edges reflected."
    )
    zoom: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="Zoom by a factor of 1 - this to 1 / (1 - this), edges reflected.",
    )
    angle: float = Field(
        0.0, ge=0, le=180, description="Turn by up to so many degrees either way, edges reflected."
    )
    gain: float = Field(
        0.1, ge=0, lt=1, description="Brightness factor 1 +- this, one for all bands."
    )
    band_gain: float = Field(
        0.0, ge=0, lt=1, description="Brightness factor 1 +- this, one per band."
    )
    mixup: float = Field(
        0.0, ge=0, description="Beta parameter of mixup (Zhang et al. 2018); 0: none."
    )
    occlusion: float = Field(
        0.0, ge=0, le=1, description="Probability that a tile gets one occluded rectangle."
    )


class _Training(Section):
    dataset: Name = Field(description="Dataset.")
    labels: Name = Field("standard", description="Label set of the dataset.")
    batches: Name = Field(
        "randomized", description="Batch order of the dataset; it names the split."
    )
    epochs: int = Field(20, ge=1, description="Most epochs.")
    learning_rate: float = Field(2e-3, gt=0, description="Peak learning rate.")
    weight_decay: float = Field(1e-4, ge=0, description="Decoupled weight decay (AdamW).")
    average: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="Share that the moving average of the weights keeps at each step; the average is what is measured and saved; 0: none.",
    )
    schedule: Literal["constant", "cosine"] = Field(
        "cosine", description="Learning-rate schedule; `cosine` warms up for 5 % of the steps."
    )
    precision: Literal["auto", "float32", "mixed_bfloat16", "mixed_float16"] = Field(
        "auto",
        description="Arithmetic of the network; `auto`: `mixed_bfloat16` where processor or GPU have it (2.3 times faster), else `float32`.",
    )
    deterministic: bool = Field(
        False, description="Bitwise equal results on one platform with as many threads, slower."
    )
    seeds: list[Annotated[int, Field(ge=0)]] = Field(
        [0], min_length=1, description="One training per seed."
    )

    @model_validator(mode="after")
    def _different_seeds(self) -> _Training:
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"`seeds` names a seed twice: {self.seeds}")
        return self


class Classifier(_Training):
    """A multi-label classifier."""

    kind: Literal["classifier"]
    network: Network = Field(Network(), description="Network.")
    loss: Loss = Field(Loss(), description="Loss.")
    augmentation: Augmentation = Field(Augmentation(), description="Augmentation.")
    patience: int = Field(
        10, ge=1, description="Epochs without better validation macro AP before training stops."
    )
    calibrate: bool = Field(
        True,
        description="Divide logits by the temperature that suits the validation part best, so that probabilities are frequencies; no ranking changes.",
    )
    test_time_flips: bool = Field(
        True,
        description="Average scores over the eight flips and turns of a tile (four where it is not square).",
    )


class Occlusion(Section):
    """The rectangle that hides part of a tile, as area shares, so that any tile size works."""

    min_area: float = Field(
        0.05, ge=0, le=1, description="Smallest hidden share of the tile's area."
    )
    max_area: float = Field(0.4, ge=0, le=1, description="Largest hidden share.")
    fill: Literal["black", "mean", "blur"] = Field(
        "mean",
        description="`black`: 0 as the predecessor; `mean`: the band's training mean; `blur`: the tile itself, blurred.",
    )

    @model_validator(mode="after")
    def _ordered(self) -> Occlusion:
        if self.min_area > self.max_area:
            raise ValueError("`min_area` is above `max_area`")
        return self


PREDECESSOR = {
    "trunk": "own",
    "pairs": "one",
    "max_weight": 1.0,
    "partners": 0.0,
    "within": "probability",
    "teacher_view": "same",
    "score_weight": 0.0,
    "label_share": 0.0,
    "augmentation": {"flips": False, "rotations": False, "gain": 0.0},
    "occlusion": {"fill": "black"},
    "optimizer": "rmsprop",
    "average": 0.0,
    "test_time_flips": False,
}
"""What `method: predecessor` changes of the defaults: the thesis's objective and training."""


class Siamese(Section):
    """An occlusion-based Siamese network on a trained classifier, its teacher: one embedding per label."""

    kind: Literal["siamese"]
    teacher: Name = Field(
        description="Model name of the classifier; dataset, labels, batches and seeds come from it."
    )
    method: Literal["polar", "prototype", "predecessor"] = Field(
        "polar",
        description="`polar`: a label's score is the length of its vector, its kind the direction; `prototype`: signed vectors, the score is that of a learned prototype; `predecessor`: vectors without negative numbers, and the predecessor's values for all that is not given (PREDECESSOR in geolatents/settings/models.py).",
    )
    weak_teacher: Literal["refuse", "use"] = Field(
        "refuse",
        description="What happens where the teacher is no better than a trivial baseline: the rule ends with `status: refused` and the reason, or trains all the same.",
    )
    k: int = Field(16, ge=1, description="Dimensions of the embedding of one label.")
    epochs: int = Field(20, ge=1, description="Epochs.")
    learning_rate: float = Field(1e-3, gt=0, description="Peak learning rate.")
    weight_decay: float = Field(
        1e-4, ge=0, description="Decoupled weight decay (`optimizer: adamw`)."
    )
    optimizer: Literal["adamw", "rmsprop"] = Field("adamw", description="Optimizer.")
    average: float = Field(
        0.98, ge=0, lt=1, description="Moving average of the weights, as of a classifier."
    )
    trunk: Literal["teacher", "own"] = Field(
        "teacher",
        description="`teacher`: starts as a copy of the classifier, statistics of its normalisation frozen; `own`: convolutions of its own from scratch.",
    )
    trunk_rate: float = Field(
        1.0,
        gt=0,
        le=1,
        description="`trunk: teacher`: learning rate of what was copied from the teacher, as a share of that of the new layers.",
    )
    widths: list[Annotated[int, Field(ge=1)]] = Field(
        [32, 64, 128], min_length=1, description="`trunk: own`: filters per convolution pair."
    )
    pairs: Literal["all", "one"] = Field(
        "all",
        description="`all`: every tile of a batch with every other; `one`: the first half with the second.",
    )
    max_weight: float = Field(
        20.0,
        ge=1,
        description="Most that a pair with the label in both tiles weighs, for rare labels.",
    )
    partners: float = Field(
        0.25,
        ge=0,
        le=0.5,
        description="Share of a batch that is drawn to have a label, rare ones first, in common with another of its tiles.",
    )
    within: Literal["probability", "labels", "cover"] = Field(
        "labels",
        description="Likeness of two tiles with the same label, which the target of a pair is multiplied by: `probability`: 1, as the predecessor; `labels`: share of common labels (Tanimoto); `cover`: common share of land cover.",
    )
    teacher_view: Literal["whole", "other", "same"] = Field(
        "whole",
        description="What the teacher sees of a tile: all of it, another occlusion, or the same as the student.",
    )
    score_weight: float = Field(
        1.0, ge=0, description="Weight of the cross-entropy of the label scores beside the pairs."
    )
    label_share: float = Field(
        0.5,
        ge=0,
        le=1,
        description="Share of true training labels in the targets of the label scores; the rest is the teacher's.",
    )
    refine_steps: int = Field(
        2000,
        ge=0,
        description="`method: polar`: steps in which directions are refined on the trained trunk's features of whole tiles; none with `within: probability`.",
    )
    occlusion: Occlusion = Field(
        Occlusion(), description="Occlusion of the student's tiles, and of the teacher's."
    )
    augmentation: Augmentation = Field(
        Augmentation(),
        description="Augmentation of what both see; without `mixup` and `occlusion`.",
    )
    test_time_flips: bool = Field(
        True, description="Average scores and vectors over flips and turns, as of a classifier."
    )
    precision: Literal["auto", "float32", "mixed_bfloat16", "mixed_float16"] = Field(
        "auto", description="Arithmetic, as of a classifier."
    )
    deterministic: bool = Field(
        False, description="Bitwise equal results on one platform with as many threads, slower."
    )

    @model_validator(mode="before")
    @classmethod
    def _as_predecessor(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("method") == "predecessor":
            return _filled(values, PREDECESSOR)
        return values

    @model_validator(mode="after")
    def _goes_together(self) -> Siamese:
        if self.augmentation.mixup or self.augmentation.occlusion:
            raise ValueError("`augmentation` of pairs has neither `mixup` nor `occlusion`")
        if self.method == "predecessor" and self.trunk == "teacher":
            raise ValueError("`method: predecessor` has a `trunk` of its own")
        if self.trunk_rate != 1 and (self.trunk == "own" or self.optimizer == "rmsprop"):
            raise ValueError("`trunk_rate` needs `trunk: teacher` and `optimizer: adamw`")
        return self


def _filled(values: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Values with defaults for what they leave out, in nested sections too."""
    filled = dict(defaults) | dict(values)
    for key, inner in defaults.items():
        if isinstance(inner, Mapping) and isinstance(values.get(key), Mapping):
            filled[key] = _filled(values[key], inner)
    return filled


class Decoder(Section):
    """A network that redraws tiles from the label embeddings of a Siamese network, and one from its scores."""

    epochs: int = Field(40, ge=1, description="Epochs; the order of batches repeats when used up.")
    learning_rate: float = Field(2e-3, gt=0, description="Peak learning rate (AdamW, cosine).")
    weight_decay: float = Field(1e-4, ge=0, description="Decoupled weight decay.")
    average: float = Field(
        0.98, ge=0, lt=1, description="Moving average of the weights, as of a classifier."
    )
    widths: list[Annotated[int, Field(ge=1)]] = Field(
        [128, 64, 32, 16],
        min_length=1,
        description="Filters per stage; each stage doubles the sides of the image.",
    )
    precision: Literal["auto", "float32", "mixed_bfloat16", "mixed_float16"] = Field(
        "auto", description="Arithmetic, as of a classifier."
    )
    deterministic: bool = Field(
        False, description="Bitwise equal results on one platform with as many threads, slower."
    )


Model = Annotated[Classifier | Siamese, Field(discriminator="kind")]
