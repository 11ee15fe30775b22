from pathlib import Path

from geolatents.paths import data_root
from geolatents.settings.images import ImageFolder
from geolatents.tiles.pack import check_images
from geolatents.workflow import rule_log

with rule_log(snakemake):
    check_images(
        ImageFolder.parse(snakemake.params.config),
        root=data_root(),
        output=Path(snakemake.output[0]),
    )
