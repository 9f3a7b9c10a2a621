"""What `diffrop train` makes of an exported configuration."""

import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from diffrop.commands.train import export_command, final_config, omega_line, parser
from diffrop.config import ExperimentConfig
from diffrop.main import load_command, run
from diffrop.record.exported_config import load_export
from tests.made.small import small_experiment


def exported(folder: Path, **content: Any) -> Path:
    """Write what a study exports that found omega 0.5 among 0, 0.5 and 3."""
    found = small_experiment().with_values({"evaluation.guidance_scales": [0.5]})
    known = {"config": found.to_dict(), "omega": 0.5, "omegas": [0, 0.5, 3]}
    path = folder / "best.yaml"
    path.write_text(yaml.safe_dump(known | {"provenance": {"images_seen": 128}} | content))
    return path


def of(path: Path, *words: str) -> tuple[ExperimentConfig, str]:
    """Return the configuration that is trained, and what is said of its omega."""
    args, export = parser("diffrop train").parse_args(["--config", str(path), *words]), None
    export = load_export(path)
    config = final_config(args, export)
    return config, omega_line(export, config)


def test_omega_is_chosen_anew_from_what_the_study_chose_from(tmp_path: Path) -> None:
    config, line = of(exported(tmp_path), "--images", "4096")
    assert config.evaluation.guidance_scales == (0, 0.5, 3)
    assert config.training.num_images == 4096
    assert line == (
        "omega will be chosen anew from 0, 0.5, 3: the study's was 0.5 after 128 images "
        "(--keep-omega keeps it)."
    )


def test_omega_stays_where_that_is_asked_for(tmp_path: Path) -> None:
    path = exported(tmp_path)
    config, line = of(path, "--keep-omega")
    assert config.evaluation.guidance_scales == (0.5,)
    assert line == "omega 0.5, as asked: the study's was 0.5 after 128 images."
    config, line = of(path, "--omegas", "2")
    assert config.evaluation.guidance_scales == (2,)
    assert line.startswith("omega 2, as asked: the study's was 0.5")


def test_export_of_an_earlier_version_chooses_from_the_defaults(tmp_path: Path) -> None:
    config, _ = of(exported(tmp_path, omegas=None, omega=0.7, provenance=None))
    assert config.evaluation.guidance_scales == (0, 0.5, 0.7, 1, 2)


@pytest.mark.parametrize("words", [["--keep-omega", "--omegas", "1"], ["--keep-omega"]])
def test_omega_that_cannot_be_kept_is_refused(tmp_path: Path, words: list[str]) -> None:
    if "--omegas" in words:
        with pytest.raises(ValueError, match="--keep-omega is for --config, without --omegas"):
            of(exported(tmp_path), *words)
        return
    args = parser("diffrop train").parse_args(["--preset", "ddpm", *words])
    with pytest.raises(ValueError, match="--keep-omega is for --config"):
        final_config(args, None)


@pytest.mark.parametrize(("images", "warned"), [("96", True), ("129", False)])
def test_warmup_that_the_file_brings_along_is_warned_of_before_anything_is_loaded(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    images: str,
    warned: bool,
) -> None:
    monkeypatch.setattr("diffrop.commands.train.trained", lambda *rest: (None, {}))
    monkeypatch.setattr("diffrop.commands.train.show", lambda *rest: 0)
    words = ["--config", str(exported(tmp_path)), "--images", images, "--runs-root", str(tmp_path)]
    assert run(["train", *words], "diffrop") == 0
    sentence = f"warning: training.warmup_images is 64 in a training of {images} images: 66% of it"
    assert (sentence in " ".join(capsys.readouterr().out.split())) is warned


def test_checkpoint_is_exported_by_the_command_that_is_printed() -> None:
    typed = export_command(Path("my runs/final/training/images_000000000128.safetensors"))
    program, name, *words = shlex.split(typed)
    args = load_command(name).parser(f"{program} {name}").parse_args(words)
    assert args.checkpoint == Path("my runs/final/training/images_000000000128.safetensors")
    assert args.out == Path("my runs/final/pipeline")


@pytest.mark.parametrize("damage", [{"omegas": "x"}, {"omegas": [-1]}, {"omegas": {"a": 1}}])
def test_damaged_omegas_are_refused(tmp_path: Path, damage: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"omegas|guidance_scales"):
        of(exported(tmp_path, **damage))
