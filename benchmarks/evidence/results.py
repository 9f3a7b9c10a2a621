"""Write RESULTS.md and its figures from `page.md` and the tables of the evidence; trains nothing.

make results
"""

import argparse
import functools
import hashlib
import itertools
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from benchmarks.evidence import figures, table, tables
from benchmarks.evidence.arms import Arm
from benchmarks.evidence.claims import CLAIMS, FURTHER, Read
from benchmarks.evidence.stages import FEW, MORE, SETTINGS, STAGES
from benchmarks.marked import replaced
from diffrop.analysis.figures.style import PNG_DPI, write_figure

ROOT = Path(__file__).parents[2]
SOURCE = Path(__file__).parent / "page.md"
"""The words of the page, with places for its tables."""
PAGE = ROOT / "RESULTS.md"
PICTURES = ROOT / "docs" / "pictures" / "results"
MORE_SEEDS = "power"
"""The stage without which the page can be written."""
HASH_KEY = "tables SHA-256"
"""The text of a PNG file that says which tables it was drawn from."""


def reader(folder: Path) -> Callable[[str], pd.DataFrame]:
    """Return what reads the table of a setting, each once."""
    return functools.cache(lambda setting: table.read(SETTINGS[setting], folder))


def arms_of(setting: str) -> list[Arm]:
    """Return the arms of a setting, in the order of the stages."""
    found = [arm for one in STAGES.values() if one.setting.name == setting for arm in one.arms]
    return list({arm.key: arm for arm in found}.values())


def blocks(read: Read) -> dict[str, str]:
    """Return what stands between the marks of the page, by their names."""
    outcomes = [claim.outcome(found, p) for claim, found, p in tables.estimated(read, CLAIMS)]
    return {
        "outcomes": f"Of {len(CLAIMS)} comparisons: {tables.counts_in_words(outcomes)}.",
        "claims": tables.claims_table(read, CLAIMS),
        "further": tables.further_table(read, FURTHER),
        "noise": tables.noise_table(read),
        "sizes": tables.sizes_table(read),
        "curve": tables.curve_table(read),
        "arms": tables.arms_table(read, FEW, arms_of(FEW.name)),
        "milder": tables.arms_table(read, MORE, arms_of(MORE.name)),
        "agreement": tables.agreement_table(read, FEW, arms_of(FEW.name)),
        "hours": f"{tables.hours(read, SETTINGS):.1f} hours of processor time of one core.",
    }


def page(read: Read) -> str:
    """Return the page with its tables.

    Raises:
        ValueError: trainings are missing. Those that only make a comparison surer may be.
    """
    for stage in STAGES.values():
        known = table.trained(read(stage.setting.name))
        left = [arm.name for arm, seed in stage.trainings() if (arm.key, seed) not in known]
        if left and stage.name != MORE_SEEDS:
            raise ValueError(
                f"{len(left)} trainings of stage {stage.name!r} are missing, such as {left[0]}; "
                "allowed: none, and `make evidence` trains them"
            )
    text = SOURCE.read_text(encoding="utf-8")
    for name, content in blocks(read).items():
        text = replaced(text, name, content)
    return text


def tables_hash(folder: Path) -> str:
    """Return the SHA-256 of all tables, in hexadecimal digits; each figure carries it."""
    sha = hashlib.sha256()
    for name in SETTINGS:
        path = table.path_of(name, folder)
        sha.update(path.read_bytes() if path.exists() else b"")
    return sha.hexdigest()


def draw(read: Read, made_from: str, folder: Path) -> list[Path]:
    """Draw the summary and a figure for each table and figure of the paper; return the files.

    Args:
        read: returns the table of a setting.
        made_from: hash of the tables.
        folder: of the files.
    """
    drawn = {
        "summary": figures.forest_figure(
            read, [("The paper's claims", CLAIMS), ("Beyond the paper", FURTHER)]
        ),
        "curve": figures.curve_figure(read),
        "omega": figures.omega_figure(read, FEW),
    }
    for source, claims in itertools.groupby(
        sorted(CLAIMS, key=lambda claim: claim.source), key=lambda claim: claim.source
    ):
        name = "".join(c for c in source.lower().replace(" ", "_") if c.isalnum() or c == "_")
        drawn[name] = figures.seeds_figure(read, list(claims))
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, figure in drawn.items():
        paths.append(folder / f"{name}.png")
        metadata = {HASH_KEY: made_from}
        write_figure(figure, paths[-1], name, dpi=PNG_DPI, metadata=metadata)
    return paths


def main() -> None:
    """Write the page and draw its figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tables", type=Path, default=table.FOLDER, help="folder of the tables")
    args = parser.parse_args()
    read = reader(args.tables)
    try:
        text = page(read)
    except ValueError as error:
        parser.error(str(error))
    for path in draw(read, tables_hash(args.tables), PICTURES):
        print(path.relative_to(ROOT))
    PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
