from pathlib import Path

from geolatents.learning.devices import use_devices
from geolatents.olr.classifier import train_classifier
from geolatents.settings.models import Classifier
from geolatents.stores import store_of
from geolatents.workflow import checkpoints, rule_log, stores

with rule_log(snakemake):
    train_classifier(
        Classifier.parse(snakemake.params.config),
        seed=int(snakemake.wildcards.seed),
        stores=stores(snakemake.input.tiles),
        labels=store_of(Path(snakemake.input.labels)),
        split=Path(snakemake.input.split).with_suffix(".parquet"),
        order=store_of(Path(snakemake.input.order)),
        model=Path(snakemake.output.model),
        history=Path(snakemake.output.history),
        predictions=Path(snakemake.output.predictions),
        checkpoints=checkpoints(snakemake),
        strategy=use_devices(snakemake.resources.gpu, snakemake.threads),
    )
