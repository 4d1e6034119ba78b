"""The space of a search: the config keys that it varies, and the values of each, read from a TOML file.

    optim.learning_rate = { low = 1e-5, high = 1e-2, log = true }
    optim.name = { choices = ["adam", "adamw"] }
    model.gru_units = { low = 128, high = 768, step = 64 }
    model.encoder = { template = "conv 5x5x{width}, relu, dropout {rate}", width = { choices = [8, 16] }, rate = { low = 0, high = 0.5 } }

A key whose value is text may have a template: its fields are parameters of their own, named KEY.FIELD.
"""

from __future__ import annotations

import difflib
import string
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ml_collections import ConfigDict

from seqdigits.config.defaults import DEFAULTS, RESUMABLE_KEYS, SECTIONS, get
from seqdigits.config.registry import CONFIGS
from seqdigits.config.upgrade import check_renamed
from seqdigits.config_checks.validate import validate
from seqdigits.core.errors import UserError, short

if TYPE_CHECKING:
    from optuna.trial import Trial

Value = bool | int | float | str

_FIXED_KEYS = {
    "seed": "it is the same in all trials",
    "data.seed": "scores of different validation examples cannot be compared",
    "data.validation_percent": "scores of different validation examples cannot be compared",
    "data.validation_place": "scores of different validation examples cannot be compared",
    "data.validation_examples": "scores of different validation examples cannot be compared",
    "train.best_metric": "it is the score",
} | dict.fromkeys(RESUMABLE_KEYS, "it does not identify a run")
"""Keys that no search may vary, with the reason."""

_FORMS = "{ low, high } with log or step, { choices = [...] }, or for text { template, FIELD = { low, high }, ... }"


@dataclass(frozen=True)
class Parameter:
    """One parameter of a search.

    Attributes:
      name: the config key, or KEY.FIELD of a template.
      choices: the values to choose from; () = a range.
      low, high: the ends of a range, both included; both are integers or both floats.
      step: interval of the values of a range, from `low` on; None = any number.
      log: whether a range is sampled on a logarithmic scale.
    """

    name: str
    choices: tuple[Value, ...] = ()
    low: int | float = 0
    high: int | float = 0
    step: int | float | None = None
    log: bool = False

    def ends(self) -> tuple[Value, ...]:
        """Returns the values that are checked: all choices, or the ends of the range."""
        return self.choices or (self.low, self.high)

    def suggest(self, trial: Trial) -> Value:
        """Returns the value of a trial: the one it has already, or a new one of its sampler."""
        if self.choices:
            return trial.suggest_categorical(self.name, self.choices)
        if isinstance(self.low, int) and isinstance(self.high, int):
            return trial.suggest_int(self.name, self.low, self.high, step=int(self.step or 1), log=self.log)
        return self.rounded(trial.suggest_float(self.name, self.low, self.high, step=self.step, log=self.log))

    def rounded(self, value: Value) -> Value:
        """Returns a value of the parameter, a float with six significant digits, which can be read in a config."""
        if self.choices or not isinstance(value, float):
            return value
        return min(max(float(f"{value:.6g}"), self.low), self.high)

    def to_json(self) -> dict[str, Any]:
        """Returns what identifies the parameter."""
        if self.choices:
            return {"choices": list(self.choices)}
        return {"low": self.low, "high": self.high, "step": self.step, "log": self.log}


@dataclass(frozen=True)
class Space:
    """The space of a search.

    Attributes:
      parameters: in the order of the file.
      templates: text with {FIELD}, by config key.
    """

    parameters: tuple[Parameter, ...]
    templates: Mapping[str, str]

    def settings(self, values: Mapping[str, Value]) -> dict[str, Value]:
        """Returns config keys with their values.

        Args:
          values: of each parameter, by name.
        """
        settings = {name: value for name, value in values.items() if name in DEFAULTS}
        for key, template in self.templates.items():
            prefix = f"{key}."
            fields = {n.removeprefix(prefix): v for n, v in values.items() if n.startswith(prefix)}
            settings[key] = template.format(**fields)
        return settings

    def to_json(self) -> dict[str, Any]:
        """Returns what identifies the space, which a resumed search must not change."""
        return {
            "parameters": {parameter.name: parameter.to_json() for parameter in self.parameters},
            "templates": dict(self.templates),
        }


def find_space(text: str) -> Path:
    """Returns the file that `--space` names: a file, or configs/spaces/NAME.toml by its name.

    Raises:
      UserError: there is neither.
    """
    named = {path.stem: path for path in sorted((CONFIGS / "spaces").glob("*.toml"))}
    if text in named and not Path(text).is_file():
        return named[text]
    if not Path(text).exists():
        raise UserError(
            f"--space {text}: no such file. Name a TOML file, or one of configs/spaces: {', '.join(named)}."
        )
    return Path(text)


def read_space(path: Path, config: ConfigDict) -> Space:
    """Reads a space and checks each of its values.

    Args:
      path: the TOML file.
      config: the config that the search changes, complete.

    Raises:
      UserError: the file cannot be read, or a key or value in it is not allowed.
    """
    try:
        content = tomllib.loads(path.read_text())
    except (OSError, ValueError) as e:  # invalid TOML and invalid UTF-8 are ValueErrors
        reason = e.strerror if isinstance(e, OSError) else short(e)
        raise UserError(
            f"--space {path} cannot be read: {reason}. It is a TOML file; each line is KEY = {_FORMS}."
        ) from e
    parameters: list[Parameter] = []
    templates: dict[str, str] = {}
    for key, entry in _entries(content):
        where = f"--space {path}: {key}"
        _check_key(key, where)
        if key in templates or key in (parameter.name for parameter in parameters):
            raise UserError(f"{where} is given twice. Remove one of them.")
        if isinstance(entry, dict) and "template" in entry:
            templates[key] = _template(key, entry, where)
            for name, field in entry.items():
                if name != "template":
                    parameters.append(_parameter(f"{key}.{name}", field, None, f"{where}.{name}"))
        else:
            parameters.append(_parameter(key, entry, DEFAULTS[key], where))
    if not parameters:
        raise UserError(f"--space {path} has no key. Each line is KEY = {_FORMS}.")
    space = Space(tuple(parameters), templates)
    _check_values(space, config, path)
    return space


def _entries(content: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yields config keys with their entries; TOML reads `optim.name = {...}` as a table in the table `optim`.

    >>> list(_entries({"optim": {"name": {"choices": ["adam"]}}, "seed": {"low": 1}, "data.zoom": {"low": 2}}))
    [('optim.name', {'choices': ['adam']}), ('seed', {'low': 1}), ('data.zoom', {'low': 2})]
    """
    for name, entry in content.items():
        is_table = isinstance(entry, dict) and entry and all(isinstance(inner, dict) for inner in entry.values())
        if is_table or (isinstance(entry, dict) and name in SECTIONS):
            yield from ((f"{name}.{inner}", value) for inner, value in entry.items())
        else:
            yield name, entry


def _check_key(key: str, where: str) -> None:
    """Refuses a key that is unknown, or that no search may vary."""
    check_renamed(key, None, where)
    if key not in DEFAULTS:
        near = difflib.get_close_matches(key, DEFAULTS, n=1)
        meant = f" Did you mean {near[0]}?" if near else ""
        raise UserError(f"{where}: unknown key.{meant} All keys: seqdigits config --markdown.")
    if key in _FIXED_KEYS:
        raise UserError(
            f"{where}: a search cannot vary this key: {_FIXED_KEYS[key]}. Set it for all trials: --config.{key}=VALUE."
        )
    if isinstance(DEFAULTS[key], tuple):
        raise UserError(
            f"{where}: a search varies numbers, text, true and false. Set it for all trials in a config file."
        )


def _template(key: str, entry: Mapping[str, Any], where: str) -> str:
    """Returns the template of an entry, whose fields are exactly those that the entry has."""
    template = entry["template"]
    if not isinstance(template, str) or not isinstance(DEFAULTS[key], str):
        raise UserError(f"{where}: a template is text, for a key whose value is text. Use {_FORMS}.")
    try:
        pieces = [piece for piece in string.Formatter().parse(template) if piece[1] is not None]
    except ValueError as e:
        raise UserError(f"{where}.template = {template!r}: {short(e)}. Write each field as {{NAME}}.") from e
    if any(form or conversion for _, _, form, conversion in pieces):  # the value decides on its form
        raise UserError(f"{where}.template = {template!r}: a field has no format. Write each field as {{NAME}}.")
    found = {name for _, name, _, _ in pieces if name is not None}
    given = entry.keys() - {"template"}
    if found != given or not found or not all(name.isidentifier() for name in found):
        raise UserError(
            f"{where}.template has the fields {_list(found)}, and the entry the parameters {_list(given)}. Both must have the "
            "same names, at least one."
        )
    return template


def _list(names: set[str]) -> str:
    return ", ".join(sorted(names)) or "(none)"


def _parameter(name: str, entry: Any, default: Value | None, where: str) -> Parameter:
    """Returns the parameter of an entry.

    Args:
      name: of the parameter.
      entry: as TOML has it.
      default: a value of the type of the key; None = a field of a template, which takes any type.
      where: file and key, for messages.
    """
    allowed = {"choices"} if isinstance(entry, dict) and "choices" in entry else {"low", "high", "log", "step"}
    if (
        not isinstance(entry, dict)
        or not entry.keys() <= allowed
        or not ("choices" in entry or {"low", "high"} <= entry.keys())
    ):
        raise UserError(f"{where} = {entry!r} is not understood. Use {_FORMS}.")
    if "choices" in entry:
        choices = entry["choices"]
        if not isinstance(choices, list) or not choices:
            raise UserError(f"{where}: choices = {choices!r}: a list of at least one value is allowed.")
        found = tuple(_typed(value, default, f"{where}: choices = {choices!r}") for value in choices)
        if len({(type(value), value) for value in found}) < len(found):
            raise UserError(f"{where}: choices = {choices!r} has a value twice. Name each one once.")
        return Parameter(name, choices=found)
    if isinstance(default, bool | str):
        raise UserError(f"{where} = {entry!r}: a range is for numbers. Use {{ choices = [...] }}.")
    log, step = entry.get("log", False), entry.get("step")
    if not isinstance(log, bool):
        raise UserError(f"{where}: log = {log!r}: allowed are true and false.")
    ends = [_number(entry[end], default, f"{where}: {end} = {entry[end]!r}") for end in ("low", "high")]
    if any(isinstance(end, float) for end in (*ends, step)):  # a field of a template, as 0 and 0.5
        ends = [float(end) for end in ends]
    low, high = ends
    if low >= high:
        raise UserError(f"{where}: low = {low} must be below high = {high}. For a single value, set it in the config.")
    if log and low <= 0:
        raise UserError(f"{where}: low = {low}: with log = true it must be above 0.")
    if step is not None:
        step = _number(step, low, f"{where}: step = {step!r}")
        if log or not 0 < step <= high - low:
            raise UserError(
                f"{where}: step = {step}: above 0, to high - low = {high - low}, is allowed, and only without log = true."
            )
    return Parameter(name, low=low, high=high, step=step, log=log)


def _typed(value: Any, default: Value | None, where: str) -> Value:
    """Returns a value as the type of a default; an integer may stand for a number."""
    if default is None:
        default = value
    if isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not type(default) or not isinstance(value, bool | int | float | str):
        kinds = {bool: "true and false", int: "integers", float: "numbers", str: "text"}
        raise UserError(
            f"{where}: {value!r} has the wrong type. Allowed are {kinds.get(type(default), 'numbers and text')}."
        )
    return value


def _number(value: Any, default: Value | None, where: str) -> int | float:
    """Returns a number as the type of a default, which None leaves open."""
    number = _typed(value, default, where)
    if isinstance(number, bool | str):
        raise UserError(f"{where}: allowed are numbers.")
    return number


def _check_values(space: Space, config: ConfigDict, path: Path) -> None:
    """Refuses a value that the checks of configs refuse, whatever the other parameters are.

    It is tried beside the values of the config, beside the first value of each other parameter, and beside the last. With
    a field of a template, the other fields always have their first or last values.
    """
    first = {parameter.name: parameter.ends()[0] for parameter in space.parameters}
    last = {parameter.name: parameter.ends()[-1] for parameter in space.parameters}
    for parameter in space.parameters:
        for value in parameter.ends():
            problem = None
            for others in (first, last):
                every = space.settings({**others, parameter.name: value})
                key = parameter.name if parameter.name in every else parameter.name.rpartition(".")[0]
                problem = _problem(config, {key: every[key]}, problem)
                problem = problem and _problem(config, every, problem)
                if problem is None:
                    break
            if problem is not None:
                raise UserError(f"--space {path}: {parameter.name} = {value!r} is refused: {problem}")


def _problem(config: ConfigDict, settings: Mapping[str, Value], before: str | None) -> str | None:
    """Returns why the checks refuse a config with these settings, or the reason found before; None if they do not."""
    try:
        validate(with_settings(config, settings))
    except UserError as e:
        return before or str(e)
    return None


def with_settings(config: ConfigDict, settings: Mapping[str, Any]) -> ConfigDict:
    """Returns a copy of a config in which keys have other values."""
    changed = config.copy_and_resolve_references()
    changed.update_from_flattened_dict(dict(settings))
    return changed


def differences(config: ConfigDict, other: ConfigDict) -> dict[str, Any]:
    """Returns the keys whose values differ between two complete configs, with those of the first."""
    return {key: get(config, key) for key in DEFAULTS if get(config, key) != get(other, key)}
