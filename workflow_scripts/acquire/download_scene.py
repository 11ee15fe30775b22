from pathlib import Path

from geolatents.acquire.scenes import download_scene
from geolatents.paths import downloads_root
from geolatents.workflow import rule_log

with rule_log(snakemake):
    download_scene(
        provider=snakemake.params.provider,
        item=snakemake.params.item,
        product=snakemake.params.product,
        service=snakemake.params.service.value,
        downloads=downloads_root(),
        output=Path(snakemake.output[0]),
    )
