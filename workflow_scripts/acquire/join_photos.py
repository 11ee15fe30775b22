from pathlib import Path

from geolatents.acquire.photos.join import join_photos
from geolatents.workflow import paths, rule_log

with rule_log(snakemake):
    join_photos(
        table=Path(snakemake.input.table),
        photo_records=paths(snakemake.input.photos),
        map_records=paths(snakemake.input.maps),
        photos_folder=Path(snakemake.output.photos),
        maps_folder=Path(snakemake.output.maps),
        output=Path(snakemake.output.table),
    )
