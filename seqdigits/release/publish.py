"""Publishes weights with the package; see checkpoint/pretrained.py for the commands."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from seqdigits.checkpoint import pretrained, weights
from seqdigits.config.registry import config_names, load_config
from seqdigits.config.saved import digest
from seqdigits.config.upgrade import upgrade_result
from seqdigits.core.errors import UserError
from seqdigits.core.files import make_folder, write_atomically
from seqdigits.data.photos.crop import PHOTO_COMPOSITIONS
from seqdigits.release.facts import selected, write_facts, write_sum
from seqdigits.release.onnx_file import checked_onnx, write_onnx

MOST_BYTES = 4_000_000
"""Largest size of a file of published weights."""


def publish(name: str, result: Path, *, partial: bool = False) -> dict[str, Any]:
    """Publishes the weights of a run under a name: writes NAME.npz, NAME.onnx, NAME.json and NAME.md, and their SHA-256 last.

    The ONNX file is compared with the network before anything is written. Metrics of earlier weights of that name are dropped.

    Args:
      name: one of pretrained.NAMES.
      result: RESULT.json of `seqdigits reproduce --weights`, with RESULT.npz beside it.
      partial: whether an incomplete run is accepted.

    Returns:
      The content of NAME.json: `result` (name of the run), `settings`, `config` (all keys), `config_sha256`, `seed`, `commit`
      (of the training), `devices`, `cores`, `python`, `versions`, `steps`, `steps_planned`, `partial`, `minutes`,
      `parameters`, `images` (trained on, repetitions included), `bytes`, `sha256`, and `metrics` (see `measure`; empty).

    Raises:
      UserError: the files are missing, damaged or of different runs, or the weights may not be published; or see
        onnx_file.checked_onnx.
    """
    pretrained.check_name(name)
    facts, content = _facts(result)
    _refuse(facts, result, partial)
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / f"{name}.npz"
        copy.write_bytes(content)
        onnx = checked_onnx(copy, pretrained.FOLDER / f"{name}.onnx")
    make_folder(pretrained.FOLDER, "the folder of the pretrained weights")
    write_atomically(pretrained.FOLDER / f"{name}.npz", content)
    write_facts(name, facts)
    write_sum(name, facts["sha256"])
    write_onnx(name, onnx)
    file = pretrained.path(name)
    print(f"{file}, {len(content):,} bytes; now: seqdigits pretrained measure {name}", flush=True)
    return facts


def _facts(result: Path) -> tuple[dict[str, Any], bytes]:
    """Returns the metadata of the weights of a run, and the bytes of the file to publish.

    The section `decode` is that of the config file today, because the weights may have been calibrated after the run.
    """
    file = result.with_suffix(".npz")
    variables, about = weights.load(file)  # refuses other files
    try:
        run = upgrade_result(json.loads(result.read_text()))
        facts = {
            "result": run["name"],
            "commit": run["trained"][-1]["commit"] or run["commit"],
            **selected(run, _OF_RUN),
        }
        facts["images"] = run["steps"] * run["config"]["train"]["batch_size"]
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as e:
        raise UserError(
            f"{result} is not a result of seqdigits reproduce: {e!r}. seqdigits reproduce NAME --weights writes it."
        ) from e
    if (about["step"], about["config"]) != (run["steps"], run["config"]):
        raise UserError(
            f"{file} and {result} are of different runs: step {about['step']:,} and {run['steps']:,}, or different configs. "
            "Take both from one run of seqdigits reproduce --weights."
        )
    base = facts["result"].split("+")[0]
    if base in config_names():
        options = load_config(base).decode
        decode_keys = {k.removeprefix("decode."): v for k, v in facts["settings"].items() if k.startswith("decode.")}
        options.update(decode_keys)
        facts["config"] = {**facts["config"], "decode": options.to_dict()}
    facts["config_sha256"] = digest(facts["config"])
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / file.name
        weights.save(
            copy,
            variables,
            {**about, "config": facts["config"], "initialized_from": facts["initialized_from"]},
            half=True,
        )
        content = copy.read_bytes()
    sizes = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    return {**facts, **sizes, "metrics": {}}, content


_OF_RUN = (
    "settings",
    "config",
    "initialized_from",
    "config_sha256",
    "seed",
    "devices",
    "cores",
    "python",
    "versions",
    "steps",
    "steps_planned",
    "partial",
    "minutes",
    "parameters",
)


def _refuse(facts: dict[str, Any], result: Path, partial: bool) -> None:
    """Refuses weights that may not be in the package."""
    if facts["bytes"] > MOST_BYTES:
        raise UserError(
            f"the weights of {result} have {facts['bytes']:,} bytes, at most {MOST_BYTES:,} are allowed. seqdigits reproduce "
            "--weights writes half precision; else train a smaller network."
        )
    if facts["partial"] and not partial:
        raise UserError(
            f"{result} is partial: {facts['steps']:,} of {facts['steps_planned']:,} steps. Complete the run, or give --partial, "
            "which the model card states."
        )
    model = facts["config"]["model"]
    if model["name"] != "dense_detector" or model["pixels"] == "per_pixel":
        raise UserError(
            f"model.name = {model['name']}, model.pixels = {model['pixels']}: published weights must take images of any size: "
            "model.name = dense_detector, and model.pixels other than per_pixel."
        )
    for stage, config in _stages(facts):
        if config["data"]["composition"] in PHOTO_COMPOSITIONS:
            raise UserError(
                f"{stage} was trained on photographs (data.composition = {config['data']['composition']}), whose license may "
                "extend to the weights: house numbers are for non-commercial use only. Publish weights trained on digits or scenes."
            )


def _stages(facts: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields name and config of a run, and of the run that it was initialized from, recursively, as they were then."""
    name, run = str(facts["result"]), facts
    yield name, run["config"]
    while run["config"]["init"]["path"]:
        if not run["initialized_from"]:
            raise UserError(
                f"{name} was initialized from {run['config']['init']['path']}, whose training data are unknown: they may be "
                "photographs, whose license may extend to the weights. Train again from the first run on."
            )
        run = run["initialized_from"]
        name = run["path"]
        yield name, run["config"]
