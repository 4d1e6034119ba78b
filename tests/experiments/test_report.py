"""The page of results, from results made up by hand."""

import json
import sys
from functools import partial

import jax
import jax.numpy as jnp
import pytest
from conftest import ROOT
from made_up_results import config, reports, result, rows

from seqdigits.cli import report as cli_report
from seqdigits.config.registry import config_names, load_config
from seqdigits.config.saved import to_json
from seqdigits.core.errors import UserError
from seqdigits.core.interrupt import Stop
from seqdigits.data.create import create_source
from seqdigits.experiments import report
from seqdigits.experiments.needs import MEGAFLOP_PER_IMAGE
from seqdigits.experiments.peer_table import peer_lines
from seqdigits.experiments.published import PublishedMetric
from seqdigits.experiments.results import CurvePoint
from seqdigits.experiments.verdict import verdict
from seqdigits.models import convolution
from seqdigits.models.build import build, init_variables


def test_text_has_one_row_per_metric():
    page, (row,) = rows(result("strip5_batchnorm", settings={"data.folder": "/data"}))
    assert page.index("## B. A strip of digits") < page.index(row) < page.index("## C.")
    assert row == (
        "| `strip5_batchnorm`<br>data.folder=/data | 30,000 | sequence accuracy | 1.00 / 0.86 / 0.88 | "
        "0.9900 (0.9888 to 0.9911) / 0.9100 (0.9067 to 0.9132) / 0.9000 (0.8966 to 0.9033) | "
        "train worse, validation better, test better | - | 61.2 | `0123456`; 0; cpu |"
    )


def test_value_that_is_not_judged_has_no_interval():
    partial = result("strip5_batchnorm", partial=True, comparable=False, steps=3_000)
    other = result("strip5_batchnorm+model.gru_units=9", settings={"model.gru_units": 9}, comparable=False)
    for one in (partial, other):
        row = [line for line in report.text([one]).splitlines() if line.startswith("| `strip5_batchnorm`")][-1]
        assert "| 1.00 / 0.86 / 0.88 | 0.9900 / 0.9100 / 0.9000 ± 0.0034 | - |" in row
    _, lines = rows(result("canvas_classify", reports=reports(character_accuracy=0.95)))
    assert "| 0.9500 (0.9475 to 0.9524) / 0.9500 (0.9475 to 0.9524) / 0.9500 (0.9475 to 0.9524) |" in lines[1]


def test_value_of_the_best_of_several_networks_is_shown_and_not_judged():
    page, (row,) = rows(result("first_four_21", reports=reports(validation=0.8)))
    assert "| sequence accuracy | 0.7533 (validation, best of 4) | 0.9900 / 0.8000 / 0.9000 ± 0.0034 | - | - |" in row
    assert "| G. Systems that the published work refers to | 12 | 1 | 0 | 11 | 0 | 0 | 0 |" in page
    _, (row,) = rows(result("mnist_linear"), of="first_four_11")
    assert "| 0.7533 (validation, best of 4) | - | - |" in row


def test_rows_that_were_run_are_named_by_family():
    page = report.text([result("strip5_batchnorm"), result("strip5_gru"), result("mnist_cnn", reports={})])
    assert "- Full result: A: `mnist_cnn`; B: `strip5_gru`, `strip5_batchnorm`\n- Partial: none\n" in page
    partial = result("square64_cnn", partial=True, comparable=False)
    changed = result("mnist_cnn+seed=1", settings={"seed": 1})
    assert "- Full result: none\n- Partial: B: `square64_cnn`\n" in report.text([partial, changed])


def test_every_experiment_is_listed_once():
    page = report.text([result("strip5_batchnorm")])
    listed = [line.split("`")[1] for line in page.splitlines() if line.startswith("| `")]
    assert sorted(listed) == config_names()
    assert "| B. A strip of digits | 18 | 1 | 0 | 17 | 2 | 0 | 1 |" in page
    assert "| C. A canvas: read and localize | 7 | 0 | 0 | 7 | 0 | 0 | 0 |" in page


def test_experiment_that_was_not_run_says_what_it_needs():
    _, (first, *others) = rows(result("mnist_linear"), of="svhn_crop32_deep")
    assert first == (
        "| `svhn_crop32_deep` | 0 of 110,000, *not run*: all of SVHN (train, extra, test); about 17 h on two cores, better on an "
        "accelerator | sequence accuracy | 0.8970 / 0.9176 (validation, test) | - | - | - |  |  |"
    )
    assert [line.split(" | ")[2] for line in others] == ["digit accuracy"]
    _, (row,) = rows(result("mnist_linear"), of="strip5_gru")
    assert "| 0 of 10,000, *not run*: about 8 min on two cores |" in row


def test_our_reader_stands_beside_the_same_data():
    readers = [result("reader_strip5"), result("reader_canvas", reports=reports(localization_error=0.084))]
    _, (row,) = rows(*readers, of="strip5_gru")
    assert "| 0.9000 ± 0.0034 (`reader_strip5`) |" in row
    _, (error, *_) = rows(*readers, of="canvas_variable")
    assert "| 0.08 (`reader_canvas`) |" in error
    _, (row,) = rows(*readers, of="canvas_sequence")
    assert "| 0.9000 ± 0.0034 (`reader_canvas`, 1 to 5 digits) |" in row


def test_our_reader_stands_beside_the_same_photographs_only():
    reader = result("reader_svhn_crop")
    network = result("svhn_crop32_deep5+x", settings={"data.photographs": "svhn_2000"}, comparable=False)
    page, _ = rows(reader, network)
    first, second = (line for line in page.splitlines() if line.startswith("| `svhn_crop32_deep5`"))
    assert "*not run*" in first
    assert "reader_svhn_crop" not in first
    assert (
        "| `svhn_crop32_deep5`<br>data.photographs=svhn_2000 | 30,000 | sequence accuracy | 0.9047 (test) |" in second
    )
    assert "| - | 0.9000 ± 0.0034 (`reader_svhn_crop`) |" in second


def test_text_lists_training_time_of_detectors():
    points = [(10, 60.0, None), (20, 90.0, 0.7), (30, 150.0, 0.85), (40, 300.0, 0.84), (50, 600.0, 0.96)]
    curve = [
        CurvePoint(step, seconds=s, sequence_accuracy=a, localization_error=1 - a if a else None)
        for step, s, a in points
    ]
    fresh = config("dense_detector", evaluate={"examples": 400})
    page = report.text([result("reader_canvas", config=fresh, curve=curve)])
    assert "| config | examples | 0.80 | 0.95 | 0.99 | commit; seed; device |" in page
    assert "| `reader_canvas` | 400 | 2.5, 0.15 px² | 10.0, 0.04 px² | - | `0123456`; 0; cpu |" in page
    initialized = config("dense_detector", "runs/another", evaluate={"examples": 400})
    page = report.text([result("reader_mnist", config=initialized, curve=curve)])
    assert "Training time" not in page, "it is not randomly initialized"


def test_text_marks_a_partial_run():
    page, (row,) = rows(result("strip5_batchnorm", partial=True, comparable=False, steps=3_000))
    assert "| 3,000 of 30,000, *partial* |" in row
    assert "| - | - | 61.2 |" in row
    assert "| B. A strip of digits | 18 | 0 | 1 | 17 | 0 | 0 | 0 |" in page


def test_text_formats_positions_and_errors():
    measured = reports(
        accuracy_by_position=[0.1, 0.25, 1.0, 1.0], binary_accuracy=0.25, cross_entropy=0.0085, localization_error=2.345
    )
    _, lines = rows(result("strip4_multi_head", reports=measured))
    cells = [line.split(" | ")[2:6] for line in lines]
    assert cells[0] == [
        "binary accuracy",
        "0.998 (validation)",
        "0.2500 / 0.2500 (0.2451 to 0.2549) / 0.2500",
        "worse",
    ]
    assert cells[2] == [
        "accuracy by position/2",
        "0.9991 (validation, probably binary accuracy)",
        "0.2500 / 0.2500 / 0.2500",
        "-",
    ]
    assert cells[5][0] == "cross entropy"
    assert cells[5][2:] == ["0.0085 / 0.0085 / 0.0085", "-"]
    assert cells[6][:3] == ["sequence accuracy", "-", "0.9900 / 0.9100 / 0.9000 ± 0.0034"]
    assert cells[7][:3] == ["localization error", "-", "2.35 / 2.35 / 2.35"]


def test_errors_are_judged_by_their_standard_error():
    measured = reports(cross_entropy=0.12, cross_entropy_standard_error=0.01)
    _, (_, row) = rows(result("mnist_dense", reports=measured))
    assert "| 0.1417 (test) | 0.1200 / 0.1200 / 0.1200 (0.1004 to 0.1396) | better |" in row
    measured = reports(cross_entropy=0.12, cross_entropy_standard_error=0.02)
    _, (_, row) = rows(result("mnist_dense", reports=measured))
    assert "(0.0808 to 0.1592) | open |" in row
    measured = reports() | {"test": reports(localization_error=2.0, localization_error_standard_error=0.03)["test"]}
    _, (row, *_) = rows(result("canvas_weighted", reports=measured))
    assert "| 2.06 / 2.24 / 2.32 | - / - / 2.00 (1.94 to 2.06) | train -, validation -, test better |" in row
    _, (_, row) = rows(result("mnist_dense", reports=reports(cross_entropy=0.12)))
    assert "| 0.1200 / 0.1200 / 0.1200 | better* |" in row


def test_results_of_an_earlier_config_are_marked():
    loaded = load_config("strip5_gru")
    loaded.optim.learning_rate = 0.5
    page, (row,) = rows(result("strip5_gru", config=json.loads(to_json(loaded))))
    assert row.startswith("| `strip5_gru` | 0 of 10,000, *not run*"), "the row of today's config"
    (row,) = (line for line in page.splitlines() if "<br>*earlier config*" in line)
    assert row.startswith("| `strip5_gru`<br>*earlier config* | 30,000 | sequence accuracy | 1.00 / 0.80 / 0.82 |")
    assert "| 0.9900 / 0.9100 / 0.9000 ± 0.0034 | - | - |" in row
    assert "| B. A strip of digits | 18 | 0 | 0 | 18 | 0 | 0 | 0 |" in page
    gone = result("strip5_gru+model.gone=1", settings={"model.gone": 1}, config=config(), comparable=False)
    assert "| `strip5_gru`<br>model.gone=1<br>*earlier config* |" in report.text([gone])
    assert "config* |" not in report.text([result("strip5_gru", settings={"seed": 1})])


def test_what_to_take_into_account_is_below_the_table():
    family = report.text([result("strip5_gru")]).partition("## G. ")[2].partition("\n## ")[0]
    assert (
        "\n- `first_four_11`, `first_four_12`, `first_four_21`, `first_four_22`: 0.7533 of the best of four" in family
    )


@pytest.mark.parametrize(
    ("published", "ours", "examples", "expected"),
    [
        (0.88, 0.8876, 30_000, "open"),  # 0.8840 to 0.8911: the published 0.88 may be 0.885
        (0.88, 0.8890, 30_000, "better"),  # 0.8854 to 0.8925
        (0.88, 0.8720, 30_000, "open"),  # 0.8682 to 0.8757: it may be 0.875
        (0.88, 0.8700, 30_000, "worse"),  # 0.8662 to 0.8738
        (0.88, 0.8700, 100, "open"),
        (0.88, 0.8600, 30_000, "worse"),
        (1.0, 0.9956, 10_000, "open"),
        (1.0, 0.9900, 10_000, "worse"),
    ],
)
def test_verdict_needs_the_whole_interval(published, ours, examples, expected):
    metric = PublishedMetric("test", "sequence_accuracy", published)
    assert verdict(metric, {"test": {"examples": examples, "sequence_accuracy": ours}}) == expected


def test_verdict_without_an_interval_is_marked():
    metric = PublishedMetric("test", "localization_error", 312.7)
    values = [verdict(metric, {"test": {"localization_error": value}}) for value in (312.5, 312.72, 312.9, None)]
    assert values == ["better*", "open", "worse*", "-"]


def test_operations_of_every_network_are_counted():
    assert set(MEGAFLOP_PER_IMAGE) == set(config_names())


@pytest.mark.parametrize("name", ["mnist_cnn", "quickstart", "strip5_batchnorm"])
def test_operations_are_those_of_the_network(monkeypatch, experiment, name):
    monkeypatch.setattr(
        convolution, "_columns_of_a_block", lambda *_: 1
    )  # blocks are more products than the network has
    config = experiment(name)
    spec = create_source(config, "train").spec
    model = build(config, spec)
    predict = jax.jit(partial(model.apply, train=False, mask=jnp.ones(1, bool)))
    variables = jax.eval_shape(partial(init_variables, model, spec, 0))
    cost = predict.lower(variables, jax.ShapeDtypeStruct((1, *spec.image), jnp.uint8)).compile().cost_analysis()
    assert 3 * cost["flops"] / 1e6 == pytest.approx(MEGAFLOP_PER_IMAGE[name], rel=0.02)


def peer_report(sets, engines=("seqdigits", "rapidocr")):
    score = {
        "pictures": 31,
        "right": 0.8,
        "right_interval": [0.6, 0.9],
        "no_number": {"pictures": 0, "false_answers": None},
    }
    empty = {"pictures": 0, "right": None, "right_interval": None, "no_number": {"pictures": 250, "false_answers": 0.3}}
    return {
        "engines": {name: {"version": "3.10"} for name in engines},
        "sets": {name: dict.fromkeys(engines, empty if name == "empty" else score) for name in sets},
        "provenance": {"commit": "ae271c3999+"},
    }


def test_engines_are_listed_with_the_commit_of_their_run(tmp_path):
    assert "No run is recorded" in peer_lines(tmp_path)[0]
    (tmp_path / "a.json").write_text(json.dumps(peer_report(["houses", "empty"])))
    (tmp_path / "b.json").write_text(json.dumps(peer_report(["checks"], ["gocr"])))
    assert peer_lines(tmp_path) == [
        "| pictures | seqdigits 3.10 | rapidocr 3.10 | gocr 3.10 | commit |",
        "|---|---|---|---|---|",
        "| houses | 0.800 (0.600 to 0.900) of 31 | 0.800 (0.600 to 0.900) of 31 | - | `ae271c3+` |",
        "| empty | false answers 0.300 of 250 | false answers 0.300 of 250 | - | `ae271c3+` |",
        "| checks | - | - | 0.800 (0.600 to 0.900) of 31 | `ae271c3+` |",
    ]
    (tmp_path / "c.json").write_text("{}")
    with pytest.raises(UserError, match=r"c\.json is not a report of seqdigits peers"):
        peer_lines(tmp_path)


def run(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["report", *map(str, arguments)])
    cli_report.main(Stop())


def test_report_writes_rows_in_published_order(monkeypatch, tmp_path, capsys):
    for name in ("svhn_crop32", "mnist_linear", "reader_canvas"):
        (tmp_path / f"{name}.json").write_text(result(name).to_json())
    run(monkeypatch, tmp_path, tmp_path / "page.md")
    page = (tmp_path / "page.md").read_text()
    assert page.index("`mnist_linear`") < page.index("`svhn_crop32`") < page.index("`reader_canvas` | 30,000")
    assert "3 results" in capsys.readouterr().out


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"name": "a", "reports": {}, "steps": 1, "partial": false}'])
def test_report_names_an_invalid_result(monkeypatch, tmp_path, content):
    (tmp_path / "x.json").write_text(content)
    with pytest.raises(UserError, match=r"x\.json is not a result"):
        run(monkeypatch, tmp_path, tmp_path / "page.md")
    assert not (tmp_path / "page.md").exists()


def test_report_refuses_bad_arguments(monkeypatch, tmp_path):
    with pytest.raises(UserError, match="has no results"):
        run(monkeypatch, tmp_path)
    with pytest.raises(UserError, match="is not understood"):
        run(monkeypatch, "a", "b", "c")
    (tmp_path / "a.json").write_text(result("mnist_linear").to_json())
    with pytest.raises(UserError, match="cannot be written"):
        run(monkeypatch, tmp_path, "/nowhere/at/all.md")


def test_page_in_the_tree_equals_the_generated_text():
    results = report.load_results(ROOT / "results")
    assert (ROOT / "RESULTS.md").read_text() == report.text(results, peer_lines(ROOT / "results" / "peers"))
