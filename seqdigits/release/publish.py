"""How weights come into the package, and how they are measured for their model card; see checkpoint/pretrained.py for the commands."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from seqdigits.checkpoint import pretrained, weights
from seqdigits.config import defaults
from seqdigits.config.registry import config_names, load_config
from seqdigits.core.errors import UserError
from seqdigits.core.files import make_folder, write_atomically
from seqdigits.data.photos.crop import PHOTO_COMPOSITIONS
from seqdigits.release.facts import selected, write_facts

MOST_BYTES = 4_000_000
"""Of a file of weights in the package."""


def publish(name: str, result: Path, *, partial: bool = False) -> dict[str, Any]:
    """Makes the weights of a run those of a name: writes NAME.npz, NAME.json and NAME.md, and their SHA-256 last. Figures of
    earlier weights of that name are gone.

    Args:
      name: one of pretrained.NAMES.
      result: RESULT.json of `seqdigits reproduce --weights`; RESULT.npz lies beside it.
      partial: whether a run that did not come to its end will do.

    Returns:
      What is in NAME.json: `result` (the run's name), `settings`, `config` (whole), `config_sha256`, `seed`, `commit` (of the
      training), `devices`, `cores`, `python`, `versions`, `steps`, `steps_planned`, `partial`, `minutes`, `parameters`,
      `images` (trained on, counted each time), `bytes`, `sha256`, and `metrics` (see `measure`; none yet).

    Raises:
      UserError: the files are missing, damaged or of two runs, or the weights may not be shipped.
    """
    pretrained.check_name(name)
    facts, content = _facts(result)
    _refuse(facts, result, partial)
    make_folder(pretrained.FOLDER, "the folder of the package's weights")
    write_atomically(pretrained.FOLDER / f"{name}.npz", content)
    write_facts(name, facts)
    sums = {**pretrained.sums(), name: facts["sha256"]}
    write_atomically(pretrained.FOLDER / pretrained.SUMS, json.dumps(sums, indent=1, sort_keys=True) + "\n")
    file = pretrained.path(name)
    print(f"{file}, {len(content):,} bytes; now: python -m seqdigits pretrained measure {name}", flush=True)
    return facts


def _facts(result: Path) -> tuple[dict[str, Any], bytes]:
    """What is known of a run's weights, and the bytes of the file to ship: that of the run, but that how they are read is as
    the experiment's file has it now, for they may have been calibrated since."""
    file = result.with_suffix(".npz")
    variables, about = weights.load(file)  # refuses what is no file of weights
    try:
        run = json.loads(result.read_text())
        facts = {
            "result": run["name"],
            "commit": run["trained"][-1]["commit"] or run["commit"],
            **selected(run, _OF_RUN),
        }
        facts["images"] = run["steps"] * run["config"]["train"]["batch_size"]
    except (OSError, ValueError, LookupError, TypeError) as e:
        raise UserError(
            f"{result} is no result of seqdigits reproduce: {e!r}. python -m seqdigits reproduce NAME --weights writes it."
        ) from e
    if (about["step"], about["config"]) != (run["steps"], run["config"]):
        raise UserError(
            f"{file} is not of the run of {result}: step {about['step']:,} there and {run['steps']:,} here, or another config. "
            "Take both from one run of seqdigits reproduce --weights."
        )
    base = facts["result"].split("+")[0]
    if base in config_names():
        options = load_config(base).decode
        decode_keys = {k.removeprefix("decode."): v for k, v in facts["settings"].items() if k.startswith("decode.")}
        options.update(decode_keys)
        facts["config"] = {**facts["config"], "decode": options.to_dict()}
        facts["config_sha256"] = defaults.digest(facts["config"])
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
            f"the weights of {result} have {facts['bytes']:,} bytes, at most {MOST_BYTES:,} are allowed. Half precision is what "
            "seqdigits reproduce --weights writes; else train a smaller network."
        )
    if facts["partial"] and not partial:
        raise UserError(
            f"{result} is partial: {facts['steps']:,} of {facts['steps_planned']:,} steps. Run it to its end, or say --partial; "
            "the model card will say it too."
        )
    model = facts["config"]["model"]
    if model["name"] != "dense_detector" or model["pixels"] == "per_pixel":
        raise UserError(
            f"model.name = {model['name']}, model.pixels = {model['pixels']}: weights of the package are for images of any size. "
            "Only model.name = dense_detector reads these, and not with model.pixels = per_pixel."
        )
    for stage, config in _stages(facts):
        if config["data"]["composition"] in PHOTO_COMPOSITIONS:
            raise UserError(
                f"{stage} was trained on photographs (data.composition = {config['data']['composition']}), whose license would "
                "pass to the weights: house numbers are for non-commercial use only. Ship what was trained on digits or scenes."
            )


def _stages(facts: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Name and config of a run, and of all that it began with, one behind the other, as they were when it did."""
    name, run = str(facts["result"]), facts
    yield name, run["config"]
    while run["config"]["init"]["path"]:
        if not run["initialized_from"]:
            raise UserError(
                f"{name} began with {run['config']['init']['path']}, and what that was trained on is not known: it may have been "
                "photographs, whose license would pass to the weights. Train it again from the first run on."
            )
        run = run["initialized_from"]
        name = run["path"]
        yield name, run["config"]
