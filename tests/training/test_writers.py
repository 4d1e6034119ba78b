"""Logs are complete, and a resumed run leaves no duplicate points in its curves."""

import json

import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from seqdigits.core.files import write_atomically
from seqdigits.training.writers import Writers


def scalars(workdir):
    events = EventAccumulator(str(workdir / "tensorboard"), size_guidance={"scalars": 0, "images": 0})
    events.Reload()
    # Files of one second are not read in order: TensorBoard sorts the ninth of a process after the tenth.
    return {tag: sorted((e.step, e.value) for e in events.Scalars(tag)) for tag in events.Tags()["scalars"]}


def run(workdir, start, steps, slope):
    writers = Writers(workdir, start)
    for step in steps:
        writers.write(step, "train", {"loss": slope * step, "confusion": [[1]]})
    writers.close()


def test_writers_remove_entries_after_restored_step(tmp_path):
    run(tmp_path, 0, (10, 20, 30), 1.0)
    run(tmp_path, 20, (30, 40), 2.0)
    assert scalars(tmp_path) == {"train/loss": [(10, 10), (20, 20), (30, 60), (40, 80)]}
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [(line["step"], line["loss"]) for line in lines] == [(10, 10), (20, 20), (30, 60), (40, 80)]
    assert lines[0] == {"step": 10, "split": "train", "loss": 10.0, "confusion": [[1]]}


def test_writers_drop_truncated_line(tmp_path):
    run(tmp_path, 0, (10,), 1.0)
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 20, "spl')
    run(tmp_path, 10, (20,), 1.0)
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [10, 20]


def test_writers_keep_complete_records_of_truncated_file(tmp_path):
    run(tmp_path, 0, (10, 20), 1.0)
    (file,) = (tmp_path / "tensorboard").iterdir()
    file.write_bytes(file.read_bytes()[:-5])
    run(tmp_path, 10, (20,), 3.0)
    assert scalars(tmp_path) == {"train/loss": [(10, 10), (20, 60)]}


def test_write_image_reaches_tensorboard(tmp_path):
    writers = Writers(tmp_path, 0)
    writers.write_image(5, "validation/examples", Image.new("RGB", (30, 20), "red"))
    writers.close()
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    (image,) = events.Images("validation/examples")
    assert (image.step, image.width, image.height) == (5, 30, 20)


def test_write_atomically_keeps_old_file_on_failure(tmp_path, monkeypatch):
    path = tmp_path / "report.json"
    write_atomically(path, "old")
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError("disk")))
    with pytest.raises(OSError, match="disk"):
        write_atomically(path, "new")
    assert path.read_text() == "old"
