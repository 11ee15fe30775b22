from pathlib import Path

from geolatents.acquire.scenes import assemble_scene
from geolatents.workflow import rule_log

with rule_log(snakemake):
    assemble_scene(
        provider=snakemake.params.provider,
        record=Path(snakemake.input[0]),
        product=snakemake.params.product,
        output=Path(snakemake.output[0]),
    )
