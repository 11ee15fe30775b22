from pathlib import Path

from geolatents.olr.embedding import evaluate_embedding
from geolatents.workflow import rule_log, stores

with rule_log(snakemake):
    evaluate_embedding(
        embeddings=Path(snakemake.input.embeddings),
        predictions=Path(snakemake.input.predictions),
        teacher=Path(snakemake.input.teacher),
        split=Path(snakemake.input.split).with_suffix(".parquet"),
        tiles=Path(snakemake.input.summary).with_suffix(".parquet"),
        covers=stores(snakemake.input.covers),
        output=Path(snakemake.output[0]),
        ledger=Path(snakemake.params.ledger),
        seed=int(snakemake.wildcards.seed),
    )
