"""`python -m geolatents.estimate [arguments of snakemake]`: what this run would take. Runs nothing."""

from __future__ import annotations

import sys

from geolatents.engine import read_graph
from geolatents.errors import GeolatentsError
from geolatents.estimate.estimate import estimate, format_estimate


def main() -> int:
    """Print the estimate of a run with the given arguments."""
    try:
        print(format_estimate(estimate(read_graph(sys.argv[1:]))))
    except GeolatentsError as error:
        print(f"\n{error}\n", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
