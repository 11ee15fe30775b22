from pathlib import Path

from geolatents.learning.devices import use_devices
from geolatents.olr.apply import apply_classifier
from geolatents.stores import store_of
from geolatents.workflow import paths, rule_log, stores

with rule_log(snakemake):
    use_devices(snakemake.resources.gpu, snakemake.threads)
    apply_classifier(
        seeds=snakemake.params.seeds,
        models=paths(snakemake.input.models),
        stores=stores(snakemake.input.tiles),
        covers=stores(snakemake.input.covers),
        labels=store_of(Path(snakemake.input.labels)),
        predictions=Path(snakemake.output.predictions),
        flips=snakemake.params.flips,
        dataset=snakemake.wildcards.other,
        name=snakemake.wildcards.experiment,
    )
