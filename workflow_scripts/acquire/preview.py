from geolatents.acquire.preview import preview_downloads
from geolatents.paths import downloads_root
from geolatents.workflow import rule_log

with rule_log(snakemake):
    preview_downloads(snakemake.params.downloads, downloads=downloads_root())
