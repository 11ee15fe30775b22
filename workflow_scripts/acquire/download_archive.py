from pathlib import Path

from geolatents.acquire.archives.download import record_archive
from geolatents.paths import downloads_root
from geolatents.settings.images import ImageFolder
from geolatents.workflow import rule_log

with rule_log(snakemake):
    record_archive(
        ImageFolder.parse(snakemake.params.config),
        downloads=downloads_root(),
        output=Path(snakemake.output[0]),
    )
