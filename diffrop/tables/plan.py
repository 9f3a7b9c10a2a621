"""What a table trains: a configuration for each row, checked, and what it costs in images."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffrop.baselines.classifier_config import ClassifierConfig
from diffrop.config import DataConfig, ExperimentConfig
from diffrop.diffusion.sampling import num_guided_evaluations
from diffrop.errors import StudyError
from diffrop.presets import PRESETS, apply_preset
from diffrop.record.study_store import is_writable
from diffrop.schema import flatten, require, value_differences
from diffrop.study.rung import last_rung
from diffrop.tables.published import TABLES, PublishedTable
from diffrop.yaml_text import load_yaml

ROW_FILE = "row.yaml"
METHOD_KEYS = sorted(
    {
        key
        for table in TABLES.values()
        for row in table.rows.values()
        for key in (PRESETS[row.preset].changes if row.preset else {})
    }
)
"""What tells the rows apart: the same for no two of them, and for no option to change."""


@dataclass(frozen=True, kw_only=True)
class ClassifierPlan:
    """What Table 3 has beside the generative models."""

    config: ClassifierConfig
    num_generated: int
    """Images that each model adds to the long-tailed ones."""
    test_root: str | None

    def __post_init__(self) -> None:
        """Refuse to generate nothing."""
        require(self.num_generated >= 1, "num_generated", self.num_generated, "1 or more")

    def to_dict(self) -> dict[str, Any]:
        """Return plain data; where the held-out images lie is left out."""
        return {**self.config.to_dict(), "num_generated": self.num_generated}


@dataclass(frozen=True, kw_only=True)
class TablePlan:
    """A table of ours."""

    table: PublishedTable
    rows: tuple[str, ...]
    configs: dict[str, ExperimentConfig]
    """The configurations of the rows with a generative model."""
    data: DataConfig
    classifier: ClassifierPlan | None
    """The classifiers of Table 3; None for the other tables."""
    directory: Path

    def row_directory(self, row: str) -> Path:
        """The folder of one row."""
        return self.directory / "rows" / row

    def settings(self, row: str) -> dict[str, Any]:
        """Return all that a row's scores depend on, as plain data."""
        found: dict[str, Any] = {"table": self.table.number}
        if row in self.configs:
            found["config"] = self.configs[row].to_dict()
        else:
            found["data"] = self.data.to_dict()
        if self.classifier is not None:
            found["classifier"] = self.classifier.to_dict()
        return found


def make_plan(
    number: int,
    asked: Sequence[str] | None,
    configure: Callable[[str | None], ExperimentConfig],
    classifier: ClassifierPlan,
    directory: Path,
) -> TablePlan:
    """Return the plan of a table.

    Args:
        number: of the table, 1 to 5.
        asked: names of rows; None takes those that the paper prints for the data set.
        configure: returns the configuration of a preset, or of none, at the budget.
        classifier: used by Table 3 alone.
        directory: of the table's files.

    Raises:
        ValueError: a row is unknown or doubled, N is too small, or the budget's options would
            change what makes a row.
    """
    table, base = TABLES[number], configure(None)
    rows = tuple(asked if asked is not None else table.rows_of(base.data.dataset))
    known = ", ".join(table.rows)
    fits = bool(rows) and len(set(rows)) == len(rows) and set(rows) <= set(table.rows)
    require(fits, "rows", ",".join(rows), f"each once, of {known}")
    if number == 3 and base.data.imbalance_factor is None:
        rows = tuple(row for row in rows if row != "balanced")
    presets = {row: preset for row in rows if (preset := table.rows[row].preset) is not None}
    configs = {row: configure(preset) for row, preset in presets.items()}
    for row, config in configs.items():
        _check_method(row, presets[row], config)
    return TablePlan(
        table=table,
        rows=rows,
        configs=configs,
        data=base.data,
        directory=directory,
        classifier=classifier if number == 3 else None,
    )


def _check_method(row: str, preset: str, config: ExperimentConfig) -> None:
    """Raise ValueError if the budget's options made another method of a row."""
    plain = flatten(ExperimentConfig().to_dict())
    bare = config.with_values({key: plain[key] for key in METHOD_KEYS})
    expected, found = (flatten(c.to_dict()) for c in (apply_preset(preset, bare), config))
    for key in METHOD_KEYS:
        if found[key] != expected[key]:
            raise ValueError(
                f"{key} is {found[key]!r} in row {row}; allowed: {expected[key]!r}, which makes "
                "the row what it is"
            )


def check_folder(plan: TablePlan, resume: bool) -> None:
    """Refuse what would mix scores of different budgets, before anything starts.

    Raises:
        StudyError: the folder's state forbids it, or a row in it has another configuration.
    """
    if not is_writable(plan.directory.parent):
        raise StudyError(
            f"cannot write in {plan.directory.parent}. To fix: name another --runs-root."
        )
    if plan.directory.exists() != resume:
        state = (
            "exists; carry it on with --resume" if plan.directory.exists() else "does not exist"
        )
        raise StudyError(f"{plan.directory} {state}")
    for row in plan.rows:
        path = plan.row_directory(row) / ROW_FILE
        if not path.exists():
            if path.parent.exists():
                raise StudyError(f"{path} is missing; remove {path.parent}, or name another table")
            continue
        stored = load_yaml(path)
        if "config" in stored:  # what an earlier version did not know had its default
            stored["config"] = ExperimentConfig.from_dict(stored["config"]).to_dict()
        differing = value_differences(flatten(stored), flatten(plan.settings(row)))
        if differing:
            raise StudyError(
                f"row {row!r} in {plan.directory} has another configuration: "
                f"{'; '.join(differing)}; resume it as it was, or name another table with --name"
            )


@dataclass(frozen=True)
class RowCost:
    """What a row takes, in images."""

    trained: int
    sampled: int
    """Samples drawn over the whole grid of omega, and for a classifier."""
    evaluations: int
    """Evaluations of the network when sampling: two for each guided image and step."""
    classified: int
    """Images seen by a classifier."""


def row_cost(plan: TablePlan, row: str) -> RowCost:
    """Return the cost of a row from its start."""
    classifier = plan.classifier
    classified = classifier.config.num_images if classifier else 0
    if row not in plan.configs:
        return RowCost(0, 0, 0, classified)
    config = plan.configs[row]
    scales, num = config.evaluation.guidance_scales, config.evaluation.num_samples
    taken = [
        num_guided_evaluations(config.sampling, config.diffusion, omega) for omega in (*scales, 1)
    ]
    generated = classifier.num_generated if classifier else 0
    return RowCost(
        trained=last_rung(config).images,
        sampled=num * len(scales) + generated,
        evaluations=num * sum(taken[:-1]) + generated * taken[-1],
        classified=classified,
    )


def cost_lines(plan: TablePlan, done: Sequence[str]) -> list[str]:
    """Return the plan in lines of at most 80 columns: rows, images, N, and their sums."""
    table = plan.table
    lines = [
        f"Table {table.number}, {table.title}, on {plan.data.dataset}.",
        f"{'row':20} {'training':>12} {'N':>7} {'samples':>9} {'evaluations':>15} "
        f"{'classifier':>12}",
    ]
    left = [row_cost(plan, row) for row in plan.rows if row not in done]
    for row in plan.rows:
        cost = row_cost(plan, row)
        num = plan.configs[row].evaluation.num_samples if row in plan.configs else 0
        if row in done:
            lines.append(f"{row:20} done, costs nothing")
            continue
        lines.append(
            f"{row:20} {cost.trained:>12,} {num:>7,} {cost.sampled:>9,} {cost.evaluations:>15,} "
            f"{cost.classified:>12,}"
        )
    lines.append(
        f"{'to do':20} {sum(c.trained for c in left):>12,} {'':>7} "
        f"{sum(c.sampled for c in left):>9,} {sum(c.evaluations for c in left):>15,} "
        f"{sum(c.classified for c in left):>12,}"
    )
    return [
        *lines,
        "In images; samples and evaluations (of the network, when sampling) are those of",
        "every omega on N: of four omegas or more, halving draws 40% of them at most,",
        "and never more than three times N.",
        "CBDM rows take a second forward pass of each image.",
    ]
