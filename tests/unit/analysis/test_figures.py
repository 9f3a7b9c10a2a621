import importlib
import itertools
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.container import BarContainer
from matplotlib.text import Text

from analysis.command import run_command
from analysis.figures import FIGURES, applicable_figures, write_figures
from analysis.gradient_ratio import gradient_ratio_figure, gradient_ratios
from analysis.guidance_curve import guidance_curve_figure
from analysis.load import SHOT_GROUPS, StudyResults, load_study
from analysis.loss_forms import loss_forms_figure
from analysis.shot_groups import shot_groups_figure
from analysis.style import FORM_STYLES, caption, form_style, save_figure, sentence_figure
from analysis.tau_sensitivity import tau_sensitivity_figure

from .drawn import axes_of, lines_of, points, text_of
from .fake_study import ANCHORS, EXPERIMENT, NINE_TRIALS, read_trials, write_study, write_trials

COLUMN_IN = 3.3
"""Width of one column of a paper, at which text of 6 points can be read."""
PROTOCOL = (
    "FID on classifier-digits, N = 1,000, ddim-10, against the full training set, "
    "class-weighted; digits, imbalance 0.1; 24,000 images seen"
)


def test_caption_states_the_whole_protocol(study: StudyResults) -> None:
    assert caption(study) == PROTOCOL
    groups = caption(study, scores=["fid/all", "fid/many", "fid/few"])
    assert "N = 1,000 (300 per shot group), ddim-10" in groups
    assert "N = 300 per shot group, ddim-10" in caption(study, scores=["fid/few"])


def test_caption_without_results_says_planned(unfinished_study: StudyResults) -> None:
    protocol = "FID on classifier, N = 1,000, ddim-10; digits, imbalance 0.1; 24,000 images"
    assert caption(unfinished_study) == f"{protocol}; planned, no trial is complete"


def test_forms_have_distinct_colours_and_markers() -> None:
    assert len({style.colour for style in FORM_STYLES.values()}) == len(FORM_STYLES) == 5
    assert len({style.marker for style in FORM_STYLES.values()}) == 5
    assert form_style("a form of tomorrow").label == "a form of tomorrow"


@pytest.mark.parametrize("entry", FIGURES, ids=lambda entry: entry.name)
def test_every_figure_carries_its_protocol(study: StudyResults, entry) -> None:
    text = text_of(entry.draw(study))
    for part in ("FID on classifier-digits", "N = 1,000", "ddim-10", "digits, imbalance 0.1",
                 "24,000 images seen"):  # fmt: skip
        assert part in text


@pytest.mark.parametrize("entry", FIGURES, ids=lambda entry: entry.name)
@pytest.mark.parametrize("name", ["full_study", "unfinished_study"])
def test_nothing_is_cut_off_and_all_is_readable(
    request: pytest.FixtureRequest, name: str, entry
) -> None:
    figure = entry.draw(request.getfixturevalue(name))
    FigureCanvasAgg(figure).draw()
    drawn, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
    assert drawn.x0 >= 0 and drawn.y0 >= 0
    assert drawn.x1 <= width and drawn.y1 <= height
    texts = [text for text in figure.findobj(Text) if text.get_text() and text.get_visible()]
    assert min(text.get_fontsize() for text in texts) * COLUMN_IN / width >= 6


@pytest.mark.parametrize("entry", FIGURES, ids=lambda entry: entry.name)
def test_registry_has_words_and_a_module_of_the_same_name(entry) -> None:
    module = importlib.import_module(f"analysis.{entry.name}")
    assert entry.draw is getattr(module, f"{entry.name}_figure")
    assert entry.title and entry.reading.endswith(".")


@pytest.mark.parametrize("key", ["tau_0", "decay_temperature"])
def test_tau_sensitivity_draws_the_complete_trials(study: StudyResults, key: str) -> None:
    axes = axes_of(tau_sensitivity_figure(study), key)
    complete = study.trials[(study.trials["state"] == "COMPLETE") & ~study.trials["baseline"]]
    for form, group in complete.groupby("form"):
        (line,) = lines_of(axes, form_style(form).label)
        assert points(line) == set(zip(group[key], group["value"], strict=True))
        assert line.get_color() == form_style(form).colour
    (baseline,) = lines_of(axes, "baseline")
    assert set(baseline.get_ydata()) == {study.trials.loc[0, "value"]}
    (ring,) = lines_of(axes, "best")
    assert points(ring) == {(study.trials.loc[1, key], study.trials.loc[1, "value"])}
    assert axes.get_xscale() == "log"


def test_tau_sensitivity_keeps_pruned_trials_off_the_objective(study: StudyResults) -> None:
    figure = tau_sensitivity_figure(study)
    drawn = {x for line in axes_of(figure, "tau_0").lines for x, _ in points(line)}
    assert not drawn & set(study.trials.loc[[6, 7, 8], "tau_0"])
    strip = axes_of(figure, "tau_0 strip")
    (pruned,) = lines_of(strip, "PRUNED")
    assert list(pruned.get_xdata()) == [0.2] and pruned.get_markerfacecolor() == "none"
    assert {x for line in lines_of(strip, "FAIL") for x in line.get_xdata()} == {92.0, 15.0}
    assert [tick.get_text() for tick in strip.get_yticklabels()] == ["failed", "pruned"]


def test_tau_sensitivity_without_other_states_has_no_strip(tmp_path: Path) -> None:
    figure = tau_sensitivity_figure(
        load_study(write_study(tmp_path / "s", trials=NINE_TRIALS[:6]))
    )
    assert [axes.get_label() for axes in figure.axes] == ["tau_0", "decay_temperature"]


def test_objective_axis_is_logarithmic_for_outliers_only(
    tmp_path: Path, study: StudyResults
) -> None:
    assert axes_of(tau_sensitivity_figure(study), "tau_0").get_yscale() == "linear"
    directory = write_study(tmp_path / "study")
    rows = read_trials(directory)
    rows[4]["value"] = "480.0"
    write_trials(directory, rows)
    assert axes_of(tau_sensitivity_figure(load_study(directory)), "tau_0").get_yscale() == "log"


def test_tie_with_the_baseline_looks_like_one(tmp_path: Path) -> None:
    directory = write_study(tmp_path / "study", trials=NINE_TRIALS[:2])
    rows = read_trials(directory)
    rows[0]["value"], rows[1]["value"] = "390.67", "390.72"
    write_trials(directory, rows)
    low, high = axes_of(tau_sensitivity_figure(load_study(directory)), "tau_0").get_ylim()
    assert high - low == pytest.approx(0.05 * 390.7, rel=0.01) and low < 390.67 < 390.72 < high


def test_tau_sensitivity_with_the_baseline_alone_is_a_sentence(tmp_path: Path) -> None:
    figure = tau_sensitivity_figure(
        load_study(write_study(tmp_path / "s", trials=NINE_TRIALS[:1]))
    )
    (text,) = figure.axes[0].texts
    assert " ".join(text.get_text().split()).endswith("The baseline has 44.0.")


@pytest.mark.parametrize("score", ["fid/all", "fid/few"])
def test_guidance_curve_draws_the_best_trial_of_each_form(study: StudyResults, score: str) -> None:
    axes = axes_of(guidance_curve_figure(study), score)
    best = {"none": 0, "reciprocal": 1, "exponential": 2, "hinge": 3, "negative_l2": 4}
    for form, number in best.items():
        rows = study.measurements
        rows = rows[(rows["number"] == number) & (rows["score"] == score) & rows["final"]]
        (line,) = lines_of(axes, form_style(form).label)
        assert points(line) == set(zip(rows["omega"], rows["value"], strict=True))
        assert list(line.get_xdata()) == sorted(line.get_xdata())
    rings = {x: y for line in lines_of(axes, "best omega") for x, y in points(line)}
    assert len(lines_of(axes, "best omega")) == 5
    assert rings[1.0] in study.trials.loc[[1, 3], score].tolist()


def test_guidance_curve_names_the_n_of_each_panel(study: StudyResults) -> None:
    titles = [axes.get_title(loc="left") for axes in guidance_curve_figure(study).axes]
    assert titles == ["FID of all classes\nN = 1,000", "FID of few-shot classes\nN = 300"]


def test_guidance_curve_shows_all_classes_beside_a_few_shot_objective(tmp_path: Path) -> None:
    experiment = EXPERIMENT.with_values({"evaluation.objectives": ["fid/few"]}).to_dict()
    study = load_study(write_study(tmp_path / "study", experiment=experiment))
    labels = [axes.get_label() for axes in guidance_curve_figure(study).axes]
    assert labels == ["fid/few", "fid/all"]


def test_shot_group_bars_are_the_trials_scores(study: StudyResults) -> None:
    (axes,) = shot_groups_figure(study).axes
    bars = [c for c in axes.containers if isinstance(c, BarContainer)]
    columns = [f"fid/{group}" for group in SHOT_GROUPS]
    heights = [[bar.get_height() for bar in container] for container in bars]
    assert heights == study.trials.loc[[0, 4, 3, 1, 2], columns].values.tolist()
    assert axes.get_ylim()[0] == 0
    edges = sorted((bar.get_x(), bar.get_x() + bar.get_width()) for c in bars for bar in c)
    assert all(right <= left for (_, right), (left, _) in itertools.pairwise(edges))


def test_shot_groups_mention_the_anchors(study: StudyResults, tmp_path: Path) -> None:
    text = text_of(shot_groups_figure(study))
    few = ANCHORS["real"]["scores"]["fid/few"]
    assert "Real images in place of samples (N = 300 each): many 5.20" in text
    assert f"few {few:.2f}" in text and "Pure noise" in text and "501.0" in text
    bare = load_study(write_study(tmp_path / "study", anchors=False))
    assert "Real images" not in text_of(shot_groups_figure(bare))


def test_gradient_ratio_draws_medians_of_the_logged_steps(
    study: StudyResults, study_dir: Path
) -> None:
    (axes,) = gradient_ratio_figure(study).axes
    drawn = {point for line in axes.lines for point in points(line)}
    for number in range(1, 9):
        text = (study_dir / "trials" / f"t{number:03d}" / "training/metrics.jsonl").read_text()
        ratios = [json.loads(line)["pcl/grad_ratio"] for line in text.splitlines()]
        assert (study.trials.loc[number, "tau_0"], float(np.median(ratios))) in drawn
    assert axes.get_xscale() == axes.get_yscale() == "log"
    assert set(gradient_ratios(study)["number"]) == set(range(1, 9))  # the baseline has none
    (pruned,) = lines_of(axes, "exponential, not complete")
    assert pruned.get_markerfacecolor() == "none"


def test_dead_loss_stands_at_the_lower_edge(tmp_path: Path) -> None:
    directory = write_study(tmp_path / "study")
    path = directory / "trials" / "t002" / "training/metrics.jsonl"
    path.write_text('{"images_seen": 512, "pcl/grad_ratio": 0.0}\n')
    (axes,) = gradient_ratio_figure(load_study(directory)).axes
    (dead,) = lines_of(axes, "exponential, ratio 0")
    assert list(dead.get_xdata()) == [8.5] and "0" in [text.get_text() for text in axes.texts]


@pytest.mark.parametrize("entry", FIGURES, ids=lambda entry: entry.name)
def test_unfinished_study_gives_a_figure(unfinished_study: StudyResults, entry) -> None:
    figure = entry.draw(unfinished_study)
    if entry.name not in ("gradient_ratio", "learning_curves", "cost"):  # of running trials too
        (text,) = figure.axes[0].texts
        assert text.get_text().startswith("No ")
    assert "planned, no trial is complete" in text_of(figure)


@pytest.mark.parametrize("trials", [NINE_TRIALS[:2], NINE_TRIALS[7:8]])
def test_tiny_studies_draw_every_figure(tmp_path: Path, trials: tuple) -> None:
    study = load_study(write_study(tmp_path / "study", trials=trials))
    for entry in FIGURES:
        assert "FID on classifier" in text_of(entry.draw(study))


def test_dollar_signs_and_new_forms_are_plain_text(tmp_path: Path) -> None:
    experiment = EXPERIMENT.to_dict()
    experiment["data"]["dataset"] = "a$\\frac$b_{"
    directory = write_study(tmp_path / "study", trials=NINE_TRIALS[:2], experiment=experiment)
    rows = read_trials(directory)
    rows.append(rows[1] | {"number": "2", "form": "for$m"})
    write_trials(directory, rows)
    study = load_study(directory)
    for draw in (loss_forms_figure, tau_sensitivity_figure, guidance_curve_figure):
        figure = draw(study)
        figure.draw_without_rendering()
        shown = text_of(figure).replace("\\$", "$")
        assert "a$\\frac$b_{" in shown or "for$m" in shown


def test_write_figures_writes_png_and_svg_of_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("analysis.style.PNG_DPI", 40)
    directory = write_study(tmp_path / "study", trials=NINE_TRIALS[:2])
    paths = write_figures(directory)
    entries = applicable_figures(load_study(directory))
    names = [f"{entry.name}.{kind}" for entry in entries for kind in ("png", "svg")]
    assert [path.name for path in paths] == names
    left_out = {entry.name for entry in FIGURES} - {entry.name for entry in entries}
    assert left_out >= {"confirmation", "tau_schedules", "sample_neighbours", "class_confusion"}
    assert {path.parent for path in paths} == {directory / "figures"}
    assert all(path.read_bytes().startswith((b"\x89PNG", b"<?xml")) for path in paths)


def test_same_study_gives_the_same_bytes(study: StudyResults, tmp_path: Path) -> None:
    first, second = (
        [path.read_bytes() for path in save_figure(figure, tmp_path, "same")]
        for figure in (sentence_figure(study, "The same."), sentence_figure(study, "The same."))
    )
    assert first == second


def test_module_is_a_command_that_needs_no_trainer_and_no_pyplot(tmp_path: Path) -> None:
    directory = write_study(tmp_path / "study", trials=NINE_TRIALS[:2])
    script = tmp_path / "script.py"
    script.write_text(
        "import atexit, runpy, sys, analysis.report\n"
        "heavy = {'torch', 'ray', 'optuna', 'mlflow', 'matplotlib.pyplot'}\n"
        "atexit.register(lambda: print(heavy & set(sys.modules)))\n"
        "del sys.modules['analysis.shot_groups']\n"
        "runpy.run_module('analysis.shot_groups', run_name='__main__')\n"
    )
    done = subprocess.run(
        [sys.executable, str(script), str(directory)], capture_output=True, text=True, check=True
    )
    written = [directory / "figures" / f"shot_groups.{kind}" for kind in ("png", "svg")]
    assert done.stdout.split() == [*map(str, written), "set()"]
    assert all(path.is_file() for path in written)


def test_command_refuses_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["analysis.figures", str(tmp_path)])
    assert run_command(write_figures, "Draw.") == 2
    refusal = capsys.readouterr().err
    assert refusal.startswith("error: ") and "is no study" in refusal
    assert refusal.count("\n") == 1
