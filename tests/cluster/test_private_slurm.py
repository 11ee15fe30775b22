"""The private SLURM itself: two side by side, a clean end, and a plain word where packages are missing."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from tools.slurm.cluster import PrivateSlurm, SlurmError

pytestmark = pytest.mark.cluster


def processes_of(folder: Path) -> list[str]:
    """Commands of everything that runs with this cluster's configuration."""
    mark = f"SLURM_CONF={folder}/slurm.conf\0".encode()
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (process / "environ").read_bytes():
                found.append((process / "comm").read_text().strip())
        except OSError:
            continue
    return found


def test_a_second_one_lives_beside_the_first_and_leaves_nothing(slurm: PrivateSlurm) -> None:
    with tempfile.TemporaryDirectory(prefix="slurm-", ignore_cleanup_errors=True) as folder:
        with PrivateSlurm(Path(folder)) as second:
            second.command("sbatch", "--parsable", "--output=/dev/null", "--wrap", "sleep 600")
            assert {"slurmctld", "slurmdbd", "mariadbd"} <= set(processes_of(second.folder))
            with pytest.raises(SlurmError, match="runs already"):
                second.start()
        assert processes_of(second.folder) == []
    assert "slurmctld" in slurm.daemons.alive()


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tools.slurm.cluster.SYSTEM_PATH", "")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SlurmError, match=r"apt-get install .*mariadb-server munge slurm-client"):
        PrivateSlurm(tmp_path).start()
