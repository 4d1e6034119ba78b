"""Several seeds of one experiment: mean and spread, and what the page and the table say of them."""

import pytest
from made_up_results import reports, result, rows
from ml_collections import ConfigDict

from seqdigits.core.errors import UserError
from seqdigits.experiments import report
from seqdigits.experiments.published import PublishedMetric
from seqdigits.experiments.run import Run
from seqdigits.experiments.seeds import seed_groups
from seqdigits.experiments.selection import settings_of_seeds
from seqdigits.experiments.table import progress_table, seeds_table
from seqdigits.experiments.verdict import verdict


def of_seed(seed, name="strip5_batchnorm", settings=None, **changes):
    """Returns a result as `reproduce --seeds` names it."""
    of_one = dict(sorted(((settings or {}) | ({"seed": seed} if seed else {})).items()))
    full_name = name + "".join(f"+{key}={value}" for key, value in of_one.items())
    return result(full_name, **({"settings": of_one, "seed": seed} | changes))


def three_seeds(*tests, **changes):
    """Results of as many seeds, each with its sequence accuracy on test; 0.99 on train and 0.91 on validation."""
    return [of_seed(seed, reports=reports(test=value), **changes) for seed, value in enumerate(tests)]


def test_mean_and_spread_by_hand():
    accuracies = ([0.5, 0.8], [0.6, 0.8], [1.0, 0.8])
    results = [
        of_seed(seed, reports={"test": {"examples": 100 - seed, "iou": iou, "accuracy_by_position": by_position}})
        for seed, (iou, by_position) in enumerate(zip((0.8, 0.9, 0.7), accuracies, strict=True))
    ]
    (group,) = seed_groups(reversed(results))
    assert (group.seeds, group.results) == ("0, 1, 2", tuple(results))
    means, spreads = group.means["test"], group.spreads["test"]
    assert means["iou"] == pytest.approx(0.8)
    assert spreads["iou"] == pytest.approx(0.1)  # sqrt((0.1² + 0.1²) / 2)
    assert means["accuracy_by_position"] == pytest.approx([0.7, 0.8])
    assert spreads["accuracy_by_position"] == pytest.approx([0.07**0.5, 0.0])  # (0.2² + 0.1² + 0.3²) / 2
    assert means["examples"] == 98


def test_metric_that_one_seed_lacks_has_no_mean():
    first = of_seed(0, reports={"test": {"iou": 0.5, "top_k_accuracy": None, "by_length": {"1": 0.5}}})
    (group,) = seed_groups([first, of_seed(1, reports={"test": {"iou": None, "top_k_accuracy": None}})])
    assert group.means == {"test": {"iou": None, "top_k_accuracy": None, "by_length": None}}


@pytest.mark.parametrize(
    "other",
    [
        of_seed(0),
        of_seed(1, steps=10_000),
        of_seed(1, name="strip5_gru"),
        of_seed(1, settings={"optim.learning_rate": 0.5}),
    ],
    ids=["same seed", "other steps", "other experiment", "other config"],
)
def test_results_that_differ_in_more_than_the_seed_are_no_group(other):
    assert seed_groups([of_seed(0), other]) == []


def test_seeds_of_other_decoding_are_no_group():
    first, second = of_seed(0, name="reader_canvas"), of_seed(1, name="reader_canvas")
    assert len(seed_groups([first, second])) == 1
    assert seed_groups([first, of_seed(1, name="reader_canvas", settings={"decode.min_score": 0.9})]) == []


@pytest.mark.parametrize(
    ("published", "mean", "spread", "expected"),
    [
        (0.88, 0.90, 0.0, "better"),  # of 30,000: 0.8966 to 0.9034, and the published 0.88 may be 0.885
        (0.88, 0.90, 0.014, "better"),  # 0.02 away, more than 0.014 + 0.005
        (0.88, 0.90, 0.016, "within spread"),  # less than 0.016 + 0.005
        (0.88, 0.86, 0.016, "within spread"),
        (0.88, 0.86, 0.014, "worse"),
        (0.88, 0.8876, 0.1, "open"),  # its interval ends at 0.8840
    ],
)
def test_verdict_of_several_seeds_needs_more_than_the_spread(published, mean, spread, expected):
    metric = PublishedMetric("test", "sequence_accuracy", published)
    means, spreads = ({"test": {"examples": 30_000, "sequence_accuracy": value}} for value in (mean, spread))
    assert verdict(metric, means, spreads) == expected


def test_verdict_without_an_interval_needs_more_than_the_spread():
    metric = PublishedMetric("test", "localization_error", 2.32)
    means = {"test": {"localization_error": 2.0}}
    assert verdict(metric, means, {"test": {"localization_error": 0.3}}) == "better*"  # 0.32 > 0.3 + 0.005
    assert verdict(metric, means, {"test": {"localization_error": 0.32}}) == "within spread"


def test_page_judges_a_published_row_by_the_mean_of_its_seeds():
    page, (row,) = rows(*three_seeds(0.9, 0.86, 0.91))
    assert row.startswith(
        "| `strip5_batchnorm` | 30,000 | sequence accuracy | 1.00 / 0.86 / 0.88 | 0.9900 / 0.9100 / 0.9000 ± 0.0034 | "
    )
    assert "| train worse, validation better, test within spread |" in row  # mean 0.89, spread 0.0265
    assert "| B. A strip of digits | 18 | 1 | 0 | 17 | 1 | 1 | 1 |" in page
    (line,) = page.partition("## Runs of several seeds")[2].partition("\n## ")[0].strip().splitlines()[6:]
    assert line == (
        "| `strip5_batchnorm` | 0, 1, 2 | 30,000 | sequence accuracy | 1.00 / 0.86 / 0.88 | "
        "0.9900 ± 0.0000 (0.9888 to 0.9911) / 0.9100 ± 0.0000 (0.9067 to 0.9132) / 0.8900 ± 0.0265 (0.8864 to 0.8935) | "
        "train worse, validation better, test within spread | 183.8 | `0123456`; cpu |"
    )
    assert sum(line.startswith("| `strip5_batchnorm`") for line in page.splitlines()) == 2


def test_shorter_runs_of_several_seeds_are_no_published_row():
    shorter = {"optim.decay_steps": 2_000, "train.steps": 2_000}
    changes = {"partial": True, "comparable": False, "steps": 2_000, "steps_planned": 8_000}
    measured = [reports(test=value, localization_error=error) for value, error in ((0.97, 0.1), (0.99, 0.2))]
    results = [
        of_seed(seed, "reader_canvas", shorter, reports=of_one, **changes) for seed, of_one in enumerate(measured)
    ]
    page = report.text([result("reader_canvas", steps=8_000), *results])
    accuracy, error = page.partition("## Runs of several seeds")[2].partition("\n## ")[0].strip().splitlines()[6:]
    assert accuracy.startswith(
        "| `reader_canvas`<br>optim.decay_steps=2000<br>train.steps=2000 | 0, 1 | 2,000 of 8,000, *shorter* | "
        "sequence accuracy | - | 0.9900 ± 0.0000 / 0.9100 ± 0.0000 / 0.9800 ± 0.0141 | - |"
    )
    assert " | localization error | - | 0.1500 ± 0.0707 / " in error
    own = page.partition("## Experiments of our own")[2].partition("\n## ")[0]
    assert "| `reader_canvas` | 8,000 |" in own
    assert "decay_steps" not in own
    assert "| - | - | 0.9800" not in own


@pytest.mark.parametrize("seed", [0, 1])
def test_shorter_run_of_one_seed_stays_in_its_table(seed):
    page = report.text([of_seed(seed, settings={"train.steps": 9}, partial=True, comparable=False, steps=9)])
    assert f"| `strip5_batchnorm`{'<br>seed=1' * seed}<br>train.steps=9 | 9 of 30,000, *partial* |" in page
    assert "## Runs of several seeds" not in page


def test_full_run_of_another_seed_is_not_counted_as_the_row():
    page = report.text([of_seed(1)])
    assert "| B. A strip of digits | 18 | 0 | 0 | 18 | 0 | 0 | 0 |" in page
    assert "| `strip5_batchnorm` | 0 of 30,000, *not run*" in page
    assert "| `strip5_batchnorm`<br>seed=1 | 30,000 |" in page


def test_settings_of_seeds():
    assert settings_of_seeds({"seed": 4}, 1) == [{"seed": 4}]
    assert settings_of_seeds({"train.steps": 5}, 3) == [
        {"train.steps": 5},
        {"seed": 1, "train.steps": 5},
        {"seed": 2, "train.steps": 5},
    ]
    with pytest.raises(UserError, match="sets the seeds 0 to 2: leave out --set seed=4"):
        settings_of_seeds({"seed": 4}, 3)


def test_progress_table_judges_the_mean(tmp_path):
    runs = [
        Run(
            "strip5_batchnorm",
            one.settings,
            tmp_path,
            tmp_path,
            state="done",
            config=ConfigDict(),
            planned=30_000,
            result=one,
        )
        for one in three_seeds(0.9, 0.86, 0.91)
    ]
    assert [line.rstrip().endswith("within spread") for line in progress_table(runs).splitlines()[-3:]] == [True] * 3
    assert progress_table(runs[:1]).splitlines()[-1].endswith("better")
    assert seeds_table(runs[:1]) == []
    (text,) = seeds_table(runs)
    cells = [cell.strip() for cell in text.splitlines()[-1].split("  ") if cell.strip()]
    assert cells == [
        "strip5_batchnorm",
        "0, 1, 2",
        "test sequence_accuracy",
        "0.8900",
        "0.0265",
        "0.88",
        "within spread",
    ]
