"""Series of experiments: results, skipping, stopping and resuming; the published values."""

import json
import os
import subprocess
import sys

import pytest
from conftest import ROOT, SMALL
from ml_collections import ConfigDict

from seqdigits.checkpoint import weights
from seqdigits.cli import reproduce as cli_reproduce
from seqdigits.config import registry as config_registry
from seqdigits.config.upgrade import old_names
from seqdigits.core.errors import Help, UserError
from seqdigits.core.interrupt import Stop, Stopped
from seqdigits.experiments import reproduce, results, selection
from seqdigits.experiments import run as run_of_series
from seqdigits.experiments.budget import Budget
from seqdigits.experiments.published import FAMILIES, METRICS, PUBLISHED, Published, PublishedMetric, ours
from seqdigits.experiments.selection import chosen_experiments, parse_settings
from seqdigits.training.lock import Lock

CONFIG = """
from seqdigits.config import base_config

def get_config():
    config = base_config()
    config.update_from_flattened_dict({values!r})
    return config
"""
PUBLISHED_METRICS = (
    PublishedMetric("test", "sequence_accuracy", -0.1),
    PublishedMetric("test", "localization_error", 1e-9),
    PublishedMetric("test", "cross_entropy", 1.0),
    PublishedMetric("train", "accuracy_by_position/3", 1.0),
)
ROWS = {"a": Published("A", 7, PUBLISHED_METRICS, "a note"), "b": Published("B", None)}


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """Creates two small experiments, a and b; returns the folders of results and runs."""
    configs = tmp_path / "configs"
    configs.mkdir()
    for name in ("a", "b"):
        (configs / f"{name}.py").write_text(CONFIG.format(values=SMALL))
    monkeypatch.setattr(config_registry, "CONFIGS", configs)
    for module in (run_of_series, selection):
        monkeypatch.setattr(module, "PUBLISHED", ROWS)
    return {"out": tmp_path / "results", "workdirs": tmp_path / "runs"}


def main(monkeypatch, folders, *arguments, stop=None):
    """Runs the command in this process; returns its exit status."""
    argv = ["reproduce", "--out", str(folders["out"]), "--workdirs", str(folders["workdirs"]), *arguments]
    monkeypatch.setattr(sys, "argv", argv)
    monkeypatch.setattr("seqdigits.cli.reproduce.prepare_jax", lambda: None)
    monkeypatch.setattr(os, "nice", lambda _: 0)  # it could not be undone for the other tests
    stop = stop or Stop()
    try:
        cli_reproduce.main(stop)
    except SystemExit as e:
        return e.code
    except Stopped:
        return stop.exit_status
    return 0


def refuse_to_train(*_):
    raise AssertionError("nothing should be trained")


def states(runs):
    return [run.state for run in runs]


def test_reproduce_resumes_a_fraction_and_skips_done_runs(folders, monkeypatch, capsys):
    (run,) = reproduce.reproduce(["a"], fraction=0.5, **folders)
    path = folders["out"] / "a.json"
    part = json.loads(path.read_text())
    assert run.state == "partial"
    assert (part["partial"], part["steps"], part["steps_planned"], part["fraction"]) == (True, 2, 4, 0.5)
    assert not part["comparable"]

    (run,) = reproduce.reproduce(["a"], **folders)
    assert "resumed from step 2" in capsys.readouterr().out
    complete = json.loads(path.read_text())
    assert run.state == "done"
    assert (complete["partial"], complete["steps"], complete["fraction"]) == (False, 4, 1.0)
    assert complete["config_sha256"] == part["config_sha256"]
    check_result(complete, folders["workdirs"] / "a")

    monkeypatch.setattr(reproduce, "train_and_evaluate", refuse_to_train)
    for fraction in (1.0, 0.5):
        (run,) = reproduce.reproduce(["a"], fraction=fraction, **folders)
        assert run.state == "done before", "a complete run includes its first part"
    path.write_text(json.dumps(complete | {"config": complete["config"] | {"seed": 5}}))
    (run,) = reproduce.reproduce(["a"], **folders)
    assert "nothing should be trained" in run.problem


def check_result(result, workdir):
    assert result["name"] == "a"
    assert result["config"]["train"]["steps"] == 4
    assert result["config"]["model"]["encoder"] == SMALL["model.encoder"]
    assert len(result["config_sha256"]) == 64
    assert result["seed"] == 0
    assert result["devices"]
    assert result["versions"]["jax"]
    assert [(part["step"], part["steps_per_call"]) for part in result["trained"]] == [(0, 1), (2, 1)]
    assert all(part["devices"] for part in result["trained"])
    assert result["parameters"] > 1000
    assert result["minutes"] >= 0

    test = json.loads((workdir / "evaluation" / "test.json").read_text())
    assert list(result["reports"]) == ["train", "validation", "test"]
    assert result["reports"]["test"]["step"] == 4
    for metric in ("examples", "sequence_accuracy", "localization_error", "accuracy_by_position", "iou"):
        assert result["reports"]["test"][metric] == test[metric]
    assert "confusion" in test
    assert "confusion" not in result["reports"]["test"]

    assert [point["step"] for point in result["curve"]] == [2, 4]
    for point in result["curve"]:
        assert list(point) == ["step", "seconds", "sequence_accuracy", "localization_error", "loss"]
        assert None not in point.values()

    assert result["comparable"]


def test_reproduce_continues_after_a_failure(folders, monkeypatch, capsys):
    (config_registry.CONFIGS / "broken.py").write_text("def get_config():\n    raise KeyError('at the wrong moment')\n")
    (config_registry.CONFIGS / "wrong.py").write_text(CONFIG.format(values=SMALL | {"model.name": "readr"}))
    status = main(monkeypatch, folders, "broken", "wrong", "b", "--fraction", "0.25")
    output = capsys.readouterr().out
    assert status == 1
    assert "broken failed: KeyError: 'at the wrong moment'" in output
    assert "KeyError" in (folders["workdirs"] / "broken" / "error.txt").read_text()
    assert "wrong failed: model.name = 'readr' is not known" in output
    assert not (folders["workdirs"] / "wrong" / "error.txt").exists()
    assert [path.name for path in folders["out"].iterdir()] == ["b.json"]
    assert json.loads((folders["out"] / "b.json").read_text())["steps"] == 1


@pytest.mark.parametrize("exit_status", [0, pytest.param(75, marks=pytest.mark.slow)], ids=["budget", "signal"])
def test_reproduce_resumes_after_a_stop(folders, monkeypatch, capsys, exit_status):
    stop, train_and_evaluate = Stop(), reproduce.train_and_evaluate

    def stop_in_the_middle(config, workdir, stop):
        if config.train.steps == 4:  # not in the evaluation of the saved step
            stop.exit_status = exit_status
            stop.set()
        return train_and_evaluate(config, workdir, stop)

    monkeypatch.setattr(reproduce, "train_and_evaluate", stop_in_the_middle)
    status = main(monkeypatch, folders, "a", "b", "--budget-minutes", "1000", stop=stop)
    assert status == exit_status
    output = capsys.readouterr().out
    assert "saved step 1 of 4" in output
    assert "--- a (1 of 2), 0 s used, 16 h 40 min of the budget left" in output
    assert "1 waiting, 4 steps" in output
    assert ("The budget is used up; rerun" in output) == (exit_status == 0)
    assert f"1 {'stopped' if exit_status else 'partial'}, 1 waiting; " in output
    if exit_status:
        assert not list(folders["out"].iterdir())
    else:
        part = json.loads((folders["out"] / "a.json").read_text())
        assert (part["partial"], part["steps"], part["fraction"], part["reports"]["test"]["step"]) == (True, 1, 0.25, 1)

    monkeypatch.setattr(reproduce, "train_and_evaluate", train_and_evaluate)
    (run,) = reproduce.reproduce(["a"], **folders)
    assert run.state == "done"
    assert "resumed from step 1" in capsys.readouterr().out


def test_budget_sets_stop_with_status_0():
    stop, budget = Stop(), Budget(0.001)
    with budget.limits(stop):
        assert stop.wait(30)
    assert stop.exit_status == 0
    assert budget.text() == "0 s used, 0 s of the budget left"
    assert Budget().text() == "0 s used"
    with pytest.raises(UserError, match="above 0"):
        Budget(0)


def stop_at_once(stop, train_and_evaluate=reproduce.train_and_evaluate):
    """Returns a train_and_evaluate whose budget ends before the first step is saved; one step is trained all the same."""

    def train(config, workdir, _):
        if config.train.steps > 1:
            stop.set()
        return train_and_evaluate(config, workdir, stop)

    return train


def test_signal_stops_the_evaluation_after_the_budget(folders, monkeypatch):
    stop, train = Stop(), reproduce.train_and_evaluate

    def signal_in_the_evaluation(config, workdir, stop):
        if config.train.steps == 1:
            stop.request(75)
        else:
            stop.set()
        return train(config, workdir, stop)

    monkeypatch.setattr(reproduce, "train_and_evaluate", signal_in_the_evaluation)
    (run,) = reproduce.reproduce(["a"], stop=stop, **folders)
    assert (run.state, run.unfinished, stop.exit_status) == ("stopped", True, 75)
    assert not list(folders["out"].iterdir())


@pytest.mark.slow
def test_budget_keeps_a_result_of_more_steps(folders, monkeypatch, capsys):
    """As in a new checkout, which has results without workdirs."""
    reproduce.reproduce(["a"], fraction=0.5, out=folders["out"], workdirs=folders["workdirs"].with_name("lost"))
    before = (folders["out"] / "a.json").read_text()
    stop = Stop()
    monkeypatch.setattr(reproduce, "train_and_evaluate", stop_at_once(stop))
    (run,) = reproduce.reproduce(["a"], stop=stop, **folders)
    assert run.state == "stopped"
    assert "is of more steps than the 1 that are saved now, and is kept" in capsys.readouterr().out
    assert (folders["out"] / "a.json").read_text() == before


def test_experiment_of_another_command_is_left_to_it(folders, monkeypatch, capsys):
    (folders["workdirs"] / "a").mkdir(parents=True)
    lock = Lock(folders["workdirs"] / "a")
    try:
        status = main(monkeypatch, folders, "a", "b", "--fraction", "0.25")
    finally:
        lock.release()
    output = capsys.readouterr().out
    assert status == 0
    assert f"a in use: --workdir {folders['workdirs'] / 'a'} is in use by another run: process {os.getpid()}" in output
    assert "1 partial, 1 in use; " in output
    assert "The others are in use by another command; rerun the same command to resume." in output
    assert [path.name for path in folders["out"].iterdir()] == ["b.json"]


@pytest.mark.slow
def test_result_that_another_command_completed_is_not_trained_again(folders, monkeypatch):
    """A second command begins while the first one trains a; when b is done, so is a."""
    train, nested = reproduce.train_and_evaluate, []

    def complete_b_meanwhile(config, workdir, stop):
        if not nested:
            nested.append(1)
            reproduce.reproduce(["b"], fraction=0.25, **folders)
        return train(config, workdir, stop)

    monkeypatch.setattr(reproduce, "train_and_evaluate", complete_b_meanwhile)
    assert states(reproduce.reproduce(["a", "b"], fraction=0.25, **folders)) == ["partial", "done before"]


def test_queue_begins_with_the_run_nearest_to_its_end(folders, monkeypatch):
    saved = {"a": 0, "b": 1, "c": 3, "d": 0, "e": 2}
    monkeypatch.setattr(results, "progress", lambda workdir: (saved[workdir.name], 0.0))
    runs = []
    for name in saved:
        init = {"c": "runs/d", "a": "runs/a"}.get(name, "")
        runs.append(run_of_series.Run(name, {}, folders["workdirs"] / name, folders["out"] / name, steps=4))
        runs[-1].config = ConfigDict({"init": {"path": init}})
    assert [run.name for run in reproduce.queue_order(runs)] == ["d", "c", "e", "b", "a"]


def test_settings_change_the_run_and_its_name(folders):
    settings = parse_settings(["train.steps=2", "data.folder=/no where"])
    (run,) = reproduce.reproduce(["a"], settings=settings, **folders)
    assert run.name == "a+data.folder=%2Fno%20where+train.steps=2"
    assert (folders["workdirs"] / run.name / "checkpoints" / "2").is_dir()
    result = json.loads((folders["out"] / f"{run.name}.json").read_text())
    assert result["settings"] == {"data.folder": "/no where", "train.steps": 2}
    assert result["config"]["data"]["folder"] == "/no where"
    assert (result["partial"], result["comparable"]) == (True, False)  # 2 of the file's 4 steps


@pytest.mark.slow
def test_seeds_are_runs_of_their_own(folders, monkeypatch, capsys):
    """The result of the first seed is there before."""
    reproduce.reproduce(["a"], **folders)
    capsys.readouterr()
    assert main(monkeypatch, folders, "a", "--seeds", "2") == 0
    output = capsys.readouterr().out
    assert [line.split()[1] for line in output.splitlines() if line.startswith("--- ")] == ["a+seed=1"]
    (mean,) = (line for line in output.splitlines() if line.split()[:3] == ["a", "0,", "1"])
    assert "test sequence_accuracy" in mean
    assert "1 done before, 1 done; " in output
    found = [json.loads((folders["out"] / f"{name}.json").read_text()) for name in ("a", "a+seed=1")]
    assert [(one["seed"], one["steps"], one["comparable"]) for one in found] == [(0, 4, True), (1, 4, True)]
    assert found[0]["reports"]["test"] != found[1]["reports"]["test"]
    assert found[0]["reports"]["test"]["examples_by_length"] == found[1]["reports"]["test"]["examples_by_length"]

    monkeypatch.setattr(reproduce, "train_and_evaluate", refuse_to_train)
    assert states(reproduce.reproduce(["a"], seeds=2, **folders)) == ["done before"] * 2


def test_seeds_are_queued_one_after_another(folders, monkeypatch):
    order = []

    def note(config, workdir, stop):
        order.append((workdir.name, config.seed))
        raise UserError("not trained")

    monkeypatch.setattr(reproduce, "train_and_evaluate", note)
    monkeypatch.setattr(results, "progress", lambda workdir: (2 * workdir.name.startswith("b+seed=1"), 0.0))
    reproduce.reproduce(["a", "b"], settings={"train.steps": 3}, seeds=2, **folders)
    assert order == [  # b with seed 1 was begun before
        ("b+seed=1+train.steps=3", 1),
        ("a+train.steps=3", 0),
        ("b+train.steps=3", 0),
        ("a+seed=1+train.steps=3", 1),
    ]


@pytest.mark.slow
def test_steps_per_call_is_not_in_the_name(folders):
    reproduce.reproduce(["a"], fraction=0.25, **folders)
    settings = parse_settings(["train.steps_per_call=2"])
    (run,) = reproduce.reproduce(["a"], settings=settings, **folders)
    assert (run.name, run.workdir, run.state) == ("a", folders["workdirs"] / "a", "done")
    assert [path.name for path in folders["out"].iterdir()] == ["a.json"]
    result = results.Result.from_json((folders["out"] / "a.json").read_text())
    assert (result.name, result.settings, result.comparable) == ("a", {}, True)
    assert [(part.step, part.steps_per_call) for part in result.trained] == [(0, 1), (1, 2)]
    assert result.config["train"]["steps_per_call"] == 2


@pytest.mark.slow
def test_skip_skips_complete_results_of_another_folder(folders, monkeypatch, tmp_path):
    reproduce.reproduce(["a"], out=tmp_path / "earlier", workdirs=tmp_path / "runs")
    reproduce.reproduce(["b"], fraction=0.5, out=tmp_path / "earlier", workdirs=tmp_path / "runs")
    monkeypatch.setattr(reproduce, "train_and_evaluate", refuse_to_train)
    runs = reproduce.reproduce(["a", "b"], skip=tmp_path / "earlier", keep_weights=True, **folders)
    assert states(runs) == ["done before", "failed"], "a partial result is not enough"
    assert "nothing should be trained" in runs[1].problem


@pytest.mark.slow
def test_skip_runs_a_first_stage_that_is_needed(folders, monkeypatch, tmp_path):
    (config_registry.CONFIGS / "b.py").write_text(CONFIG.format(values=SMALL | {"init.path": "runs/a"}))
    reproduce.reproduce(["a"], out=tmp_path / "earlier", workdirs=tmp_path / "runs")
    monkeypatch.setattr(reproduce, "train_and_evaluate", refuse_to_train)
    runs = reproduce.reproduce(["a", "b"], skip=tmp_path / "earlier", **folders)
    assert "nothing should be trained" in runs[0].problem, "its workdir is missing, so it is trained again"
    assert reproduce.reproduce(["a"], skip=tmp_path / "earlier", **folders)[0].state == "done before"


def test_adopt_old_name_moves_workdir_and_results(folders, capsys):
    settings = parse_settings(["loss.background_weight=0.4"])
    old, new = "a+loss.background=0.4", "a+loss.background_weight=0.4"
    for path in (folders["workdirs"] / old, folders["out"]):
        path.mkdir(parents=True)
    (folders["out"] / f"{old}.json").write_text("{}")
    assert run_of_series.name_of("a", settings) == new
    assert run_of_series.name_of("a", old_names(settings)) == old
    reproduce._adopt_old_name(old, new, folders["out"], folders["workdirs"])
    assert (folders["workdirs"] / new).is_dir()
    assert [path.name for path in folders["out"].iterdir()] == [f"{new}.json"]
    assert "was renamed to" in capsys.readouterr().out


@pytest.mark.parametrize("path", sorted((ROOT / "results").glob("*.json")), ids=lambda path: path.stem)
def test_result_json_round_trip_is_exact(path):
    assert results.Result.from_json(path.read_text()).to_json() == path.read_text()


@pytest.mark.parametrize("change", [{"unknown": 1}, {"trained": None}, {"curve": [{}]}])
def test_from_json_refuses_an_invalid_result(change):
    values = json.loads((ROOT / "results" / "mnist_linear.json").read_text())
    with pytest.raises(TypeError):
        results.Result.from_json(json.dumps(values | change))


@pytest.mark.slow
def test_second_stage_is_initialized_from_the_first(folders, capsys):
    """The config names runs/a; here the workdirs are elsewhere and the settings differ."""
    (config_registry.CONFIGS / "b.py").write_text(CONFIG.format(values=SMALL | {"init.path": "runs/a"}))
    first, second = reproduce.reproduce(["a", "b"], settings={"seed": 5}, **folders)
    assert (first.state, second.state) == ("done", "done")
    assert f"initialized from {first.workdir}: " in capsys.readouterr().out
    assert second.result.config["init"]["path"] == "runs/a"  # as in the config file
    assert first.result.initialized_from is None
    origin = second.result.initialized_from
    assert (origin["path"], origin["step"], origin["config"]["seed"], origin["initialized_from"]) == (
        "runs/a",
        4,
        5,
        None,
    )


@pytest.mark.slow
def test_second_stage_needs_a_complete_first_stage(folders):
    (config_registry.CONFIGS / "b.py").write_text(CONFIG.format(values=SMALL | {"init.path": "runs/a"}))
    first, second = reproduce.reproduce(["a", "b"], fraction=0.5, **folders)
    assert (first.state, second.state) == ("partial", "failed")
    assert "it is initialized from a, and" in second.problem
    assert "has 2 of 4 steps. Complete that run first" in second.problem


@pytest.mark.slow
def test_first_stage_of_other_steps_is_complete_with_these(folders):
    (config_registry.CONFIGS / "b.py").write_text(CONFIG.format(values=SMALL | {"init.path": "runs/a"}))
    first, second = reproduce.reproduce(["a", "b"], settings={"train.steps": 2}, **folders)
    assert (first.state, second.state) == ("partial", "partial"), second.problem
    assert second.result.initialized_from["step"] == 2


@pytest.mark.slow
def test_weights_are_written_for_done_runs(folders):
    reproduce.reproduce(["a"], **folders)
    assert not (folders["out"] / "a.npz").exists()
    (run,) = reproduce.reproduce(["a"], keep_weights=True, **folders)
    assert run.state == "done"
    _, about = weights.load(folders["out"] / "a.npz")
    assert (about["step"], about["config"]["train"]["steps"]) == (4, 4)


def test_another_experiment_is_not_compared():
    for key in ("data.photographs", "model.encoder", "optim.learning_rate", "train.batch_size"):
        assert results._is_another_experiment({key: 1, "seed": 1})
    assert results._is_another_experiment({"decode.min_score": 0.9})
    assert not results._is_another_experiment({"data.folder": "/data", "seed": 1, "evaluate.every": 5})


@pytest.mark.slow
def test_command_stops_at_its_budget_and_resumes(tmp_path):
    folders = ("--out", str(tmp_path / "results"), "--workdirs", str(tmp_path / "runs"))
    few = [word for split in ("train", "validation", "test") for word in ("--set", f"data.{split}_examples=200")]
    command = (sys.executable, "-m", "seqdigits", "reproduce", "quickstart", *folders, *few)
    first = subprocess.run([*command, "--budget-minutes", "0.2"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert first.returncode == 0, first.stderr
    assert "The budget is used up" in first.stdout
    again = subprocess.run([*command, "--fraction", "0.05"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    (path,) = (tmp_path / "results").glob("quickstart*.json")
    result = json.loads(path.read_text())
    assert result["steps"] >= 30
    assert result["partial"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["c"], "unknown experiment 'c'. Families are A (one digit)"),
        (["c"], "Names are a, b."),
        (["--fraction", "0"], "--fraction = 0.0 is out of range"),
        (["--fraction", "nan"], "--fraction = nan is out of range"),
        (["--fraction", "much"], "much"),
        (["--budget-minutes", "-1"], "--budget-minutes = -1.0 is out of range"),
        (["--budget-minutes", "inf"], "--budget-minutes = inf is out of range"),
        (["--seeds", "0"], "argument --seeds"),
        (["--seeds", "3", "--set", "seed=4"], "--seeds 3 sets the seeds 0 to 2: leave out --set seed=4."),
        (["--sett", "seed=1"], "sett"),
        (["--set", "optim.learning_rat=1"], "optim.learning_rat: unknown key"),
    ],
)
def test_reproduce_refuses_bad_arguments(folders, monkeypatch, arguments, message):
    with pytest.raises(UserError) as e:
        main(monkeypatch, folders, *arguments)
    assert message in str(e.value)


def test_reproduce_help(folders, monkeypatch):
    with pytest.raises(Help, match="budget-minutes") as e:
        main(monkeypatch, folders, "--help")
    assert "Names are a, b." in str(e.value)


def test_chosen_experiments(folders, monkeypatch):
    (config_registry.CONFIGS / "ours.py").touch()
    assert chosen_experiments([]) == ["a", "b"]
    assert chosen_experiments(["B", "a.py", "configs/ours.py", "b"]) == ["b", "a", "ours"]
    monkeypatch.setitem(ROWS, "planned", Published("D", None))
    for arguments in (["D"], ["planned"], []):
        with pytest.raises(UserError, match=r"for planned\."):
            chosen_experiments(arguments)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("seed=3", 3),
        ("train.steps=30_000", 30_000),
        ("optim.learning_rate=1e-4", 1e-4),
        ("optim.learning_rate=1", 1.0),
        ("model.localize=true", True),
        ("model.localize=False", False),
        ("model.encoder=conv 3x3x8, relu", "conv 3x3x8, relu"),
        ("data.folder=", ""),
    ],
)
def test_parse_settings_converts_to_the_type_of_the_key(text, value):
    (found,) = parse_settings([text]).values()
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seed", "KEY=VALUE"),
        ("seed=1.5", "an integer"),
        ("seed.x=1", "unknown key"),
        ("optim.learning_rate=fast", "a number"),
        ("model.localize=1", "true and false"),
        ("optim=adam", "unknown key"),
        ("evaluate.splits=test", "only numbers"),
        ("read.group=true", "renamed to decode.group_digits"),
    ],
)
def test_parse_settings_refuses(text, message):
    with pytest.raises(UserError, match=message):
        parse_settings([text])


@pytest.mark.parametrize(
    ("fraction", "steps", "expected"), [(1.0, 10_000, 10_000), (0.1, 10_000, 1_000), (0.1, 104, 10), (1e-9, 5, 1)]
)
def test_steps_of_rounds_a_fraction(small_config, fraction, steps, expected):
    config = small_config({"train.steps": steps})
    assert reproduce.steps_of(config, fraction) == expected


def test_curve_keeps_the_points_of_validation(tmp_path):
    lines = [{"step": step, "split": "train", "loss": 1 / step, "seconds": step} for step in range(1, 301)]
    lines += [
        {"step": step, "split": "validation", "sequence_accuracy": 0.5, "localization_error": None}
        for step in range(7, 301, 7)
    ]
    path = tmp_path / "metrics.jsonl"
    assert results.curve(path) == []
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    points = results.curve(path)
    assert len(points) == 100
    steps = [point.step for point in points]
    assert steps == sorted(set(steps))
    assert set(range(7, 301, 7)) <= set(steps)
    assert steps[-1] == 300
    assert points[steps.index(7)] == results.CurvePoint(
        7, seconds=7, sequence_accuracy=0.5, localization_error=None, loss=1 / 7
    )
    path.write_text(path.read_text() + '{"step": 301, "spl')
    assert results.curve(path) == points


def test_published_values_are_possible():
    for name, row in PUBLISHED.items():
        assert row.family in FAMILIES, name
        assert row.params is None or row.params > 0, name
        keys = [(metric.split, metric.metric) for metric in row.metrics]
        assert len(keys) == len(set(keys)), name
        for metric in row.metrics:
            assert metric.split in ("train", "validation", "test"), name
            assert metric.metric in METRICS, name
            high = {"localization_error": 500, "cross_entropy": 2.303}.get(metric.metric, 1)
            assert 0 <= metric.value <= high, name


def test_published_rows_by_hand():
    families = [row.family for row in PUBLISHED.values()]
    assert [families.count(letter) for letter in "ABCDG"] == [6, 18, 7, 12, 12]
    assert families == sorted(families)
    weighted = PUBLISHED["canvas_weighted"]
    assert weighted.params == 4_155_192
    assert [metric.value for metric in weighted.metrics] == [2.06, 2.24, 2.32, 0.86, 0.75, 0.74, 0.97, 0.94, 0.94]
    assert [(metric.split, metric.metric) for metric in weighted.metrics[2:4]] == [
        ("test", "localization_error"),
        ("train", "sequence_accuracy"),
    ]
    assert PUBLISHED["strip5_batchnorm_keep75"].metrics == (
        PublishedMetric("train", "sequence_accuracy", 0.99),
        PublishedMetric("validation", "sequence_accuracy", 0.87),
        PublishedMetric("test", "sequence_accuracy", 0.86),
    )
    assert PUBLISHED["svhn_transfer"].metrics[-1] == PublishedMetric("test", "character_accuracy", 0.84)
    assert PUBLISHED["svhn_transfer_box"].metrics == PUBLISHED["canvas_variable_deeper"].metrics == ()
    assert PUBLISHED["strip4_row_gru"].metrics == (
        PublishedMetric("validation", "character_accuracy", 0.934),
        PublishedMetric("validation", "cross_entropy", 0.2291),
    )
    of_four = (PublishedMetric("validation", "sequence_accuracy", 0.7533, "best of 4"),)
    assert all(PUBLISHED[f"first_four_{pair}"].metrics == of_four for pair in (11, 12, 21, 22))
    assert PUBLISHED["mnist_linear"].metrics == (
        PublishedMetric("test", "sequence_accuracy", 0.91),
        PublishedMetric("test", "cross_entropy", 0.42, "of training batches by the code"),
    )


@pytest.mark.parametrize("name", ["strip5_gru256", "strip5_double", "canvas_sequence"])
def test_published_parameter_counts_add_up(name):
    convolutions, features, units = {
        "strip5_gru256": ([(5, 1, 32), (3, 32, 16), (2, 16, 8)], 576, 256),
        "strip5_double": ([(10, 1, 8), (10, 8, 8), (5, 8, 16), (5, 16, 16), (2, 16, 32), (2, 32, 32)], 2304, 576),
        "canvas_sequence": ([(5, 1, 32), (3, 32, 16), (2, 16, 8)], 4096, 576),
    }[name]
    count = sum(size**2 * before * after + after for size, before, after in convolutions)
    count += sum(after for *_, after in convolutions) if name == "strip5_double" else 0  # the shift of batch norm
    count += 3 * units * (features + units + 1) + 5 * (10 * units + 10)
    assert PUBLISHED[name].params == count


def test_ours_by_position():
    reports = {"test": {"digit_accuracy": 0.9, "accuracy_by_position": [0.1, 0.2]}}
    assert ours("test", "digit_accuracy", reports) == 0.9
    assert ours("test", "accuracy_by_position/2", reports) == 0.2
    assert ours("test", "accuracy_by_position/3", reports) is None
    assert ours("train", "digit_accuracy", reports) is None
