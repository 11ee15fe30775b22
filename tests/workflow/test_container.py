"""The container definition, run section by section in a plain Debian root: Apptainer itself is in few distributions."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.workflow.conftest import ROOT
from tools.definition import Definition, Root, read_definition

DEFINITION = ROOT / "envs/geolatents.def"
SECTIONS = {"labels", "help", "files", "post", "environment", "runscript", "test"}
BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")
OFFLINE = ("Temporary failure", "error sending request", "dns error", "Could not resolve", "Failed to fetch")  # fmt: skip


@pytest.fixture(scope="module")
def definition() -> Definition:
    return read_definition(DEFINITION)


def test_the_definition_is_whole(definition: Definition) -> None:
    assert set(definition.sections) == SECTIONS
    assert definition.header == {"Bootstrap": "docker", "From": "debian:bookworm-slim"}
    assert all(text.strip() for text in definition.sections.values())
    assert not re.search(r"https?://|--index-url|--find-links", DEFINITION.read_text())


def test_the_definition_copies_everything_that_a_run_reads(definition: Definition) -> None:
    copied = {source for source, _ in definition.copies}
    assert all((ROOT / source).exists() for source in copied)
    tracked = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files"], capture_output=True, text=True, check=True
    )
    top = {name.split("/")[0] for name in tracked.stdout.split()}
    not_needed = {"CHANGELOG.md", "CITATION.cff", "benchmarks", "tests", "tools", "searches"}
    assert {name for name in top if not name.startswith(".")} - not_needed == copied


def test_a_section_is_a_shell_script(definition: Definition) -> None:
    for name in ("post", "environment", "runscript", "test"):
        subprocess.run(["sh", "-n"], input=definition.sections[name], text=True, check=True)


def caches() -> list[Path]:
    """Folders of this machine that its package tools are told to look into, and uv's cache."""
    text = "".join(f.read_text() for f in _pip_configurations() if f.is_file())
    named = re.findall(r"(?:file://|[= \n])(/[^\s:]+)", text + " " + os.environ.get("PIP_FIND_LINKS", ""))  # fmt: skip
    folders = {Path(name) for name in named if Path(name).is_dir()}
    uv = Path("~/.cache/uv").expanduser()
    return sorted(folders | ({uv} if uv.is_dir() else set()))


def _pip_configurations() -> list[Path]:
    return [Path("/etc/pip.conf"), Path("~/.config/pip/pip.conf").expanduser()]


def prepare(root: Root) -> None:
    """Give the root this machine's way to its package sources: addresses, certificates, settings."""
    for file in [*map(Path, ("/etc/resolv.conf", "/etc/hosts")), *_pip_configurations()]:
        if file.is_file():
            _copy(file, root)
    for file in Path("/etc/apt").rglob("*"):
        if file.is_file():
            _copy(file, root)
    if BUNDLE.is_file():
        shutil.copyfile(BUNDLE, root.folder / "root/trusted.pem")


def trusting() -> dict[str, str]:
    """Variables that let package tools inside trust whom this machine trusts."""
    names = ("SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE")
    return dict.fromkeys(names, "/root/trusted.pem") if BUNDLE.is_file() else {}


def _copy(file: Path, root: Root) -> None:
    place = root.folder / str(file).lstrip("/")
    place.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(file, place)


def mirror(codename: str) -> str:
    """The archive that this machine's apt gets a release from."""
    done = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI) $(CODENAME)"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    found = [line.split()[0] for line in done.stdout.splitlines() if line.endswith(f" {codename}")]
    if not found:
        pytest.skip(f"this machine's apt knows no archive of {codename}")
    return found[0]


@pytest.fixture(scope="module")
def built(definition: Definition, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Root]:
    """A root in which `%files` and `%post` were done."""
    for tool in ("debootstrap", "chroot", "unshare", "apt-get"):
        if shutil.which(tool) is None:
            pytest.skip(f"no {tool} on PATH")
    if os.geteuid() != 0:
        pytest.skip("only root can make a root folder")
    if subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode:
        pytest.skip("this machine lets root mount nothing")
    codename = definition.header["From"].partition(":")[2].partition("-")[0]
    root = Root(tmp_path_factory.mktemp("container") / "root", caches())
    _run_or_skip(["debootstrap", "--variant=minbase", codename, str(root.folder), mirror(codename)])
    prepare(root)
    root.copy(ROOT, definition)
    done = root.run(definition.sections["post"], timeout=1200, **trusting())
    _skip_offline(done)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    yield root
    shutil.rmtree(root.folder, ignore_errors=True)


def _run_or_skip(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=1200)
    _skip_offline(done)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]


def _skip_offline(done: subprocess.CompletedProcess[str]) -> None:
    if done.returncode and any(text in done.stdout + done.stderr for text in OFFLINE):
        pytest.skip("a package source is not reachable")


@pytest.mark.slow
@pytest.mark.soak
@pytest.mark.workflow
def test_the_image_passes_its_own_test_and_has_the_locked_versions(
    built: Root, definition: Definition
) -> None:
    done = built.run(definition.sections["test"], timeout=600)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    assert "imports work" in done.stdout
    assert re.search(r"total\s+\d\d", done.stdout), done.stdout
    here = json.loads(subprocess.check_output([f"{ROOT}/.venv/bin/uv", "pip", "list", "--format", "json", "--python", f"{ROOT}/.venv/bin/python"]))  # fmt: skip
    there = built.run("/opt/geolatents/.venv/bin/uv pip list --format json --python /opt/geolatents/.venv/bin/python", timeout=120)  # fmt: skip
    versions = [
        {item["name"]: item["version"] for item in items if item["name"] != "pip"}  # Python's own
        for items in (here, json.loads(there.stdout))
    ]
    assert versions[0] == versions[1]


@pytest.mark.slow
@pytest.mark.soak
@pytest.mark.workflow
def test_the_run_script_runs_a_rule_in_a_folder_of_the_user(
    built: Root, definition: Definition
) -> None:
    """What `apptainer run geolatents.sif ...` does: environment, then run script with the arguments."""
    target = "results/demo-a/source/landcover.parquet"
    script = "\n".join(
        ["mkdir -p /home/user && cd /home/user", f"set -- --cores 1 {target}"]
        + [definition.sections[name] for name in ("environment", "runscript")]
    )
    done = built.run(script, timeout=600)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    assert (built.folder / "home/user" / target).is_file()
