from pathlib import Path

from geolatents.acquire.archives.download import record_archive
from geolatents.paths import downloads_root
from geolatents.settings.archives import ArchiveService
from geolatents.workflow import rule_log

with rule_log(snakemake):
    record_archive(
        snakemake.params.archive,
        ArchiveService.parse(snakemake.params.service.value),
        downloads=downloads_root(),
        output=Path(snakemake.output[0]),
    )
