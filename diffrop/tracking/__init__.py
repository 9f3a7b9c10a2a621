"""MLflow, mirroring what already lies on disk; the only mlflow import.

One `Tracker`, in the driver of a study, writes; trials write nothing but files. So a sync can be
repeated at any time, by any later process, and a dead server costs no more than a later sync.

In MLflow: experiment = study; parent run = one launch of it; child run = one trial (tag
`diffrop.trial`); logged model = the newest checkpoint of a finished trial. Metrics of a trial:

- every key of `metrics.jsonl`, and of the scores at their best omega (`fid/few`, ..., `omega`,
  `score`, `num_samples/few`), at step = images seen;
- `omega_curve/<score>` at step = omega in thousandths, of the newest score file, once that is
  final or the trial has ended (MLflow cannot take a metric back);
- `fid` of the logged model, once per data set `all`, `many`, `medium`, `few`. MLflow shows these
  four on the trial's run too; their timestamps differ by 1 ms, see `TrackedTrial`.
"""

from diffrop.tracking.files import TrackedTrial
from diffrop.tracking.tracker import Tracker
from diffrop.tracking.uri import checked_uri, redact, ui_command

__all__ = ["TrackedTrial", "Tracker", "checked_uri", "redact", "ui_command"]
