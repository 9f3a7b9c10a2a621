"""Write RESULTS.md and its figures from `page.md` and the tables of the evidence; trains nothing.

make results
"""

import argparse
import functools
import hashlib
import itertools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pandas as pd

from benchmarks.evidence import figures, table, tables, wide_search
from benchmarks.evidence.arms import Arm, Setting
from benchmarks.evidence.claims import CLAIMS, FURTHER, Comparison, Read
from benchmarks.evidence.stages import COMPARED, DDPM, EXPONENTIAL, FEW, SETTINGS, STAGES, Stage
from benchmarks.evidence.wide_search import WideSearch
from benchmarks.marked import replaced
from diffrop.analysis.data.search_study import COLUMNS
from diffrop.analysis.figures.style import PNG_DPI, write_figure
from diffrop.study.space import SearchSpace

ROOT = Path(__file__).parents[2]
SOURCE = Path(__file__).parent / "page.md"
"""The words of the page, with places for its tables."""
PAGE = ROOT / "RESULTS.md"
PICTURES = ROOT / "docs" / "pictures" / "results"
CLAIMED = ("candidate", "forms", "methods", "curve")
"""The stages without which there is no page: what the paper claims, and how long DDPM learns."""
HASH_KEY = "tables SHA-256"
"""The text of a PNG file that says which tables it was drawn from."""


def reader(folder: Path) -> Callable[[str], pd.DataFrame]:
    """Return what reads the table of a setting, each once."""
    return functools.cache(lambda setting: table.read(SETTINGS[setting], folder))


def missing(read: Read, stage: Stage) -> list[str]:
    """Return the arms of the trainings that a stage lacks, one for each of them."""
    known = table.trained(read(stage.setting.name))
    return [arm.name for arm, seed in stage.trainings() if (arm.key, seed) not in known]


def arms_of(read: Read, setting: Setting) -> list[Arm]:
    """Return the arms of a setting in the order of the stages, those of whole stages alone."""
    whole = [stage for stage in STAGES.values() if not missing(read, stage)]
    found = [arm for one in whole if one.setting == setting for arm in one.arms]
    return list({arm.key: arm for arm in found}.values())


def further(read: Read) -> list[Comparison]:
    """Return what is compared beyond the paper, as far as the stages of its arms are whole."""
    known = {(each.name, arm.key) for each in SETTINGS.values() for arm in arms_of(read, each)}
    return [
        one
        for one in FURTHER
        if {(one.setting.name, arm.key) for arm in (one.arm, one.against)} <= known
    ]


def by_method(arms: Sequence[Arm]) -> list[Comparison]:
    """Return each arm less the baseline."""
    return [Comparison(words=arm.name, arm=arm) for arm in arms if arm != DDPM]


def search_block(searched: WideSearch | None) -> str:
    """Return what the study over the wide space found."""
    if searched is None:
        return "Not run yet."
    space = SearchSpace.load(wide_search.SPACE)
    choices = [
        COLUMNS.get(one.name, one.name) for one in space.parameters if one.choices is not None
    ]
    parts = [
        tables.search_in_words(searched),
        tables.leaders_table(searched),
        "By choice, the objective less the baseline's at one seed, only of complete trials:",
        tables.choices_table(searched, choices),
    ]
    return "\n\n".join(parts)


def elsewhere_block(read: Read, trained: Mapping[str, Sequence[Arm]]) -> str:
    """Return the arms of the other settings, as far as those are whole."""
    parts = [
        f"{setting.words}:\n\n{tables.arms_table(read, setting, trained[setting.name])}"
        for setting, _ in COMPARED
        if trained[setting.name]
    ]
    return "\n\n".join(parts) or "Not trained yet."


def open_stages(read: Read, searched: WideSearch | None) -> str:
    """Return what is not trained yet, in a sentence for each stage."""
    lines = [
        f"- {stage.question} Stage `{stage.name}` lacks {len(left)} of "
        f"{len(list(stage.trainings()))} trainings."
        for stage in STAGES.values()
        if (left := missing(read, stage))
    ]
    if searched is None:
        lines.append(f"- {wide_search.QUESTION} Stage `{wide_search.STAGE}` was not run.")
    return "\n".join(lines) or "Every stage is trained."


def blocks(read: Read, searched: WideSearch | None) -> dict[str, str]:
    """Return what stands between the marks of the page, by their names."""
    outcomes = [
        claim.outcome(found, p, claim.as_published(read))
        for claim, found, p in tables.estimated(read, CLAIMS)
    ]
    trained = {setting.name: arms_of(read, setting) for setting in SETTINGS.values()}
    return {
        "outcomes": f"Of the paper's {len(CLAIMS)} claims that can be tried here: "
        f"{tables.counts_in_words(outcomes)}.",
        "claims": tables.claims_table(read, CLAIMS),
        "omega": tables.omega_table(read, FEW, EXPONENTIAL, DDPM),
        "groups": tables.further_table(read, by_method(trained[FEW.name])),
        "search": search_block(searched),
        "further": tables.further_table(read, further(read)),
        "noise": tables.noise_table(read, trained),
        "sizes": tables.sizes_table(read),
        "curve": tables.curve_table(read),
        "arms": tables.arms_table(read, FEW, trained[FEW.name]),
        "elsewhere": elsewhere_block(read, trained),
        "agreement": tables.agreement_table(read, FEW, trained[FEW.name]),
        "open": open_stages(read, searched),
        "hours": f"{tables.hours(read, SETTINGS):.1f} hours of processor time of one core.",
    }


def page(read: Read, searched: WideSearch | None) -> str:
    """Return the page with its tables.

    Args:
        read: returns the table of a setting.
        searched: what the study over the wide space found, if it was run.

    Raises:
        ValueError: trainings are missing that the paper's claims need; others may be.
    """
    for name in CLAIMED:
        if left := missing(read, STAGES[name]):
            raise ValueError(
                f"{len(left)} trainings of stage {name!r} are missing, such as {left[0]}; "
                "allowed: none, and `make evidence` trains them"
            )
    text = SOURCE.read_text(encoding="utf-8")
    for name, content in blocks(read, searched).items():
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
            read, [("The paper's claims", CLAIMS), ("Beyond the paper", further(read))]
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
        text = page(read, wide_search.read(args.tables))
    except ValueError as error:
        parser.error(str(error))
    for path in draw(read, tables_hash(args.tables), PICTURES):
        print(path.relative_to(ROOT))
    PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
