from pathlib import Path

from geolatents.acquire.photos.download import download_photos
from geolatents.acquire.providers import parse_section
from geolatents.paths import downloads_root
from geolatents.workflow import rule_log

with rule_log(snakemake):
    download_photos(
        cell=snakemake.wildcards.cell,
        table=Path(snakemake.input[0]),
        service=parse_section(snakemake.params.provider, "service", snakemake.params.service.value),
        downloads=downloads_root(),
        output=Path(snakemake.output[0]),
    )
