"""A table in words: ours beside the published one, both under their protocols."""

import csv
import io
import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from diffrop.csv_cells import guarded
from diffrop.data.held_out import SplitDataset
from diffrop.metrics.interval import LEVEL
from diffrop.metrics.protocol import NEIGHBOURS
from diffrop.storage import write_atomically
from diffrop.tables.plan import TablePlan
from diffrop.tables.protocol import ProtocolLine, protocol_lines
from diffrop.tables.published import NO_SETTING
from diffrop.tables.run import RowResult

WIDTH = 80
SCORE_WORDS = {
    "fid/all": "FID, all classes, lower is better",
    "fid/many": "FID, many-shot classes, lower is better",
    "fid/medium": "FID, medium-shot classes, lower is better",
    "fid/few": "FID, few-shot classes, lower is better",
    "f_8/all": "F_8 (PRD), higher is better",
    "recall/all": f"improved recall (k = {NEIGHBOURS}), higher is better",
    "inception_score/all": "Inception Score, higher is better",
    "f_1_8/all": "F_1/8 (PRD), higher is better",
    "accuracy": "accuracy, per cent",
    "precision": "precision, mean over classes, per cent",
    "recall": "recall, mean over classes, per cent",
}
SHARES = ("f_8/all", "recall/all", "f_1_8/all")


@dataclass(frozen=True)
class Cell:
    """One score of one row."""

    row: str
    score: str
    value: float | None
    """Ours; None where there is none."""
    ends: tuple[float, float] | None
    """Ends of the 95 % interval over samples."""
    omega: float | None
    published: dict[str, float]
    """The published values by data set."""


@dataclass(frozen=True)
class WrittenTable:
    """Everything that is written of a table; numbers of ours never go without the protocol."""

    plan: TablePlan
    protocol: list[ProtocolLine]
    cells: list[Cell]
    remarks: list[str]

    @property
    def columns(self) -> tuple[str, ...]:
        """The published data sets."""
        return self.plan.table.columns(self.plan.data.dataset)

    @property
    def title(self) -> str:
        """Number, what it is about, and our data set."""
        table = self.plan.table
        return f"Table {table.number}, {table.title}, on {self.plan.data.dataset}"

    @property
    def comparison(self) -> str:
        """Whether ours and the published values compare, in one sentence."""
        differing = [line.name for line in self.protocol if line.differs]
        if not differing:
            return (
                "Ours and the published values agree in all that stands above; network, "
                "optimiser, code, seeds and the grid of omega may still differ."
            )
        return (
            "Ours and the published values are not comparable unless their protocols are equal; "
            f"here they differ in: {', '.join(differing)}."
        )


def written_table(
    plan: TablePlan, results: Sequence[RowResult], split: SplitDataset | None
) -> WrittenTable:
    """Put results beside the published values.

    Args:
        plan: of the table.
        results: of its rows, which `run_table` has found comparable.
        split: of Table 3.

    Raises:
        ValueError: no row has a score, so that there is no protocol.
    """
    cards = [result.card for result in results if result.card is not None]
    if not cards and not any(result.classification for result in results):
        failures = "; ".join(f"{r.row}: {r.failure}" for r in results)
        raise ValueError(f"no row has a score ({failures}); allowed: one or more")
    setting = [NO_SETTING] if cards else []
    remarks = [*setting, *plan.table.remarks, *_contrastive_remarks(plan)]
    remarks += [f"Row {r.row} failed: {r.failure}" for r in results if r.failure]
    if split is not None:
        remarks += _classifier_remarks(plan, results, split)
    cells = [_cell(plan, result, score) for score in plan.table.scores for result in results]
    protocol = protocol_lines(plan, cards, split)
    return WrittenTable(plan, protocol, cells, [*remarks, "One training seed for each row."])


def _contrastive_remarks(plan: TablePlan) -> list[str]:
    for config in plan.configs.values():
        found = config.contrastive
        if found.form != "none":
            return [
                f"Our DiffROP rows have tau_0 {found.tau_0:g}, decay temperature "
                f"{found.decay_temperature:g} ({found.tau_schedule} schedule), distances in "
                f"{found.space} space."
            ]
    return []


def _classifier_remarks(
    plan: TablePlan, results: Sequence[RowResult], split: SplitDataset
) -> list[str]:
    found = [r.classification["accuracy"] for r in results if r.classification]
    error = max(math.sqrt(value * (1 - value) / len(split.test.labels)) for value in found)
    remarks = [f"The standard error of an accuracy is up to {100 * error:.1f} points."]
    if plan.data.dataset == "digits" and plan.configs:
        remarks.append(
            "Omega was chosen by FID against all digits, the held-out ones among them; the "
            "models never saw these."
        )
    return remarks


def _cell(plan: TablePlan, result: RowResult, score: str) -> Cell:
    values = plan.table.rows[result.row].values
    published = {
        name: values[name][score]
        for name in plan.table.columns(plan.data.dataset)
        if name in values
    }
    value, ends = None, None
    if plan.classifier is not None:
        value = 100 * result.classification[score] if result.classification else None
    elif result.card is not None:
        value = result.card.scores.get(score)
        interval = result.card.intervals.get(score)
        ends = (interval.low, interval.high) if interval else None
    omega = result.card.omega if result.card is not None else None
    return Cell(result.row, score, value, ends, omega, published)


def number(value: float | None, score: str) -> str:
    """Return a score of ours as it is shown, a dash where there is none."""
    if value is None:
        return "-"
    if score in SHARES:
        return f"{value:.3f}"
    return f"{value:.2f}" if abs(value) < 1_000 else f"{value:.0f}"


def _texts(written: WrittenTable, cell: Cell) -> list[str]:
    """The cells of a row: label, omega, ours, interval, and each published value."""
    ends = "-"
    if cell.ends is not None:
        ends = " to ".join(number(end, cell.score) for end in cell.ends)
    return [
        written.plan.table.rows[cell.row].label,
        "-" if cell.omega is None else f"{cell.omega:g}",
        number(cell.value, cell.score),
        ends,
        *(
            f"{cell.published[name]:.2f}" if name in cell.published else "-"
            for name in written.columns
        ),
    ]


def _head(written: WrittenTable) -> list[str]:
    return ["row", "omega", "ours", f"{LEVEL:.0%} over samples", *written.columns]


def terminal_lines(written: WrittenTable) -> list[str]:
    """Return the table in lines of at most 80 columns, both protocols first."""
    lines = [written.title, "", f"{'':17} {'ours':31} published"]
    for line in written.protocol:
        ours, theirs = textwrap.wrap(line.ours, 31), textwrap.wrap(line.published, 30)
        for place in range(max(len(ours), len(theirs))):
            parts = [line.name if place == 0 else ""]
            parts += [cell[place] if place < len(cell) else "" for cell in (ours, theirs)]
            lines.append(f"{parts[0]:17} {parts[1]:31} {parts[2]}".rstrip())
    lines += textwrap.wrap(written.comparison, WIDTH)
    for score in written.plan.table.scores:
        lines += ["", f"{SCORE_WORDS[score]:57} {'published':>{11 * len(written.columns) - 1}}"]
        rows = [_texts(written, cell) for cell in written.cells if cell.score == score]
        lines += [_columns(row) for row in (_head(written), *rows)]
    lines.append("")
    for remark in written.remarks:
        lines += textwrap.wrap(remark, WIDTH)
    return lines


def _columns(texts: Sequence[str]) -> str:
    label, omega, ours, ends, *published = texts
    shown = "".join(f" {text:>10}" for text in published)
    return f"{label:25.25} {omega:>5} {ours:>7} {ends:>17}{shown}"


def markdown(written: WrittenTable) -> str:
    """Return the table as Markdown, both protocols first."""
    lines = [f"# {written.title}", ""]
    lines += _markdown_rows(
        ["protocol", "ours", "published"],
        [[line.name, line.ours, line.published] for line in written.protocol],
    )
    lines += ["", written.comparison]
    for score in written.plan.table.scores:
        cells = [cell for cell in written.cells if cell.score == score]
        lines += ["", f"## {SCORE_WORDS[score]}", ""]
        head = _head(written)
        head[4:] = [f"published, {name}" for name in written.columns]
        lines += _markdown_rows(head, [_texts(written, cell) for cell in cells])
    lines += ["", *(f"- {remark}" for remark in written.remarks)]
    return "\n".join(lines) + "\n"


def _markdown_rows(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    parts = [head, ["---"] * len(head), *rows]
    return [f"| {' | '.join(part)} |" for part in parts]


def csv_text(written: WrittenTable) -> str:
    """Return one line for each row and score, with both protocols in every line."""
    both: dict[str, str] = {}
    for line in written.protocol:
        key = line.name.replace(" ", "_").replace("(", "").replace(")", "")
        both |= {f"ours_{key}": line.ours, f"published_{key}": line.published}
    rows = [
        {
            "table": written.plan.table.number,
            "row": cell.row,
            "preset": written.plan.table.rows[cell.row].preset or "",
            "score": cell.score,
            "ours": cell.value,
            "ours_low": cell.ends[0] if cell.ends else None,
            "ours_high": cell.ends[1] if cell.ends else None,
            "ours_chosen_omega": cell.omega,
            **{f"published_{name}": cell.published.get(name) for name in written.columns},
            **both,
        }
        for cell in written.cells
    ]
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    writer.writerows({name: guarded(value) for name, value in row.items()} for row in rows)
    return text.getvalue()


def write_table(written: WrittenTable) -> tuple[Path, Path]:
    """Write table.md and table.csv into the table's folder; return their paths."""
    paths = (written.plan.directory / "table.md", written.plan.directory / "table.csv")
    write_atomically(paths[0], markdown(written))
    write_atomically(paths[1], csv_text(written))
    return paths
