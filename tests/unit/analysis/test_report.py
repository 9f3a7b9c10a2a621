import base64
import dataclasses
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from analysis.checkpoint_card import read_card
from analysis.load import StudyResults, load_study
from analysis.protocol import method_text, protocol_rows
from analysis.report import write_report
from analysis.summary import answer, counts_in_words
from analysis.trial_table import trial_columns, trial_rows
from diffrop.presets import apply_preset
from diffrop.recipes import recipe

from .fake_study import NINE_TRIALS, read_trials, write_checkpoint, write_study, write_trials

VOID = ("meta", "br", "img", "path", "use", "rect")
EVIL = "<script>alert('x')</script><img src=https://evil.example/x.png onerror=alert(1)>"


class Page(HTMLParser):
    """Collects tags, attributes and text, and checks that tags are closed in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    @property
    def words(self) -> str:
        return " ".join(self.text.split())


@pytest.fixture
def without_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spare the drawing, most of a report's time."""
    monkeypatch.setattr("analysis.figures.applicable_figures", lambda study: [])


@pytest.fixture(scope="module")
def html(study_dir: Path) -> str:
    path = write_report(study_dir)
    assert path == study_dir / "report.html" and not list(study_dir.glob("*.tmp"))
    return path.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(html: str) -> Page:
    return Page(html)


def test_answer_comes_first_and_is_honest(page: Page, study: StudyResults) -> None:
    best, baseline = study.trials.loc[1, "value"], study.trials.loc[0, "value"]
    words = page.words
    assert "Best: reciprocal form, tau_0 = 3.2, decay temperature = 0.3." in words
    for number in (f"{best:.2f}", f"{baseline:.2f}", f"{best - baseline:+.2f}", "N = 1,000"):
        assert number in words[: words.index("Scale:")]
    assert "There is one training seed per trial, which no interval here holds" in words
    assert words.index("Answer") < words.index("Figures") < words.index("Trials")


@pytest.mark.usefixtures("without_figures")
def test_difference_within_the_noise_of_samples_is_called_none(tmp_path: Path) -> None:
    study = write_study(tmp_path / "close")
    rows = read_trials(study)
    rows[1] |= {"difference_value": "-1.5", "difference_low": "-4", "difference_high": "1"}
    write_trials(study, rows)
    words = Page(write_report(study).read_text()).words
    assert "No difference found. The best contrastive trial, reciprocal form" in words
    assert "-4.00 to +1.00, paired over samples" in words


@pytest.mark.usefixtures("without_figures")
def test_all_metrics_are_listed_with_their_better_direction(tmp_path: Path) -> None:
    study = write_study(tmp_path / "metrics")
    rows = read_trials(study)
    for row in rows[:2]:
        row |= {"kid/all": "0.0123", "recall/few": "0.5", "inception_score/all": "7.25"}
    write_trials(study, rows)
    words = Page(write_report(study).read_text()).words
    assert "KID, lowert0010.0123---" in words
    assert "improved recall, higherbaseline---0.500" in words
    assert "Inception Score, higherbaseline7.25" in words


def test_page_is_whole_and_loads_nothing(page: Page, html: str) -> None:
    assert page.open == []
    assert "http://" not in html and "https://" not in html and "@import" not in html
    assert [attributes for tag, attributes in page.tags if tag == "script"] == [{}]
    for tag, attributes in page.tags:
        assert tag not in ("link", "iframe", "object", "base", "form")
        for name in ("src", "href", "xlink:href"):
            target = attributes.get(name) or "#"
            assert target.startswith(("#", "data:image/png;base64,"))
        assert not [name for name in attributes if name.startswith("on")]
    assert all(target.startswith("#") for target in re.findall(r"url\(([^)]*)\)", html))


def test_figures_are_inline_and_their_ids_unique(page: Page) -> None:
    assert [tag for tag, _ in page.tags].count("svg") >= 4
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) > 50 and len(ids) == len(set(ids))
    used = [a["xlink:href"] for tag, a in page.tags if tag == "use"]
    assert used and {str(target).removeprefix("#") for target in used} <= set(ids)
    assert page.words.count("FID on classifier-digits, N = 1,000") >= 5


def test_page_adapts_to_dark_and_to_phones(html: str) -> None:
    assert "prefers-color-scheme: dark" in html and "#000000" not in html
    assert 'name="viewport"' in html and ".scroll { overflow-x: auto" in html
    assert html.count("<table") == html.count('<div class="scroll')


def test_sample_grids_of_baseline_and_best_are_embedded(page: Page, study_dir: Path) -> None:
    sources = [a["src"] for tag, a in page.tags if tag == "img"]
    grids = [study_dir / "trials" / name / "samples" / "images_000000024000.png"
             for name in ("t000", "t001")]  # fmt: skip
    expected = [base64.b64encode(grid.read_bytes()).decode() for grid in grids]
    assert sources == [f"data:image/png;base64,{data}" for data in expected]


def test_protocol_reproduction_and_versions_are_told(page: Page) -> None:
    for part in (
        "python -m studies.tau_sweep --trials 9", "python -m analysis.report", "torch 2.14.1",
        "imbalance 0.1", "sampling 12345", "0123abc", "1000 real images against the other 797",
        "0.995 to 1.05", "contrastive.form is hinge", "best of 0, 0.5, 1, 2 by the objective",
    ):  # fmt: skip
        assert part in page.words


@pytest.mark.parametrize(
    ("counts", "told"),
    [
        ([170, 131, 17], "170, 131, 17 (3 classes in label order, 318 images)"),
        ([1_500] * 98 + [7, 6, 5], "1,500, 1,500, 1,500, ..., 7, 6, 5 (101 classes"),
    ],
)
def test_class_counts_come_from_a_checkpoint(tmp_path: Path, counts: list, told: str) -> None:
    directory = write_study(tmp_path / "study", trials=NINE_TRIALS[6:8])
    write_checkpoint(directory, 6, 1_024, counts)
    (directory / "trials/t006/training/images_000000002048.safetensors").write_bytes(b"torn")
    rows = dict(protocol_rows(load_study(directory)))
    assert rows["Training images per class"].startswith(told)


def test_card_of_a_real_safetensors_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "images_000000000064.safetensors"
    save_file({"x": np.zeros(3)}, path, metadata={"card": json.dumps({"class_counts": [3, 1]})})
    assert read_card(path) == {"class_counts": [3, 1]}


@pytest.mark.parametrize("content", [b"", b"\xff" * 8, b"\x02" + bytes(7) + b"{}", b"garbage" * 9])
def test_broken_checkpoint_has_no_card(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "images_000000000064.safetensors"
    path.write_bytes(content)
    assert read_card(path) == {} and read_card(tmp_path / "missing") == {}


def test_table_ranks_only_complete_trials(study: StudyResults) -> None:
    rows, columns = trial_rows(study), trial_columns(study)
    assert [row.cells[0].text for row in rows] == ["1", "2", "3", "4", "5", "6", "", "", ""]
    assert [row.best for row in rows] == [True] + 8 * [False]
    best = dict(zip(columns, (cell.text for cell in rows[0].cells), strict=True))
    trial = study.trials.loc[1]
    assert best["trial"] == "t001" and best["omega"] == "1" and best["accuracy"] == "0.750"
    assert (
        best["FID all"] == f"{trial['fid/all']:.1f}" and best["few"] == f"{trial['fid/few']:.1f}"
    )


def test_table_gives_pruned_and_failed_trials_words_for_scores(study: StudyResults) -> None:
    notes = {row.cells[1].text: row.note for row in trial_rows(study)[6:]}
    assert notes == {
        "t006": "stopped at 6,016 images",
        "t007": "NonFiniteError: loss is nan at image 1,024 (never scored)",
        "t008": "worker died twice (last scored at 6,016 images)",
    }
    scores = len(trial_columns(study)) - len(trial_rows(study)[6].cells)
    assert scores == 7  # omega, four FIDs, accuracy and the difference, all left out


def test_other_searched_keys_become_columns(tmp_path: Path) -> None:
    space = [{"name": "contrastive.space", "type": "categorical", "choices": ["mu", "x0"]}]
    directory = write_study(tmp_path / "study", space=space)
    rows = read_trials(directory)
    rows[1]["contrastive.space"] = "x0"
    write_trials(directory, rows)
    study = load_study(directory)
    row = dict(zip(trial_columns(study), trial_rows(study)[0].cells, strict=True))
    assert row["contrastive.space"].text == "x0"
    assert "decay temperature = 0.3, contrastive.space = x0." in answer(study).headline


def test_counts_are_told_in_words(study: StudyResults) -> None:
    assert counts_in_words(study).startswith("9 trials: 6 complete, 1 pruned, 2 failed; ")


def test_loss_that_did_not_help_is_said_so(tmp_path: Path) -> None:
    study = load_study(write_study(tmp_path / "s", trials=[NINE_TRIALS[0], NINE_TRIALS[4]]))
    found = answer(study)
    assert found.headline.startswith("No contrastive loss scored better than the baseline.")
    gap = study.trials.loc[1, "value"] - study.trials.loc[0, "value"]
    assert f"{gap:.2f} higher" in found.headline and found.facts[2][1] == f"+{gap:.2f}"


def test_missing_baseline_is_said_so(tmp_path: Path) -> None:
    found = answer(load_study(write_study(tmp_path / "s", trials=NINE_TRIALS[1:3])))
    assert "The baseline is not complete" in found.headline and len(found.facts) == 1


def test_unfinished_study_has_a_report(unfinished_study: StudyResults) -> None:
    page = Page(write_report(unfinished_study.directory).read_text(encoding="utf-8"))
    assert "so there is no answer yet" in page.words and "stored no anchors" in page.words
    assert "The study stored no command" in page.words and page.open == []


def test_everything_a_user_can_write_is_escaped(tmp_path: Path) -> None:
    space = [{"name": EVIL, "type": "float", "low": EVIL, "high": 1, "when": {EVIL: EVIL},
              "source": EVIL}]  # fmt: skip
    trials = [NINE_TRIALS[number] for number in (0, 1, 7)]
    texts = {"name": EVIL, "command": EVIL, "seed": EVIL}
    directory = write_study(tmp_path / "study", trials=trials, space=space, **texts)
    rows = read_trials(directory)
    for row in rows:
        row["message"], row["extractor"] = EVIL, EVIL
    rows[1]["form"] = EVIL
    write_trials(directory, [row | {EVIL: str(i)} for i, row in enumerate(rows)])
    html = write_report(directory).read_text(encoding="utf-8")
    page = Page(html)
    assert html.count("<script") == 1 and "<img src=https" not in html
    assert page.words.count(EVIL) >= 8  # as text
    assert [tag for tag, _ in page.tags].count("script") == 1 and page.open == []
    assert all(a["src"].startswith("data:") for tag, a in page.tags if tag == "img")


def test_folder_that_is_no_study_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is no study"):
        write_report(tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("preset", "words"),
    [
        ("ddpm", "DDPM"),
        ("cbdm-diffrop", "CBDM"),
        ("sqrt-rs", "DDPM, sqrt class sampling"),
        ("reweighting", "DDPM, loss weighted by 1 / n_c"),
        ("diffaug", "DDPM, DiffAug (color, translation, cutout)"),
        ("ada", "DDPM, conditional augmentation (0.12)"),
    ],
)
def test_report_names_the_method_that_all_trials_share(
    study: StudyResults, preset: str, words: str
) -> None:
    experiment = apply_preset(preset, recipe("cifar10").experiment).to_dict()
    study = dataclasses.replace(study, config={**study.config, "experiment": experiment})
    assert method_text(study) == words
    assert dict(protocol_rows(study))["Method"].startswith(words)
    assert f"Baseline ({words})" in [name for name, _, _ in answer(study).facts]
