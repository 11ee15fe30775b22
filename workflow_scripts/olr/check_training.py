from pathlib import Path

from geolatents.olr.training_check import check_training
from geolatents.settings.models import Classifier
from geolatents.stores import store_of
from geolatents.workflow import paths, rule_log, stores

with rule_log(snakemake):
    check_training(
        Classifier.parse(snakemake.params.config),
        stores=stores(snakemake.input.tiles),
        manifests=paths(snakemake.input.tiles),
        labels=store_of(Path(snakemake.input.labels)),
        split=Path(snakemake.input.split).with_suffix(".parquet"),
        output=Path(snakemake.output[0]),
    )
