import json
from pathlib import Path

from geolatents.archive.pack import write_archive
from geolatents.settings.archive import ArchiveSettings
from geolatents.workflow import paths, rule_log

with rule_log(snakemake):
    write_archive(
        root=Path(snakemake.output[0]).parents[1],
        targets=paths(snakemake.input),
        output=Path(snakemake.output[0]),
        settings=ArchiveSettings.parse(snakemake.params.config),
        config=json.loads(snakemake.params.run),
        lists=paths(json.loads(snakemake.params.lists)),
        checkout=Path(snakemake.params.checkout.value),
    )
