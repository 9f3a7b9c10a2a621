"""The results of a study as files: trials.csv, front.csv and best.yaml."""

import datetime
from pathlib import Path
from typing import Any

import yaml

from diffrop.config import ExperimentConfig
from diffrop.provenance import git_commit, package_versions
from diffrop.record.codec import encode
from diffrop.record.results import StudyResult, TrialResult, front_points
from diffrop.record.study_folder import StudyFolder
from diffrop.record.tables import write_front, write_trials
from diffrop.storage import write_atomically
from diffrop.study.config import StudyConfig
from diffrop.study.sampling_choice import fixed_choice


def write_results(result: StudyResult, folder: StudyFolder) -> list[Path]:
    """Write trials.csv, and front.csv and best.yaml if a trial is COMPLETE; return the files."""
    files = [write_trials(folder, result)]
    ranked, evaluation = result.ranked, result.config.experiment.evaluation
    if result.best is None:  # nor is an earlier one the best any more
        folder.best.unlink(missing_ok=True)
    else:
        base = next((t.card.scores for t in ranked if t.number == 0 and t.card), None)
        points = front_points(ranked, result.config, base)
        constrained = (rule.score for rule in evaluation.parsed_constraints)
        files.append(write_front(folder, points, (*evaluation.objectives, *constrained)))
        write_atomically(folder.best, yaml.safe_dump(export(result), sort_keys=False))
        files.append(folder.best)
    return files


def _exported(config: StudyConfig, best: TrialResult) -> tuple[ExperimentConfig, str | None]:
    """Return a trial's configuration, and from where it went on if that cannot be said in it.

    A fork of the baseline that changes the contrastive loss alone is the training that waits with
    that loss until the fork. Any other fork, and a child of a population, needs its parent.
    """
    experiment, start = config.experiment.with_values(best.values), config.fork_from
    if best.parent or start is None:
        return experiment, best.parent or None
    contrastive = all(key.startswith("contrastive.") for key in best.values)
    if not config.prefix_images or not contrastive:
        return experiment, start
    if experiment.contrastive.form == "none":
        return experiment, None
    return experiment.with_values({"contrastive.start_images": config.prefix_images}), None


def export(result: StudyResult) -> dict[str, Any]:
    """Return the best configuration with its provenance, as best.yaml holds it."""
    best, config = result.best, result.config
    assert best is not None and best.card is not None  # a trial is ranked
    exported, went_on_from = _exported(config, best)
    experiment = fixed_choice(exported, best.card.omega, best.card.sampler)
    baseline = result.trials[0].card if result.trials[0].rank is not None else None
    difference = result.difference(best)
    return {
        "format": 1,
        "config": experiment.to_dict(),
        "omega": best.card.omega,
        "omegas": list(exported.evaluation.guidance_scales),
        "provenance": {
            "study": config.name,
            "trial": best.number,
            "num_trials": len(result.trials),
            "searched": [parameter.to_dict() for parameter in config.space.parameters],
            "objective": best.card.objective,
            "constraints": list(experiment.evaluation.constraints),
            "feasible": best.feasible,
            "value": best.card.value,
            "baseline_value": baseline.value if baseline else None,
            "difference": difference.to_dict() if difference else None,
            "scores": best.card.scores,
            "intervals": encode(best.card.intervals),
            "num_samples": best.card.num_samples,
            "images_seen": best.card.images_seen,
            "sampler": best.card.sampler,
            "evaluations": best.card.evaluations,
            "cost_preference": best.card.preference.reason if best.card.preference else None,
            "extractor": best.card.extractor,
            "reference": best.card.reference,
            "seeds": {
                "training": experiment.training.seed,
                "samples": experiment.evaluation.seed,
                "search": config.seed,
            },
            "training": {
                "key": best.training_key,
                "parent": best.parent or None,
                "fork_from": config.fork_from,
                "went_on_from": went_on_from,
            },
            "confirmation": encode(result.confirmation),
            "nothing_learned": result.nothing_learned,
            "note": "intervals are over samples: one training seed, and the best of its study; "
            "those of a confirmation are over fresh seeds",
            "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "git_commit": git_commit(),
            "versions": package_versions(),
        },
    }
