"""Measures the speed of an experiment: `seqdigits benchmark CONFIG`.

Also in several processes, which are started with the variables of parallel.distributed.

`--epoch` only reads the training records of the config, once and whole.

`seqdigits benchmark --exports NAME|W` measures instead the files that `seqdigits export` writes of pretrained weights or of a run:
their bytes, the milliseconds that they take for an image, and their accuracy.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from absl import flags

from seqdigits.config.flags import experiment_arguments, experiment_flags, parse, with_config
from seqdigits.config_checks.validate import validate
from seqdigits.core.arguments import CommandParser, integer_from
from seqdigits.core.console import render_table
from seqdigits.core.errors import UserError
from seqdigits.core.files import make_folder, write_atomically
from seqdigits.core.interrupt import Stop
from seqdigits.core.jax_settings import prepare_jax
from seqdigits.core.progress import duration
from seqdigits.experiments.benchmark import measure, starts, stream_alone, stream_epoch
from seqdigits.experiments.export_benchmark import measure_exports
from seqdigits.parallel import distributed
from seqdigits.parallel.processes import is_main

USAGE = (
    "seqdigits benchmark CONFIG [--config.key=value ...] [--stream] [--json FILE] [--rounds N]\n"
    "   or: seqdigits benchmark CONFIG [--config.key=value ...] --epoch [--json FILE]\n"
    "   or: seqdigits benchmark --exports NAME|W [--json FILE] [--rounds N]"
)


def command_line() -> flags.FlagValues:
    """Returns the flags of the command."""
    values = experiment_flags()
    flags.DEFINE_string("json", None, "also writes the metrics to this file", flag_values=values)
    flags.DEFINE_integer("rounds", 10, "number of timings; medians are reported", lower_bound=1, flag_values=values)
    flags.DEFINE_boolean(
        "stream", False, "also measures the same data streamed from records, in alternation", flag_values=values
    )
    flags.DEFINE_boolean(
        "epoch", False, "only reads the training records once, and measures nothing else", flag_values=values
    )
    flags.DEFINE_string(
        "exports", None, "measures the exported files of pretrained weights, or of a run, instead", flag_values=values
    )
    return values


def main(stop: Stop) -> None:
    """Runs `seqdigits benchmark`."""
    if any(word.partition("=")[0] == "--exports" for word in sys.argv) and not {"--help", "-h"} & set(sys.argv):
        benchmark_exports(stop)
        return
    values = command_line()
    argv = with_config(sys.argv)
    parse(values, argv, USAGE, __doc__, needed=("config",))
    prepare_jax()
    launch = distributed.detect(None, None, None, os.environ)
    distributed.connect(launch, stop)
    config = values["config"].value
    validate(config)
    streamed = None
    if values["stream"].value or values["epoch"].value or config.data.source == "tfrecord":
        streamed = config.copy_and_resolve_references()
        streamed.data.source = "tfrecord"
        validate(streamed)
        config.data.source, config.data.records, config.data.records_form = "device", "", "png"
    if values["epoch"].value:
        for flag in ("stream", "rounds"):
            if values[flag].present:
                raise UserError(f"--epoch and --{flag}: allowed is one of them.")
        if launch:
            raise UserError("--epoch measures one process alone. Run it without other processes.")
    out = Path(values["json"].value) if values["json"].value and is_main() else None
    if out:
        _check_file(out)
    if values["epoch"].value:
        metrics = stream_epoch(streamed, stop)
        print(epoch_table(metrics))
    else:
        metrics = {} if launch else starts(experiment_arguments(argv[1:]), stop)
        if streamed is not None:
            metrics |= stream_alone(streamed)
        metrics |= measure(config, streamed, values["rounds"].value, stop)
        print(table(metrics))
    if out:
        write_atomically(out, json.dumps(metrics, indent=1))


def _check_file(out: Path) -> None:
    """Creates the folder of the file of --json, before minutes of measuring.

    Raises:
      UserError: the file is a folder, or its folder cannot be written to.
    """
    if out.is_dir():
        raise UserError(f"--json {out} is a folder. Name a file.")
    make_folder(out.parent, "--json")


def epoch_table(metrics: dict[str, Any]) -> str:
    """Returns the measurements of stream_epoch as text for standard output."""
    rows = [
        ("images", f"{metrics['epoch_images']:,}"),
        ("records", f"{metrics['epoch_bytes'] / 1e9:.2f} GB"),
        ("verified in", duration(metrics["verify_seconds"])),
        ("read in", f"{metrics['epoch_seconds'] / 60:.2f} minutes"),
        ("stream alone", f"{metrics['stream_images_per_second']:,.0f} images/s"),
        ("memory of the streaming process", f"{metrics['stream_bytes'] / 1e9:.2f} GB"),
        ("  of that, since streaming began", f"{metrics['stream_grew'] / 1e9:.2f} GB"),
    ]
    return render_table(("measurement", "value"), rows)


def benchmark_exports(stop: Stop) -> None:
    """Runs `seqdigits benchmark --exports`, which takes no config."""
    parser = CommandParser(USAGE, __doc__)
    parser.add_argument("--exports", required=True)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--rounds", type=integer_from(1), default=50)
    values = parser.parse_command_line()
    if values.json:
        _check_file(values.json)
    prepare_jax()
    rows = measure_exports(values.exports, values.rounds, stop)
    print(exports_table(rows))
    print(
        f"{rows[0]['multiply_adds'] / 1e6:.1f} million multiply-adds an image (half of XLA's floating-point operations)"
    )
    for row in rows:
        if "error" in row:
            print(f"{row['format']} {row['dtype']} was not measured: {row['error']}", file=sys.stderr)
    if values.json:
        write_atomically(values.json, json.dumps(rows, indent=1))


def exports_table(rows: list[dict[str, Any]]) -> str:
    """Returns the rows of measure_exports as text for standard output, without those that were not measured."""

    def cell(row: dict[str, Any], name: str, form: str) -> str:
        return "-" if row[name] is None else format(row[name], form)

    return render_table(
        ("format", "weights", "bytes", "ms an image", "same as JAX", "sequence accuracy"),
        [
            (
                row["format"],
                row["dtype"],
                cell(row, "bytes", ",d"),
                cell(row, "milliseconds", ".1f"),
                cell(row, "same", ".4f"),
                cell(row, "accuracy", ".4f"),
            )
            for row in rows
            if "error" not in row
        ],
        align="llrrrr",
    )


def table(metrics: dict[str, Any]) -> str:
    """Returns the measurements as text for standard output."""
    rows = []
    if "import_seconds" in metrics:  # not measured in a run of several processes
        rows += [
            ("import seqdigits", f"{metrics['import_seconds']:.3f} s"),
            ("first step, cold compilation cache", f"{metrics['first_step_seconds_cold']:.1f} s"),
            ("first step, warm compilation cache", f"{metrics['first_step_seconds_warm']:.1f} s"),
        ]
    rows += [
        ("compile the training step", f"{metrics['compile_seconds']:.1f} s"),
        ("train", f"{metrics['train_images_per_second']:,.0f} images/s"),
        ("predict", f"{metrics['predict_images_per_second']:,.0f} images/s"),
        ("data share of a training step", f"{metrics['data_share']:.1%}"),
        ("operations of a training step", f"{metrics['step_flops'] / 1e9:,.2f} GFLOP"),
        ("  a second", f"{metrics['flops_per_second'] / 1e9:,.1f} GFLOP/s"),
        (
            f"peak: {metrics['peak_size']:,} x {metrics['peak_size']:,} matrices, {metrics['config']['model']['compute_dtype']}",
            f"{metrics['peak_flops_per_second'] / 1e9:,.1f} GFLOP/s",
        ),
        ("  share of it in a training step", f"{metrics['peak_share']:.1%}"),
    ]
    if "gradient_sum_share" in metrics:
        size, milliseconds = metrics["gradient_bytes"] / 1e6, metrics["gradient_sum_seconds"] * 1e3
        rows += [
            (f"sum of the gradients ({size:.1f} MB) over devices", f"{milliseconds:.1f} ms"),
            ("  share of a training step", f"{metrics['gradient_sum_share']:.1%}"),
        ]
    if "stream_bytes" in metrics:
        rows += [
            ("train, streamed", f"{metrics['train_images_per_second_streamed']:,.0f} images/s"),
            ("data share, streamed", f"{metrics['data_share_streamed']:.1%}"),
            ("stream alone", f"{metrics['stream_images_per_second']:,.0f} images/s"),
            ("memory of the streaming process", f"{metrics['stream_bytes'] / 1e9:.2f} GB"),
            ("  of that, since streaming began", f"{metrics['stream_grew'] / 1e9:.2f} GB"),
        ]
    rows.append(("devices", ", ".join(metrics["devices"])))
    return render_table(("measurement", "value"), rows)
