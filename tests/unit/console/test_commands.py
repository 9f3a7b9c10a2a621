import re
from pathlib import Path

import pytest

from diffrop.console.call import Call
from diffrop.console.commands import StudyCommand
from tests.made import no_pages
from tests.made.faults import fault
from tests.made.small import SPACE

COMMAND = StudyCommand("tau", "A study.", SPACE, pages=no_pages)


def refused(
    capsys: pytest.CaptureFixture[str], root: Path, *options: str, runs_root: str | None = None
) -> str:
    """Run a command that must fail; return its one line of error."""
    argv = ["--runs-root", runs_root or str(root / "runs"), *options]
    with pytest.raises(SystemExit) as ended:
        COMMAND.main(Call("diffrop study tau", argv, {}))
    assert ended.value.code == 2
    assert not (root / "runs").exists()
    return capsys.readouterr().err.strip().splitlines()[-1]


@fault(21, "wrong options of real commands")
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--set", "training.learning_rat=1"], r"did you mean training.learning_rate\?"),
        (["--set", "training.learning_rate=fast"], "learning_rate is 'fast'; allowed: a number"),
        (["--set", "nothing"], "'nothing' is no KEY=VALUE"),
        (["--trials", "1"], "num_trials is 1; allowed: at least 2, at most"),
        (["--study-name", "../x"], "name is '../x'; allowed: letters"),
        (["--space", "/nowhere.yaml"], "cannot read /nowhere.yaml"),
        (["--dataset", "image_folder"], "To fix: name a folder with --data-root"),
        (["--dataset", "image_folder", "--data-root", "/nowhere"], "/nowhere"),
        (["--imbalance-factor", "half"], "'half' is no factor; allowed: a number, or own"),
        (["--imbalance-factor", "0.001"], "leaves class 7 without an image"),
        (["--workers-per-trial", "64", "--batch-size", "512"], r"needs 64 CPUs, and there are \d"),
        (["--gpus-per-worker", "9"], "needs 9 GPUs, and there are"),
        (["--gpus-per-worker", "1.5"], "gpus_per_worker is 1.5; allowed: 0 to 1"),
        (
            ["--gpus-per-worker", "0.5", "--workers-per-trial", "2"],
            "gpus_per_worker is 0.5; allowed: a whole number, with several workers",
        ),
        (["--workers-per-trial", "3"], "batch_size is 64 over 3"),
        (["--rung-samples", "0"], "rung_samples is 0; allowed: at least 2"),
        (["--rung-samples", "7"], "7 samples.*at least 20"),
        (["--omegas", "1,1"], "guidance_scales is .* distinct"),
        (["--resume"], "--resume needs --study-name"),
        (["--resume", "--study-name", "x"], "no study 'x'.*no studies yet"),
        (["--tracking-uri", "ftp://x"], "tracking"),
        (["--extractor", "vgg"], "extractor is 'vgg'; allowed: classifier"),
        (["--extractor-weights", "/nowhere", "--extractor", "inception-v3-compat"], "/nowhere"),
        (["--preset", "gan"], "invalid choice.*cbdm-diffrop"),
        (["--objective-loss", "gan"], "invalid choice.*cbdm"),
        (["--diffaug", "color,cutout"], "color, cutout on grey images.*translation, cutout"),
        (["--diffaug", "colour"], "diffaug.0. is 'colour'; allowed: color, translation, cutout"),
        (["--init-from", "/nowhere"], "init_from: /nowhere is not a readable checkpoint"),
        (["--set", "model.channel_multipliers=[1,1,1,1,1]"], "divisible by 16"),
    ],
)
def test_wrong_input_ends_in_one_sentence_and_exit_code_2(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, options: list[str], message: str
) -> None:
    error = refused(capsys, tmp_path, *options)
    assert re.search(message, error), error


def test_unwritable_root_is_refused_before_anything_is_loaded(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    error = refused(capsys, tmp_path, runs_root=str(tmp_path / "file" / "runs"))
    assert "cannot write" in error


def test_dry_run_prints_the_plan_and_writes_nothing(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("diffrop.console.dry_run.DRY_RUN_LIMIT_S", 0.5)
    root = tmp_path / "runs"
    assert (
        COMMAND.main(
            Call(
                "diffrop study tau",
                ["--runs-root", str(root), "--dry-run", "--study-name", "p"],
                {},
            )
        )
        == 0
    )
    output = capsys.readouterr().out
    assert "690 images in 10 classes (170 ... 17)" in output
    assert "10,240" in output and "20,480" in output
    assert "Cost: about" in output and "Dry run: nothing was started" in output
    assert not root.exists()
    assert max(map(len, output.splitlines())) <= 80 or "Study p in" in output


def test_help_fits_80_columns_and_names_every_group(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        COMMAND.main(Call("diffrop study tau", ["--help"], {}))
    assert ended.value.code == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    for heading in ("the study:", "the data:", "a trial:", "where it runs:"):
        assert heading in lines


def test_ablation_refuses_workers_that_split_a_searched_group(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    space = str(SPACE.with_name("ablation.yaml"))
    error = refused(capsys, tmp_path, "--space", space, "--workers-per-trial", "8")
    assert "batch_size is 64 over 8 worker(s); allowed: a multiple" in error
