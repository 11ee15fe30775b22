from pathlib import Path

from geolatents.learning.devices import use_devices
from geolatents.olr.maps import map_scene
from geolatents.stores import store_of
from geolatents.workflow import rule_log

with rule_log(snakemake):
    use_devices(snakemake.resources.gpu, snakemake.threads)
    map_scene(
        model=Path(snakemake.input.models[0]),
        store=store_of(Path(snakemake.input.tiles)),
        labels=store_of(Path(snakemake.input.labels)),
        output=Path(snakemake.output.map),
        probabilities=Path(snakemake.output.probabilities),
        flips=snakemake.params.flips,
    )
