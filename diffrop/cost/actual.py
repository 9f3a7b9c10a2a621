"""What a study did cost, beside what was planned."""

from bisect import bisect_left
from collections.abc import Iterable, Sequence

from diffrop.record.cost import CostPart, PlannedCost, RungCost, StudyCost
from diffrop.record.cost_account import CostAccount, CostEntry, Kind, unit_hours
from diffrop.record.study_folder import StudyFolder
from diffrop.study.config import LaunchConfig, StudyConfig


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
    by_kind: dict[Kind, list[CostEntry]] = {"prefix": [], "trial": [], "retraining": []}
    for entry in entries:
        by_kind[entry.kind].append(entry)
    sums = _by_rung(by_kind["trial"], [rung.images for rung in config.rungs])
    hours, price = unit_hours(entries), launch.price_per_gpu_hour
    on_gpu = launch.gpus_per_worker > 0
    trials, prefixes, again = folder.trials(), folder.prefixes(), folder.retrainings()
    trainings = {one.training(folder.store) for one in (*prefixes, *trials, *again)}
    sizes = [path.stat().st_size for one in trainings for path in one.weights()]
    return StudyCost(
        rungs=tuple(
            RungCost(
                images=rung.images,
                num_samples=rung.num_samples,
                num_steps=rung.num_steps,
                **vars(found),
            )
            for rung, found in zip(config.rungs, sums, strict=True)
        ),
        prefix=_cost_part(by_kind["prefix"]) if prefixes else None,
        confirm=_cost_part(by_kind["retraining"]) if again else None,
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


def _cost_part(entries: Sequence[CostEntry]) -> CostPart:
    """Return the sums over entries of the cost account."""
    training = [entry for entry in entries if entry.part == "training"]
    scoring = [entry for entry in entries if entry.part != "training"]
    return CostPart(
        trials=sum(entry.part == "sampling" for entry in scoring),  # one entry of each score
        training_s=sum((entry.seconds for entry in training), 0.0),
        scoring_s=sum((entry.seconds for entry in scoring), 0.0),
        samples=sum(entry.samples for entry in scoring),
        trained=sum(entry.images for entry in training),
    )


def _by_rung(entries: Iterable[CostEntry], ends: Sequence[int]) -> list[CostPart]:
    """Sum entries by the rung that they led to; what lies past the last one counts there."""
    groups: list[list[CostEntry]] = [[] for _ in ends]
    for entry in entries:
        groups[min(bisect_left(ends, entry.images_seen), len(ends) - 1)].append(entry)
    return [_cost_part(group) for group in groups]


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
