from pathlib import Path

from geolatents.olr.evaluate import evaluate_model
from geolatents.settings.base import section_values
from geolatents.workflow import rule_log, stores

with rule_log(snakemake):
    evaluate_model(
        predictions=Path(snakemake.input.predictions),
        stores=stores(snakemake.input.tiles),
        history=Path(snakemake.input.history),
        output=Path(snakemake.output.metrics),
        card=Path(snakemake.output.card),
        split=Path(snakemake.input.split).with_suffix(".parquet"),
        settings=section_values(snakemake.params.config),
        ledger=Path(snakemake.params.ledger),
        seed=int(snakemake.wildcards.seed),
    )
