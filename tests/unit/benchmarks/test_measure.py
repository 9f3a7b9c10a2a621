import json
from pathlib import Path

import pytest

from benchmarks.aims import NOT_MEASURED
from benchmarks.measure import NO_GPU, Row, alternating, cells, flops_per_image, report
from benchmarks.study_overhead import idle_share, read_utilisations
from diffrop.config import ModelConfig


def test_operations_of_the_papers_network_are_the_known_ones() -> None:
    forward, both = (flops_per_image(ModelConfig(), (3, 32, 32), train) for train in (False, True))
    assert forward == pytest.approx(12.44e9, rel=2e-3)
    assert both == pytest.approx(37.3e9, rel=5e-3)


def test_what_was_not_measured_says_so() -> None:
    bare = cells(Row(what="step", aim=">= 5.5 times"))
    assert bare == ["step", *[NOT_MEASURED] * 5, ">= 5.5 times", NOT_MEASURED]
    done = Row(
        what="step",
        plain=100,
        ours=550,
        ratio=5.5,
        memory_mib=10,
        of_ceiling=0.4,
        aim=">= 5.5 times",
        reached=True,
    )
    assert cells(done)[1:] == [
        "100 images/s",
        "550 images/s",
        "5.500",
        "10",
        "40.0%",
        ">= 5.5 times",
        "yes",
    ]


def test_table_is_written_as_json(tmp_path: Path) -> None:
    report("speed", [Row(what="step", plain=1.0)], {"note": 3}, tmp_path / "deep" / "speed.json")
    content = json.loads((tmp_path / "deep" / "speed.json").read_text())
    assert content["note"] == 3 and content["torch"] and content["date"]
    assert content["rows"][0]["what"] == "step" and content["rows"][0]["ours"] is None


def test_what_is_said_without_a_gpu_is_the_benchmarks_choice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.measure.gpu", lambda: None)
    report("speed", [Row(what="step")], {}, tmp_path / "speed.json")
    assert NO_GPU in capsys.readouterr().out
    report("errors", [Row(what="step")], {}, tmp_path / "errors.json", on_a_cpu="")
    assert "GPU" not in capsys.readouterr().out


def test_works_are_timed_in_turns() -> None:
    order: list[str] = []
    times = alternating([lambda: order.append("a"), lambda: order.append("b")], 2, 3)
    assert order == ["a", "a", "b", "b"] * 3
    assert len(times) == 2 and min(times) > 0


def test_idle_share_is_what_the_kernels_leave() -> None:
    utilisations = read_utilisations("100\n50\n[N/A]\n0\n\n")
    assert utilisations == [100, 50, 0]
    assert idle_share(utilisations) == pytest.approx(0.5)
    with pytest.raises(ValueError, match="no utilisation was sampled"):
        idle_share([])
