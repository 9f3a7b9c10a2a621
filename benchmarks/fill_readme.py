"""Write what a GPU was measured to do into benchmarks/README.md, from the JSON of a check.

The JSON is kept in benchmarks/data; without one the table says "not measured".

    python -m benchmarks.fill_readme benchmarks/results/gpu_check.json
"""

import argparse
import json
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.aims import AIMS, NOT_MEASURED, STAND_IN
from benchmarks.marked import replaced

README = Path(__file__).with_name("README.md")
KEPT = Path(__file__).parent / "data" / "gpu_check.json"
PLACE = "gpu-check"


def block(check: Mapping[str, Any] | None) -> str:
    """Return what stands between the marks.

    Args:
        check: content of the JSON of `benchmarks.gpu_check`; None where no GPU was had.
    """
    lines = ["Not measured: no GPU was at hand."]
    rows: list[dict[str, Any]] = []
    if check is not None:
        lines = [
            "Measured on {date}: {device}, torch {torch}, Python {python}.".format(**check),
            *("{stage}: {state}, {why}.".format(**s) for s in check["stages"] if s["why"]),
        ]
        results = [stage["result"] for stage in check["stages"] if stage["result"]]
        rows = [row for result in results for row in result["rows"]]
    lines += ["", "| what (paper's 35.7 M UNet, 32x32) | aim | GPU | in |", "|---|---|---|---|"]
    for aim in AIMS:
        found = cell([row for row in rows if row["aim"] == aim.text])
        lines.append(f"| {aim.what} | {aim.text} | {found} | {aim.measured_by} |")
    return "\n".join(lines)


def cell(rows: Iterable[Mapping[str, Any]]) -> str:
    """Return the measurements of one aim: each as its least and most over rows, and the verdict.

    Args:
        rows: those with this aim, with the fields of `benchmarks.measure.Row`.
    """
    found = [row for row in rows if row["reached"] is not None]
    if not found:
        return NOT_MEASURED
    parts = []
    if all(row["ratio"] is not None for row in found) and found[0]["unit"] not in ("s", "%"):
        parts.append(f"{span([row['ratio'] for row in found])} times")
    elif any(row["ours"] is not None for row in found):
        numbers = span([row["ours"] for row in found if row["ours"] is not None])
        parts.append(f"{numbers} {found[0]['unit']}".strip())
    for name, scale, unit in (("of_ceiling", 100, "% of the ceiling"), ("memory_mib", 1, "MiB")):
        if all(row[name] is not None for row in found):
            parts.append(f"{span([scale * row[name] for row in found])} {unit}")
    missed = [row for row in found if not row["reached"]]
    reached = "reached" if not missed else f"missed by {len(missed)} of {len(found)}"
    return f"{', '.join(parts)}: {reached}" if parts else reached


def span(values: list[float]) -> str:
    """Return the least and the most of some numbers, or the one that they are."""
    ends = [f"{value:,.0f}" if value >= 100 else f"{value:.4g}" for value in sorted(values)]
    return " to ".join(dict.fromkeys((ends[0], ends[-1])))


def filled(text: str, check: Mapping[str, Any] | None) -> str:
    """Return the README with the table of a check in place of the one it has."""
    return replaced(text, PLACE, block(check))


def kept() -> dict[str, Any] | None:
    """Return the check that the README shows; None if there was none."""
    found: dict[str, Any] | None = None
    if KEPT.exists():
        found = json.loads(KEPT.read_text(encoding="utf-8"))
    return found


def main() -> None:
    """Take a check over, if one is named, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("check", nargs="?", type=Path, help="JSON of benchmarks.gpu_check")
    args = parser.parse_args()
    if args.check is not None:
        device = json.loads(args.check.read_text(encoding="utf-8"))["device"]
        if device in ("cpu", STAND_IN):
            parser.error(f"{args.check} was measured on {device!r}; allowed: on a GPU")
        shutil.copyfile(args.check, KEPT)
    README.write_text(filled(README.read_text(encoding="utf-8"), kept()), encoding="utf-8")


if __name__ == "__main__":
    main()
