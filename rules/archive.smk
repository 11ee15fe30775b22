# A finished run as one file; asked for by name, no part of `all`.


rule archive:
    """Pack the finished run, with configuration, code and provenance, into one RO-Crate that another machine can check."""
    input:
        rules.all.input,
    output:
        "<results>/archive/run.crate.zip",
    log:
        "<results>/logs/archive.log",
    benchmark:
        "<results>/benchmarks/archive.tsv"
    conda:
        "../envs/cpu.yaml"
    threads: 1
    resources:
        mem_mb=grown(2000),
        runtime=240,
    params:
        config=section("archive"),
        run=PLAN.resolved(),
        lists=PLAN.scene_lists(),
        checkout=unwatched(checkout),
        code=code("archive.pack"),
    message:
        "Packing the finished run into one archive"
    script:
        "../workflow_scripts/archive/archive.py"
