"""The files in launch/ pass the checkers of their formats, and agree with the rest of the project."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
LAUNCH = ROOT / "launch"
SKY = ROOT / ".venv-sky"


def _check(tool: str, *arguments: str | Path) -> None:
    """Runs a tool of the extra `dev`; it must find nothing."""
    executable = shutil.which(tool, path=f"{Path(sys.executable).parent}")
    if executable is None:
        pytest.skip(f"{tool} is not installed: it belongs to the extra `dev`, which `make env` installs")
    result = subprocess.run([executable, *arguments], capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(
    "file", sorted([*LAUNCH.glob("*.sh"), *LAUNCH.glob("*.sbatch"), ROOT / ".ci" / "run"]), ids=lambda f: f.name
)
def test_shellcheck_finds_nothing(file: Path) -> None:
    _check("shellcheck", file)


def test_hadolint_finds_nothing() -> None:
    _check("hadolint", LAUNCH / "Dockerfile")


@pytest.mark.parametrize("file", sorted(LAUNCH.glob("k8s-*.yaml")), ids=lambda f: f.name)
def test_kubernetes_validate_finds_nothing(file: Path) -> None:
    _check("kubernetes-validate", "--strict", file)


def test_kubernetes_validate_finds_a_misspelled_key(tmp_path: Path) -> None:
    if importlib.util.find_spec("kubernetes_validate") is None:
        pytest.skip("kubernetes-validate is not installed")
    file = tmp_path / "job.yaml"
    file.write_text((LAUNCH / "k8s-job.yaml").read_text().replace("podFailurePolicy", "podFailurePolicies"))
    with pytest.raises(AssertionError, match="podFailurePolicies"):
        _check("kubernetes-validate", "--strict", file)


def _documents(text: str) -> dict[str, Any]:
    return {document["kind"]: document for document in yaml.safe_load_all(text)}


def _container(job: dict[str, Any]) -> dict[str, Any]:
    return job["spec"]["template"]["spec"]["containers"][0]


def test_kubernetes_job_agrees_with_itself() -> None:
    documents = _documents((LAUNCH / "k8s-job.yaml").read_text())
    job, service = documents["Job"], documents["Service"]
    pod = job["spec"]["template"]["spec"]
    environment = {entry["name"]: entry.get("value") for entry in _container(job)["env"]}
    assert job["spec"]["completions"] == job["spec"]["parallelism"] == int(environment["SEQDIGITS_NUM_PROCESSES"])
    assert int(environment["SEQDIGITS_GRACE_SECONDS"]) < pod["terminationGracePeriodSeconds"]
    assert pod["subdomain"] == service["metadata"]["name"] == job["metadata"]["name"]
    assert service["spec"]["selector"] == {"batch.kubernetes.io/job-name": job["metadata"]["name"]}
    rules = [
        (rule["action"], rule.get("onExitCodes", {}).get("values")) for rule in job["spec"]["podFailurePolicy"]["rules"]
    ]
    assert rules == [("FailJob", [2]), ("Ignore", [75, 134]), ("Ignore", None)]


def test_kubernetes_second_job_has_names_of_its_own(tmp_path: Path) -> None:
    """With the command in the file."""
    text = (LAUNCH / "k8s-job.yaml").read_text()
    (command,) = re.findall(r"^#   (sed .*) \\\n#     launch/k8s-job.yaml", text, re.MULTILINE)
    changed = subprocess.run(
        ["bash", "-c", f"{command} {LAUNCH}/k8s-job.yaml"], capture_output=True, text=True, check=True
    ).stdout
    (tmp_path / "job.yaml").write_text(changed)
    _check("kubernetes-validate", "--strict", tmp_path / "job.yaml")
    first, second = _documents(text), _documents(changed)
    job, service = second["Job"], second["Service"]
    assert job["metadata"]["name"] == service["metadata"]["name"] == "seqdigits-b"
    assert job["spec"]["template"]["spec"]["subdomain"] == "seqdigits-b"
    assert service["spec"]["selector"] == {"batch.kubernetes.io/job-name": "seqdigits-b"}
    assert job["spec"]["template"]["spec"]["volumes"] == first["Job"]["spec"]["template"]["spec"]["volumes"]
    assert _container(job)["args"] == [
        "--config=configs/canvas_weighted.py",
        "--workdir=/mnt/seqdigits/runs/canvas_weighted",
    ]


def test_kubernetes_sweep_has_a_pod_for_each_config() -> None:
    job = _documents((LAUNCH / "k8s-sweep.yaml").read_text())["Job"]
    (names,) = re.findall(r"configs=\((.*)\)", _container(job)["args"][0])
    assert len(names.split()) == job["spec"]["completions"]


PRINT = """#!/usr/bin/env bash
for name in COORDINATOR NUM_PROCESSES PROCESS_ID; do name=SEQDIGITS_$name; echo "${name#SEQDIGITS_} ${!name:-}"; done
echo "index ${JOB_COMPLETION_INDEX:-}"
printf '%s\\n' "$@"
"""


def _run_script(script: str, folder: Path, **environment: str) -> list[str]:
    """Returns the lines that a stub of Python prints: its place in the run, and its arguments."""
    for stub in (folder / ".venv" / "bin" / "python", folder / "python"):
        stub.parent.mkdir(parents=True, exist_ok=True)
        stub.write_text(PRINT)
        stub.chmod(0o755)
    path = f"{folder}:{os.environ['PATH']}"
    result = subprocess.run(
        ["bash", "-euc", script],
        cwd=folder,
        env=environment | {"PATH": path},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.splitlines()


def test_kubernetes_sweep_runs_the_config_of_its_index_alone(tmp_path: Path) -> None:
    job = _documents((LAUNCH / "k8s-sweep.yaml").read_text())["Job"]
    lines = _run_script(_container(job)["args"][0], tmp_path, JOB_COMPLETION_INDEX="1")
    assert lines[:4] == ["COORDINATOR ", "NUM_PROCESSES ", "PROCESS_ID ", "index "]
    assert lines[4:] == [
        "-m",
        "seqdigits.main",
        "--config",
        "configs/strip5_gru.py",
        "--workdir",
        "/mnt/seqdigits/runs/strip5_gru",
    ]


@pytest.mark.parametrize(
    ("nodes", "expected"),
    [
        (1, ["COORDINATOR ", "NUM_PROCESSES ", "PROCESS_ID "]),
        (2, ["COORDINATOR 10.0.0.1:8476", "NUM_PROCESSES 2", "PROCESS_ID 1"]),
    ],
)
def test_skypilot_tells_each_node_its_place(tmp_path: Path, nodes: int, expected: list[str]) -> None:
    task = yaml.safe_load((LAUNCH / "sky.yaml").read_text())
    place = {
        "SKYPILOT_NUM_NODES": str(nodes),
        "SKYPILOT_NODE_RANK": str(nodes - 1),
        "SKYPILOT_NODE_IPS": "10.0.0.1\n10.0.0.2",
    }
    lines = _run_script(
        task["run"],
        tmp_path,
        **task["envs"] | place | {"FLAGS": "--config.seed=1 --config.evaluate.splits=('validation','test')"},
    )
    assert lines[:3] == expected
    assert lines[4:] == [
        *("-m", "seqdigits.main", "--config", "configs/quickstart.py", "--workdir", "/mnt/seqdigits/runs/quickstart"),
        *("--config.seed=1", "--config.evaluate.splits=('validation','test')"),
    ]


@pytest.mark.parametrize("file", sorted(LAUNCH.glob("*")), ids=lambda f: f.name)
def test_configs_named_in_launch_exist(file: Path) -> None:
    text = file.read_text()
    names = re.findall(r"configs/(\w+)\.py", text) + " ".join(re.findall(r"configs=\((\w[\w ]*)\)", text)).split()
    missing = {name for name in names if name not in "XYZ" and not (ROOT / "configs" / f"{name}.py").exists()}
    assert not missing


def test_image_ignores_all_but_what_it_copies() -> None:
    copied = {
        word
        for line in re.findall(r"^COPY (.*) \S+$", (LAUNCH / "Dockerfile").read_text(), re.MULTILINE)
        for word in line.split()
    }
    ignored = (LAUNCH / "Dockerfile.dockerignore").read_text().splitlines()
    assert copied == {line[1:] for line in ignored if line.startswith("!")}
    assert all((ROOT / name).exists() for name in copied)
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["readme"] in copied


LOAD = """
import sys, sky
task = sky.Task.from_yaml(sys.argv[1])
resources = list(task.resources)
assert all(r.use_spot for r in resources)
assert all(r.job_recovery == {"strategy": "EAGER_NEXT_REGION", "recover_on_exit_codes": [75, 134]} for r in resources)
assert list(task.storage_mounts) == ["/mnt/seqdigits"], task.storage_mounts
print(task.num_nodes, task.envs["CONFIG"])
"""


def _load_sky(file: Path, home: Path) -> subprocess.CompletedProcess[str]:
    if not (SKY / "ready").exists():
        pytest.skip("SkyPilot is not installed: `make sky` creates .venv-sky")
    return subprocess.run(
        [SKY / "bin" / "python", "-c", LOAD, file],
        env=os.environ | {"HOME": str(home)},  # it keeps a database there
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.slow
def test_skypilot_loads_its_file(tmp_path: Path) -> None:
    result = _load_sky(LAUNCH / "sky.yaml", tmp_path)
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "1 configs/quickstart.py"


@pytest.mark.slow
def test_skypilot_finds_a_misspelled_key(tmp_path: Path) -> None:
    file = tmp_path / "sky.yaml"
    file.write_text((LAUNCH / "sky.yaml").read_text().replace("accelerators:", "accelerator:"))
    result = _load_sky(file, tmp_path)
    assert result.returncode != 0
    assert "did you mean 'accelerators'" in result.stderr
