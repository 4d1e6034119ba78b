"""The ablation: its variants are valid, and the table of its results."""

import json
import sys

import pytest
from conftest import ROOT

from seqdigits.cli import ablate as cli_ablate
from seqdigits.config.saved import to_json
from seqdigits.config_checks.validate import validate
from seqdigits.core.errors import UserError
from seqdigits.core.interrupt import Stop
from seqdigits.experiments import ablation, ablation_variants


@pytest.mark.parametrize("name", ablation_variants.VARIANTS)
def test_config_of_every_variant_is_valid(name):
    config = ablation.config_of(name, seed=3)
    validate(config)
    assert config.train.steps * config.train.batch_size == 32_000
    assert config.seed == 3
    assert tuple(config.evaluate.splits) == ("validation",), "test selects nothing"


def test_variants_differ_from_the_baseline():
    factors = {v.factor for v in ablation_variants.VARIANTS.values()} - {"-", "combination"}
    assert len(factors) <= 6
    for name, variant in ablation_variants.VARIANTS.items():
        if name != "plain":
            assert any(ablation_variants.PLAIN[key] != value for key, value in variant.keys.items())


def test_last_variants_are_those_of_the_configs(experiment):
    assert ablation.config_of("both").model == experiment("reader_canvas").model
    assert ablation.config_of("both").loss == experiment("reader_canvas").loss


def one(variant, seed, accuracy, error=0.5):
    return {
        "config": json.loads(to_json(ablation.config_of(variant, seed))),
        "variant": variant,
        "seed": seed,
        "parameters": 1_000,
        "examples": 2_000,
        "commit": "0123456789",
        "seconds": 60.0,
        "sequence_accuracy": accuracy,
        "localization_error": error,
    }


def test_table_has_a_row_per_variant_with_spread():
    text = ablation.table([one("several", 1, 0.98), one("plain", 0, 0.9), one("several", 0, 0.96)])
    rows = [line for line in text.splitlines() if line.startswith(("| plain", "| several"))]
    assert rows[0].endswith("| 1,000 | 1 | 2,000 | 0.9000 ± 0.0132 | 0.50 | 60 | `0123456` |")
    assert rows[1].endswith(
        "| 1,000 | 2 | 4,000 | 0.9700 (0.9600 to 0.9800) ± 0.0053 | 0.50 (0.50 to 0.50) | 60 | `0123456` |"
    )
    assert "Not run: small, deep" in text


def test_ablate_skips_existing_results(tmp_path, monkeypatch, capsys):
    for seed in (0, 1):
        (tmp_path / f"plain-{seed}.json").write_text(json.dumps(one("plain", seed, 0.9)))
    monkeypatch.setattr(cli_ablate, "run", lambda *_: pytest.fail("it was run again"))
    monkeypatch.setattr(sys, "argv", ["ablate", "plain", "--seeds", "2", "--out", str(tmp_path)])
    cli_ablate.main(Stop())
    assert "0.9000 (0.9000 to 0.9000)" in capsys.readouterr().out
    assert (tmp_path / "table.md").read_text().startswith("32,000 images per run")


def test_ablate_reruns_results_of_another_config(tmp_path, monkeypatch, capsys):
    earlier = one("plain", 0, 0.9)
    earlier["config"]["loss"]["smoothing"] = 0.2
    (tmp_path / "plain-0.json").write_text(json.dumps(earlier))
    assert ablation.load_results(tmp_path) == [], "it is not in the table"
    monkeypatch.setattr(cli_ablate, "run", lambda *_: one("plain", 0, 0.8))
    monkeypatch.setattr(sys, "argv", ["ablate", "plain", "--out", str(tmp_path)])
    cli_ablate.main(Stop())
    assert "has another config, so the variant is run again:\n  loss.smoothing: " in capsys.readouterr().out
    assert ablation.load_results(tmp_path)[0]["sequence_accuracy"] == 0.8


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["nothing"], "unknown variant nothing. Known are plain"), (["--seeds", "0"], "seeds")],
)
def test_ablate_refuses_bad_arguments(monkeypatch, arguments, message):
    monkeypatch.setattr(sys, "argv", ["ablate", *arguments])
    with pytest.raises(UserError, match=message):
        cli_ablate.main(Stop())


def test_load_results_accepts_missing_keys(tmp_path):
    earlier = one("plain", 0, 0.9)
    del earlier["config"]["data"]["train_min_length"]
    (tmp_path / "plain-0.json").write_text(json.dumps(earlier))
    assert len(ablation.load_results(tmp_path)) == 1


@pytest.mark.parametrize("text", ["{", "{}", "[]"])
def test_load_results_names_a_damaged_file(tmp_path, text):
    (tmp_path / "plain-0.json").write_text(text)
    with pytest.raises(UserError, match="is damaged.*Delete it"):
        ablation.load_results(tmp_path)


def test_table_in_the_tree_equals_the_generated_text():
    folder = ROOT / "results" / "ablation"
    assert (folder / "table.md").read_text() == ablation.table(ablation.load_results(folder))
