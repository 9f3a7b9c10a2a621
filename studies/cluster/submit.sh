#!/usr/bin/env bash
# Submit a study to a running Ray cluster, from the repository's root:
#
#   RAY_API_SERVER_ADDRESS=http://HEAD:8265 RAY_AUTH_MODE=token RAY_AUTH_TOKEN=... \
#     studies/cluster/submit.sh studies/run_tau_sweep.py --study-name s1 --runs-root /shared/runs
#
# The driver runs on the head node, so this terminal may close. The study's name is its job's, so
# that a second submission of a running study is refused. To stop it with its checkpoints saved:
# ray job stop NAME. To carry it on: the same command with --resume and JOB_NAME=NAME-2.
set -euo pipefail
: "${RAY_API_SERVER_ADDRESS:?is not set; allowed: http://HEAD:8265}"
script=${1:?the study to run, such as studies/run_tau_sweep.py}
shift
[ -f "$script" ] || { echo "error: there is no $script here; allowed: a file of studies/" >&2; exit 2; }
name=${JOB_NAME:-}
previous=
for argument in "$@"; do
  [ "$previous" = --study-name ] && name=${name:-$argument}
  [[ "$argument" == --study-name=* ]] && name=${name:-${argument#*=}}
  previous=$argument
done
exec "${RAY:-ray}" job submit --no-wait ${name:+--submission-id "$name"} \
  --working-dir . --runtime-env studies/cluster/runtime_env.yaml \
  -- python "$script" --ray-address auto "$@"
