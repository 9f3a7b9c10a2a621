import dataclasses
from pathlib import Path

import pytest

from diffrop.analysis.data.load import StudyResults, load_study
from diffrop.analysis.report.protocol import method_text, protocol_rows
from diffrop.analysis.report.summary import answer
from diffrop.presets import apply_preset
from diffrop.recipes import recipe
from tests.made.analysed_study import (
    NINE_TRIALS,
    read_trials,
    write_checkpoint,
    write_study,
    write_trials,
)


@pytest.mark.parametrize(
    ("counts", "text"),
    [
        ([170, 131, 17], "170, 131, 17 (3 classes in label order, 318 images)"),
        ([1_500] * 98 + [7, 6, 5], "1,500, 1,500, 1,500, ..., 7, 6, 5 (101 classes"),
    ],
)
def test_class_counts_come_from_a_checkpoint(tmp_path: Path, counts: list, text: str) -> None:
    directory = write_study(tmp_path / "study", trials=NINE_TRIALS[6:8])
    write_checkpoint(directory, 6, 1_024, counts)
    (directory / "trials/t006/training/images_000000002048.safetensors").write_bytes(b"torn")
    rows = dict(protocol_rows(load_study(directory)))
    assert rows["Training images per class"].startswith(text)


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


def test_trials_without_a_comparable_score_are_counted(tmp_path: Path) -> None:
    directory = write_study(tmp_path / "study")
    rows = read_trials(directory)
    assert "Complete without a comparable score" not in dict(protocol_rows(load_study(directory)))
    rows[2]["sampler"] = "ancestral-1000"
    write_trials(directory, rows)
    assert dict(protocol_rows(load_study(directory)))["Complete without a comparable score"] == "1"
