"""launch/accelerator.sh with a stub of Python: what it packs, runs, resumes, skips and collects."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest

from seqdigits.cli import reproduce
from seqdigits.config.registry import load_config
from seqdigits.config_checks.validate import validate
from seqdigits.experiments.selection import chosen_experiments, parse_settings

ROOT = Path(__file__).resolve().parents[2]
PARTS = {
    "base/mnist": [f"{part}-{kind}-ubyte.gz" for part in ("t10k", "train") for kind in ("images-idx3", "labels-idx1")],
    "base/backgrounds": ["backgrounds.jpg", "misread_cycle4.jpg"],
    "base/wheels": [f"{name}-1-py3-none-any.whl" for name in ("absl-py", "clu", "ml_collections", "wrapt")],
    "photographs/svhn_numbers": ["test.tar.gz", "train.tar.gz"],
}

STUB = f"""#!{sys.executable}
# pip download, zipfile and seqdigits, as accelerator.sh calls them. Calls of seqdigits are appended to $STUB/calls. `reproduce`
# saves a step of its first experiment. With $STUB/limit it then waits until it is ended; else it writes a result for each that
# has none, with weights of $STUB/bytes.
import json, os, signal, sys, time, zipfile
from pathlib import Path
from urllib.parse import quote

stub, arguments = Path(os.environ["STUB"]), sys.argv[2:]
if arguments[0] == "pip":
    folder, *names = arguments[arguments.index("-d") + 1 :]
    for name in names:
        with zipfile.ZipFile(Path(folder) / (name + "-1-py3-none-any.whl"), "w") as wheel:
            wheel.writestr(name + "/__init__.py", "")
    sys.exit()
if arguments[0] == "zipfile":
    os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
_, command, *arguments = arguments
environment = {{name: os.environ[name] for name in ("SEQDIGITS_DATA", "PYTHONPATH")}}
with (stub / "calls").open("a") as calls:
    print(json.dumps({{"command": command, "arguments": arguments, **environment}}), file=calls)
if command == "benchmark":
    sys.exit(print("1,000 images/s"))
names = arguments[: next(i for i, argument in enumerate(arguments) if argument.startswith("--"))]
settings = sorted(arguments[i + 1] for i, argument in enumerate(arguments) if argument == "--set")
named = "".join("+" + quote(setting, safe="=") for setting in settings if "steps_per_call" not in setting)
out, workdirs = (Path(arguments[arguments.index(flag) + 1]) for flag in ("--out", "--workdirs"))
saved = workdirs / names[0] / "step"
print("resumed" if saved.exists() else "started", names[0], flush=True)
saved.parent.mkdir(parents=True, exist_ok=True)
saved.touch()
if (stub / "limit").exists():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(75))
    (stub / "waiting").touch()
    time.sleep(60)
for name in names:
    if (out / (name + named + ".json")).exists():
        continue
    (out / (name + named + ".json")).touch()
    with (out / (name + named + ".npz")).open("wb") as weights:
        weights.truncate(int((stub / "bytes").read_text()))
"""


class Checkout:
    """A checkout with launch/accelerator.sh alone, whose Python is the stub, and what it left where."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.out, self.stub, self.home = (
            folder / "checkout",
            folder / "out",
            folder / "stub",
            folder / "home",
        )
        self.data, self.work = folder / "data", folder / "work"
        for made in (self.folder / "launch", self.stub, self.home / ".cache" / "seqdigits"):
            made.mkdir(parents=True)
        shutil.copy(ROOT / "launch" / "accelerator.sh", self.folder / "launch")
        (self.folder / ".gitignore").write_text("/carry/\n")
        subprocess.run(["git", "init", "-q", self.folder], check=True)
        (self.stub / "python").write_text(STUB)
        (self.stub / "python").chmod(0o755)
        (self.stub / "bytes").write_text("1000")
        for file in ("mnist/SOURCE.md", "svhn_numbers/mat_samples/train/digitStruct.mat"):
            self.write(self.data / file)
        for part in ("base/mnist", "photographs/svhn_numbers"):
            for name in PARTS[part]:
                self.write(self.data / part.split("/")[1] / name)
        for name in PARTS["base/backgrounds"]:
            self.write(self.home / ".cache" / "seqdigits" / name)

    def write(self, file: Path, size: int = 1) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("wb") as opened:
            opened.truncate(size)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Starts the script in a process group of its own, with an empty $OUT."""
        shutil.rmtree(self.out, ignore_errors=True)
        folders = {"ACCELERATOR_WORK": self.work, "OUT": self.out, "STUB": self.stub, "HOME": self.home}
        variables = {"PYTHON": self.stub / "python", "SEQDIGITS_DATA": self.data, **folders}
        return subprocess.Popen(
            ["bash", "launch/accelerator.sh", *arguments],
            cwd=self.folder,
            env={"PATH": os.environ["PATH"]} | {name: str(value) for name, value in variables.items()},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def call(self, *arguments: str) -> tuple[int, str]:
        """Returns the exit status and what was printed."""
        process = self.start(*arguments)
        printed, _ = process.communicate(timeout=60)
        return process.returncode, printed

    def end(self, sent: signal.Signals, *arguments: str) -> tuple[int, str]:
        """A call that is ended while it trains."""
        (self.stub / "limit").touch()
        process = self.start(*arguments)
        deadline = time.monotonic() + 30
        while not (self.stub / "waiting").exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        os.killpg(process.pid, sent)
        printed, _ = process.communicate(timeout=60)
        for file in ("limit", "waiting"):
            (self.stub / file).unlink()
        return process.returncode, printed

    def calls(self, command: str = "reproduce") -> list[dict[str, str]]:
        """Returns the calls of a command so far."""
        calls = [json.loads(line) for line in (self.stub / "calls").read_text().splitlines()]
        return [call for call in calls if call["command"] == command]

    def collected(self) -> dict[str, list[str]]:
        """Returns the files in $OUT, with the names of what they contain."""
        return {file.name: sorted(tarfile.open(file).getnames()) for file in sorted(self.out.iterdir())}


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


@pytest.fixture
def packed(checkout: Checkout) -> Checkout:
    status, printed = checkout.call("pack")
    assert (status, "missing" in printed) == (0, False), printed
    return checkout


def test_pack_fills_two_folders_with_what_the_queues_read(packed: Checkout) -> None:
    carry = packed.folder / "carry"
    files = {str(file.relative_to(carry)) for file in carry.rglob("*") if file.is_file()}
    assert files == {f"{part}/{name}" for part, names in PARTS.items() for name in names}


def test_pack_states_the_sizes_and_refuses_a_folder_that_does_not_fit(checkout: Checkout) -> None:
    mib = 1024 * 1024
    checkout.write(checkout.folder / "tree", 20 * mib)
    checkout.write(checkout.folder / "carry" / "of an earlier call", 90 * mib)  # ignored, and removed
    checkout.write(checkout.data / "svhn_numbers" / "train.tar.gz", 43 * mib)
    status, printed = checkout.call("pack")
    assert status == 0, printed
    assert " 20.0 MiB  the checkout: what git does not ignore\n" in printed
    assert " 43.0 MiB  carry/photographs/svhn_numbers\n" in printed
    assert " 63.0 MiB  the checkout and carry/photographs, of 64\n" in printed

    checkout.write(checkout.data / "svhn_numbers" / "train.tar.gz", 44 * mib)
    status, printed = checkout.call("pack")
    assert status == 2
    assert "accelerator.sh: carry/photographs: more than 64 MiB together with the checkout. Delete a part" in printed


def test_pack_names_what_is_missing_and_goes_on(checkout: Checkout) -> None:
    (checkout.home / ".cache" / "seqdigits" / "misread_cycle4.jpg").unlink()
    status, printed = checkout.call("pack")
    assert status == 0
    assert "misread_cycle4.jpg is missing: needed by the queue scenes (seqdigits find-misread --out" in printed


@pytest.mark.parametrize(("sent", "status"), [(signal.SIGTERM, 75), (signal.SIGKILL, -signal.SIGKILL)])
def test_call_ended_at_its_limit_is_resumed_by_the_next(packed: Checkout, sent: signal.Signals, status: int) -> None:
    """After SIGTERM what is there is collected at once, after SIGKILL by the next call."""
    ended, printed = packed.end(sent, "scenes")
    assert ended == status
    assert "started reader_scene" in printed
    first = {"results.tar": ["results", "results/throughput.txt"]}
    assert (packed.collected() if packed.out.exists() else None) == (first if status == 75 else None)

    shutil.rmtree(packed.folder / "carry")  # the first call has brought it
    ended, printed = packed.call("scenes")
    assert ended == 0, printed
    assert "resumed reader_scene" in printed
    assert len(packed.calls("benchmark")) == 1
    settings = [
        "data.misread=~%2F.cache%2Fseqdigits%2Fmisread_cycle4.jpg",
        "init.path=scene",
        "optim.decay_steps=40000",
    ]
    name = "+".join(["reader_scene", *settings, "seed=3", "train.batch_size=256", "train.steps=40000"])
    packed_as = re.sub(r"[^\w.-]", "_", f"{name}.npz.tar")  # other characters do not come back from the machine
    results = ["results", f"results/{name}.json", "results/throughput.txt"]
    assert packed.collected() == {packed_as: [f"results/{name}.npz"], "results.tar": results}

    assert packed.call("scenes")[0] == 0  # nothing new: weights are sent once
    assert packed.collected() == {"results.tar": results}


def test_calls_see_the_data_and_the_packages_that_were_carried(packed: Checkout) -> None:
    (packed.home / ".cache" / "seqdigits" / "misread_cycle4.jpg").unlink()  # as on another machine
    assert packed.call("scenes")[0] == 0
    (call,) = packed.calls()
    data, (sources, wheels) = Path(call["SEQDIGITS_DATA"]), call["PYTHONPATH"].split(":")
    assert sorted(file.name for file in (data / "mnist").iterdir()) == PARTS["base/mnist"]
    assert sorted(file.name for file in (data / "svhn_numbers").iterdir()) == PARTS["photographs/svhn_numbers"]
    assert sources == str(packed.folder)
    assert (Path(wheels) / "ml_collections" / "__init__.py").exists()
    assert (packed.home / ".cache" / "seqdigits" / "misread_cycle4.jpg").exists()


def test_queues_whose_data_no_call_has_brought_are_skipped(packed: Checkout) -> None:
    (packed.folder / "carry" / "photographs").rename(packed.folder / "photographs")
    status, printed = packed.call("published", "photographs")
    assert status == 2
    assert [call["arguments"][0] for call in packed.calls()] == ["C", "B"]
    assert "the queue photographs is skipped: " in printed
    assert "test.tar.gz is missing. Let a call carry carry/photographs" in printed

    (packed.folder / "carry" / "base").rename(packed.folder / "base")
    (packed.folder / "photographs").rename(packed.folder / "carry" / "photographs")
    status, printed = packed.call("published", "photographs")
    assert status == 0, printed
    assert [call["arguments"][0] for call in packed.calls()[2:]] == ["C", "B", "D"]


def test_first_call_without_what_pack_made_is_refused(checkout: Checkout) -> None:
    status, printed = checkout.call("published")
    assert status == 2
    assert "carry/base is missing, which the first call carries. Run 'bash launch/accelerator.sh pack'" in printed


def test_weights_beyond_eight_files_come_with_the_next_call(packed: Checkout) -> None:
    assert packed.call("systems")[0] == 0
    first = packed.collected()
    assert (len(first), "results.tar" in first) == (8, True)
    (packed.stub / "bytes").write_text(str(16 * 1024 * 1024))
    status, printed = packed.call("published")
    assert status == 0
    assert [line.split("/")[-1] for line in printed.splitlines() if line.startswith("skipped, 16 MiB or more")] == [
        "B.npz",
        "C.npz",
    ]
    weights = [name for names in (first | packed.collected()).values() for name in names if name.endswith(".npz")]
    assert len(weights) == len(set(weights)) == 11
    assert "results/goodfellow+data.photographs=svhn_2000.npz" in weights


def test_default_order_and_the_settings_of_each_queue_run(packed: Checkout) -> None:
    """Every series is one that `seqdigits reproduce` accepts, of configs that are valid with its settings."""
    assert packed.call("--minutes", "5", "--", "--fraction", "0.5")[0] == 0
    names = []
    for call in packed.calls():
        values = reproduce.command_line().parse_args(call["arguments"])
        assert 0 < values.budget_minutes <= 5
        assert (values.fraction, values.weights, values.skip) == (0.5, True, "results")
        names.append(values.experiments[0])
        for name in chosen_experiments(values.experiments):
            config = load_config(name)
            config.update_from_flattened_dict(parse_settings(values.set))
            validate(config)
    queues = (
        ["C", "B"],
        ["D"],
        ["reader_canvas", "reader_svhn"],
        ["reader_scene"],
        ["goodfellow_small", "first_four_11"],
    )
    assert names == [name for queue in queues for name in queue]
