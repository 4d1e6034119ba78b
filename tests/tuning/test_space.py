"""The space of a search: what a file means, and what is refused, with file, key, value and what is allowed."""

from __future__ import annotations

import pytest

from seqdigits.config.defaults import get
from seqdigits.config.registry import CONFIGS, load_config
from seqdigits.core.errors import UserError
from seqdigits.tuning.space import Parameter, differences, find_space, read_space, with_settings


@pytest.fixture
def read(tmp_path, small_config):
    """`read("optim.learning_rate = ...")`: the space of a file with this text, for the small config."""

    def call(text, overrides=None):
        path = tmp_path / "space.toml"
        path.write_text(text)
        return read_space(path, small_config(overrides))

    return call


def test_a_file_with_every_form_is_read(read):
    space = read(
        """
        [optim]
        learning_rate = { low = 1e-4, high = 1, log = true }
        name = { choices = ["adam", "adamw"] }
        [train]
        batch_size = { low = 8, high = 32, step = 8 }
        [data]
        gray = { choices = [false] }
        [model]
        encoder = { template = "conv 5x5x{width} /4, relu, dropout {rate}", width = { choices = [4, 8] }, rate = { low = 0, high = 0.5 } }
        """
    )
    assert space.parameters == (
        Parameter("optim.learning_rate", low=1e-4, high=1.0, log=True),
        Parameter("optim.name", choices=("adam", "adamw")),
        Parameter("train.batch_size", low=8, high=32, step=8),
        Parameter("data.gray", choices=(False,)),
        Parameter("model.encoder.width", choices=(4, 8)),
        Parameter("model.encoder.rate", low=0.0, high=0.5),
    )
    assert isinstance(space.parameters[0].high, float)
    values = {"optim.learning_rate": 0.01, "model.encoder.width": 4, "model.encoder.rate": 0.25}
    assert space.settings(values) == {
        "optim.learning_rate": 0.01,
        "model.encoder": "conv 5x5x4 /4, relu, dropout 0.25",
    }


def test_dotted_and_quoted_keys_are_the_same(read):
    entry = "{ low = 0.1, high = 0.2 }"
    assert read(f"optim.learning_rate = {entry}") == read(f'"optim.learning_rate" = {entry}')


@pytest.mark.parametrize(
    ("text", "messages"),
    [
        (
            "optim.learning_rat = { low = 0, high = 1 }",
            ["optim.learning_rat: unknown key", "mean optim.learning_rate?"],
        ),
        ("optim.plan = { choices = ['1: 2'] }", ["optim.plan", "renamed to optim.boundaries"]),
        ("optim.learning_rate = { low = 1, high = 1 }", ["low = 1.0 must be below high = 1.0"]),
        ("optim.learning_rate = { low = 2, high = 1 }", ["low = 2.0 must be below high = 1.0"]),
        ("optim.learning_rate = { low = 0, high = 1, log = true }", ["low = 0.0", "above 0"]),
        ("optim.learning_rate = { low = 0.1, high = 1, log = 1 }", ["log = 1", "true and false"]),
        ("optim.learning_rate = { low = 0.1, high = 1, log = true, step = 0.1 }", ["step = 0.1", "without log"]),
        ("optim.learning_rate = { low = 0.1, high = 1, step = 2 }", ["step = 2.0", "high - low = 0.9"]),
        ("optim.learning_rate = { low = 'a', high = 1 }", ["low = 'a'", "wrong type", "numbers"]),
        ("optim.learning_rate = { low = 0.1 }", ["not understood", "{ low, high }"]),
        ("optim.learning_rate = { low = 0.1, hi = 1 }", ["not understood", "'hi': 1"]),
        ("optim.learning_rate = 0.1", ["optim.learning_rate = 0.1 is not understood"]),
        ("optim.learning_rate = { choices = [] }", ["choices = []", "at least one value"]),
        ("optim.learning_rate = { choices = [0.1, 0.1] }", ["a value twice"]),
        (
            "optim.name = { choices = ['adam'] }\n'optim.name' = { choices = ['sgd'] }",
            ["optim.name is given twice", "Remove one"],
        ),
        ("train.batch_size = { low = 8, high = 16.5 }", ["high = 16.5", "wrong type", "integers"]),
        ("train.batch_size = { choices = [true] }", ["True has the wrong type", "integers"]),
        ("optim.name = { low = 0, high = 1 }", ["optim.name", "choices"]),
        ("optim.name = { choices = ['adam', 'adm'] }", ["optim.name = 'adm' is refused", "Allowed are adam"]),
        ("data.rotation = { low = 0, high = 90 }", ["data.rotation = 90 is refused", "0 to 45"]),
        ("model.encoder = { choices = ['conv 3x3', 'relu'] }", ["model.encoder = 'conv 3x3' is refused"]),
        ("model.gru_units = { low = 8, high = 16 }", ["model.gru_units = 8 is refused", "no effect"]),
        ("seed = { choices = [1, 2] }", ["seed", "the same in all trials", "--config.seed"]),
        ("train.steps = { low = 1, high = 2 }", ["train.steps", "does not identify a run"]),
        ("data.seed = { choices = [1, 2] }", ["data.seed", "validation examples"]),
        ("data.parts = { choices = ['train'] }", ["data.parts", "config file"]),
        ("model.encoder = { template = 'conv {a}', b = { choices = [1] } }", ["fields a", "parameters b"]),
        ("model.encoder = { template = 'conv 3x3x8' }", ["fields (none)"]),
        ("model.encoder = { template = 'conv {', a = { choices = [1] } }", ["template", "{NAME}"]),
        ("model.encoder = { template = 'conv {a:d}', a = { choices = [0.5] } }", ["has no format", "{NAME}"]),
        ("model.encoder = { template = 'conv {a!x}', a = { choices = [1] } }", ["has no format"]),
        ("model.encoder = { template = 'conv {a:{b}}', a = { choices = [1] } }", ["has no format"]),
        ("train.batch_size = { template = '{a}', a = { choices = [1] } }", ["a template is text"]),
        ("", ["has no key"]),
        ("optim.name = {", ["cannot be read", "TOML"]),
    ],
)
def test_what_is_not_allowed_is_refused(read, tmp_path, text, messages):
    with pytest.raises(UserError) as e:
        read(text)
    assert str(e.value).startswith(f"--space {tmp_path / 'space.toml'}")
    for message in messages:
        assert message in str(e.value)


def test_a_missing_file_is_refused(tmp_path, small_config):
    with pytest.raises(UserError, match=r"absent\.toml cannot be read: No such file"):
        read_space(tmp_path / "absent.toml", small_config())


def test_a_value_that_needs_another_parameter_is_allowed(read):
    """A cosine schedule needs optim.decay_steps, which the config does not set."""
    read("optim.schedule = { choices = ['constant'] }\noptim.decay_steps = { choices = [0] }")
    space = read("optim.schedule = { choices = ['cosine', 'exponential'] }\n" + TWO_KEYS)
    assert len(space.parameters) == 3
    with pytest.raises(UserError, match="'cosine' is refused"):
        read("optim.schedule = { choices = ['constant', 'cosine'] }")


TWO_KEYS = "optim.decay_steps = { low = 10, high = 20 }\noptim.decay_rate = { choices = [0.0, 0.5] }"


def test_settings_change_a_copy(small_config):
    config = small_config()
    changed = with_settings(config, {"optim.learning_rate": 0.5, "evaluate.splits": ()})
    assert differences(changed, config) == {"optim.learning_rate": 0.5, "evaluate.splits": ()}
    assert config.optim.learning_rate != 0.5


@pytest.mark.parametrize("path", sorted((CONFIGS / "spaces").glob("*.toml")), ids=lambda path: path.stem)
def test_a_space_of_the_package_has_the_config_itself_in_it(path):
    """Each is named as its config, whose values are among those that it searches."""
    assert find_space(path.stem) == find_space(str(path)) == path
    config = load_config(path.stem)
    space = read_space(path, config)
    values = {}
    for parameter in space.parameters:
        default = DEFAULT_FIELDS.get(parameter.name)
        value = values[parameter.name] = get(config, parameter.name) if default is None else default
        assert value in parameter.choices if parameter.choices else parameter.low <= value <= parameter.high
    assert differences(with_settings(config, space.settings(values)), config) == {}


DEFAULT_FIELDS = {"model.encoder.width": 16, "model.encoder.dropout": 0.2}
