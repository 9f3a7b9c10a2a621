"""MLflow, mirroring what already lies on disk; the only mlflow import.

One `Tracker`, in the driver of a study, writes; trials write nothing but files. So a sync can be
repeated at any time, by any later process, and a dead server costs no more than a later sync.

In MLflow: experiment = study, with a saved view of its trials (`views`); parent run = one launch
of it, with its plan, fidelity and confirmation (`study`); child run = one trial (tag
`diffrop.trial`) or one retraining that confirms a trial (tag `diffrop.confirmation`); logged model
= the scored checkpoint of a finished trial. Metrics of a trial:

- every key of `metrics.jsonl`, at step = images seen;
- `rung/fid/few`, ..., `rung/omega`, `rung/score`, `rung/num_samples/few`: every score at its best
  omega, at step = images seen. Rungs differ in N, so values compare at equal steps only;
- `fid/few`, ..., `omega`, `score`, `num_samples/few` of the final score alone, at step 0: columns
  and bars in which all trials compare;
- `omega_curve/<score>` at step = omega in thousandths, of the newest score file, once that is
  final or the trial has ended (MLflow cannot take a metric back); rounds of the search on N
  samples have `omega_curve_at_N/<score>`;
- `cost/training_s`, `cost/training_gpu_hours`, `cost/scoring_s`, `cost/samples_drawn` so far;
- `fid` of the logged model, once per data set `all`, `many`, `medium`, `few`. MLflow shows these
  four on the trial's run too; their timestamps differ by 1 ms, see `TrackedTrial`.

A trial's sample grids are images of its run: `samples` at step = images seen, and the last one
of a complete trial as `final samples`.
"""

from diffrop.tracking.files import TrackedTrial
from diffrop.tracking.tracker import Tracker
from diffrop.tracking.uri import checked_uri, ui_command
from diffrop.tracking.views import saved_views

__all__ = ["TrackedTrial", "Tracker", "checked_uri", "saved_views", "ui_command"]
