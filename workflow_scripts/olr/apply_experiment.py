from pathlib import Path

from geolatents.learning.devices import use_devices
from geolatents.olr.experiment import apply_experiment
from geolatents.settings.experiments import Experiment
from geolatents.stores import store_of
from geolatents.workflow import paths, rule_log, stores

with rule_log(snakemake):
    use_devices(snakemake.resources.gpu, snakemake.threads)
    apply_experiment(
        Experiment.parse(snakemake.params.config),
        seeds=snakemake.params.seeds,
        models=paths(snakemake.input.models),
        stores=stores(snakemake.input.tiles),
        covers=stores(snakemake.input.covers),
        labels=store_of(Path(snakemake.input.labels)),
        classifier=paths(snakemake.input.classifier),
        tiles=Path(snakemake.input.summary).with_suffix(".parquet"),
        output=Path(snakemake.output.agreement),
        predictions=Path(snakemake.output.predictions),
        dataset=snakemake.wildcards.other,
        name=snakemake.wildcards.experiment,
        flips=snakemake.params.flips,
        ledger=Path(snakemake.params.ledger),
    )
