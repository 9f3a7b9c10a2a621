"""Where a study stands that nobody runs."""

from diffrop.engine.progress import Progress, TrialProgress
from diffrop.record.scoring_now import ScoringNow

SCORING = ScoringNow(
    images_seen=20_480,
    round=2,
    num_rounds=3,
    sampler="ddim-8",
    omega=0.5,
    part="sampling",
    images=1_200.0,
    num_images=3_000,
    seconds=80.0,
    seconds_left=120.0,
)


def trial(number: int, state: str = "RUNNING", **changes: object) -> TrialProgress:
    """A trial at a quarter of its training, with a score."""
    fields: dict[str, object] = {
        "number": number,
        "name": f"t{number:03d} hinge tau_0=3.2",
        "form": "hinge",
        "state": state,
        "images_seen": 5_120,
        "images_per_s": 1234.5,
        "loss": 0.0512,
        "grad_ratio": 0.0123,
        "score": 41.234,
        "num_samples": 200,
        "message": "",
    }
    return TrialProgress(**(fields | changes))  # type: ignore[arg-type]


def progress(*trials: TrialProgress, **changes: object) -> Progress:
    """A study of four trials, of which some have begun."""
    ended = [t for t in trials if t.state != "RUNNING"]
    fields: dict[str, object] = {
        "study": "s",
        "num_trials": 4,
        "num_ended": len(ended),
        "images": 20_480,
        "objective": "fid/few",
        "best": None,
        "seconds_left": 200.0,
        "trials": list(trials),
    }
    return Progress(**(fields | changes))  # type: ignore[arg-type]
