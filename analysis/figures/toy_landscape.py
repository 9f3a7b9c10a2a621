"""Figure: the forms of the contrastive loss on two Gaussians (Section 5.1, Figure 2).

The two classes have weights pi = (0.95, 0.05) and true means m* = (0, 2), and share a known
variance, so that every KL divergence is a squared distance of means over 2 sigma^2. We drop that
factor, as Eq. 11 does, and write the DDPM part by Proposition 3.1 as a weighted sum over classes:

    L(m_1, m_2) = sum_c pi_c (m_c - m*_c)^2 + tau phi((m_1 - m_2)^2)

Of all means with the same gap g = m_2 - m_1, the best have the DDPM part pi_1 pi_2 (g - g*)^2:
class 1 moves by -pi_2 (g - g*), class 2 by pi_1 (g - g*). So optima are found along g alone.
"""

import math
from typing import TypeVar, get_args

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from scipy.optimize import minimize_scalar

from diffrop.analysis.figures import style
from diffrop.config import Form

WEIGHTS = (0.95, 0.05)
TRUE_MEANS = (0.0, 2.0)
TRUE_GAP = TRUE_MEANS[1] - TRUE_MEANS[0]
MARGIN = TRUE_GAP**2
"""Of the hinge: the true distance, so that the loss is zero at the true means (Eq. 15)."""
CURVATURE = WEIGHTS[0] * WEIGHTS[1]
"""Of the DDPM part along the gap; negative_l2 has no minimum once tau reaches it."""
DEFAULT_TAU = 0.2
MEANS_1, MEANS_2 = (-1.6, 2.4), (-1.2, 5.0)
"""Ranges of the axes."""
NUM_COLUMNS = 3
ROW_IN = 2.3
NUM_LEVELS = 17
ARROW_LENGTH = 2.6
"""By how much the gap grows along the arrow that stands for a missing minimum."""

GAPS = TRUE_GAP + np.concatenate([np.linspace(-TRUE_GAP, 0, 101), np.geomspace(1e-6, 1e6, 601)])
"""Gaps among which an optimum is looked for."""
Values = TypeVar("Values", float, np.ndarray)


def penalty(form: Form, distance: Values) -> Values:
    """Return phi(d) of the training loss for squared distances d, elementwise, in float64."""
    import torch

    from diffrop.diffusion.contrastive import phi

    values = torch.as_tensor(distance, dtype=torch.float64)
    found = phi(form, values, values.new_tensor(MARGIN)).numpy()
    return found if isinstance(distance, np.ndarray) else float(found)


def toy_loss(form: Form, tau: float, mean_1: Values, mean_2: Values) -> Values:
    """Return L(m_1, m_2) of this module's docstring, elementwise."""
    fit = WEIGHTS[0] * (mean_1 - TRUE_MEANS[0]) ** 2 + WEIGHTS[1] * (mean_2 - TRUE_MEANS[1]) ** 2
    return fit + tau * penalty(form, (mean_1 - mean_2) ** 2)


def optimum(form: Form, tau: float) -> tuple[float, float] | None:
    """Return the means (m_1, m_2) of least loss.

    The best of `GAPS` is refined between its neighbours, for any phi.

    Returns:
        None where the loss still falls at the largest gap: it is unbounded below.

    Raises:
        ValueError: tau is negative or not finite.
    """
    if not 0 <= tau < math.inf:
        raise ValueError(f"tau is {tau!r}; allowed: a finite number, 0 or more")
    losses = _loss_of_gap(form, tau, GAPS)
    place = int(losses.argmin())
    if place == len(GAPS) - 1:
        return None
    found = minimize_scalar(
        lambda gap: _loss_of_gap(form, tau, gap),
        bounds=(GAPS[max(0, place - 1)], GAPS[place + 1]),
        method="bounded",
        options={"xatol": 1e-10},
    )
    # The true gap is itself one of the gaps, and exact where no other is better.
    return _means(float(found.x if found.fun < losses[place] else GAPS[place]))


def _loss_of_gap(form: Form, tau: float, gap: Values) -> Values:
    """Return the least loss of all means with a gap, elementwise."""
    return CURVATURE * (gap - TRUE_GAP) ** 2 + tau * penalty(form, gap**2)


def shift(form: Form, tau: float) -> float:
    """Return the distance from the true means to the optimum; infinite if there is none."""
    best = optimum(form, tau)
    return math.inf if best is None else math.dist(best, TRUE_MEANS)


def toy_landscape_figure(tau: float = DEFAULT_TAU) -> Figure:
    """Draw each form's loss over the two means, and the shift of its optimum against tau.

    Returns:
        axes labelled by form, then one labelled "shift".

    Raises:
        ValueError: tau is not positive and finite.
    """
    if not 0 < tau < math.inf:
        raise ValueError(f"tau is {tau!r}; allowed: a finite number, more than 0")
    forms: tuple[Form, ...] = get_args(Form)
    num_rows = -(-(len(forms) + 1) // NUM_COLUMNS)
    num_places = num_rows * NUM_COLUMNS
    figure = style.new_figure(ROW_IN * num_rows)
    for place, form in enumerate(forms):
        axes = figure.add_subplot(num_rows, NUM_COLUMNS, place + 1, label=form)
        _draw_landscape(axes, form, tau)
        below = place + NUM_COLUMNS
        lowest = below >= len(forms) and below != num_places - 1
        axes.set_xlabel("mean m\u2081 (95 %)" if lowest else "")
        axes.set_ylabel("mean m\u2082 (5 %)" if place % NUM_COLUMNS == 0 else "")
        style.tidy_axes(axes)
        axes.grid(visible=False)
    _draw_shifts(figure.add_subplot(num_rows, NUM_COLUMNS, num_places, label="shift"), tau)
    truth = Line2D([], [], color="black", marker="x", linestyle="none", label="true means")
    best = Line2D(
        [],
        [],
        color=style.NEUTRAL,
        marker="o",
        markersize=9,
        markerfacecolor="none",
        markeredgewidth=1.6,
        linestyle="none",
        label="optimum",
    )
    collapsed = Line2D(
        [], [], color="black", linestyle=":", label="full overlap, m\u2081 = m\u2082"
    )
    style.add_legend(figure, [truth, best, collapsed])
    style.add_caption(figure, _caption(tau))
    return figure


def _means(gap: float) -> tuple[float, float]:
    """The best means with a gap."""
    excess = gap - TRUE_GAP
    return TRUE_MEANS[0] - WEIGHTS[1] * excess, TRUE_MEANS[1] + WEIGHTS[0] * excess


def _draw_landscape(axes: Axes, form: Form, tau: float) -> None:
    mean_1, mean_2 = np.meshgrid(np.linspace(*MEANS_1, 241), np.linspace(*MEANS_2, 321))
    loss = toy_loss(form, tau, mean_1, mean_2)
    height = np.sqrt(loss - loss.min())
    levels = np.linspace(0, height.max(), NUM_LEVELS)
    axes.contourf(mean_1, mean_2, height, levels, cmap="Greys", alpha=0.6)
    axes.contour(mean_1, mean_2, height, levels, colors="white", linewidths=0.5)
    line = np.array(MEANS_1)
    axes.plot(line, line, color="black", linestyle=":", linewidth=1)
    look, best = style.form_style(form), optimum(form, tau)
    note = "no minimum" if best is None else f"shift {shift(form, tau):.2f}"
    if best is None:
        axes.annotate(
            "",
            _means(TRUE_GAP + ARROW_LENGTH),
            TRUE_MEANS,
            arrowprops={"arrowstyle": "-|>", "color": look.colour, "linewidth": 1.8},
        )
    else:
        axes.plot(
            *best,
            marker="o",
            markersize=9,
            markerfacecolor="none",
            markeredgewidth=1.6,
            color=look.colour,
            label="optimum",
        )
    axes.plot(*TRUE_MEANS, marker="x", markersize=6, color="black", label="true means")
    axes.set_title(f"{look.label}: {note}", fontsize=style.CAPTION_PT, loc="left")
    axes.set(xlim=MEANS_1, ylim=MEANS_2)


def _draw_shifts(axes: Axes, tau: float) -> None:
    taus = np.geomspace(1e-3, 10, 121)
    for form in get_args(Form):
        shifts = np.array([shift(form, value) for value in taus])
        shown = np.isfinite(shifts) & (shifts > 0)
        if shown.any():
            look = style.form_style(form)
            axes.plot(taus[shown], shifts[shown], color=look.colour, label=look.label)
    axes.set(xlim=(taus[0], taus[-1]), ylim=(1e-3, 10))
    style.set_log(axes, "x")
    style.set_log(axes, "y")
    axes.axvline(
        CURVATURE, color=style.form_style("negative_l2").colour, linestyle="--", linewidth=1
    )
    axes.axvline(tau, color=style.NEUTRAL, linestyle=":", linewidth=1)
    axes.set_xticks([0.001, 0.1, 10])
    axes.set_xlabel("tau")
    axes.set_title("shift of the optimum", fontsize=style.CAPTION_PT, loc="left")
    style.tidy_axes(axes)
    axes.tick_params(labelsize=style.LEGEND_PT)


def _caption(tau: float) -> str:
    forms = ("negative_l2", "hinge", "none")
    unbounded, hinge, baseline = (style.form_style(form).label for form in forms)
    return (
        "Loss of two Gaussians over their means; weights 0.95 and 0.05, true means 0 and 2; "
        f"tau = {tau:g} (dotted); hinge margin {MARGIN:g}, the true distance; darker is higher, "
        "in equal steps of the root above the panel's least value.\n"
        f"{unbounded} has no minimum from tau = {CURVATURE:g} on (dashed), the product of the "
        f"weights; the arrow points downhill.\n{hinge} and {baseline} shift by 0 at every tau."
    )
