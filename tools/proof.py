"""Write the outcome and the measured tables into docs/proof.md: `python -m tools.proof`.

The page is made of the configurations (endpoints and bars, so that they stand there before any run) and of the small
result files in docs/results/. `--collect` first takes those of finished runs, with their provenance, from `results/`;
`--check` writes nothing and fails where the page is not what the files say.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from geolatents.olr.proof import outcome
from geolatents.provenance import provenance_path
from geolatents.report.proof import bar_text, endpoint_name, markdown_table, proof_tables
from geolatents.settings.config import Config, load_config
from geolatents.settings.proofs import Proof

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "proof.md"
KEPT = ROOT / "docs" / "results"
CONFIGS = ("config/proof-ucm.yaml", "config/proof-demo.yaml", "config/proof-lanjaron.yaml")


def main() -> int:
    """Collect results where asked, and write or check the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--collect", action="store_true", help="take the files of finished runs")
    parser.add_argument("--check", action="store_true", help="write nothing, fail on drift")
    arguments = parser.parse_args()
    if arguments.collect:
        for file in collect(ROOT):
            print(f"kept: {file.relative_to(ROOT)}")
    before = PAGE.read_text(encoding="utf-8")
    after = page(before, ROOT)
    if before != after and not arguments.check:
        PAGE.write_text(after, encoding="utf-8")
        print(f"written: {PAGE.relative_to(ROOT)}")
    return int(arguments.check and before != after)


def collect(root: Path) -> Iterator[Path]:
    """Copy every proof that has run, with its provenance, to docs/results/."""
    for _, config, name, _ in proofs(root):
        result = root / config.results / "proof" / f"{name}.json"
        if result.is_file():
            for file in (result, provenance_path(result)):
                KEPT.mkdir(parents=True, exist_ok=True)
                yield Path(shutil.copy(file, KEPT / f"proof-{file.name}"))


def proofs(root: Path) -> Iterator[tuple[str, Config, str, Proof]]:
    """Configuration file, configuration, name and section of every proof."""
    for file in CONFIGS:
        config = load_config(root / file)
        yield from ((file, config, name, proof) for name, proof in config.proofs.items())


def page(text: str, root: Path) -> str:
    """The page with its first line, protocol tables and results made anew."""
    found = {name: _kept(name) for _, _, name, _ in proofs(root)}
    lines = text.splitlines()
    lines[0] = f"Outcome: {outcome({name: entry and entry[0] for name, entry in found.items()})}."
    text = "\n".join(lines) + "\n"
    for file, config, name, proof in proofs(root):
        text = _between(text, f"protocol {name}", protocol(file, config, name, proof))
        text = _between(text, f"results {name}", results(name, file, found[name]))
    return text


def protocol(file: str, config: Config, name: str, proof: Proof) -> str:
    """What a proof asks, from its configuration."""
    models = {e: config.experiments[e].classifier for e in proof.experiments}
    seeds = ", ".join(map(str, config.classifier(next(iter(models.values()))).seeds))
    splits = []
    for experiment, model in models.items():
        section = config.classifier(model)
        split = config.datasets[section.dataset].batches[section.batches].split
        splits.append(f"{experiment} ({section.dataset}, split `{split}`)")
    rows = [
        ["**primary**" if number == 0 else str(number), endpoint_name(endpoint),
         bar_text(endpoint.model_dump(mode="json"))]
        for number, endpoint in enumerate(proof.endpoints)
    ]  # fmt: skip
    return (
        f"**{name}**: {proof.title}. `{file}`; experiments: {', '.join(splits)}; seeds: {seeds}; level {proof.level:g}.\n\n"
        + markdown_table(["", "endpoint", "what is asked"], rows)
    )


def results(name: str, file: str, kept: tuple[dict[str, Any], dict[str, Any]] | None) -> str:
    """The measured tables of a proof, and what they were made from."""
    if kept is None:
        return f"### {name}\n\nnot run yet"
    found, made = kept
    commit = str(made.get("commit") or "an unknown commit")
    source = (
        f"From commit `{commit}`, `{file}`, {str(made.get('started'))[:10]}, {made.get('host')}; "
        f"`docs/results/proof-{name}.json`."
    )
    return f"### {name}\n\n{found['title']}. {source}\n\n{proof_tables(found)}"


def _kept(name: str) -> tuple[dict[str, Any], dict[str, Any]] | None:
    file = KEPT / f"proof-{name}.json"
    if not file.is_file():
        return None
    content = json.loads(file.read_text(encoding="utf-8"))
    return content, json.loads(provenance_path(file).read_text(encoding="utf-8"))


def _between(text: str, mark: str, content: str) -> str:
    start, end = f"<!-- {mark} -->", f"<!-- end of {mark} -->"
    pattern = re.compile(f"{re.escape(start)}.*?{re.escape(end)}", flags=re.S)
    if not pattern.search(text):
        raise SystemExit(
            f"{PAGE}: the marks {start} and {end} are missing; put them where the text belongs"
        )
    return pattern.sub(lambda _: f"{start}\n\n{content}\n\n{end}", text)


if __name__ == "__main__":
    sys.exit(main())
