from pathlib import Path

from geolatents.learning.devices import use_devices
from geolatents.olr.apply import apply_siamese
from geolatents.settings.models import Siamese
from geolatents.stores import store_of
from geolatents.workflow import paths, rule_log, stores

with rule_log(snakemake):
    use_devices(snakemake.resources.gpu, snakemake.threads)
    settings = Siamese.parse(snakemake.params.config)
    apply_siamese(
        seeds=snakemake.params.seeds,
        models=paths(snakemake.input.models),
        trained=paths(snakemake.input.trained),
        stores=stores(snakemake.input.tiles),
        covers=stores(snakemake.input.covers),
        labels=store_of(Path(snakemake.input.labels)),
        predictions=Path(snakemake.output.predictions),
        embeddings=Path(snakemake.output.embeddings),
        k=settings.k,
        flips=settings.test_time_flips,
        dataset=snakemake.wildcards.other,
        name=snakemake.wildcards.experiment,
    )
