"""MLflow, mirroring what already lies on disk; the only mlflow import.

One `Tracker`, in the driver of a study, writes; trials write nothing but files. So a sync can be
repeated at any time, by any later process, and a dead server costs no more than a later sync.

In MLflow: experiment = study, with a saved view of its trials (`views`); parent run = one launch
of it, with its plan, fidelity and confirmation (`study`); child run = one trial (tag
`diffrop.trial`) or one retraining that confirms a trial (tag `diffrop.confirmation`); logged model
= the scored checkpoint of a finished trial. Metrics of a trial:

- every measure of `metrics.jsonl`, at step = images seen; of a training that several studies
  share, the rows of the trial's own study, up to where the trial came;
- `rung/fid/few`, ..., `rung/omega`, `rung/score`, `rung/num_samples/few`: every score at its best
  omega, at step = images seen. Rungs differ in N, so values compare at equal steps only;
- `fid/few`, ..., `omega`, `score`, `num_samples/few` of the final score alone, at step 0: columns
  and bars in which all trials compare;
- `omega_curve/<score>` at step = omega in thousandths, of the newest score file, once that is
  final or the trial has ended (MLflow cannot take a metric back); rounds of the search on N
  samples have `omega_curve_at_N/<score>`;
- `cost/training_s`, `cost/training_gpu_hours`, `cost/scoring_s`, `cost/samples_drawn` so far, from
  the study's cost account: what several trials share stands at the first of them;
- `fid` of the logged model, once per data set `all`, `many`, `medium`, `few`. MLflow shows these
  four on the trial's run too; their timestamps differ by 1 ms, see `TrackedTrial`.

A launch's run has `plan/gpu_hours`, ... of the expected and `fact/gpu_hours`, ... of the actual
cost, `fidelity/tau`, ... at step = images of the rung, `confirmation/t003_mean`, `..._low` and
`..._high`, `confirmation_look/t003_mean`, ... with the repeated interval of every look at step =
seeds; and the tags `conclusion.confirmation` and `conclusion.fidelity`, which are its description
too.

A trial's sample grids are images of its run: `samples` at step = images seen, and the last one
of a complete trial as `final samples`.

The record's files are artifacts, so that `reader.download_study` can put a study's folder together
again: the tables and records of the whole study on the launch's run, and in the folder `record` of
each run what is stored of its trial, once it has ended or the launch does (`record_files`).

Modules that a command line needs at once, such as `uri`, import no mlflow: it takes seconds.
"""
