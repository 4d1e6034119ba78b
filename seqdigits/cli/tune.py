"""Searches for better values of config keys: `seqdigits tune CONFIG --space FILE --trials N`.

FILE names the keys and their values, one per line: optim.learning_rate = { low = 1e-5, high = 1e-2, log = true }. Each trial is a
training run in OUT/trials/NNNN, scored by train.best_metric on validation, and pruned if it is worse than the median of the others at
the same step. No trial reads test data.

The same command resumes a search that was stopped or killed, every trial from its own checkpoint. Run it several times at once, on
one machine or on several that share OUT, and the workers divide the trials. N counts complete, pruned and failed trials of all workers.

OUT gets best.py, the best config; importance.svg, what mattered; result.json, the trials and their cost. Optuna chooses the trials:
pip install 'seqdigits[tune]'.

Exit status: 0 success, or other workers run the rest; 2 a user error, 75 or 130 stopped by a signal (docs/running.md).
"""

from __future__ import annotations

import sys
from pathlib import Path

from absl import flags

from seqdigits.config.flags import config_file, experiment_flags, parse, with_config
from seqdigits.config.registry import CONFIGS, config_names, find_config
from seqdigits.config_checks.validate import validate
from seqdigits.core.interrupt import Stop
from seqdigits.core.jax_settings import prepare_jax
from seqdigits.tuning.search import search
from seqdigits.tuning.space import find_space, read_space

USAGE = "seqdigits tune CONFIG --space FILE --trials N [--out DIR] [--seed S] [--config.key=value ...]"


def command_line() -> flags.FlagValues:
    """Returns the flags of the command."""
    values = experiment_flags()
    flags.DEFINE_string(
        "space",
        None,
        "TOML file with the keys and values to search, or the name of one in configs/spaces",
        flag_values=values,
    )
    flags.DEFINE_integer(
        "trials",
        None,
        "number of trials of all workers; a larger one extends a search",
        lower_bound=1,
        flag_values=values,
    )
    flags.DEFINE_string("out", None, "folder of the search; default: runs/tune/CONFIG", flag_values=values)
    flags.DEFINE_integer(
        "seed",
        0,
        "of the sampler; the parameters of trial n depend on it, on n, and on earlier trials",
        lower_bound=0,
        flag_values=values,
    )
    return values


def main(stop: Stop) -> None:
    """Runs `seqdigits tune`."""
    argv = with_config(sys.argv)
    values = parse(command_line(), argv, USAGE, __doc__, needed=("config", "space", "trials"))
    config, name = values["config"].value, config_name(config_file(argv))
    validate(config)
    space = read_space(find_space(values["space"].value), config)
    out = Path(values["out"].value or Path("runs", "tune", name or find_config(config_file(argv)).stem))
    prepare_jax()
    search(config, name, space, out, trials=values["trials"].value, seed=values["seed"].value, stop=stop)
    print(
        f"\n{out}/best.py is the best config, importance.svg shows what mattered, result.json has the cost.", flush=True
    )


def config_name(text: str) -> str | None:
    """Returns the name of a config in configs/; None for another file, or one with an argument.

    >>> config_name("configs/quickstart.py"), config_name("quickstart"), config_name("quickstart:1")
    ('quickstart', 'quickstart', None)
    """
    if ":" in text:
        return None
    path = find_config(text)
    is_known = path.resolve().parent == CONFIGS.resolve() and path.stem in config_names()
    return path.stem if is_known else None
