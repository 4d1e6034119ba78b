"""Every file of a checkpoint and of a workdir is damaged in every way: found, named, and the run ends with the same bits."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
from damages import DAMAGES, Matrix, files_of, fingerprint, flip

from seqdigits.checkpoint.layout import find_checkpoint, load_raw
from seqdigits.checkpoint.load import load_variables
from seqdigits.checkpoint.manager import Checkpoints
from seqdigits.checkpoint.manifest import DamagedCheckpoint, seal, verify
from seqdigits.core import provenance
from seqdigits.core.errors import UserError
from seqdigits.parallel.devices import Devices
from seqdigits.training.loop import train_and_evaluate


def state(step):
    params = {"kernel": jnp.arange(5000.0) + step, "bias": jnp.ones(7) * step}
    return {"params": params, "batch_stats": {}, "step": jnp.array(step)}


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    """A workdir with the steps 2 and 4 of a small state."""
    workdir = tmp_path_factory.mktemp("saved")
    checkpoints = Checkpoints(workdir, 2)
    for step in (2, 4):
        checkpoints.save(step, state(step), {"step": step, "best": {"step": step}, "config": {}})
    checkpoints.close()
    return workdir


@pytest.fixture
def copied(saved, tmp_path) -> Path:
    """A copy of that workdir, to be damaged."""
    return Path(shutil.copytree(saved, tmp_path / "w"))


def restored(workdir):
    """What a run restores: the state and its meta, or None."""
    template = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=Devices().replicated), state(0))
    checkpoints = Checkpoints(workdir)
    try:
        return checkpoints.restore(template)
    finally:
        checkpoints.close()


def refused(call, *parts: str) -> bool:
    """Whether a call ends with a UserError that names all parts."""
    try:
        call()
    except UserError as e:
        return all(part in str(e) for part in parts)
    return False


def test_every_damage_of_a_checkpoint_is_found(saved, tmp_path, capsys):
    """Restored by a run, by evaluation (latest, best, a step) and by init.path."""
    matrix = Matrix("checkpoint")
    files = files_of(saved / "checkpoints" / "4")
    assert {"manifest.json", "default/_METADATA", "default/manifest.ocdbt"} < set(files)
    for damage, break_ in DAMAGES.items():
        for at, file in enumerate(files):
            workdir = tmp_path / "w"
            shutil.rmtree(workdir, ignore_errors=True)
            shutil.copytree(saved, workdir)
            step_4 = workdir / "checkpoints" / "4"
            break_(step_4 / file, step_4 / files[at - 1])
            # In a swap the other file is damaged too, and a manifest that cannot be read is named in place of others.
            named = [name for name in (file, files[at - 1], "manifest.json") if damage == "swap" or name == file]
            steps_back = [find_checkpoint(workdir, which).name for which in ("latest", "best")] == ["2", "2"]
            said = capsys.readouterr().out
            loads = [lambda p=step_4: load_raw(p), lambda p=step_4: load_variables(p)]
            refuses = all(any(refused(load, str(step_4), name) for name in named) for load in loads)
            back, meta = restored(workdir)
            said_by_run = capsys.readouterr().out
            names = all(
                any("checkpoints/4 " in text and name in text for name in named) for text in (said, said_by_run)
            )
            matrix.add(
                damage,
                file,
                steps_back and refuses and names and meta["step"] == 2 and fingerprint(back) == fingerprint(state(2)),
            )
    matrix.report(capsys)


@pytest.mark.parametrize("how", ["damaged", "missing"])
def test_damaged_best_is_refused_with_the_other_steps(copied, how):
    """The latest verifies and names it: another step is not the best one, so that none is taken in silence."""
    checkpoints = Checkpoints(copied, 3)
    checkpoints.save(6, state(6), {"step": 6, "best": {"step": 2}, "config": {}})
    checkpoints.close()
    best = copied / "checkpoints" / "2"
    flip(best / "default" / "_METADATA", copied) if how == "damaged" else shutil.rmtree(best)
    assert find_checkpoint(copied, "latest").name == "6"
    for load in (lambda: load_raw(find_checkpoint(copied, "best")), lambda: load_variables(copied)):
        with pytest.raises(UserError, match=r"checkpoints/2.* has the steps .*4, 6"):
            load()


def test_added_file_is_named_with_the_fix(copied, capsys):
    added = copied / "checkpoints" / "4" / "default" / ".zarray"
    added.write_bytes(b"{}")
    with pytest.raises(DamagedCheckpoint, match=r"default/\.zarray was added.*Remove this file"):
        load_raw(copied / "checkpoints" / "4")
    assert restored(copied)[1]["step"] == 2


@pytest.mark.parametrize("name", [".nfs0000001", "default/._d", ".DS_Store"])
def test_file_of_a_file_system_is_no_damage(copied, name):
    (copied / "checkpoints" / "4" / name).write_bytes(b"x")
    assert restored(copied)[1]["step"] == 4


def test_manifest_cannot_name_files_elsewhere(copied, tmp_path):
    """With digests that fit: a manifest is data that anyone can write."""
    path = copied / "checkpoints" / "4"
    for name in ("../../outside", "/dev/zero", str(tmp_path / "outside")):
        seal(path, {"step": 4, "best": None})
        manifest = json.loads((path / "manifest.json").read_text())
        manifest["files"][name] = manifest["files"]["_CHECKPOINT_METADATA"]
        from seqdigits.checkpoint.manifest import _digest_of

        manifest["sha256"] = _digest_of({key: manifest[key] for key in ("meta", "files")})
        (path / "manifest.json").write_text(json.dumps(manifest))
        with pytest.raises(DamagedCheckpoint, match="cannot be read"):
            verify(path)


def test_amend_does_not_accept_damage_since_the_sealing(copied):
    checkpoints = Checkpoints(copied, 2)
    flip(next(p for p in (copied / "checkpoints" / "4" / "default" / "ocdbt.process_0" / "d").iterdir()), copied)
    checkpoints.amend(4, {"step": 4, "best": None, "config": {}})
    checkpoints.close()
    with pytest.raises(DamagedCheckpoint, match="default/ocdbt.process_0/d/.* was changed"):
        verify(copied / "checkpoints" / "4")


def test_damaged_manifest_of_an_older_step_does_not_stop_saving(copied):
    (copied / "checkpoints" / "2" / "manifest.json").write_text("{")
    checkpoints = Checkpoints(copied, 3)
    checkpoints.save(6, state(6), {"step": 6, "best": None})
    checkpoints.close()
    assert restored(copied)[1]["step"] == 6


@pytest.mark.parametrize("name", ["2", "004", "99"])
def test_copy_under_another_step_is_refused(copied, capsys, name):
    folder = copied / "checkpoints"
    shutil.rmtree(folder / name, ignore_errors=True)
    shutil.copytree(folder / "4", folder / name)
    assert restored(copied)[1]["step"] == 4
    assert name != "99" or "checkpoints/99 is damaged: by its manifest.json it is step 4" in capsys.readouterr().out
    checkpoints = Checkpoints(copied)
    checkpoints.save(6, state(6), {"step": 6, "best": None})
    checkpoints.close()
    assert restored(copied)[1]["step"] == 6


def test_all_damaged_is_an_error_that_names_a_file(copied):
    for step in ("2", "4"):
        flip(copied / "checkpoints" / step / "default" / "_METADATA", copied)
    for call in (lambda: Checkpoints(copied), lambda: find_checkpoint(copied, "latest")):
        with pytest.raises(UserError, match=r"(?s)default/_METADATA was changed.*No checkpoint in .* verifies"):
            call()


# Whole runs, from the damage to the final parameters


@pytest.fixture(scope="module")
def config(small_config):
    return small_config({"train.steps": 6, "train.keep_checkpoints": 3, "evaluate.every": 3, "evaluate.splits": ()})


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, config) -> tuple[Path, list[bytes]]:
    """A run of six steps without its last two checkpoints, steps 2 to 4 and 3 remain; and the bits of its end."""
    workdir = tmp_path_factory.mktemp("undisturbed")
    end = train_and_evaluate(config, workdir)
    shutil.rmtree(workdir / "checkpoints" / "6")
    return workdir, fingerprint(end)


@pytest.fixture
def resumes(undisturbed, tmp_path, config):
    """`resumes(break_)`: copies that workdir, breaks it, resumes; whether it ends with the same bits."""

    def run(break_) -> bool:
        workdir = tmp_path / "run"
        shutil.rmtree(workdir, ignore_errors=True)
        shutil.copytree(undisturbed[0], workdir)
        break_(workdir)
        return fingerprint(train_and_evaluate(config, workdir)) == undisturbed[1]

    return run


def newest(workdir: Path) -> Path:
    return max((workdir / "checkpoints").iterdir(), key=lambda path: int(path.name))


def test_run_ends_with_the_same_bits_after_a_damage(resumes, capsys):
    def break_(workdir):
        flip(newest(workdir) / "default" / "_METADATA", workdir)

    assert resumes(break_)
    assert "default/_METADATA was changed" in capsys.readouterr().out


@pytest.mark.soak
def test_run_ends_with_the_same_bits_after_every_damage(resumes, undisturbed, capsys):
    matrix = Matrix("run, file of its newest checkpoint")
    files = files_of(newest(undisturbed[0]))
    for damage, damage_file in DAMAGES.items():
        for at, file in enumerate(files):

            def break_(workdir, damage_file=damage_file, file=file, at=at):
                damage_file(newest(workdir) / file, newest(workdir) / files[at - 1])

            matrix.add(damage, file, resumes(break_) and "checkpoint before it" in capsys.readouterr().out)
    matrix.report(capsys)


def stale(workdir: Path) -> None:
    """Leaves what a killed run leaves, and a copy that was interrupted."""
    step = newest(workdir)
    shutil.copytree(step, step.with_name("6.orbax-checkpoint-tmp"))
    shutil.copytree(step / "default", step.with_name("5") / "default")
    (step / "manifest.json.123.0a1b2c3d.partial").write_text("{")
    (workdir / "config.json.123.0a1b2c3d.partial").write_text("{")
    (workdir / "metrics.jsonl.123.0a1b2c3d.partial").write_text("{")
    (step.with_name("7")).write_text("a file")
    shutil.copytree(step, workdir / "checkpoints-damaged" / "5")
    (workdir / "tensorboard" / "partial-events.out.tf-events.1").write_bytes(b"x")


def test_leftovers_of_a_killed_run_are_ignored(resumes):
    assert resumes(stale)


@pytest.mark.slow
def test_damaged_logs_and_records_of_a_run_do_not_stop_it(resumes, undisturbed, capsys, tmp_path):
    """Parameters do not depend on these files; what is lost is said. A flipped bit may be a valid value in plain text."""
    matrix = Matrix("run, its logs and records")
    names = [name for name in files_of(undisturbed[0]) if not name.startswith("checkpoints/") and name != "lock"]
    for damage, damage_file in DAMAGES.items():
        for at, file in enumerate(names):

            def break_(workdir, damage_file=damage_file, file=file, at=at):
                damage_file(workdir / file, workdir / names[at - 1])

            capsys.readouterr()
            try:
                good = resumes(break_)
                said = capsys.readouterr().out
                if (
                    damage in ("truncate", "swap") and file != "config.json"
                ):  # else a value may have changed, or all is gone
                    good &= "is damaged" in said or "missing or damaged" in said
            except UserError as e:  # of config.json, whose keys are compared
                good = "config.json" in str(e) or "holds a run with another config" in str(e)
            matrix.add(damage, file, good)
    matrix.report(capsys)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"\xff\xfe", b"[3]", b"{}", b'[{"step": "x"}]', b"[" * 100_000], ids=range(7)
)
def test_damaged_provenance_is_set_aside(tmp_path, capsys, content):
    (tmp_path / "provenance.json").write_bytes(content)
    provenance.record(tmp_path, 4, 1)
    (entry,) = provenance.read(tmp_path)
    assert entry["step"] == 4
    if content != b"{}":  # an empty list of entries in all but the type
        assert "provenance.json is missing or damaged" in capsys.readouterr().out
        assert (tmp_path / "damaged-provenance.json").read_bytes() == content
