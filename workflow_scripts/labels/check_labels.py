from pathlib import Path

from geolatents.labels.sets import check_label_set
from geolatents.settings.labels import parse_label_set
from geolatents.workflow import optional_path, rule_log, stores

with rule_log(snakemake):
    check_label_set(
        parse_label_set(snakemake.params.config),
        covers=stores(snakemake.input.covers),
        mapping=optional_path(snakemake.input.mapping),
        output=Path(snakemake.output[0]),
    )
