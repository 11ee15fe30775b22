# One table and one page of everything.


rule summarise:
    """Write one row per experiment and seed, beside its baselines."""
    input:
        agreements=PLAN.experiment_paths("agreement.json"),
        metrics=PLAN.metrics(),
    output:
        report(
            "<results>/summary.csv",
            caption="../docs/captions/summary.rst",
            category="1. Summary",
            labels={"shows": "all experiments and baselines"},
        ),
    log:
        "<results>/logs/summarise.log",
    benchmark:
        "<results>/benchmarks/summarise.tsv"
    conda:
        "../envs/cpu.yaml"
    threads: 1
    resources:
        mem_mb=grown(1000),
        runtime=10,
    params:
        entries=PLAN.entries(),
        code=code("report.summary"),
    message:
        "Summing up all experiments"
    script:
        "../workflow_scripts/report/summarise.py"


rule write_report:
    """Write the page to read and look at."""
    input:
        summary="<results>/summary.csv",
        experiments=PLAN.targets("olr"),
        tables=PLAN.targets("labels", "batches"),
    output:
        report(
            "<results>/report/index.html",
            caption="../docs/captions/page.rst",
            category="1. Summary",
            labels={"shows": "the page with everything"},
        ),
    log:
        "<results>/logs/write_report.log",
    benchmark:
        "<results>/benchmarks/write_report.tsv"
    conda:
        "../envs/cpu.yaml"
    threads: 1
    resources:
        mem_mb=grown(2000),
        runtime=10,
    params:
        entries=PLAN.entries(),
        datasets=PLAN.datasets(),
        code=code("report.page"),
    message:
        "Writing the report"
    script:
        "../workflow_scripts/report/write_report.py"


rule prove:
    """Put the experiments of a proof together: every endpoint over splits and seeds, with its verdict."""
    input:
        proof_files,
    output:
        proof="<results>/proof/{proof}.json",
        table=report(
            "<results>/proof/{proof}.md",
            caption="../docs/captions/proof.rst",
            category="1. Summary",
            labels={"shows": "proof {proof}"},
        ),
    log:
        "<results>/logs/prove/{proof}.log",
    benchmark:
        "<results>/benchmarks/prove/{proof}.tsv"
    conda:
        "../envs/cpu.yaml"
    threads: 1
    resources:
        mem_mb=grown(1000),
        runtime=10,
    params:
        config=section("proofs/{proof}"),
        entries=proof_entries,
        code=code("report.proof"),
    message:
        "Putting the proof {wildcards.proof} together"
    script:
        "../workflow_scripts/report/prove.py"
