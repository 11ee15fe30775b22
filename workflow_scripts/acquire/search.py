from geolatents.acquire.search import search_all
from geolatents.paths import data_root, downloads_root
from geolatents.workflow import rule_log

with rule_log(snakemake):
    search_all(snakemake.params.searches, data=data_root(), downloads=downloads_root())
