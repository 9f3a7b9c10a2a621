"""What a GPU is to reach: the lines of the README's table, and the aims of benchmarks' rows."""

from dataclasses import dataclass

NOT_MEASURED = "not measured"
STAND_IN = "stand-in"
"""The device of results that are none of a GPU: it was acted out on a CPU."""


@dataclass(frozen=True, kw_only=True)
class Aim:
    """A line of the table; the rows with its `text` as their aim are its measurements."""

    what: str
    text: str
    measured_by: str
    """The benchmark, a module of this package, and its options."""


GRADIENT = Aim(
    what="gradient of a compiled, recorded bf16 step from eager float64's, any form and CBDM",
    text="<= 1.5 times eager bf16's distance, no fall-back",
    measured_by="gpu_correctness",
)
RESUME = Aim(
    what="losses after a resume compared with the uninterrupted training's",
    text="<= 1e-3 apart",
    measured_by="gpu_correctness",
)
FAULT = Aim(
    what="weights after a step with NaN, replayed",
    text="unchanged, and an error that names the step",
    measured_by="gpu_correctness",
)
SAMPLES = Aim(
    what="images from the same noise by fast bf16, from eager float32's",
    text="<= 1.5 times eager bf16's distance",
    measured_by="gpu_correctness",
)
STEP = Aim(
    what="step at batch 128 compared with plain eager fp32",
    text=">= 5.5 times, >= 38 % of the matrix ceiling",
    measured_by="train_step",
)
FORMS = Aim(
    what="contrastive loss on top of DDPM, any form, batch 128 (without `--quick` 512 and 1024 "
    "too), its logging included",
    text="<= 1.015 times DDPM, <= 50 MiB more",
    measured_by="train_step",
)
CBDM = Aim(
    what="CBDM step compared with a DDPM step",
    text="<= 1.95 times DDPM",
    measured_by="train_step",
)
EVALUATION = Aim(
    what="denoising evaluation at batch 512, guidance counted as two",
    text=">= 4.8 times fp32",
    measured_by="sampling",
)
START = Aim(
    what="process start to first optimiser step, compile cache warm",
    text="<= 15 s",
    measured_by="study_overhead --part start",
)
SHARING = Aim(
    what="two trials at a time on one GPU compared with one after the other",
    text=">= 1.0 times images/s, memory within the half",
    measured_by="study_overhead --part sharing",
)
IDLE = Aim(
    what="GPU idle in a whole study",
    text="<= 15 % of wall time",
    measured_by="study_overhead --part study",
)
AGREEMENT = Aim(
    what="2,000 steps fast and plain, small network: the loss at the end",
    text="within 2 deviations over seeds",
    measured_by="train_step --agreement",
)

AIMS = (
    GRADIENT,
    RESUME,
    FAULT,
    SAMPLES,
    STEP,
    FORMS,
    CBDM,
    EVALUATION,
    START,
    SHARING,
    IDLE,
    AGREEMENT,
)
