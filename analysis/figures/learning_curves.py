"""Figure: training loss and the objective over images seen, of all trials, also pruned ones."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter

from diffrop.analysis.data.compare import broken
from diffrop.analysis.data.load import StudyResults
from diffrop.analysis.data.rounds import measured
from diffrop.analysis.data.words import format_score, score_label
from diffrop.analysis.figures import score_axes, style
from diffrop.record.names import trial_label

READING = (
    "Above, the loss of the noise regression over training; below, the objective at each rung. "
    "The loss (a running median) shows trouble, not image quality; the objective is that at the "
    "trial's best omega. Each rung has its N written above it, and FID falls as N grows, so that "
    "markers of unequal N are not joined: compare within a rung, where the forms lie side by "
    "side. A cross ends a pruned trial, a star a failed one; an arrow is beyond the axis."
)
LOSS = "loss/ddpm"
LOG_SPAN = 2.0
"""The loss has a logarithmic axis where its largest value is this many times its least."""
SMOOTHED_POINTS = 9
"""Logged steps of the running median."""
SPREAD = 0.08
"""Width, as a share of the axis, over which the forms lie beside each other at a rung."""
ENDS = {"PRUNED": "x", "FAIL": "*"}


def applies(study: StudyResults) -> bool:
    """Return whether there is a curve."""
    return bool(_panels(study))


def _panels(study: StudyResults) -> dict[str, pd.DataFrame]:
    """Return the losses and the scores, as far as they are of several times of the training."""
    losses = study.curves[study.curves["measure"] == LOSS]
    panels = {LOSS: losses, study.objective: rung_scores(study)}
    return {name: found for name, found in panels.items() if found["images_seen"].nunique() > 1}


def learning_curves_figure(study: StudyResults) -> Figure:
    """Draw the training loss, and the objective at the rungs, against images seen.

    Returns:
        axes "loss/ddpm" and the objective's, those of several times of the training; lines are
        named after trials.
    """
    parts = _panels(study)
    if not parts:
        return style.sentence_figure(
            study, "No loss and no score is known at two times of the training, so no curve is."
        )
    figure = style.new_figure(1.5 + 1.75 * len(parts))
    first: Axes | None = None
    for place, (part, found) in enumerate(parts.items()):
        axes = figure.add_subplot(len(parts), 1, place + 1, label=part, sharex=first)
        first = first or axes
        if part == LOSS:
            _draw_losses(axes, study, found)
        else:
            _draw_scores(axes, study, found)
        style.tidy_axes(axes)
        axes.tick_params(labelbottom=place == len(parts) - 1)
    figure.axes[-1].set_xlabel("training images seen")
    figure.axes[-1].xaxis.set_major_formatter(FuncFormatter(lambda value, _: short_count(value)))
    shown = study.trials[study.trials["number"].isin(pd.concat(parts.values())["number"])]
    style.add_legend(figure, [*style.form_handles(shown, line=True), *_ends(shown)])
    style.add_caption(
        figure, style.caption(study), "N is that of the last rung; earlier ones have theirs above"
    )
    return figure


def rung_scores(study: StudyResults) -> pd.DataFrame:
    """Return the objective of each trial and rung at its best omega, from the fullest round.

    Returns:
        columns number, form, state, images_seen, sampler, num_samples, value.
    """
    rows = measured(study, study.objective)
    most = rows.groupby(["number", "images_seen"])["round_samples"].transform("max")
    rows = rows[rows["round_samples"] == most].sort_values("value", kind="stable")
    best = rows.groupby(["number", "images_seen"], as_index=False).first()
    names = ["number", "form", "state", "images_seen", "sampler", "num_samples", "value"]
    return best[names]


def short_count(value: float) -> str:
    """Return a count of images as "0", "512", "24k" or "19.2M"."""
    for size, unit in ((1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{unit}"
    return f"{value:g}"


def _draw_losses(axes: Axes, study: StudyResults, losses: pd.DataFrame) -> None:
    states = study.trials.set_index("number")["state"]
    forms = study.trials.set_index("number")["form"]
    curves = smoothed(losses)
    for number, curve in curves.groupby("number"):
        look = style.form_style(str(forms[number]))
        state = str(states[number])
        axes.plot(
            curve["images_seen"],
            curve["value"],
            color=look.colour,
            linewidth=1.1,
            alpha=0.85 if state == "COMPLETE" else 0.45,
            label=trial_label(int(str(number))),
        )
        if state in ENDS:
            _draw_end(axes, state, look.colour, *curve[["images_seen", "value"]].iloc[-1])
    usual = curves["value"][~curves["beyond"]]
    far = curves[curves["beyond"] & (curves["value"] > usual.max())]
    if len(far):
        low, margin = usual.min(), (usual.max() / usual.min()) ** score_axes.MARGIN
        axes.set_ylim(low / margin, usual.max() * margin)
    score_axes.scale_scores(axes, usual, log_span=LOG_SPAN)
    axes.set_ylabel("DDPM loss")
    far = far.sort_values("value").drop_duplicates("number", keep="last")
    texts = [f"{value:.3g}" for value in far["value"]]
    score_axes.draw_beyond(axes, far["images_seen"], far["number"].map(forms), texts)


def smoothed(losses: pd.DataFrame) -> pd.DataFrame:
    """Return the running median of each trial's loss.

    Returns:
        rows of `losses`, with `value` smoothed and `beyond`, whether what was logged until then is
        broken among all trials at that time.
    """
    losses = losses.sort_values(["number", "images_seen"])
    until, smooth = (
        losses.groupby("number")["value"].transform(
            lambda values, center=center: values.rolling(
                SMOOTHED_POINTS, min_periods=1, center=center
            ).median()
        )
        for center in (False, True)
    )
    beyond = until.groupby(losses["images_seen"]).transform(broken).astype(bool)
    return losses.assign(value=smooth, beyond=beyond)


def _draw_scores(axes: Axes, study: StudyResults, scores: pd.DataFrame) -> None:
    scores = _side_by_side(scores)
    beyond = scores.groupby("images_seen")["value"].transform(broken).astype(bool)
    far, scores = scores[beyond].sort_values("value"), scores[~beyond]
    for (number, _, _), part in scores.groupby(["number", "num_samples", "sampler"]):
        look = style.form_style(str(part["form"].iloc[0]))
        state = str(part["state"].iloc[0])
        axes.plot(
            part["place"],
            part["value"],
            color=look.colour,
            marker=look.marker,
            markersize=4.5,
            linewidth=1.1,
            alpha=0.85,
            label=trial_label(int(str(number))),
            markerfacecolor=look.colour if state == "COMPLETE" else "none",
        )
    last = scores.sort_values("images_seen").groupby("number").last()
    for _, trial in last[last["state"].isin(list(ENDS))].iterrows():
        colour = style.form_style(str(trial["form"])).colour
        _draw_end(axes, str(trial["state"]), colour, trial["place"], trial["value"])
    for images, counts in scores.groupby("images_seen")["num_samples"]:
        known = sorted({int(count) for count in counts.dropna()})
        text = "N = " + ", ".join(f"{count:,}" for count in known) if known else ""
        axes.annotate(
            text,
            (float(str(images)), 1.0),
            xycoords=axes.get_xaxis_transform(),
            xytext=(0, 2),
            textcoords="offset points",
            ha="center",
            va="bottom",
            fontsize=style.CAPTION_PT,
        )
    axes.set_ylabel(score_label(study.objective).replace(" of ", "\nof "))
    axes.margins(y=0.1)
    texts = map(format_score, far["value"])
    score_axes.draw_beyond(axes, far["images_seen"], far["form"], texts)


def _side_by_side(scores: pd.DataFrame) -> pd.DataFrame:
    """Add `place`: the images seen, with the forms beside each other about the rung."""
    forms = list(dict.fromkeys(style.in_form_order(scores)["form"]))
    step = SPREAD * float(scores["images_seen"].max()) / max(1, len(forms))
    shift = scores["form"].map(forms.index) - (len(forms) - 1) / 2
    return scores.assign(place=scores["images_seen"] + shift * step)


def _draw_end(axes: Axes, state: str, colour: str, x: float, y: float) -> None:
    axes.plot(
        [x],
        [y],
        linestyle="none",
        marker=ENDS[state],
        markersize=7,
        color=colour,
        markeredgewidth=1.6,
        label=state,
    )


def _ends(trials: pd.DataFrame) -> list[Line2D]:
    words = {"PRUNED": "pruned", "FAIL": "failed"}
    return [
        Line2D(
            [], [], linestyle="none", marker=ENDS[state], color=style.NEUTRAL, label=words[state]
        )
        for state in ENDS
        if (trials["state"] == state).any()
    ]
