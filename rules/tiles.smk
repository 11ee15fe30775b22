# Scenes and image folders become tile stores.


rule cut_tiles:
    """Cut one scene into tiles; one Zarr store and its manifest per scene."""
    input:
        scene="<results>/{dataset}/scenes/{scene}.json",
    output:
        store=directory("<results>/{dataset}/tiles/{scene}.zarr"),
        manifest="<results>/{dataset}/tiles/{scene}.json",
    log:
        "<results>/{dataset}/logs/cut_tiles/{scene}.log",
    benchmark:
        "<results>/{dataset}/benchmarks/cut_tiles/{scene}.tsv"
    wildcard_constraints:
        dataset=pattern(PLAN.with_scenes()),
    conda:
        "../envs/cpu.yaml"
    threads: 2
    resources:
        mem_mb=grown(2000),
        runtime=30,
    params:
        config=section("datasets/{dataset}/tiles"),
        code=code("tiles.cut"),
    message:
        "Cutting {wildcards.scene} of {wildcards.dataset} into tiles"
    script:
        "../workflow_scripts/tiles/cut_tiles.py"


rule check_images:
    """Check an image folder against its label table, before anything is removed."""
    input:
        image_input,
    output:
        "<results>/{dataset}/checks/images.json",
    log:
        "<results>/{dataset}/logs/check_images.log",
    benchmark:
        "<results>/{dataset}/benchmarks/check_images.tsv"
    wildcard_constraints:
        dataset=pattern(PLAN.datasets("images")),
    conda:
        "../envs/cpu.yaml"
    threads: 1
    resources:
        mem_mb=grown(2000),
        runtime=60,
    params:
        config=section("datasets/{dataset}/imagery", ("service",)),
        source=image_content,
        code=code("tiles.pack"),
    message:
        "Checking the images of {wildcards.dataset}"
    script:
        "../workflow_scripts/tiles/check_images.py"


rule pack_images:
    """Pack an image folder as it is: one tile per image, labels as cover of 0 or 1."""
    input:
        files=image_input,
        check="<results>/{dataset}/checks/images.json",
    output:
        store=directory("<results>/{dataset}/tiles/images.zarr"),
        manifest="<results>/{dataset}/tiles/images.json",
        cover_store=directory("<results>/{dataset}/cover/images.zarr"),
        cover_manifest="<results>/{dataset}/cover/images.json",
    log:
        "<results>/{dataset}/logs/pack_images.log",
    benchmark:
        "<results>/{dataset}/benchmarks/pack_images.tsv"
    wildcard_constraints:
        dataset=pattern(PLAN.datasets("images")),
    conda:
        "../envs/cpu.yaml"
    threads: 2
    resources:
        mem_mb=grown(2000),
        runtime=60,
    params:
        config=section("datasets/{dataset}/imagery", ("service",)),
        source=image_content,
        code=code("tiles.pack"),
    message:
        "Packing the images of {wildcards.dataset}"
    script:
        "../workflow_scripts/tiles/pack_images.py"


rule index_tiles:
    """List the tiles of all scenes in one table, and what they have in common in one small file."""
    input:
        manifests=tile_manifests,
        check=scenes_check,
    output:
        table="<results>/{dataset}/tiles.parquet",
        summary="<results>/{dataset}/tiles.json",
    log:
        "<results>/{dataset}/logs/index_tiles.log",
    benchmark:
        "<results>/{dataset}/benchmarks/index_tiles.tsv"
    conda:
        "../envs/cpu.yaml"
    threads: 1
    resources:
        mem_mb=grown(2000),
        runtime=30,
    params:
        code=code("tiles.index"),
    message:
        "Listing the tiles of {wildcards.dataset}"
    script:
        "../workflow_scripts/tiles/index_tiles.py"


rule verify:
    """Compare every store with its manifest and say what to rerun."""
    log:
        "<results>/logs/verify.log",
    conda:
        "../envs/cpu.yaml"
    threads: 1
    resources:
        mem_mb=grown(2000),
        runtime=60,
    params:
        root=str(PLAN.root),
    message:
        "Comparing stores with their manifests"
    script:
        "../workflow_scripts/tiles/verify.py"
