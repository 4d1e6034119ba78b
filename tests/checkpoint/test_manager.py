"""What was saved comes back bit for bit, or not at all; damage is said aloud."""

import json
import os
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqdigits.checkpoint.layout import all_steps, find_checkpoint, load_raw
from seqdigits.checkpoint.manager import Checkpoints
from seqdigits.checkpoint.manifest import DamagedCheckpoint, verify
from seqdigits.core.errors import UserError
from seqdigits.parallel.devices import Devices


def state(step):
    return {"params": {"kernel": jnp.arange(5000.0) + step}, "step": jnp.array(step), "empty": {}}


def template():
    sharding = Devices().replicated
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), state(0))


def save(workdir, *steps, keep=2, best=None):
    checkpoints = Checkpoints(workdir, keep)
    for step in steps:
        found = {"step": best, "value": 0.5} if best and step >= best else None
        checkpoints.save(step, state(step), {"step": step, "best": found})
    checkpoints.close()


def restore(workdir):
    checkpoints = Checkpoints(workdir)
    restored = checkpoints.restore(template())
    checkpoints.close()
    return restored


def largest_file(path):
    return max((p for p in (path / "default").rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)


def flip_a_bit(file):
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


def test_what_was_saved_comes_back(tmp_path):
    assert restore(tmp_path) is None
    save(tmp_path, 10, 20)
    restored, meta = restore(tmp_path)
    assert meta["step"] == 20
    assert restored["empty"] == {}
    np.testing.assert_array_equal(restored["params"]["kernel"], np.arange(5000.0) + 20)


def test_the_newest_and_the_best_are_kept(tmp_path):
    save(tmp_path, 10, 20, 30, 40, 50, keep=2, best=20)
    assert all_steps(tmp_path / "checkpoints") == [20, 40, 50]


def test_a_state_given_up_right_after_saving_is_saved_as_it_was(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    overwrite = jax.jit(lambda s: jax.tree.map(lambda x: x * 0 - 1, s), donate_argnums=0)
    value = {"params": {"kernel": jnp.arange(3_000_000.0)}, "step": jnp.array(1), "empty": {}}
    checkpoints.save(1, value, {"step": 1, "best": None})
    for _ in range(5):
        value = overwrite(value)
    jax.block_until_ready(value)
    checkpoints.close()
    raw, _ = load_raw(tmp_path / "checkpoints" / "1")
    np.testing.assert_array_equal(raw["params"]["kernel"], np.arange(3_000_000.0))


def test_one_flipped_bit_is_found_and_the_older_step_restored(tmp_path, capsys):
    save(tmp_path, 10, 20)
    file = largest_file(tmp_path / "checkpoints" / "20")
    flip_a_bit(file)
    _, meta = restore(tmp_path)
    assert meta["step"] == 10
    said = capsys.readouterr().out
    assert "checkpoints/20 is damaged" in said
    assert file.name in said
    assert "goes on from the one before" in said
    assert (tmp_path / "checkpoints-damaged" / "20").is_dir()


def test_after_a_fallback_the_run_saves_that_step_anew(tmp_path):
    save(tmp_path, 10, 20)
    flip_a_bit(largest_file(tmp_path / "checkpoints" / "20"))
    save(tmp_path, 20)
    assert restore(tmp_path)[1]["step"] == 20


def test_a_missing_file_is_found(tmp_path, capsys):
    save(tmp_path, 10, 20)
    largest_file(tmp_path / "checkpoints" / "20").unlink()
    assert restore(tmp_path)[1]["step"] == 10
    assert "cannot be read (No such file" in capsys.readouterr().out


def test_a_half_copied_folder_with_a_plain_number_is_not_taken_for_the_latest(tmp_path, capsys):
    save(tmp_path, 10)
    os.makedirs(tmp_path / "checkpoints" / "99" / "state")
    assert restore(tmp_path)[1]["step"] == 10
    assert "has no manifest.json" in capsys.readouterr().out


def test_a_step_stopped_before_its_manifest_is_not_restored(tmp_path):
    save(tmp_path, 10, 20)
    (tmp_path / "checkpoints" / "20" / "manifest.json").unlink()
    assert restore(tmp_path)[1]["step"] == 10


def test_if_nothing_verifies_the_run_does_not_silently_start_over(tmp_path):
    save(tmp_path, 10)
    flip_a_bit(largest_file(tmp_path / "checkpoints" / "10"))
    with pytest.raises(UserError, match=r"(?s)checkpoints/10 is damaged.*To start over, delete the folder"):
        Checkpoints(tmp_path)
    assert (tmp_path / "checkpoints" / "10").is_dir()


def test_find_gives_latest_best_step_and_path(tmp_path):
    save(tmp_path, 10, 20, 30, best=10)
    folder = tmp_path / "checkpoints"
    assert find_checkpoint(tmp_path, "latest") == folder / "30"
    assert find_checkpoint(tmp_path, "best") == folder / "10"
    assert find_checkpoint(tmp_path, "20") == folder / "20"
    assert find_checkpoint(tmp_path / "other", str(folder / "20")) == folder / "20"


@pytest.mark.parametrize(
    ("which", "message"),
    [
        ("15", "has the steps 10"),
        ("newest", "allowed are latest, best, a step, the path"),
        ("best", "no best checkpoint yet"),
    ],
)
def test_find_says_what_there_is(tmp_path, which, message):
    save(tmp_path, 10)
    with pytest.raises(UserError, match=message):
        find_checkpoint(tmp_path, which)


def test_find_in_an_empty_workdir_says_to_train_first(tmp_path):
    with pytest.raises(UserError, match="Train first"):
        find_checkpoint(tmp_path, "latest")


def test_evaluation_of_a_damaged_step_is_refused(tmp_path):
    save(tmp_path, 10)
    path = tmp_path / "checkpoints" / "10"
    flip_a_bit(largest_file(path))
    with pytest.raises(DamagedCheckpoint, match="SHA-256 differs"):
        load_raw(path)


def test_a_checkpoint_can_be_copied_elsewhere(tmp_path):
    save(tmp_path, 10)
    shutil.copytree(tmp_path / "checkpoints" / "10", tmp_path / "copy" / "10")
    raw, meta = load_raw(tmp_path / "copy" / "10")
    assert meta == {"step": 10, "best": None}
    np.testing.assert_array_equal(raw["params"]["kernel"], np.arange(5000.0) + 10)


def test_the_manifest_lists_every_file(tmp_path):
    save(tmp_path, 10)
    path = tmp_path / "checkpoints" / "10"
    listed = json.loads((path / "manifest.json").read_text())
    files = {p.relative_to(path).as_posix() for p in path.rglob("*") if p.is_file()} - {"manifest.json"}
    assert set(listed["files"]) == files


def test_a_manifest_with_a_changed_figure_does_not_verify(tmp_path):
    save(tmp_path, 10)
    manifest = tmp_path / "checkpoints" / "10" / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"step": 10', '"step": 11'))
    with pytest.raises(DamagedCheckpoint, match="manifest.json is not what was written"):
        verify(manifest.parent)


def test_meta_can_be_amended(tmp_path):
    save(tmp_path, 10)
    checkpoints = Checkpoints(tmp_path)
    checkpoints.amend(10, {"step": 10, "best": {"step": 10, "value": 1.0}})
    checkpoints.close()
    assert restore(tmp_path)[1]["best"] == {"step": 10, "value": 1.0}


def test_a_run_stopped_while_writing_its_only_checkpoint_starts_over(tmp_path, capsys):
    save(tmp_path, 10)
    (tmp_path / "checkpoints" / "10" / "manifest.json").unlink()
    assert restore(tmp_path) is None
    assert "stopped while being written" in capsys.readouterr().out
    save(tmp_path, 10)
    assert restore(tmp_path)[1]["step"] == 10


def test_the_best_is_still_there_after_falling_back(tmp_path):
    save(tmp_path, 10, 20, 30, 40, best=10)
    checkpoints = Checkpoints(tmp_path, 2)
    checkpoints.save(50, state(50), {"step": 50, "best": {"step": 50, "value": 0.6}})
    checkpoints.close()
    flip_a_bit(largest_file(tmp_path / "checkpoints" / "50"))
    assert find_checkpoint(tmp_path, "best").name == "10"
    load_raw(find_checkpoint(tmp_path, "best"))
