import dataclasses
import math
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from scipy import stats

from benchmarks.evidence import __main__ as command
from benchmarks.evidence import results, table, tables, training, wide_search
from benchmarks.evidence.arms import Arm
from benchmarks.evidence.claims import CLAIMS, FURTHER, Comparison
from benchmarks.evidence.compare import (
    Estimate,
    detectable,
    difference,
    final_scores,
    holm,
    num_failed,
    side_of,
)
from benchmarks.evidence.stages import (
    CBDM,
    CURVE,
    DDPM,
    EXPONENTIAL,
    FEW,
    REWEIGHTING,
    SETTINGS,
    STAGES,
    Stage,
)
from benchmarks.marked import replaced
from diffrop.baselines.classifier_config import ClassifierConfig
from diffrop.commands.study_method import COMMAND
from diffrop.record.study_folder import StudyFolder
from tests.made.evidence import made_frame
from tests.made.full_study import write_full_study

EFFECTS = {"CBDM": -6.0, "reweighting": 40.0}


def test_every_arm_of_every_stage_is_a_configuration() -> None:
    for stage in STAGES.values():
        names = {arm.name: arm.key for arm in stage.arms}
        assert len(names) == len(stage.arms) == len(set(names.values()))
        for arm in stage.arms:
            config = stage.setting.experiment(arm, seed=3)
            assert (config.training.seed, config.evaluation.seed) == (3, 12_348)
            assert config.training.num_images == max(stage.setting.rungs)
            for key, value in arm.values.items():
                assert config.to_dict()[key.split(".")[0]][key.split(".")[1]] == value


def test_what_is_compared_is_trained_with_the_seeds_of_both() -> None:
    for one in (*CLAIMS, *FURTHER):
        seeds: dict[str, set[int]] = {one.arm.key: set(), one.against.key: set()}
        for stage in STAGES.values():
            for arm, seed in stage.trainings():
                if stage.setting == one.setting and arm.key in seeds:
                    seeds[arm.key].add(seed)
        least = 3 if one.setting == CURVE else 8  # long trainings differ less
        assert len(seeds[one.arm.key] & seeds[one.against.key]) >= least, one.words


def test_an_estimate_is_the_t_interval_of_paired_values() -> None:
    rng = np.random.default_rng(1)
    a, b = pd.Series(rng.normal(3, 2, 9)), pd.Series(rng.normal(1, 2, 9))
    found, theirs = Estimate.of(a - b), stats.ttest_rel(a, b)
    interval = theirs.confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))
    assert found.p_value == pytest.approx(theirs.pvalue)
    assert math.isnan(Estimate.of(pd.Series([1.0])).low)
    assert math.isnan(Estimate.of(pd.Series([], dtype=float)).mean)


def test_a_detectable_difference_is_found_in_four_of_five_runs() -> None:
    effect = detectable(2.0 / math.sqrt(8), 7)
    values = np.random.default_rng(2).normal(effect, 2.0, (20_000, 8))
    found = stats.ttest_1samp(values, 0, axis=1).pvalue < 0.05
    assert found.mean() == pytest.approx(0.8, abs=0.01)
    assert detectable(0.0, 7) == 0.0


def test_holms_values_reject_what_his_steps_reject() -> None:
    rng = np.random.default_rng(3)
    for values in rng.beta(0.3, 2, (50, 6)).tolist():
        rejected, left = set(), sorted(range(6), key=values.__getitem__)
        while left and values[left[0]] <= 0.05 / len(left):
            rejected.add(left.pop(0))
        adjusted = holm(values)
        assert {i for i in range(6) if adjusted[i] <= 0.05} == rejected


def test_a_training_counts_at_its_best_omega_on_all_samples() -> None:
    frame = made_frame(FEW.name, EFFECTS)
    scores = final_scores(frame, DDPM)
    assert sorted(scores.index) == list(range(1, 21)) and set(scores["omega"]) == {0.5}
    assert set(scores["num_samples"]) == {1_000} and set(scores["images"]) == {40_960}
    failed = frame["fid/all"].where((frame["seed"] != 3) | (frame["settings"] != DDPM.key))
    failed_frame = frame.assign(**{"fid/all": failed})
    assert len(final_scores(failed_frame, DDPM)) == 19
    assert num_failed(failed_frame, DDPM.key) == 1 and num_failed(frame, DDPM.key) == 0


def test_differences_are_paired_over_seeds() -> None:
    frame = made_frame(FEW.name, EFFECTS)
    found = difference(frame, CBDM, DDPM, "fid/all")
    assert found.num == 8 and found.deviation < 6  # a training's own is 14
    assert side_of(found) == "lower" and abs(found.mean + 6) < 3
    assert side_of(difference(frame, DDPM, CBDM, "fid/all")) == "higher"
    accuracy = difference(frame, CBDM, DDPM, "classifier with generated")
    assert accuracy.mean == pytest.approx(0.006) and accuracy.num == 8


def test_a_claim_is_compared_with_the_side_of_the_interval() -> None:
    below, above = Estimate(-3.0, 1.0, 8), Estimate(3.0, 1.0, 8)
    near = Estimate(-0.1, 1.0, 8)
    claim = Comparison(words="", arm=CBDM, against=DDPM, claimed="lower")
    assert claim.outcome(below, 0.01) == "reproduced in direction"
    assert claim.outcome(below, 0.06) == "not decidable at this scale"  # among so many claims
    assert claim.outcome(above, 0.01) == "not reproduced"
    assert claim.outcome(near, 1.0) == "not decidable at this scale"
    assert dataclasses.replace(claim, claimed="open").outcome(below, 0.01) == "lower"


def test_an_interval_that_excludes_the_published_share_says_so() -> None:
    frame = made_frame(FEW.name, EFFECTS)
    claim = Comparison(words="", arm=CBDM, claimed="lower", published=(9.0, 10.0))
    level = final_scores(frame, DDPM)["fid/all"].mean()
    assert claim.as_published(lambda _: frame) == pytest.approx(-level / 10)
    accuracy = dataclasses.replace(claim, score="classifier with generated")
    assert accuracy.as_published(lambda _: frame) == pytest.approx(-0.01)
    assert dataclasses.replace(claim, published=None).as_published(lambda _: frame) is None
    near = Estimate(-0.1, 1.0, 8)
    assert claim.outcome(near, 1.0, -2.0) == "no effect of the paper's size"
    assert claim.outcome(near, 1.0, near.low + 0.01) == "not decidable at this scale"
    assert claim.outcome(Estimate(-0.1, math.nan, 1), 1.0, -2.0) == "not decidable at this scale"
    assert claim.outcome(Estimate(-3.0, 1.0, 8), 0.01, -9.0) == "reproduced in direction"


def test_trainings_of_another_protocol_do_not_count(tmp_path: Path) -> None:
    frame = made_frame(FEW.name, EFFECTS)
    table.append(FEW.name, frame.to_dict("records"), tmp_path)
    assert len(table.read(FEW, tmp_path)) == len(frame)
    longer = dataclasses.replace(FEW, rungs=(20_480, 81_920))
    other = dataclasses.replace(FEW, base={**FEW.base, "training.learning_rate": 2e-3})
    for changed in (longer, other, dataclasses.replace(FEW, num_samples=2_000)):
        assert table.read(changed, tmp_path).empty
    assert all(
        Arm.of_key(arm.key).key == arm.key for stage in STAGES.values() for arm in stage.arms
    )


def test_results_are_written_from_the_tables_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in SETTINGS:
        rows = made_frame(name, EFFECTS).to_dict("records")
        table.append(name, rows, tmp_path / "tables")
    page = tmp_path / "RESULTS.md"
    monkeypatch.setattr(results, "PAGE", page)
    monkeypatch.setattr(results, "ROOT", tmp_path)
    monkeypatch.setattr(results, "PICTURES", tmp_path / "pictures")
    monkeypatch.setattr("sys.argv", ["results", "--tables", str(tmp_path / "tables")])
    results.main()
    words = page.read_text()
    row = next(line for line in words.splitlines() if line.startswith("| Table 4"))
    assert "reweighting less DDPM" in row and "reproduced in direction" in row
    (mean,) = re.findall(r"\| 6\.45 - 5\.76 \| \+([\d.]+) \[", row)
    assert float(mean) == pytest.approx(EFFECTS["reweighting"], abs=5)  # with its draws' noise
    drawn = [Path(line) for line in capsys.readouterr().out.splitlines()]
    assert "pictures/summary.png" in map(str, drawn)
    for path in drawn:
        with Image.open(tmp_path / path) as image:
            assert image.width > 600


def test_results_that_lack_trainings_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in SETTINGS:
        frame = made_frame(name, EFFECTS)
        few = (frame["settings"] == CBDM.key) & (frame["seed"] > 6)
        table.append(name, frame[~few].to_dict("records"), tmp_path)
    monkeypatch.setattr("sys.argv", ["results", "--tables", str(tmp_path)])
    with pytest.raises(SystemExit, match="2"):
        results.main()
    assert "2 trainings of stage 'methods' are missing, such as CBDM;" in capsys.readouterr().err


def test_stages_beyond_the_paper_are_named_where_they_lack_trainings(tmp_path: Path) -> None:
    for name in SETTINGS:
        frame = made_frame(name, EFFECTS)
        beyond = {arm.key for arm in STAGES["wider"].arms}
        kept = frame[~(frame["settings"].isin(beyond) & (frame["seed"] > 2))]
        if name in (CURVE.name, FEW.name):
            table.append(name, kept.to_dict("records"), tmp_path)
    read = results.reader(tmp_path)
    words = results.page(read, None)
    assert "Does anything in the wide space help the few-shot classes? Stage `search`" in words
    assert "Stage `wider` lacks 30 of 40 trainings." in words
    for name in ("milder", "fashion"):
        assert f"Stage `{name}` lacks 32 of 32 trainings." in words
    assert "Stage `power`" not in words
    groups = words.split("<!-- groups -->")[1].split("<!-- /groups -->")[0].splitlines()
    reweighted = next(line for line in groups if line.startswith("| reweighting | "))
    assert tables.signed(Comparison(words="", arm=REWEIGHTING).estimate(read)) in reweighted
    names = {arm.name for arm in results.arms_of(read, FEW)}
    assert names == {arm.name for s in ("candidate", "forms", "methods") for arm in STAGES[s].arms}
    assert {one.setting.name for one in results.further(read)} == {FEW.name, CURVE.name}
    *_, whole = (line for line in words.splitlines() if line.startswith("| reweighting |"))
    assert whole.endswith("| 8 |")  # that of the means


def test_committed_results_are_those_of_the_committed_tables() -> None:
    read = results.reader(table.FOLDER)
    page = results.page(read, wide_search.read())
    assert results.PAGE.read_text() == page, "run make results"
    pictures = sorted(results.PICTURES.glob("*.png"))
    assert pictures
    for path in pictures:
        assert f"(docs/pictures/results/{path.name})" in results.PAGE.read_text()
        with Image.open(path) as image:
            assert image.text[results.HASH_KEY] == results.tables_hash(table.FOLDER), path


def test_the_study_of_the_wide_space_is_one_that_its_command_takes(tmp_path: Path) -> None:
    words = wide_search.command(tmp_path)[2:]
    study, launch = COMMAND.configs(COMMAND.parser("").parse_args(words), {})
    assert (study.num_trials, launch.confirm_seeds, launch.confirm) == (32, 8, 2)
    assert study.rungs[-1].images == max(FEW.rungs) == study.experiment.training.num_images
    (tmp_path / wide_search.NAME).mkdir()
    StudyFolder(tmp_path / wide_search.NAME).config.touch()
    assert wide_search.command(tmp_path) == ["study", "method", *words, "--resume"]


def test_a_study_is_kept_in_small_tables(tmp_path: Path) -> None:
    write_full_study(tmp_path / "study")
    assert wide_search.read(tmp_path) is None
    wide_search.keep(StudyFolder(tmp_path / "study"), tmp_path / wide_search.NAME)
    found = wide_search.read(tmp_path)
    assert found is not None and len(found.trials) == 18
    assert "18 trials: 13 complete, 3 pruned, 1 fail, 1 running." in tables.search_in_words(found)
    leader = tables.leaders_table(found).splitlines()[2]
    assert leader.startswith("| t001 reciprocal | ") and "| -2.33 [-3.23, -1.43] |" in leader
    ratios = found.trials.set_index("number")[wide_search.RATIO]
    assert leader.endswith(f"| {100 * ratios[1]:.1f} % |") and math.isnan(ratios[0])
    rows = tables.choices_table(found, ["contrastive.tau_schedule"]).splitlines()[2:]
    whole = found.trials[found.trials["state"] == "COMPLETE"]
    linear = whole[whole["contrastive.tau_schedule"] == "linear"]["difference_value"]
    assert (
        f"| tau schedule | linear | 3 | 2 | {linear.median():+.1f} | {linear.min():+.1f} |"
        in rows[3]
    )


def test_numbers_in_the_words_of_the_page_stand_in_its_tables() -> None:
    words = results.SOURCE.read_text()
    quoted = re.findall(r"[+-][\d.]+ \[[^\]]+\]", words)
    assert quoted
    readme = (results.ROOT / "README.md").read_text().partition("## Your own images")[0]
    quoted += re.findall(r"[+-][\d.]+ \[[+-][^\]]+\]", readme)
    page = results.page(results.reader(table.FOLDER), wide_search.read())
    tabled = "\n".join(line for line in page.splitlines() if line.startswith("|"))
    assert [found for found in quoted if " ".join(found.split()) not in tabled] == []


def test_a_place_that_is_missing_or_doubled_is_named() -> None:
    assert replaced("<!-- a -->\nold\n<!-- /a -->", "a", "new") == "<!-- a -->\nnew\n<!-- /a -->"
    for text in ("", "<!-- /a --><!-- a -->", "<!-- a --><!-- a --><!-- /a -->"):
        with pytest.raises(ValueError, match="no place for 'a'"):
            replaced(text, "a", "new")


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> Stage:
    setting = dataclasses.replace(
        FEW,
        name="tiny",
        rungs=(64, 128),
        rung_samples=125,
        num_samples=250,
        counts=(125,),
        omegas=(0.0, 1.0),
    )
    stage = Stage(name="tiny", question="?", setting=setting, arms=(EXPONENTIAL,), seeds=(0, 1))
    monkeypatch.setitem(SETTINGS, "tiny", setting)
    monkeypatch.setitem(STAGES, "tiny", stage)
    short = ClassifierConfig(num_images=256, crop_padding=1, horizontal_flip=False)
    monkeypatch.setattr(training, "classifier_recipe", lambda dataset: short)
    return stage


def test_a_training_adds_its_scores_and_is_not_repeated(tiny: Stage, tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    rows = training.train("tiny", EXPONENTIAL, 1, tmp_path)
    torch.set_num_threads(threads)
    assert [(row["images"], row["omega"], row["num_samples"]) for row in rows] == [
        (64, 0.0, 125),
        (64, 1.0, 125),
        (128, 0.0, 125),
        (128, 0.0, 250),
        (128, 1.0, 125),
        (128, 1.0, 250),
    ]
    assert all(set(row) <= set(table.COLUMNS) for row in rows)
    assert 0 <= rows[-1]["classifier with generated"] <= 1
    assert rows[-1]["grad_ratio"] > 0 and rows[-1]["fid/few low"] < rows[-1]["fid/few"]
    table.append("tiny", rows, tmp_path)
    left = command.missing(tiny, tmp_path)
    assert [seed for _, seed in left] == [0]
    seconds = rows[-1]["training_s"] + sum(row.get("scoring_s", 0) for row in rows)
    assert command.expected_s(tiny, left, tmp_path) == pytest.approx(seconds)
