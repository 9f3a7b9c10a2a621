"""Figure: the forms of the contrastive loss beside each other (the paper's Table 5)."""

from typing import get_args

from matplotlib.figure import Figure

from diffrop.analysis.data.compare import comparable_trials, contrastive_trials
from diffrop.analysis.data.load import StudyResults
from diffrop.analysis.figures import style
from diffrop.analysis.figures.ablation import ablation_figure
from diffrop.config import Form

READING = (
    "The objective of the trials of each form less the baseline's; left is better. "
    "Each small marker is a trial scored in full, each large one the best trial of its form with "
    "the 95 % interval over samples. The best of many trials looks better than it is, because it "
    "was chosen by this score, and more so the more trials there are: compare forms with similar "
    "numbers of trials. Published FIDs were measured under another protocol and are not drawn."
)


def applies(study: StudyResults) -> bool:
    """Return whether a trial with a contrastive loss was scored in full."""
    return not contrastive_trials(study).empty


def loss_forms_figure(study: StudyResults) -> Figure:
    """Draw the objective of every form's trials; forms that were not tried have no row."""
    tried = set(study.trials["form"]) - {"none"}
    known = [form for form in get_args(Form) if form in tried]
    choices = [*known, *sorted(tried - set(known))]
    if comparable_trials(study).empty or not choices:
        return style.sentence_figure(
            study, "No complete trial has a contrastive loss yet, so no forms can be compared."
        )
    return ablation_figure(study, "form", choices, lambda form: style.form_style(form).label)
