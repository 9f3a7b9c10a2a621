import itertools
import re
from pathlib import Path

import pytest

from tests.made.full_study import write_full_study
from tests.made.mirrored_study import mirror_study

nbformat = pytest.importorskip("nbformat", reason="the notebooks extra is not installed")
nbclient = pytest.importorskip("nbclient", reason="the notebooks extra is not installed")

FOLDER = Path(__file__).resolve().parents[3] / "analysis"
NAMES = ("ablations.ipynb", "sensitivity.ipynb", "compare_studies.ipynb")
PARAMETER = re.compile(r"^(STUDY|STUDIES) = .*$", re.MULTILINE)
TIMEOUT_S = 240
EXPECTED = {
    "ablations.ipynb": (r"\begin{tabular}", "own_rank", "exponential"),
    "sensitivity.ipynb": ("round_samples",),
    "compare_studies.ipynb": ("full", "other", "hinge"),
}
"""What tables must say."""


def test_all_notebooks_are_known() -> None:
    assert sorted(path.name for path in FOLDER.glob("*.ipynb")) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_notebook_is_stored_without_outputs(name: str) -> None:
    notebook = nbformat.read(FOLDER / name, as_version=4)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert cell.outputs == [] and cell.execution_count is None
            assert len(cell.source.splitlines()) <= 10, "notebooks only call the package"
    assert "widgets" not in notebook.metadata


@pytest.mark.parametrize("name", NAMES)
def test_each_cell_says_what_question_it_answers(name: str) -> None:
    cells = nbformat.read(FOLDER / name, as_version=4).cells
    assert f"jupyter lab analysis/{name}" in cells[0].source  # how to open it
    for before, cell in itertools.pairwise(cells):
        if cell.cell_type == "code" and not PARAMETER.search(cell.source):
            assert before.cell_type == "markdown" and "?**" in before.source


@pytest.mark.parametrize("name", NAMES)
def test_notebook_runs_on_another_study_by_changing_one_line(
    name: str, full_dir: Path, tmp_path: Path, empty_database: Path
) -> None:
    notebook = nbformat.read(FOLDER / name, as_version=4)
    studies = [str(full_dir)]
    if name == "compare_studies.ipynb":  # a folder, and a study in MLflow
        other = write_full_study(tmp_path / "runs" / "other", name="other")
        studies.append(f"{mirror_study(other, tmp_path / 'mlflow', empty_database)}#other")
    places = [i for i, cell in enumerate(notebook.cells) if PARAMETER.search(cell.source)]
    assert len(places) == 1 and len(notebook.cells[places[0]].source.splitlines()) == 1
    value = studies if len(studies) > 1 else studies[0]
    source = notebook.cells[places[0]].source
    notebook.cells[places[0]].source = PARAMETER.sub(rf"\1 = {value!r}", source)
    client = nbclient.NotebookClient(
        notebook, timeout=TIMEOUT_S, resources={"metadata": {"path": str(FOLDER)}}
    )
    client.execute()
    drawn = [
        output
        for cell in notebook.cells
        if cell.cell_type == "code"
        for output in cell.outputs
        if "image/png" in output.get("data", {})
    ]
    calls = sum("_figure(" in cell.source for cell in notebook.cells)
    assert len(drawn) == calls and calls >= 1
    texts = "".join(
        output.get("text", "") + output.get("data", {}).get("text/html", "")
        for cell in notebook.cells
        for output in cell.get("outputs", [])
    )
    assert all(word in texts for word in EXPECTED[name])
    assert not [
        o for c in notebook.cells for o in c.get("outputs", []) if o.output_type == "error"
    ]
