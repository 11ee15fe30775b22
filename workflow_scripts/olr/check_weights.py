from pathlib import Path

from geolatents.learning.backbones import check_weights
from geolatents.settings.models import Network
from geolatents.workflow import rule_log

with rule_log(snakemake):
    check_weights(
        Network.parse(snakemake.params.config),
        output=Path(snakemake.output[0]),
    )
