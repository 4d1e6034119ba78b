"""Results made up by hand, for the tests of pages and tables."""

import json

from seqdigits.config.registry import config_names, load_config
from seqdigits.config.saved import digest, to_json
from seqdigits.experiments import report
from seqdigits.experiments.results import Result, TrainedPart


def result(name, **changes):
    values = {
        "name": name,
        "settings": {},
        "config": changes.get("config") or _config_of(name, changes.get("settings", {})),
        "seed": 0,
        "commit": "0123456789",
        "devices": ["cpu"],
        "cores": 2,
        "python": "3.11",
        "versions": {},
        "trained": [TrainedPart(0, "0123456789", ["cpu"])],
        "steps": 30_000,
        "steps_planned": 30_000,
        "fraction": 1.0,
        "partial": False,
        "comparable": True,
        "minutes": 61.25,
        "parameters": 7,
        "reports": reports(),
        "curve": [],
    }
    values |= changes
    return Result(**values, config_sha256=digest(values["config"]))


def _config_of(name, settings):
    """Returns the config of an experiment with some settings, as a result has it; for one without a config any."""
    base = name.split("+")[0]
    if base not in config_names():
        return config()
    loaded = load_config(base)
    loaded.update_from_flattened_dict(settings)
    return json.loads(to_json(loaded))


def config(name="gru", path="", **sections):
    data = {"composition": "canvas", "photographs": "svhn", "min_length": 5, "max_length": 5}
    return {"model": {"name": name}, "init": {"path": path}, "data": data, **sections}


def reports(train=0.99, validation=0.91, test=0.9, **metrics):
    return {
        split: {"sequence_accuracy": value, "localization_error": None, "examples": 30_000, **metrics}
        for split, value in (("train", train), ("validation", validation), ("test", test))
    }


def rows(*results, of=None):
    """Returns the page, and the rows of an experiment, by default of the first result."""
    page = report.text(list(results))
    lines = page.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith(f"| `{of or results[0].name.split('+')[0]}`"))
    last = next(i for i in range(start + 1, len(lines)) if not lines[i].startswith("|  |"))
    return page, lines[start:last]
