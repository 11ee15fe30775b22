from pathlib import Path

from geolatents.report.entries import read_entries
from geolatents.report.proof import prove
from geolatents.settings.proofs import Proof
from geolatents.workflow import rule_log

with rule_log(snakemake):
    prove(
        Proof.parse(snakemake.params.config),
        read_entries(snakemake.params.entries),
        root=Path(snakemake.output.proof).parents[1],
        output=Path(snakemake.output.proof),
        table=Path(snakemake.output.table),
        name=snakemake.wildcards.proof,
    )
