"""What a study's folder says of the whole study, as the description of the launch's run."""

from collections.abc import Iterator

from diffrop.cost.actual import comparison
from diffrop.record.confirmation import ConfirmationRecord
from diffrop.record.cost import CostRecord
from diffrop.record.json_files import read_record
from diffrop.record.rung_agreement import AgreementRecord
from diffrop.record.study_folder import StudyFolder
from diffrop.record.warm_start import WarmStartRecord
from diffrop.tracking.notes import markdown_text, table


def study_note(folder: StudyFolder) -> str:
    """Return the conclusions, what earlier studies taught, and the cost, as Markdown.

    Raises:
        ValueError: a file is damaged.
    """
    parts = [f"**{name}**: {markdown_text(text)}" for name, text in _conclusions(folder)]
    cost = read_record(folder.cost, CostRecord)
    if cost is not None and cost.plan is not None and cost.actual is not None:
        parts.append(table(["cost", "planned", "so far"], comparison(cost.plan, cost.actual)))
    return "\n\n".join(parts)


def _conclusions(folder: StudyFolder) -> Iterator[tuple[str, str]]:
    confirmation = read_record(folder.confirmation, ConfirmationRecord)
    agreement = read_record(folder.rung_agreement, AgreementRecord)
    for name, record in (("Confirmation", confirmation), ("Fidelity", agreement)):
        if record is not None and record.conclusion:
            yield name, record.conclusion
    warm_start = read_record(folder.warm_start, WarmStartRecord)
    for note in warm_start.notes if warm_start else ():
        yield "Learned from earlier studies", note
