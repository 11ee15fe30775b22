from pathlib import Path

from geolatents.paths import data_root
from geolatents.settings.images import ImageFolder
from geolatents.tiles.pack import pack_images
from geolatents.workflow import rule_log

with rule_log(snakemake):
    pack_images(
        ImageFolder.parse(snakemake.params.config),
        root=data_root(),
        check=Path(snakemake.input.check),
        store=Path(snakemake.output.store),
        manifest=Path(snakemake.output.manifest),
        cover_store=Path(snakemake.output.cover_store),
        cover_manifest=Path(snakemake.output.cover_manifest),
    )
