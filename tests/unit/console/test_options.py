"""The table of options, and the parsers that are made from it."""

import argparse
import dataclasses

import pytest

from diffrop.baselines.gan_config import GanConfig
from diffrop.console.option_table import BY_RECIPE, OPTIONS
from diffrop.console.options import (
    OWNERS,
    add_options,
    command_parser,
    default_of,
    shown,
    study_parser,
)
from diffrop.study.config import LaunchConfig, StudyConfig
from tests.made.commands import SCRIPTS, parser_of
from tests.made.processes import HEAVY, run_bare

EVERY = "--debug -h --help --version"
DATA = (
    "--dataset --data-root --imbalance-factor --image-size --reference --reference-root "
    "--skip-damaged"
)
EXTRACTOR = "--extractor --extractor-weights"
TRIAL = (
    "--objective-loss --diffaug --init-from --images --batch-size --num-samples --omegas "
    "--samplers --ema-lengths --guidance-intervals --guides --omega-search --prefer-cheap "
    "--objective --set " + EXTRACTOR
)
LAUNCH = (
    "--runs-root --workers-per-trial --cpus-per-worker --gpus-per-worker --ray-address "
    "--max-failures --worker-timeout --outage-wait --tracking-uri"
)
STUDY = (
    "--study-name --resume --dry-run --trials --budget-trials --space --seed --preset --storage "
    "--storage-path --notify --quiet --json --sampler --scheduler --first-rung --rung-samples "
    "--rung-steps --reduction-factor --audit-fraction --fork-from --points --warm-start "
    "--constraint --max-concurrent --confirm --seeds --budget-gpu-hours --budget-wall "
    f"--price-per-gpu-hour --keep {DATA} {TRIAL} {LAUNCH}"
)
FLAGS = {
    "export_pipeline": "--checkpoint --out --omega --sampler",
    "run_classifier_augmentation": "--checkpoint --num-generated --omega --dataset --data-root "
    "--test-root --imbalance-factor --image-size --skip-damaged --images --seed --runs-root "
    "--name",
    "run_guidance_sweep": "--study --trials --checkpoint --omegas --samplers "
    "--guidance-intervals --guides --ema-lengths --num-samples --seed --runs-root --name "
    "--extractor --trust-code",
    "run_paper_tables": "--table --rows --name --resume --dry-run --seed --num-generated "
    f"--published-sampler --classifier-images --test-root {DATA} {TRIAL} {LAUNCH}",
    "sample": "--checkpoint --labels --omega --num --sampler --seed --format --out",
    "score": "--samples --checkpoint --write-statistics --reference-statistics --out --omega "
    f"--sampler --num-samples --seed --set --runs-root --trust-code {DATA} {EXTRACTOR}",
    "status": "--runs-root --storage --json",
    "train_final": "--config --preset --keep-omega --name --resume --seed --trust-code "
    f"{DATA} {TRIAL} {LAUNCH}",
    "train_gan": f"--model {DATA} --images --num-samples --seed --set {EXTRACTOR} --runs-root "
    "--name --resume",
}


def field_options(parser: argparse.ArgumentParser) -> dict[str, argparse.Action]:
    """The parser's options that are of the table, by dotted key."""
    return {action.dest: action for action in parser._actions if action.dest in OPTIONS}


def help_of(key: str, **changes: str) -> str:
    parser = command_parser("")
    add_options(parser, key, **changes)
    return str(field_options(parser)[key].help)


def test_images_of_a_tables_classifiers_are_refused_by_their_option(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        parser_of("run_paper_tables").parse_args(["--table", "3", "--classifier-images", "0"])
    assert "argument --classifier-images: 0 is too little" in capsys.readouterr().err


@pytest.mark.parametrize("name", SCRIPTS)
def test_flags_of_every_script_stay(name: str) -> None:
    parser = parser_of(name)
    expected = f"{EVERY} {FLAGS.get(name, STUDY)}".split()
    assert sorted(flag for a in parser._actions for flag in a.option_strings) == sorted(expected)
    assert max(map(len, parser.format_help().splitlines())) <= 80


def test_every_field_of_a_study_and_of_a_launch_has_an_option() -> None:
    for owner, config in (("study", StudyConfig), ("launch", LaunchConfig)):
        names = {f"{owner}.{item.name}" for item in dataclasses.fields(config)}
        assert names - OPTIONS.keys() <= {"study.experiment"}


def test_every_key_of_the_table_is_a_field() -> None:
    for key in OPTIONS:
        owner, dot, name = key.partition(".")
        if dot:
            assert name in {item.name for item in dataclasses.fields(OWNERS[owner])}  # type: ignore[arg-type]


def test_help_takes_defaults_from_the_dataclass_or_names_the_recipe() -> None:
    assert help_of("launch.worker_timeout_s").endswith(f"({LaunchConfig().worker_timeout_s})")
    assert help_of("gan.model").endswith(f"({GanConfig().model})")
    assert help_of("evaluation.objectives").endswith("(fid/all)")
    assert help_of("evaluation.guidance_scales").endswith("(0,0.5,1,2)")
    assert help_of("launch.budget_gpu_hours").endswith("(of workers, without GPUs)")
    for key in ("study.num_trials", "training.num_images", "evaluation.extractor"):
        assert default_of(key) == BY_RECIPE
        assert help_of(key).endswith(f"({BY_RECIPE})")
    assert help_of("training.num_images", default="as before").endswith("(as before)")


def test_help_shows_what_a_study_changes_of_the_recipe() -> None:
    settings = {
        "num_trials": 1_005,
        "scheduler": "none",
        "points": ({"a.b": 1},),
        "evaluation.objectives": ["fid/all", "fid/few"],
    }
    found = {
        key: str(a.help) for key, a in field_options(study_parser("", settings=settings)).items()
    }
    assert found["study.num_trials"].endswith("(1,005)")
    assert found["study.scheduler"].endswith("(none)")
    assert found["evaluation.objectives"].endswith("(fid/all,fid/few)")
    assert found["study.points"].endswith("{key: value})")


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, ""), ((), ""), (True, ""), (0, "0"), (1_000, "1,000"), (2.0, "2"), ("x", "x")],
)
def test_defaults_without_a_value_are_not_shown(value: object, text: str) -> None:
    assert shown(value) == text


@pytest.mark.parametrize(
    ("words", "key", "value"),
    [
        ("--imbalance-factor own", "data.imbalance_factor", None),
        ("--imbalance-factor 0.02", "data.imbalance_factor", 0.02),
        ("--omegas 0,1.5", "evaluation.guidance_scales", (0.0, 1.5)),
        ("--ema-lengths 0.1", "evaluation.ema_lengths", (0.1,)),
        (
            "--guidance-intervals 0-1,0.2-0.7",
            "evaluation.guidance_intervals",
            ((0.0, 1.0), (0.2, 0.7)),
        ),
        ("--guides none,0.25", "evaluation.guides", (None, 0.25)),
        ("--ema-lengths none,0.1", "evaluation.ema_lengths", (None, 0.1)),
        ("--prefer-cheap 0.05", "evaluation.prefer_cheap", 0.05),
        ("--prefer-cheap", "evaluation.prefer_cheap", 0.02),
        ("--samplers ddim-8,ancestral", "evaluation.samplers", ["ddim-8", "ancestral"]),
        ("--diffaug color,", "augmentation.diffaug", ["color"]),
        ("--budget-wall 30m", "launch.budget_wall_s", 1800.0),
        ("--constraint a --constraint b", "evaluation.constraints", ["a", "b"]),
        ("--warm-start s t", "study.warm_start", ["s", "t"]),
        ("--budget-trials 7", "study.num_trials", 7),
        ("--resume", "launch.resume", True),
        ("--fork-from baseline@64", "study.fork_from", "baseline@64"),
        ("--init-from s3://b/c", "training.init_from", "s3://b/c"),
        ("--set training.seed=3", "settings", [("training.seed", 3)]),
    ],
)
def test_option_stands_under_its_dotted_key(words: str, key: str, value: object) -> None:
    args = study_parser("").parse_args(words.split())
    assert vars(args)[key] == value
    assert sum("." in name for name in vars(args)) == (key != "settings")


def test_help_version_and_wrong_options_import_nothing_slow() -> None:
    """Each script in turn, in one process: the first that imports more is the one at fault."""
    code = (
        "import contextlib, io, pathlib, runpy, sys\n"
        "heavy = sys.argv.pop()\n"
        "for path in sorted(pathlib.Path('studies').glob('*.py')):\n"
        "    for option in ('--help', '--version', '--no-such-option'):\n"
        "        sys.argv = [str(path), option]\n"
        "        text = io.StringIO()\n"
        "        with contextlib.redirect_stdout(text), contextlib.redirect_stderr(text):\n"
        "            try: runpy.run_path(str(path), run_name='__main__')\n"
        "            except SystemExit as end: code = end.code or 0\n"
        "        found = [name for name in heavy.split(',') if name in sys.modules]\n"
        "        print(path.stem, option, code, *found, sep=',')\n"
    )
    lines = run_bare(code, ",".join((*HEAVY, "optuna"))).splitlines()
    codes = {"--help": 0, "--version": 0, "--no-such-option": 2}
    expected = [f"{name},{option},{code}" for name in SCRIPTS for option, code in codes.items()]
    assert lines == expected


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("run_tau_sweep", "--set training.learning_rat=1"),
        ("run_paper_tables", "--table 1 --set training.learning_rat=1"),
        ("train_final", "--preset ddpm --set training.learning_rat=1"),
        ("train_gan", "--set learning_rat=1"),
    ],
)
def test_mistyped_key_is_refused_before_anything_slow(name: str, options: str) -> None:
    code = (
        "import contextlib, io, runpy, sys\n"
        "heavy, text = sys.argv.pop(1), io.StringIO()\n"
        "sys.argv = sys.argv[1:]\n"
        "with contextlib.redirect_stderr(text):\n"
        "    try: runpy.run_path(sys.argv[0], run_name='__main__')\n"
        "    except SystemExit as end: assert end.code == 2\n"
        "print(*[name for name in heavy.split(',') if name in sys.modules], text.getvalue())\n"
    )
    path = f"studies/{name}.py"
    text = run_bare(code, ",".join((*HEAVY, "optuna")), path, *options.split())
    assert text.strip().startswith("error: unknown"), text
    assert "learning_rate" in text and text.strip().count("\n") == 0


def test_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        command_parser("").parse_args(["--version"])
    assert not ended.value.code
    assert capsys.readouterr().out.startswith("diffrop-studies ")
