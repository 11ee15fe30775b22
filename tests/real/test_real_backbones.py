"""A real pretrained network: read, cut at the right layer, features finite and those of the file itself."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from geolatents.learning.backbones import cut, stages_of, trunk_of
from geolatents.learning.networks import build_network
from geolatents.settings.images import ImageFolder
from geolatents.settings.models import Network
from geolatents.tiles.pack import open_images

pytestmark = pytest.mark.real_data

SHA256 = "01ce44c80628e372b8260790e9d05bc0b35f507292bfb21952969e8db4f52c77"


@pytest.fixture
def file(data_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GEOLATENTS_DATA", str(data_folder))
    found = data_folder.parent / "weights" / "efficientnet_lite0.keras"
    if not found.is_file():
        pytest.skip(f"no weights at {found}")
    return found


def test_efficientnet_lite0_gives_the_features_of_its_file(file: Path, data_folder: Path) -> None:
    images = open_images(
        ImageFolder(
            provider="images", archive="ucmerced", images="ucm_multilabel/images.zip", size=128
        ),
        data_folder,
    )
    tiles = np.stack([images.decode(i) for i in range(0, len(images.ids), 420)])
    settings = Network(
        name="backbone", backbone="efficientnet_lite0", weights=f"../weights/{file.name}", sha256=SHA256,
        side=160, frozen=3,
    )  # fmt: skip
    mean, std = tiles.mean((0, 1, 2)), tiles.std((0, 1, 2))
    model = build_network(settings, tiles.shape[1:], 17, mean, std, bands=images.bands)
    trunk = trunk_of(model)
    assert trunk.output.shape[-1] == 1280
    assert {layer.name for layer in trunk.layers if stages_of(trunk)[layer.name] == 5} >= {
        "_conv_head",
        "re_lu_32",
    }
    assert not {"gap", "fc"} & {layer.name for layer in trunk.layers}

    own = keras.saving.load_model(file, compile=False)
    resized = tf.image.resize((tiles.astype(np.float32) - 127) / 128, (160, 160))
    expected = keras.Model(own.input, own.get_layer("gap").output)(resized, training=False)
    found = keras.Model(model.input, model.get_layer("pooled").output)(tiles, training=False)
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert np.std(found, axis=0).max() > 0.1
    assert model(tiles, training=False).shape == (len(tiles), 17)


def test_our_own_efficientnet_lite0_is_that_of_the_file(file: Path) -> None:
    from geolatents.learning import backbones

    own = cut(keras.saving.load_model(file, compile=False))
    ours = cut(backbones._built("efficientnet_lite0"))
    ours.set_weights(own.get_weights())
    x = np.random.default_rng(0).normal(size=(2, 96, 64, 3)).astype(np.float32)
    np.testing.assert_allclose(ours(x, training=False), own(x, training=False), atol=1e-5)
