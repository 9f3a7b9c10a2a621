"""The cluster recipes: their scripts with stand-ins for SLURM and Ray, their manifests as data."""

import os
import re
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.made.small import ROOT

CLUSTER = ROOT / "studies" / "cluster"
SRUN = """
while [ "${1#-}" != "$1" ]; do [ "$1" = -w ] && shift; shift; done
exec "$@"
"""
SCONTROL = """
echo "scontrol $*" >> "$CALLS"
[ "$1" != show ] || echo "$3" | tr , '\\n'
"""
RAY = """
echo "ray $*" >> "$CALLS"
case " $* " in
  *" status "*) exit 0 ;;
  *" --block "*) exec sleep 30 ;;
esac
"""
HEAD_THAT_FAILS = 'echo "ray $*" >> "$CALLS"; exit 1'
PYTHON = """
if [ "$1" = -c ]; then echo made-up-token; exit; fi
trap 'echo "study stopped" >> "$CALLS"; sleep 0.3; exit 130' TERM
echo "study $RAY_AUTH_MODE $RAY_AUTH_TOKEN $*" >> "$CALLS"
for _ in $(seq "${STUDY_TICKS:-1}"); do sleep 0.1; done
exit "${STUDY_CODE:-0}"
"""


class StandIns:
    """A folder of shell scripts that stand for srun, scontrol, ray and python."""

    def __init__(self, folder: Path) -> None:
        self.calls = folder / "calls"
        self.bin = folder / "bin"
        self.bin.mkdir()
        for name, body in (
            ("srun", SRUN),
            ("scontrol", SCONTROL),
            ("ray", RAY),
            ("python", PYTHON),
        ):
            self.write(name, body)

    def write(self, name: str, body: str) -> None:
        path = self.bin / name
        path.write_text(f"#!/bin/bash\n{body}")
        path.chmod(0o755)

    def start(self, script: str, *options: str, **environment: str) -> "subprocess.Popen[str]":
        """Start one of the recipes' scripts among them."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "SLURM_"))}
        slurm = {
            "SLURM_SUBMIT_DIR": str(ROOT), "SLURM_JOB_NODELIST": "one,two", "SLURM_JOB_ID": "77",
            "SLURM_CPUS_PER_TASK": "3", "SLURM_GPUS_ON_NODE": "2",
        }  # fmt: skip
        own = {
            "PATH": f"{self.bin}:{os.environ['PATH']}", "CALLS": str(self.calls),
            "RAY": str(self.bin / "ray"), "PYTHON": str(self.bin / "python"),
        }  # fmt: skip
        return subprocess.Popen(
            ["bash", str(CLUSTER / script), *options],
            env=kept | slurm | own | environment,
            cwd=ROOT,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, script: str, *options: str, **environment: str) -> tuple[int, str]:
        """Run one to its end; return its exit code and what it printed to stderr."""
        process = self.start(script, *options, **environment)
        _, errors = process.communicate(timeout=20)
        return process.returncode, errors

    def called(self, first: str) -> list[str]:
        """The calls that begin so."""
        lines = self.calls.read_text().splitlines() if self.calls.exists() else []
        return [line for line in lines if line.startswith(first)]


@pytest.fixture
def stand_ins(tmp_path: Path) -> StandIns:
    return StandIns(tmp_path)


STUDY = ("studies/run_tau_sweep.py", "--study-name", "s")


def test_slurm_job_starts_a_node_on_every_host_and_the_study_with_a_token(
    stand_ins: StandIns,
) -> None:
    ports = {"RAY_PORT": "7001", "RAY_DASHBOARD_PORT": "7002"}
    code, errors = stand_ins.run("slurm.sbatch", *STUDY, "--trials", "4", **ports)
    assert code == 0, errors
    (head,) = stand_ins.called("ray start --head")
    assert "--port=7001 --num-cpus=3 --num-gpus=2" in head and "--dashboard-port=7002" in head
    (study,) = stand_ins.called("study token made-up-token studies/run_tau_sweep.py")
    assert re.search(r"--ray-address \S+:7001 --study-name s --trials 4$", study)
    assert not stand_ins.called("scontrol requeue")


def test_slurm_job_that_is_told_to_stop_queues_itself_again(stand_ins: StandIns) -> None:
    process = stand_ins.start("slurm.sbatch", *STUDY, STUDY_TICKS="100")
    deadline = time.monotonic() + 15
    while not stand_ins.called("study") and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=20)
    assert process.returncode == 130
    assert stand_ins.called("study stopped")
    assert stand_ins.called("scontrol requeue") == ["scontrol requeue 77"]


def test_slurm_job_that_was_queued_again_carries_the_study_on(stand_ins: StandIns) -> None:
    code, errors = stand_ins.run("slurm.sbatch", *STUDY, SLURM_RESTART_COUNT="1")
    assert code == 0, errors
    assert stand_ins.called("study")[0].endswith("--study-name s --resume")


def test_slurm_job_hands_on_the_exit_code_of_a_study_that_fails(stand_ins: StandIns) -> None:
    code, _ = stand_ins.run("slurm.sbatch", *STUDY, STUDY_CODE="4")
    assert code == 4 and not stand_ins.called("scontrol requeue")


def test_slurm_job_ends_where_its_head_node_does_not_start(stand_ins: StandIns) -> None:
    stand_ins.write("ray", HEAD_THAT_FAILS)
    code, errors = stand_ins.run("slurm.sbatch", *STUDY)
    assert code == 1 and "the head node on one ended" in errors


def test_slurm_job_needs_a_name_to_carry_on_with(stand_ins: StandIns) -> None:
    code, errors = stand_ins.run("slurm.sbatch", STUDY[0])
    assert code == 2 and "--study-name" in errors
    for name in (["--study-name=s"], ["--name", "final"]):
        code, errors = stand_ins.run("slurm.sbatch", STUDY[0], *name)
        assert code == 0, errors


SUBMIT = "ray job submit --no-wait --submission-id {} --working-dir . --runtime-env {} -- {}"


@pytest.mark.parametrize(
    ("options", "environment", "name"),
    [
        (["--study-name", "s"], {}, "s"),
        (["--study-name=s"], {}, "s"),
        (["--study-name", "s", "--resume"], {"JOB_NAME": "s-2"}, "s-2"),
    ],
)
def test_submitted_job_is_named_after_its_study(
    stand_ins: StandIns, options: list[str], environment: dict[str, str], name: str
) -> None:
    head = {"RAY_API_SERVER_ADDRESS": "http://head:8265"}
    code, errors = stand_ins.run("submit.sh", STUDY[0], *options, **head, **environment)
    assert code == 0, errors
    driver = " ".join(["python", STUDY[0], "--ray-address auto", *options])
    expected = SUBMIT.format(name, "studies/cluster/runtime_env.yaml", driver)
    assert stand_ins.called("ray") == [expected]


def test_submission_without_address_or_study_says_what_is_missing(stand_ins: StandIns) -> None:
    code, errors = stand_ins.run("submit.sh", *STUDY)
    assert code != 0 and "RAY_API_SERVER_ADDRESS" in errors
    head = {"RAY_API_SERVER_ADDRESS": "http://head:8265"}
    code, errors = stand_ins.run("submit.sh", "studies/none.py", **head)
    assert code == 2 and "studies/none.py" in errors
    assert not stand_ins.called("ray")


def manifest(kind: str) -> dict[str, Any]:
    documents = yaml.safe_load_all((CLUSTER / "kuberay.yaml").read_text())
    (found,) = [document for document in documents if document["kind"] == kind]
    return dict(found)


def test_recipes_name_the_ray_version_that_is_installed() -> None:
    (version,) = re.findall(r"^ray==(\S+)", (ROOT / "requirements.lock").read_text(), re.M)
    assert manifest("RayJob")["spec"]["rayClusterSpec"]["rayVersion"] == version
    dockerfile = (CLUSTER / "Dockerfile").read_text()
    images = re.findall(r"rayproject/ray:\S+", dockerfile)
    assert images == [f"rayproject/ray:{version}-py311", f"rayproject/ray:{version}-py311-gpu"]


def test_manifest_agrees_with_itself_and_the_dockerfile() -> None:
    job, claim = manifest("RayJob")["spec"], manifest("PersistentVolumeClaim")
    cluster = job["rayClusterSpec"]
    pods = [
        group["template"]["spec"]
        for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"])
    ]
    dockerfile = (CLUSTER / "Dockerfile").read_text()
    (image,) = re.findall(r"-t (\S+) \.$", dockerfile, re.M)
    assert {c["image"] for pod in pods for c in pod["containers"]} == {image}
    assert f"WORKDIR {yaml.safe_load(job['runtimeEnvYAML'])['working_dir']}" in dockerfile
    claims = {
        volume["persistentVolumeClaim"]["claimName"]
        for pod in pods
        for volume in pod["volumes"]
        if "persistentVolumeClaim" in volume
    }
    assert claims == {claim["metadata"]["name"]}
    assert cluster["authOptions"] == {"mode": "token"}


def test_stopped_job_has_time_to_save_its_trials() -> None:
    submitted = yaml.safe_load((CLUSTER / "runtime_env.yaml").read_text())
    job = yaml.safe_load(manifest("RayJob")["spec"]["runtimeEnvYAML"])
    for environment in (submitted, job):
        assert int(environment["env_vars"]["RAY_JOB_STOP_WAIT_TIME_S"]) >= 60


def test_files_that_the_recipes_name_exist() -> None:
    texts = [path.read_text() for path in (ROOT / "docs" / "cluster.md", *CLUSTER.iterdir())]
    named = {name for text in texts for name in re.findall(r"\bstudies/[\w./]*\w", text)}
    assert len(named) >= 6
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []
