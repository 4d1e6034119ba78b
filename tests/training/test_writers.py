"""Logs are complete, and a resumed run leaves no duplicate points in its curves."""

import json

from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
from tensorboard.plugins.hparams.metadata import SESSION_START_INFO_TAG, parse_session_start_info_plugin_data

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


def test_metrics_by_position_and_length_are_scalars(tmp_path):
    writers = Writers(tmp_path, 0)
    by = {"accuracy_by_position": [0.5, 0.25], "accuracy_by_length": {"1": 1.0, "3": None}}
    writers.write(2, "validation", {"iou": None, **by, "confusion": [[1]]})
    writers.close()
    assert scalars(tmp_path) == {
        "validation/accuracy_by_position/1": [(2, 0.5)],
        "validation/accuracy_by_position/2": [(2, 0.25)],
        "validation/accuracy_by_length/1": [(2, 1.0)],
    }


def test_splits_that_are_evaluated_again_lose_their_last_step(tmp_path):
    writers = Writers(tmp_path, 0)
    for split in ("train", "validation", "test"):
        for step in (1, 2):
            writers.write(step, split, {"loss": 1.0})
    writers.close()
    Writers(tmp_path, 2, ("validation", "test")).close()
    steps = {tag: [step for step, _ in found] for tag, found in scalars(tmp_path).items()}
    assert steps == {"train/loss": [1, 2], "validation/loss": [1], "test/loss": [1]}


def test_hyperparameters_are_written_once(tmp_path):
    for step in (0, 5, 5):
        Writers(tmp_path, step, (), {"seed": 3, "model.name": "gru", "data.color": True}).close()
    found = []
    for file in (tmp_path / "tensorboard").glob("events*"):
        found += [v for event in EventFileLoader(str(file)).Load() for v in event.summary.value]
    assert [value.tag for value in found] == [SESSION_START_INFO_TAG]
    content = parse_session_start_info_plugin_data(found[0].metadata.plugin_data.content)
    assert content.hparams["seed"].number_value == 3
    assert content.hparams["model.name"].string_value == "gru"
    assert content.hparams["data.color"].bool_value is True


def test_write_image_reaches_tensorboard(tmp_path):
    writers = Writers(tmp_path, 0)
    writers.write_image(5, "validation/examples", Image.new("RGB", (30, 20), "red"))
    writers.close()
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    (image,) = events.Images("validation/examples")
    assert (image.step, image.width, image.height) == (5, 30, 20)
