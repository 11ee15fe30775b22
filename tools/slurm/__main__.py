"""Start, stop or look at a private SLURM: slurmctld, slurmdbd with MariaDB, munge and four slurmd nodes.

It needs no systemd, no cgroups and no file outside its folder, chooses free ports, and works as root or as
any one user, who then is the only one able to submit. ``start`` prints how to use it:
``. FOLDER/env.sh`` and then ``sinfo``, ``sbatch``, or Snakemake with ``--profile profiles/slurm``.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tools.slurm.cluster import PrivateSlurm, SlurmError


def main() -> int:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(prog="python -m tools.slurm", description=__doc__)
    parser.add_argument("action", choices=["start", "stop", "status", "missing"])
    parser.add_argument("folder", type=Path, nargs="?", default=Path(".slurm"))
    arguments = parser.parse_args()
    cluster = PrivateSlurm(arguments.folder)
    try:
        print(getattr(cluster, arguments.action)())
    except SlurmError as error:
        print(f"\n{error}\n", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
