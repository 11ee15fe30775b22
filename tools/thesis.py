"""Put a study's tables into its page: `python -m tools.thesis results/thesis-run/study/thesis.md`.

Writes docs/thesis.md between its two marks, and nothing else of it.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "thesis.md"
START = "<!-- tables: written by tools.thesis, do not edit -->"
END = "<!-- end of tables -->"


def main() -> int:
    """Fill the page with the tables of a finished study."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tables", type=Path, help="study/{name}.md of a finished run")
    parser.add_argument("--page", type=Path, default=PAGE, help="page to fill")
    arguments = parser.parse_args()
    page = arguments.page.read_text(encoding="utf-8")
    tables = arguments.tables.read_text(encoding="utf-8")
    arguments.page.write_text(filled(page, tables), encoding="utf-8")
    print(f"written: {arguments.page}")
    return 0


def filled(page: str, tables: str) -> str:
    """The page with these tables between its marks.

    Raises:
        ValueError: The page has not both marks, once each and in order.
    """
    if page.count(START) != 1 or page.count(END) != 1 or page.index(START) > page.index(END):
        raise ValueError(f"the page needs the lines {START!r} and {END!r}, once each")
    before, _, rest = page.partition(START)
    after = rest.partition(END)[2]
    return f"{before}{START}\n\n{tables.strip()}\n\n{END}{after}"


if __name__ == "__main__":
    sys.exit(main())
