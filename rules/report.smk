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


rule compare_study:
    """Put our experiments beside the tables of the predecessor's study."""
    input:
        study_results,
    output:
        tables="<results>/study/{study}.json",
        text=report(
            "<results>/study/{study}.md",
            caption="../docs/captions/study.rst",
            category="1. Summary",
            labels={"shows": "the predecessor's tables, and ours"},
        ),
    log:
        "<results>/logs/compare_study/{study}.log",
    benchmark:
        "<results>/benchmarks/compare_study/{study}.tsv"
    conda:
        "../envs/cpu.yaml"
    threads: 1
    resources:
        mem_mb=grown(1000),
        runtime=10,
    params:
        entry=study_settings,
        results=unwatched(results_root),
        code=code("report.study"),
    message:
        "Comparing {wildcards.study} with the predecessor's study"
    script:
        "../workflow_scripts/report/compare_study.py"


rule draw_study:
    """Draw the figures of the predecessor's study."""
    input:
        results=study_results,
        tables=study_tables,
    output:
        figures=report(
            expand(
                "<results>/study/{study}/{figure}.png",
                figure=STUDY_FIGURES,
                allow_missing=True,
            ),
            caption="../docs/captions/study-figure.rst",
            category="1. Summary",
            labels={"shows": "a figure of the predecessor's study"},
        ),
    log:
        "<results>/logs/draw_study/{study}.log",
    benchmark:
        "<results>/benchmarks/draw_study/{study}.tsv"
    conda:
        "../envs/cpu.yaml"
    threads: 1
    resources:
        mem_mb=grown(1000),
        runtime=10,
    params:
        entry=study_settings,
        results=unwatched(results_root),
        figures=section("figures"),
        code=code("report.study_figures"),
    message:
        "Drawing the figures of {wildcards.study}"
    script:
        "../workflow_scripts/report/draw_study.py"


rule write_report:
    """Write the page to read and look at."""
    input:
        summary="<results>/summary.csv",
        experiments=PLAN.targets("olr"),
        tables=PLAN.targets("labels", "batches"),
        studies=PLAN.targets("study"),
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
        studies=list(PLAN.config.study),
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
