"""Two studies of format 3 that an earlier version left, and what it made of them.

README.txt in the archive says what the studies are, and make.py there how they were made.
"""

import dataclasses
import json
import tarfile
from pathlib import Path
from typing import Any

import optuna
import yaml

from diffrop.record.codec import encode
from diffrop.record.json_files import read_record
from diffrop.record.results import StudyResult
from diffrop.record.rung_agreement import AgreementRecord
from diffrop.record.study_folder import StudyFolder
from diffrop.record.trial_state import RUNGS, STOPPED_AT

ARCHIVE = Path(__file__).with_suffix(".tar.xz")
NAMES = ("finished", "half_done")

#: Sentences of the archive's version, and their words since: a resumed study writes them anew.
REWORDED = {"cannot be told": "cannot be decided"}


def unpack(folder: Path) -> Path:
    """Unpack the archive; return its folder."""
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
    return folder / "format_3"


def expected_of(unpacked: Path) -> dict[str, Any]:
    """Return expected.json; what a resumed study writes anew is there in today's words."""
    found: dict[str, Any] = json.loads((unpacked / "expected.json").read_text("utf-8"))
    after = json.dumps(found["after"])
    for before, since in REWORDED.items():
        after = after.replace(before, since)
    return found | {"after": json.loads(after)}


def described(folder: StudyFolder, result: StudyResult) -> dict[str, Any]:
    """Return a study's results in the form of expected.json."""
    storage = f"sqlite:///{folder.database}"
    study = optuna.load_study(study_name=folder.path.name, storage=storage)
    trials = study.get_trials(deepcopy=False)
    best = yaml.safe_load(folder.best.read_text("utf-8"))
    provenance = best["provenance"]
    agreement = read_record(folder.rung_agreement, AgreementRecord)
    rows = {}
    for trial in result.trials:
        frozen, card = trials[trial.number], trial.card
        difference = result.difference(trial)
        rows[str(trial.number)] = {
            "state": trial.state,
            "rank": trial.rank,
            "value": card.value if card else None,
            "scores": card.scores if card else None,
            "omega": card.omega if card else None,
            "sampler": card.sampler if card else None,
            "num_samples": card.num_samples if card else None,
            "images_seen": card.images_seen if card else None,
            "values": dict(trial.values),
            "feasible": trial.feasible,
            "front": trial.front,
            "audited_at": trial.audited_at,
            "parent": trial.parent,
            "training_key": trial.training_key,
            "message": trial.message,
            "rungs": frozen.user_attrs.get(RUNGS),
            "stopped_at": frozen.user_attrs.get(STOPPED_AT),
            "database_values": frozen.values,
            "constraints": dict(frozen.constraints),
            "difference": dataclasses.asdict(difference) if difference else None,
        }
    return {
        "study_config": result.config.to_dict(),
        "trials": rows,
        "ranking": [trial.number for trial in result.ranked],
        "best": result.best.number if result.best else None,
        "best_yaml": {
            "omega": best["omega"],
            "value": provenance["value"],
            "baseline_value": provenance["baseline_value"],
            "training": provenance["training"],
        },
        "confirmation": encode(result.confirmation) or {},
        "fidelity": encode(agreement),
        "facts": study.user_attrs["facts"],
    }


def differing(found: Any, expected: Any, rel: float, name: str = "") -> list[str]:
    """Return where two results differ, numbers by more than a share; more keys are no difference.

    Args:
        found: here.
        expected: in the archive.
        rel: by which a number may differ; 0 asks for the same digits.
        name: of what is compared.
    """
    if isinstance(expected, dict) and isinstance(found, dict):
        missing = [f"{name}.{key} is missing" for key in expected if key not in found]
        both = (key for key in expected if key in found)
        return missing + [
            one
            for key in both
            for one in differing(found[key], expected[key], rel, f"{name}.{key}")
        ]
    if isinstance(expected, list) and isinstance(found, list) and len(found) == len(expected):
        return [
            one
            for place, pair in enumerate(zip(found, expected, strict=True))
            for one in differing(*pair, rel, f"{name}[{place}]")
        ]
    if isinstance(expected, float) and isinstance(found, float | int):
        near = abs(found - expected) <= rel * abs(expected)
        return [] if near else [f"{name}: {found} for {expected}"]
    return [] if found == expected else [f"{name}: {found!r} for {expected!r}"]
