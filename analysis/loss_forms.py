"""Figure: the forms of the contrastive loss beside each other (the paper's Table 5)."""

import sys
from typing import get_args

from matplotlib.figure import Figure

from analysis.ablation import ablation_figure
from analysis.command import figure_command
from analysis.compare import comparable_trials
from analysis.load import StudyResults
from analysis.style import form_style, sentence_figure
from diffrop.config import Form

TITLE = "Forms of the contrastive loss"
READING = (
    "Each small marker is a trial scored in full, each large one the best of its form with the "
    "95 % interval over samples; left is better. The dashed line is the baseline. The best of "
    "many trials is flattered by having been chosen, the more so the more there are, so compare "
    "forms of like numbers. Published FIDs stand under another protocol and are not drawn."
)


def loss_forms_figure(study: StudyResults) -> Figure:
    """Draw the objective of every form's trials; forms that were not tried have no row."""
    tried = set(study.trials.loc[~study.trials["baseline"], "form"]) - {"none"}
    known = [form for form in get_args(Form) if form in tried]
    choices = [*known, *sorted(tried - set(known))]
    if comparable_trials(study).empty or not choices:
        return sentence_figure(
            study, "No complete trial has a contrastive loss yet, so no forms can be compared."
        )
    return ablation_figure(study, "form", choices, lambda form: form_style(form).label)


if __name__ == "__main__":
    sys.exit(figure_command(loss_forms_figure, "loss_forms"))
