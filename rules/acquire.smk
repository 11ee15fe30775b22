# Scenes and land cover: draw or find them, check them, record them.


rule draw_scene:
    """Draw one scene of the demo country."""
    output:
        "<results>/{dataset}/scenes/{scene}.tif",
    log:
        "<results>/{dataset}/logs/draw_scene/{scene}.log",
    benchmark:
        "<results>/{dataset}/benchmarks/draw_scene/{scene}.tsv"
    wildcard_constraints:
        dataset=pattern(PLAN.datasets("synthetic")),
    conda:
        "../envs/cpu.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        config=section("datasets/{dataset}/imagery"),
        code=code("acquire.synthetic.scenes"),
    message:
        "Drawing scene {wildcards.scene} of {wildcards.dataset}"
    script:
        "../workflow_scripts/acquire/draw_scene.py"


rule draw_landcover:
    """Draw the land cover of the demo country."""
    output:
        "<results>/{dataset}/source/landcover.parquet",
    log:
        "<results>/{dataset}/logs/draw_landcover.log",
    benchmark:
        "<results>/{dataset}/benchmarks/draw_landcover.tsv"
    wildcard_constraints:
        dataset=pattern(PLAN.datasets("synthetic")),
    conda:
        "../envs/cpu.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        config=section("datasets/{dataset}/imagery"),
        code=code("acquire.synthetic.polygons"),
    message:
        "Drawing the land cover of {wildcards.dataset}"
    script:
        "../workflow_scripts/acquire/draw_landcover.py"


rule check_scene:
    """Decode one scene whole, before anything that was built from it is removed."""
    input:
        file=scene_file,
    output:
        "<results>/{dataset}/checks/scenes/{scene}.json",
    log:
        "<results>/{dataset}/logs/check_scene/{scene}.log",
    benchmark:
        "<results>/{dataset}/benchmarks/check_scene/{scene}.tsv"
    conda:
        "../envs/cpu.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        imagery=section("datasets/{dataset}/imagery"),
        tiles=section("datasets/{dataset}/tiles"),
        source=scene_content,
        code=code("tiles.check"),
    message:
        "Checking scene {wildcards.scene} of {wildcards.dataset}"
    script:
        "../workflow_scripts/acquire/check_scene.py"


rule check_scenes:
    """Check that the scenes of a dataset fit together and leave tiles."""
    input:
        scene_checks,
    output:
        common="<results>/{dataset}/checks/scenes.json",
        warnings="<results>/{dataset}/checks/warnings.json",
    log:
        "<results>/{dataset}/logs/check_scenes.log",
    benchmark:
        "<results>/{dataset}/benchmarks/check_scenes.tsv"
    conda:
        "../envs/cpu.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        landcover=section("datasets/{dataset}/landcover"),
        tiles=section("datasets/{dataset}/tiles"),
        code=code("tiles.check"),
    message:
        "Checking that the scenes of {wildcards.dataset} fit together"
    script:
        "../workflow_scripts/acquire/check_scenes.py"


rule record_scene:
    """Write the small record through which a scene enters everything below."""
    input:
        check="<results>/{dataset}/checks/scenes/{scene}.json",
    output:
        "<results>/{dataset}/scenes/{scene}.json",
    log:
        "<results>/{dataset}/logs/record_scene/{scene}.log",
    benchmark:
        "<results>/{dataset}/benchmarks/record_scene/{scene}.tsv"
    conda:
        "../envs/cpu.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        code=code("tiles.check"),
    message:
        "Recording scene {wildcards.scene} of {wildcards.dataset}"
    script:
        "../workflow_scripts/acquire/record_scene.py"


rule check_landcover:
    """Check codes, polygons and overlap of the land cover, before anything is removed."""
    input:
        files=landcover_input,
        scenes=scene_records,
    output:
        "<results>/{dataset}/checks/landcover.json",
    log:
        "<results>/{dataset}/logs/check_landcover.log",
    benchmark:
        "<results>/{dataset}/benchmarks/check_landcover.tsv"
    conda:
        "../envs/cpu.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        config=section("datasets/{dataset}/landcover"),
        source=landcover_content,
        code=code("acquire.landcover"),
    message:
        "Checking the land cover of {wildcards.dataset}"
    script:
        "../workflow_scripts/acquire/check_landcover.py"


rule read_landcover:
    """Read the land cover of the scenes' area into polygons with official codes."""
    input:
        files=landcover_input,
        scenes=scene_records,
        check="<results>/{dataset}/checks/landcover.json",
    output:
        "<results>/{dataset}/landcover.parquet",
    log:
        "<results>/{dataset}/logs/read_landcover.log",
    benchmark:
        "<results>/{dataset}/benchmarks/read_landcover.tsv"
    conda:
        "../envs/cpu.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        config=section("datasets/{dataset}/landcover"),
        source=landcover_content,
        code=code("acquire.landcover"),
    message:
        "Reading the land cover of {wildcards.dataset}"
    script:
        "../workflow_scripts/acquire/read_landcover.py"
