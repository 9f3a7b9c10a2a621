"""MLflow, mirroring what already lies on disk; the only mlflow import.

One `Tracker`, in the driver of a study, writes; trials write nothing but files. So a sync can be
repeated at any time, by any later process, and a dead server costs no more than a later sync.

In MLflow: experiment = study, with saved views (`views`); one run for each launch of it, whose
description has conclusions and cost (`study`); one for each trial; and one for all retrainings
that confirm a trial (`confirmation`), below which MLflow's UI folds these away. All others stand
in the table of runs itself. Logged model = the scored checkpoint of a finished trial. A trial has
few metrics, those that people chart (`metrics`):

- `fid/few`, `precision/few`, `recall/few`, ... of the final score for every class group, the
  objectives, and `omega`, at step 0: columns and bars in which all trials compare;
- `fid_by_rung/few`, ... and the objectives of every score at its best omega, at step = images
  seen; rungs differ in N, so values compare at equal steps only;
- `loss/ddpm`, `loss/pcl`, `pcl/grad_ratio`, `grad_norm`, `images_per_s` of `metrics.jsonl`, at
  step = images seen; of a training that several studies share, the rows of the trial's own study,
  up to where the trial came;
- `time/training_s`, `time/scoring_s` and `time/gpu_hours` so far, from the study's cost account:
  what several trials share stands at the first of them.

The logged model has the final scores too. A confirmed trial's run has the means over its seeds
under the keys of a trial's scores, and `fid_difference/all`, `..._low` and `..._high` of its
objectives less the baseline's: at step 0, or at step = seeds for every look at a near-tie.

A run's description has what its metrics leave out in words: state, protocol, scores with their
intervals, the training. A trial's sample grids are images of its run: `samples/by rung` at step =
images seen, and the last one of a complete trial as `samples/final`.

The record's files are artifacts in the folder `record` of each run, so that
`reader.download_study` can put a study's folder together again: the tables and records of the
whole study on the launch's run, and on each other run what is stored of its trial, once it has
ended or the launch does (`record_files`). Report and figures lie in the launch's folder `report`.

Modules that a command line needs at once, such as `uri`, import no mlflow: it takes seconds.
"""
