import functools
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from matplotlib.figure import Figure

from diffrop.analysis.command import main
from diffrop.analysis.data import load
from diffrop.analysis.figures import style
from diffrop.analysis.figures.guidance_sweep import COLUMNS, write_guidance_sweep
from diffrop.analysis.figures.registry import OTHER_TITLES, TITLES, study_figure
from tests.made.analysed_study import NINE_TRIALS, read_trials, write_study, write_trials
from tests.made.full_study import write_full_study

Spoil = Callable[[Path], None]


def sweep_table() -> pd.DataFrame:
    """One checkpoint at two omegas."""
    shared = ("t000 baseline", "none", 64)
    protocol = (40, "pixels", "full training set")
    rows = [
        (*shared, omega, "ddim-2", "fid/all", 40 + omega, 39 + omega, 42.0, *protocol)
        for omega in (0.0, 1.0)
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _empty_table(directory: Path) -> None:
    header = (directory / "trials.csv").read_text().splitlines()[0]
    (directory / "trials.csv").write_text(f"{header}\n")


def _unfinished(directory: Path) -> None:
    rows = [row | {"state": "RUNNING", "value": ""} for row in read_trials(directory)]
    write_trials(directory, rows)


def _without_trials(directory: Path) -> None:
    shutil.rmtree(directory / "trials")


def _without_store(directory: Path) -> None:
    shutil.rmtree(directory.parent / "checkpoints")


def _bare(directory: Path) -> None:
    for path in directory.iterdir():
        if path.name not in ("study.yaml", "trials.csv"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


@pytest.fixture(
    scope="module", params=[_empty_table, _unfinished, _without_trials, _without_store, _bare]
)
def incomplete(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Studies of which only a part is there."""
    directory = write_full_study(tmp_path_factory.mktemp("incomplete") / "full")
    request.param(directory)
    return directory


def test_incomplete_study_gives_a_figure_or_a_sentence_for_every_name(
    incomplete: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    drawn: list[Figure] = []

    def keep(figure: Figure, folder: Path, name: str) -> list[Path]:
        drawn.append(figure)
        return [folder / name]

    monkeypatch.setattr(style, "save_figure", keep)
    monkeypatch.setattr(load, "load_study", functools.cache(load.load_study))
    for name in TITLES:
        assert main([name, str(incomplete)]) == 0, capsys.readouterr().err
    assert len(drawn) == len(TITLES)
    assert all(figure.get_supxlabel() for figure in drawn)


def _no_file(directory: Path) -> None:
    (directory / "study.yaml").unlink()


def _foreign(directory: Path) -> None:
    (directory / "study.yaml").write_text("model: resnet\nepochs: 3\n")


def _binary(directory: Path) -> None:
    (directory / "study.yaml").write_bytes(b"\x89PNG\xff\xfe")


def _no_table(directory: Path) -> None:
    (directory / "trials.csv").unlink()


def _torn_score(directory: Path) -> None:
    path = directory / "trials" / "t001" / "scores" / "images_000000006016.json"
    path.write_text('{"images_seen": 60')


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (_no_file, "is no study"),
        (_foreign, "has format None; allowed: 3"),
        (_binary, "study.yaml is damaged"),
        (_no_table, "has no results yet"),
    ],
)
def test_spoiled_study_ends_a_command_with_one_sentence(
    tmp_path: Path,
    spoil: Spoil,
    sentence: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    directory = write_study(tmp_path / "study", trials=NINE_TRIALS[:2])
    spoil(directory)
    for name in ("loss_forms", "all", "report", "study_comparison"):
        with pytest.raises(SystemExit) as ended:
            main([name, str(directory)])
        assert ended.value.code == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("error: ") and sentence in line
    assert not (directory / "figures").exists()


def test_torn_score_is_named_and_costs_itself_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = write_study(tmp_path / "study", trials=NINE_TRIALS[:2])
    _torn_score(directory)
    with pytest.warns(UserWarning, match=r"images_000000006016\.json .*it is lost"):
        assert main(["loss_forms", str(directory)]) == 0
    assert "loss_forms" in capsys.readouterr().out


def test_command_writes_into_the_given_folder(
    study_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["loss_forms", str(study_dir), "--out", str(tmp_path / "here")]) == 0
    written = [tmp_path / "here" / f"loss_forms.{kind}" for kind in ("png", "svg")]
    assert capsys.readouterr().out.split() == [str(path) for path in written]
    assert all(path.is_file() for path in written)


@pytest.mark.parametrize(
    "typed",
    [
        ["tau-sweep", "--tracking-uri", "sqlite:////runs/mlflow.db"],
        ["sqlite:////runs/mlflow.db#tau-sweep"],
    ],
)
def test_command_reads_a_study_from_mlflow(
    study_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, typed: list[str]
) -> None:
    asked: list[tuple[str, str]] = []

    def download(uri: str, name: str, directory: Path | None) -> Path:
        asked.append((uri, name))
        return study_dir

    monkeypatch.setattr(load, "download", download)
    monkeypatch.setattr("diffrop.analysis.figures.drawing.applicable_figures", lambda study: [])
    monkeypatch.chdir(tmp_path)
    for more in (["--out", "out"], []):
        assert main(["loss_forms", *typed, *more]) == 0

    def of_a_folder(folder: Path) -> str:
        pytest.fail(f"{folder} is no folder of this study")

    assert main(["report", *typed, "--out", "out"], standing=of_a_folder) == 0
    assert asked == [("sqlite:////runs/mlflow.db", "tau-sweep")] * 3
    drawn = {"loss_forms.png", "loss_forms.svg"}
    assert {path.name for path in Path("out").iterdir()} == {*drawn, "report.html"}
    assert {path.name for path in Path("tau-sweep", "figures").iterdir()} == drawn


def test_all_draws_what_applies(
    study_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    names = ("loss_forms", "cost")
    monkeypatch.setattr(
        "diffrop.analysis.figures.drawing.applicable_figures",
        lambda study: map(study_figure, names),
    )
    assert main(["all", str(study_dir), "--out", str(tmp_path)]) == 0
    written = [str(tmp_path / f"{name}.{kind}") for name in names for kind in ("png", "svg")]
    assert capsys.readouterr().out.split() == written


def test_figures_of_no_single_study_are_reached_by_name(
    study_dir: Path, full_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    compared = ["study_comparison", str(study_dir), str(full_dir)]
    assert main([*compared, "--out", str(tmp_path)]) == 0
    assert main(["toy_landscape", "--tau", "0.1", "--out", str(tmp_path)]) == 0
    swept = tmp_path / "swept"
    write_guidance_sweep(sweep_table(), swept)
    (swept / "guidance_sweep.png").unlink()
    assert main(["guidance_sweep", str(swept)]) == 0
    names = {Path(line).name for line in capsys.readouterr().out.split()}
    assert names == {f"{name}.{kind}" for name in OTHER_TITLES for kind in ("png", "svg")}
    assert (swept / "guidance_sweep.png").is_file()


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        (
            ["loss_form", "runs/a"],
            "no figure 'loss_form'; the nearest names are loss_forms",
        ),
        (["guidance", "runs/a"], "the nearest names are guidance_"),
        (["xyz"], "there is no figure 'xyz'; `diffrop figures list` lists all figures"),
        ([], "required: NAME"),
        (["loss_forms"], "required: STUDY"),
        (["loss_forms", "runs/a", "runs/b"], "unrecognized arguments: runs/b"),
        (["study_comparison"], "required: STUDY"),
        (["loss_forms", "runs/a", "--tau", "1"], "unrecognized arguments: --tau"),
        (["toy_landscape", "--tau", "much"], "argument --tau: invalid float value: 'much'"),
        (["toy_landscape", "--tau", "-1"], "tau is -1.0; allowed"),
        (["guidance_sweep", "nowhere"], "nowhere holds no guidance_sweep.csv; allowed"),
    ],
)
def test_wrong_command_line_is_refused_in_one_sentence(
    argv: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(argv)
    assert ended.value.code == 2
    said = capsys.readouterr()
    assert said.err.startswith("error: ") and sentence in said.err
    assert said.out == "" and said.err.count("\n") == 1


def test_list_and_help_name_every_figure(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    titles = TITLES | OTHER_TITLES
    assert [line.split(maxsplit=1) for line in lines] == [list(item) for item in titles.items()]
    with pytest.raises(SystemExit) as done:
        main(["--help"])
    assert done.value.code == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in (*titles, "list", "all", "report"))


HEAVY = ("torch", "ray", "mlflow", "optuna", "scipy", "sklearn", "pandas", "numpy", "matplotlib")


@pytest.mark.parametrize("argv", [["list"], ["--help"], ["cost", "--help"], ["loss_form", "a"]])
def test_what_draws_nothing_imports_nothing_heavy(argv: list[str]) -> None:
    program = (
        "import atexit, runpy, sys\n"
        f"atexit.register(lambda: print('heavy', {set(HEAVY)} & set(sys.modules)))\n"
        f"sys.argv = ['diffrop', 'figures', *{argv}]\n"
        "runpy.run_module('diffrop', run_name='__main__')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "heavy set()", done.stderr


def test_figure_of_stored_results_needs_no_trainer_and_no_pyplot(tmp_path: Path) -> None:
    directory = write_study(tmp_path / "study", trials=NINE_TRIALS[:2])
    program = (
        "import atexit, runpy, sys, diffrop.analysis.report.page\n"
        "heavy = {'torch', 'ray', 'optuna', 'mlflow', 'matplotlib.pyplot'}\n"
        "atexit.register(lambda: print(heavy & set(sys.modules)))\n"
        f"sys.argv = ['diffrop', 'figures', 'shot_groups', {str(directory)!r}]\n"
        "runpy.run_module('diffrop', run_name='__main__')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    written = [directory / "figures" / f"shot_groups.{kind}" for kind in ("png", "svg")]
    assert done.stdout.split() == [*map(str, written), "set()"]
    assert all(path.is_file() for path in written)
