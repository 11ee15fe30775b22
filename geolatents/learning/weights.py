"""Files of pretrained weights: where they lie, whether they are the right ones, where to get them."""

from __future__ import annotations

import os
from pathlib import Path

from geolatents.errors import TrainingError
from geolatents.files import sha256_file
from geolatents.paths import data_root
from geolatents.settings.models import Network

IMAGENET = "imagenet"
"""Value of `weights` that asks for Keras' own download."""

DOWNLOADS = {
    "efficientnet_b0": "efficientnetb0_notop.h5",
    "vgg16": "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5",
    "vgg19": "vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5",
    "resnet50": "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5",
    "resnet152": "resnet152_weights_tf_dim_ordering_tf_kernels_notop.h5",
}
"""Names under which Keras keeps its own downloads."""


def weights_file(network: Network) -> Path | None:
    """The file of a network's pretrained weights, whether it is there or not; None where there are none."""
    if network.weights is None:
        return None
    if network.weights == IMAGENET:
        home = Path(os.environ.get("KERAS_HOME", "~/.keras")).expanduser()
        return home / "models" / DOWNLOADS[str(network.backbone)]
    return data_root() / Path(network.weights).expanduser()


def where_to_get(network: Network) -> str:
    """How to come by a missing file, for the message."""
    if network.weights == IMAGENET:
        return (
            f"run where there is internet, so that Keras downloads it, or bring "
            f"{DOWNLOADS[str(network.backbone)]} from a machine that has it"
        )
    known = {
        "efficientnet_lite0": "the EfficientNet-Lite models are published with TensorFlow's TPU models, as `.keras` elsewhere"
    }
    made = f"`keras.applications` makes it where there is internet: {network.backbone} without its top, `save_weights`"
    return (
        f"correct `weights` (relative to the data folder, which `data:` or GEOLATENTS_DATA names), or get the "
        f"file: {known.get(str(network.backbone), made)}; see docs/backbones.md"
    )


def require_weights(network: Network, where: str) -> None:
    """Say at once that a local file of pretrained weights is missing; Keras' own may come later.

    Args:
        network: A network, with or without weights.
        where: The key of the configuration that names the file.

    Raises:
        TrainingError: It is missing.
    """
    file = weights_file(network)
    if file is None or file.is_file() or network.weights == IMAGENET:
        return
    raise _missing(network, file, where)


def checked_weights(network: Network) -> Path:
    """The file of a network's pretrained weights, there and with the stated hash.

    Raises:
        TrainingError: It is missing, or has another hash.
    """
    file = weights_file(network)
    if file is None:
        raise ValueError("the network has no pretrained weights")
    if not file.is_file():
        raise _missing(network, file, f"`weights` of {network.backbone}")
    found = sha256_file(file) if network.sha256 else None
    if found != network.sha256:
        raise TrainingError(
            "the file of pretrained weights is another one than the configuration says",
            where=file.absolute(),
            expected=f"sha256 {network.sha256}",
            found=f"sha256 {found}",
            fix="bring the file that was meant, or correct `sha256` where this one is meant",
        )
    return file


def _missing(network: Network, file: Path, where: str) -> TrainingError:
    return TrainingError(
        f"the file of the pretrained weights of {network.backbone} is missing",
        where=where,
        expected=f"{file.resolve()}, a `.keras`, `.weights.h5` or `.h5` file",
        found="a folder" if file.is_dir() else "no such file",
        fix=where_to_get(network),
    )
