from pathlib import Path

from geolatents.learning.devices import use_devices
from geolatents.olr.siamese import train_siamese
from geolatents.settings.models import Classifier, Siamese
from geolatents.stores import store_of
from geolatents.workflow import checkpoints, rule_log, stores

with rule_log(snakemake):
    train_siamese(
        Siamese.parse(snakemake.params.config),
        teacher_settings=Classifier.parse(snakemake.params.teacher),
        seed=int(snakemake.wildcards.seed),
        teacher=Path(snakemake.input.teacher),
        stores=stores(snakemake.input.tiles),
        labels=store_of(Path(snakemake.input.labels)),
        split=Path(snakemake.input.split).with_suffix(".parquet"),
        order=store_of(Path(snakemake.input.order)),
        model=Path(snakemake.output.model),
        history=Path(snakemake.output.history),
        predictions=Path(snakemake.output.predictions),
        embeddings=Path(snakemake.output.embeddings),
        covers=stores(snakemake.input.covers),
        teacher_predictions=Path(snakemake.input.teacher_predictions),
        checkpoints=checkpoints(snakemake),
        strategy=use_devices(snakemake.resources.gpu, snakemake.threads),
    )
