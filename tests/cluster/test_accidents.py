"""What becomes of a job that runs out of memory or time, is killed, requeued, or loses its node."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cluster.conftest import ClusterRun, eventually
from tools.slurm.cluster import PrivateSlurm

pytestmark = pytest.mark.cluster


def test_a_killed_job_is_tried_again(troubles: ClusterRun) -> None:
    _, pid = troubles.started("killed")
    os.kill(pid, signal.SIGKILL)
    assert troubles.made("killed")["start"] == 2
    assert "Trying to restart job" in troubles.output


def test_a_requeued_job_starts_again_and_is_one_attempt(
    slurm: PrivateSlurm, troubles: ClusterRun
) -> None:
    """Snakemake says nothing of incomplete files, neither outside nor in the job, where it does not look for them."""
    job, _ = troubles.started("requeued")
    slurm.command("scontrol", "requeue", job)
    slurm.hurry(job)
    made = troubles.made("requeued")
    assert made == {**made, "start": 2, "SLURM_JOB_ID": job}, "the same job, not a new attempt"
    (log,) = troubles.folder.glob(f".snakemake/slurm_logs/rule_requeued/{job}.log")
    finished = "Finished jobid: 0 (Rule: requeued)"
    eventually(lambda: finished in log.read_text(), "Snakemake in the job says that it ended")
    assert "Incomplete" not in log.read_text() + troubles.output


def test_a_job_whose_node_fails_goes_on_when_there_is_one(
    slurm: PrivateSlurm, small: Callable[..., ClusterRun], tmp_path: Path
) -> None:
    """In a run of its own: once a node failed, plugin 2.8.0 may submit no other job (docs/cluster.md)."""
    run = small(tmp_path, "out/lost.json")
    job, _ = run.started("lost")
    slurm.lose_node("spare1")
    eventually(lambda: "down" in slurm.command("sinfo", "-h", "-n", "spare1", "-o", "%t"), "down")
    slurm.start_node("spare1")
    time.sleep(
        15
    )  # SLURM still has word for the node that the job is to end; it would end its restart
    slurm.hurry(job)
    made = run.made("lost")
    assert made == {**made, "start": 2, "SLURM_JOB_ID": job}
    assert run.wait().code == 0


def test_memory_grows_with_the_attempt(troubles: ClusterRun) -> None:
    assert troubles.made("hungry")["start"] == 2
    tried = troubles.ended("hungry", 2)
    assert [job.memory for job in tried] == ["700M", "1400M"]
    assert tried[0].state != "COMPLETED"


def test_a_job_with_one_device_sees_one(troubles: ClusterRun) -> None:
    made = troubles.made("one_device")
    assert made["SLURM_JOB_PARTITION"] == "gpu"
    assert made["CUDA_VISIBLE_DEVICES"] in {"0", "1"}


def test_a_job_without_device_keeps_off_their_partition(troubles: ClusterRun) -> None:
    made = troubles.made("no_device")
    assert made["SLURM_JOB_PARTITION"] == "cpu"
    assert not made["CUDA_VISIBLE_DEVICES"]


def test_more_devices_than_a_node_has_are_refused_in_words(troubles: ClusterRun) -> None:
    eventually(lambda: "--gpus=3" in troubles.output, "the job is refused")
    assert "Requested node configuration is not available" in troubles.output
    assert not (troubles.folder / "out/three_devices.json").exists()


def test_a_warning_and_the_time_limit_reach_the_script(troubles: ClusterRun) -> None:
    """Snakemake in the job outlives the warning, and waits until the script has saved its state."""
    assert troubles.made("limited")["start"] == 2
    assert troubles.said("limited") == ["SIGUSR1 came", "SIGTERM came", "saved after SIGTERM"]
    first, second = troubles.ended("limited", 2)
    assert first.state == "TIMEOUT"
    assert second.state == "COMPLETED"


def test_all_others_end_well(troubles: ClusterRun) -> None:
    run = troubles.wait()
    assert run.code == 1, "only the job that no node can take fails"
    names = {file.stem for file in (troubles.folder / "out").glob("*.json")}
    assert names == {"hungry", "one_device", "no_device", "limited", "requeued", "killed"}


def queued(slurm: PrivateSlurm, run_id: str) -> list[str]:
    """Jobs of a run that wait or run."""
    return slurm.command("squeue", "-h", f"--name={run_id}", "-o", "%i").split()


def test_snakemake_cancels_its_jobs_when_it_is_interrupted(
    slurm: PrivateSlurm, small: Callable[..., ClusterRun], tmp_path: Path
) -> None:
    run = small(tmp_path, "out/abandoned.json")
    run.started("abandoned")
    run.end(signal.SIGINT)
    eventually(lambda: not queued(slurm, run.id), "its jobs are cancelled")
    run.wait()


def test_jobs_of_a_killed_snakemake_go_on_and_are_unknown_to_the_next(
    slurm: PrivateSlurm, small: Callable[..., ClusterRun], tmp_path: Path
) -> None:
    """So they are cancelled by their name first, as docs/cluster.md says; then the next run makes them again."""
    first = small(tmp_path, "out/abandoned.json")
    first.started("abandoned")
    first.end(signal.SIGKILL)
    first.process.wait()
    time.sleep(1)
    assert queued(slurm, first.id)

    refused = small(tmp_path, "out/abandoned.json").wait()
    assert refused.code == 1
    assert "LockException" in refused.output
    assert small(tmp_path, "--unlock").wait().code == 0

    slurm.command("scancel", f"--name={first.id}")
    (tmp_path / "go-on").touch()
    second = small(tmp_path, "out/abandoned.json")
    assert second.wait().code == 0, second.output
    assert second.made("abandoned")["start"] == 2
    assert len(second.jobs()) == 1


@pytest.mark.xfail(strict=True, reason="plugin 2.8.0: docs/decisions/no-slurm-arrays.md")
def test_a_failed_task_of_an_array_leaves_the_others_alone(
    slurm: PrivateSlurm, small: Callable[..., ClusterRun], tmp_path: Path
) -> None:
    """Where this passes, the plugin is mended, and arrays may go into the profile."""
    run = small(
        tmp_path, "pair", "--slurm-array-jobs", "member", "--retries", "0", "--latency-wait", "5"
    )
    eventually(lambda: [j for j in run.jobs() if j.state == "COMPLETED"], "the first task ends")
    (tmp_path / "first-ended").touch()
    run.wait()
    assert list((tmp_path / "out").glob("member-*.txt"))
