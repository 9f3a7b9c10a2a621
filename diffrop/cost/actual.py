"""What a study did cost, beside what was planned."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from diffrop.record.cost import CostPart, PlannedCost, RungCost, StudyCost
from diffrop.record.cost_account import CostAccount, CostEntry, unit_hours
from diffrop.record.study_folder import StudyFolder
from diffrop.study.config import LaunchConfig, StudyConfig


@dataclass
class _Sum:
    """Sums over entries of the cost account."""

    trials: int = 0
    training_s: float = 0.0
    scoring_s: float = 0.0
    samples: int = 0
    trained: int = 0

    def add(self, entry: CostEntry) -> None:
        if entry.part == "training":
            self.training_s += entry.seconds
            self.trained += entry.images
            return
        self.scoring_s += entry.seconds
        self.samples += entry.samples
        self.trials += entry.part == "sampling"  # one entry of each score

    def part(self) -> CostPart:
        return CostPart(**vars(self))


@dataclass
class _Sums:
    """Sums by rung, and apart from those what lies before a fork and what confirms."""

    rungs: list[_Sum]
    prefix: _Sum = field(default_factory=_Sum)
    confirm: _Sum = field(default_factory=_Sum)


def actual_cost(
    folder: StudyFolder, config: StudyConfig, launch: LaunchConfig, wall_s: float, since: float
) -> StudyCost:
    """Return what a study did cost.

    Args:
        folder: of the study.
        config: its rungs.
        launch: workers and price.
        wall_s: of all launches, in seconds.
        since: when the study began, in seconds since 1970.
    """
    entries = CostAccount.of(folder, since, config.prefix_images).entries()
    sums = _by_rung(entries, [rung.images for rung in config.rungs])
    hours, price = unit_hours(entries), launch.price_per_gpu_hour
    on_gpu = launch.gpus_per_worker > 0
    trials, prefixes, again = folder.trials(), folder.prefixes(), folder.retrainings()
    trainings = {one.training(folder.store) for one in (*prefixes, *trials, *again)}
    sizes = [path.stat().st_size for one in trainings for path in one.checkpoints()]
    return StudyCost(
        rungs=tuple(
            RungCost(
                images=rung.images,
                num_samples=rung.num_samples,
                num_steps=rung.num_steps,
                **vars(found),
            )
            for rung, found in zip(config.rungs, sums.rungs, strict=True)
        ),
        prefix=sums.prefix.part() if prefixes else None,
        confirm=sums.confirm.part() if again else None,
        trials=len(trials),
        gpu_hours=hours if on_gpu else 0.0,
        worker_hours=None if on_gpu else hours,
        wall_s=wall_s,
        samples=sum(entry.samples for entry in entries),
        images=sum(entry.images for entry in entries),
        disk_mib=sum(sizes) / 2**20,
        cost=None if price is None else price * hours,
        price_per_gpu_hour=price,
    )


def _by_rung(entries: Iterable[CostEntry], ends: list[int]) -> _Sums:
    """Sum entries by the rung that they led to; what lies past the last one counts there."""
    sums = _Sums([_Sum() for _ in ends])
    for entry in entries:
        match entry.kind:
            case "prefix":
                sums.prefix.add(entry)
            case "retraining":
                sums.confirm.add(entry)
            case "trial":
                reached = (i for i, end in enumerate(ends) if entry.images_seen <= end)
                sums.rungs[next(reached, len(ends) - 1)].add(entry)
    return sums


def comparison(plan: PlannedCost, actual: StudyCost) -> list[tuple[str, str, str]]:
    """Return rows of (what, planned, actual) for the terminal and the report."""
    rows = [
        (f"trials at {rung.images:,} images", f"{rung.trials:.3g}", f"{done.trials:,.0f}")
        for rung, done in zip(plan.rungs, actual.rungs, strict=True)
    ]
    if plan.confirm or actual.confirm:
        planned, done = (cost.confirm or CostPart() for cost in (plan, actual))
        rows.append(("retrainings that confirm", f"{planned.trials:,.0f}", f"{done.trials:,.0f}"))
    amounts = (
        ("GPU-hours" if plan.on_gpu else "worker-hours", plan.hours, actual.hours, ".3g"),
        ("wall clock, s", plan.wall_s, actual.wall_s, ",.0f"),
        ("images trained", plan.images, actual.images, ",.0f"),
        ("images sampled", plan.samples, actual.samples, ",.0f"),
        ("checkpoints, MiB", plan.disk_mib, actual.disk_mib, ",.1f"),
        ("cost", plan.cost, actual.cost, ",.2f"),
    )
    rows += [
        (name, _amount(planned, form), _amount(done, form))
        for name, planned, done, form in amounts
        if planned is not None or done is not None
    ]
    return rows


def _amount(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
