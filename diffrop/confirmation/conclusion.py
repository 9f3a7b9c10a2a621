"""What an assessment says, in words and as confirm.json holds it."""

from diffrop.confirmation.assessment import Assessment, LeaderAssessment
from diffrop.confirmation.plan import BASELINE, Confirmation
from diffrop.record.confirmation import (
    ConfirmationRecord,
    ConfirmedBaseline,
    ConfirmedLeader,
    ConstraintOutcome,
    PairedDifference,
)
from diffrop.record.names import trial_label


def conclusion(assessment: Assessment) -> str:
    """Return in plain words what was found."""
    confirmation, best = assessment.confirmation, assessment.best
    first = confirmation.objectives[0]
    if assessment.num_missing:
        total = confirmation.num_seeds * (1 + len(confirmation.leaders))
        return f"Not decided yet: {assessment.num_missing} of {total} retrainings are left."
    known = [leader for leader in assessment.leaders if first in leader.differences]
    if not known:
        return "Cannot be decided: fewer than two seeds at which a leader and the baseline ended."
    nearest = best or min(
        known, key=lambda one: (one.differences[first].better, one.differences[first].mean)
    )
    found = (
        f"{first} {nearest.differences[first]} with {1 - confirmation.alpha:.0%} confidence"
        f"{_together(confirmation)}, paired over {len(nearest.seeds)} fresh seeds"
    )
    name, difference = nearest.candidate.name, nearest.differences[first]
    if best is not None:
        sentences = [f"{name} is better than the baseline: {found}."]
    elif difference.better:  # something else is against each that is
        sentences = ["No best is named."]
    elif difference.worse:
        sentences = [f"No leader is better than the baseline; the nearest, {name}: {found}."]
    else:
        sentences = [f"No difference found: {name} less the baseline, {found}."]
    sentences += [
        _note(leader, first, leader is nearest)
        for leader in assessment.leaders
        if leader is not best
    ]
    if best is not None and best.candidate.inherited:
        sentences.append("Its settings were trained from the start, without another's weights.")
    if confirmation.conditional_on_prefix:
        sentences.append(
            "All trainings start from the same weights: the interval is conditional on them."
        )
    return " ".join(sentence for sentence in sentences if sentence)


def _together(confirmation: Confirmation) -> str:
    """Return what an interval holds together with; empty if there is nothing else."""
    first, last = confirmation.num_seeds, confirmation.max_seeds
    parts = []
    if (num := len(confirmation.leaders) * len(confirmation.objectives)) > 1:
        parts.append(f"{num} comparisons (Bonferroni)")
    if last > first:
        parts.append(f"all looks at {first} to {last} seeds (repeated interval)")
    return f" together for {' and '.join(parts)}" if parts else ""


def _note(leader: LeaderAssessment, objective: str, shown: bool) -> str:
    """Return what keeps a leader from being the best.

    Args:
        leader: another one than the best.
        objective: the first.
        shown: whether its interval is given already.
    """
    name = leader.candidate.name
    if leader.num_failed:
        return f"{name} failed at {leader.num_failed} seed(s), so that it cannot be the best."
    if objective not in leader.differences:
        return f"{name} has fewer than two seeds."
    difference = leader.differences[objective]
    if difference.worse:
        return f"{name} is worse: {difference}."
    if difference.better and leader.keeps:
        return f"{name} is better too: {difference}; the order of the two is not tested."
    if difference.better:
        broken = ", ".join(f"{text!r}" for text, excess in leader.broken.items() if excess > 0)
        return f"{name} is better ({difference}), but breaks {broken} in the mean over seeds."
    return "" if shown else f"{name} is undecided: {difference} over {len(leader.seeds)} seeds."


def confirmation_record(
    assessment: Assessment, num_trials: int, num_left: int
) -> ConfirmationRecord:
    """Return what confirm.json holds.

    Args:
        assessment: what is known by now.
        num_trials: of the search that had ended when the leaders were chosen.
        num_left: trainings that come next, 0 once all is decided.
    """
    confirmation, best = assessment.confirmation, assessment.best
    first = confirmation.objectives[0]
    candidates = (confirmation.baseline, *confirmation.leaders)
    seeds = {seed for leader in assessment.leaders for seed in leader.seeds}
    used = sorted(seeds | set(assessment.baseline_values))
    points = [confirmation.point(confirmation.baseline, seed) for seed in used]
    finding = conclusion(assessment)
    return ConfirmationRecord(
        seeds=tuple(point.config.training.seed for point in points),
        sample_seeds=tuple(point.config.evaluation.seed for point in points),
        omega={trial_label(one.number): one.omega for one in candidates},
        sampler={trial_label(one.number): one.sampler for one in candidates},
        alpha=confirmation.alpha,
        num_seeds=confirmation.num_seeds,
        max_seeds=confirmation.max_seeds,
        spending=confirmation.spending,
        objective=first,
        objectives=tuple(confirmation.objectives),
        num_samples=assessment.num_samples,
        leaders=tuple(_leader_record(leader, first) for leader in assessment.leaders),
        baseline=ConfirmedBaseline(
            trial=BASELINE, values=tuple(assessment.baseline_values.values())
        ),
        conditional_on_prefix=confirmation.conditional_on_prefix,
        num_trials=num_trials,
        num_left=num_left,
        finding=finding,
        conclusion=finding,
        best=best.candidate.number if best else None,
    )


def _leader_record(leader: LeaderAssessment, first: str) -> ConfirmedLeader:
    found = {
        objective: PairedDifference(
            by_seed=difference.by_seed,
            mean=difference.mean,
            low=difference.looks[-1].low,
            high=difference.looks[-1].high,
            looks=difference.looks,
        )
        for objective, difference in leader.differences.items()
    }
    return ConfirmedLeader(
        trial=leader.candidate.number,
        name=leader.candidate.name,
        **vars(found.get(first, PairedDifference())),
        values=leader.values,
        seed_indices=leader.seeds,
        sample_intervals=leader.sample_intervals,
        objectives=found,
        num_failed=leader.num_failed,
        constraints=tuple(
            ConstraintOutcome(
                text=text, excess=excess, kept=excess <= 0, num_kept=leader.num_kept[text]
            )
            for text, excess in leader.broken.items()
        ),
    )
