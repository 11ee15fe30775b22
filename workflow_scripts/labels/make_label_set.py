from pathlib import Path

from geolatents.labels.sets import make_label_set
from geolatents.settings.labels import parse_label_set
from geolatents.workflow import optional_path, rule_log, stores

with rule_log(snakemake):
    make_label_set(
        parse_label_set(snakemake.params.config),
        covers=stores(snakemake.input.covers),
        mapping=optional_path(snakemake.input.mapping),
        store=Path(snakemake.output.store),
        manifest=Path(snakemake.output.manifest),
    )
