"""Checkpoints are restored bit for bit, or not at all; a message names what is damaged."""

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
        record = {"step": best, "value": 0.5} if best and step >= best else None
        checkpoints.save(step, state(step), {"step": step, "best": record})
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


def test_restore_returns_what_was_saved(tmp_path):
    assert restore(tmp_path) is None
    save(tmp_path, 10, 20)
    restored, meta = restore(tmp_path)
    assert meta["step"] == 20
    assert restored["empty"] == {}
    np.testing.assert_array_equal(restored["params"]["kernel"], np.arange(5000.0) + 20)


def test_save_keeps_the_newest_and_the_best(tmp_path):
    save(tmp_path, 10, 20, 30, 40, 50, keep=2, best=20)
    assert all_steps(tmp_path / "checkpoints") == [20, 40, 50]


def test_save_allows_donation_right_after(tmp_path):
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


def test_restore_falls_back_after_a_flipped_bit(tmp_path, capsys):
    save(tmp_path, 10, 20)
    (tmp_path / "checkpoints-damaged").mkdir()
    (tmp_path / "checkpoints-damaged" / ".DS_Store").touch()
    file = largest_file(tmp_path / "checkpoints" / "20")
    flip_a_bit(file)
    _, meta = restore(tmp_path)
    assert meta["step"] == 10
    output = capsys.readouterr().out
    assert "checkpoints/20 is damaged" in output
    assert file.name in output
    assert "resuming from the checkpoint before it" in output
    assert (tmp_path / "checkpoints-damaged" / "20").is_dir()


def test_save_replaces_a_damaged_step_after_fallback(tmp_path):
    save(tmp_path, 10, 20)
    flip_a_bit(largest_file(tmp_path / "checkpoints" / "20"))
    save(tmp_path, 20)
    assert restore(tmp_path)[1]["step"] == 20


def test_restore_falls_back_after_a_missing_file(tmp_path, capsys):
    save(tmp_path, 10, 20)
    largest_file(tmp_path / "checkpoints" / "20").unlink()
    assert restore(tmp_path)[1]["step"] == 10
    assert "cannot be read (No such file" in capsys.readouterr().out


def test_restore_ignores_a_folder_without_a_manifest(tmp_path, capsys):
    save(tmp_path, 10)
    os.makedirs(tmp_path / "checkpoints" / "99" / "state")
    assert restore(tmp_path)[1]["step"] == 10
    assert "has no manifest.json" in capsys.readouterr().out


def test_restore_ignores_a_step_without_its_manifest(tmp_path):
    save(tmp_path, 10, 20)
    (tmp_path / "checkpoints" / "20" / "manifest.json").unlink()
    assert restore(tmp_path)[1]["step"] == 10


def test_restore_refuses_to_start_over_if_all_are_damaged(tmp_path):
    save(tmp_path, 10)
    flip_a_bit(largest_file(tmp_path / "checkpoints" / "10"))
    with pytest.raises(UserError, match=r"(?s)checkpoints/10 is damaged.*To start over, delete the folder"):
        Checkpoints(tmp_path)
    assert (tmp_path / "checkpoints" / "10").is_dir()


def test_find_checkpoint_takes_latest_best_step_and_path(tmp_path):
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
def test_find_checkpoint_lists_what_is_available(tmp_path, which, message):
    save(tmp_path, 10)
    with pytest.raises(UserError, match=message):
        find_checkpoint(tmp_path, which)


def test_find_checkpoint_in_an_empty_workdir_says_train_first(tmp_path):
    with pytest.raises(UserError, match="Train first"):
        find_checkpoint(tmp_path, "latest")


def test_load_raw_refuses_a_damaged_checkpoint(tmp_path):
    save(tmp_path, 10)
    path = tmp_path / "checkpoints" / "10"
    flip_a_bit(largest_file(path))
    with pytest.raises(DamagedCheckpoint, match="SHA-256 differs"):
        load_raw(path)


def test_load_raw_accepts_a_copied_checkpoint(tmp_path):
    save(tmp_path, 10)
    shutil.copytree(tmp_path / "checkpoints" / "10", tmp_path / "copy" / "10")
    raw, meta = load_raw(tmp_path / "copy" / "10")
    assert meta == {"step": 10, "best": None}
    np.testing.assert_array_equal(raw["params"]["kernel"], np.arange(5000.0) + 10)


def test_manifest_lists_every_file(tmp_path):
    save(tmp_path, 10)
    path = tmp_path / "checkpoints" / "10"
    listed = json.loads((path / "manifest.json").read_text())
    files = {p.relative_to(path).as_posix() for p in path.rglob("*") if p.is_file()} - {"manifest.json"}
    assert set(listed["files"]) == files


def test_verify_refuses_a_changed_manifest(tmp_path):
    save(tmp_path, 10)
    manifest = tmp_path / "checkpoints" / "10" / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"step": 10', '"step": 11'))
    with pytest.raises(DamagedCheckpoint, match="manifest.json was changed"):
        verify(manifest.parent)


def test_amend_replaces_the_meta(tmp_path):
    save(tmp_path, 10)
    checkpoints = Checkpoints(tmp_path)
    checkpoints.amend(10, {"step": 10, "best": {"step": 10, "value": 1.0}})
    checkpoints.close()
    assert restore(tmp_path)[1]["best"] == {"step": 10, "value": 1.0}


def test_restore_starts_over_if_the_only_step_is_unfinished(tmp_path, capsys):
    save(tmp_path, 10)
    (tmp_path / "checkpoints" / "10" / "manifest.json").unlink()
    assert restore(tmp_path) is None
    assert "stopped while being written" in capsys.readouterr().out
    save(tmp_path, 10)
    assert restore(tmp_path)[1]["step"] == 10


def test_fallback_keeps_the_best_checkpoint(tmp_path):
    save(tmp_path, 10, 20, 30, 40, best=10)
    checkpoints = Checkpoints(tmp_path, 2)
    checkpoints.save(50, state(50), {"step": 50, "best": {"step": 50, "value": 0.6}})
    checkpoints.close()
    flip_a_bit(largest_file(tmp_path / "checkpoints" / "50"))
    assert find_checkpoint(tmp_path, "best").name == "10"
    load_raw(find_checkpoint(tmp_path, "best"))
