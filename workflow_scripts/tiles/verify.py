from pathlib import Path

from geolatents.workflow import rule_log, verify_results

with rule_log(snakemake):
    verify_results(Path(snakemake.params.root))
