from pathlib import Path

from geolatents.acquire.photos import download_photos, parse_photo_service
from geolatents.paths import downloads_root
from geolatents.workflow import rule_log

with rule_log(snakemake):
    download_photos(
        cell=snakemake.wildcards.cell,
        table=Path(snakemake.input[0]),
        service=parse_photo_service(snakemake.params.provider, snakemake.params.service),
        downloads=downloads_root(),
        output=Path(snakemake.output[0]),
    )
