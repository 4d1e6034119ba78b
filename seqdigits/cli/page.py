"""Writes a page about runs, side by side: `seqdigits page RUN [RUN...]`.

RUN is the --workdir of a training, finished or not. Its checkpoint is evaluated on the first examples of a split; its
learning curves are those of metrics.jsonl. Nothing is written to RUN.
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from seqdigits.core.arguments import CommandParser, integer_from
from seqdigits.core.constants import SPLITS
from seqdigits.core.errors import UserError
from seqdigits.core.files import make_folder, write_output
from seqdigits.core.interrupt import Stop
from seqdigits.core.jax_settings import prepare_jax
from seqdigits.evaluation.examples import evaluate_examples
from seqdigits.evaluation.restore import restore
from seqdigits.experiments.page import PageRun, html
from seqdigits.experiments.run_folder import RunFolder, read_run
from seqdigits.visualization.run_charts import RUN_COLORS

USAGE = (
    "seqdigits page RUN [RUN...] [--split validation] [--examples 2000] [--checkpoint best] [--out FOLDER_OR_FILE.html]"
)


def command_line() -> CommandParser:
    """Returns the parser of the command line."""
    parser = CommandParser(USAGE, __doc__)
    parser.add_argument("run", type=Path, nargs="+", metavar="RUN", help="the folder of a run, its --workdir")
    parser.add_argument("--split", choices=SPLITS, default="validation", help="the split (default %(default)s)")
    parser.add_argument(
        "--examples",
        type=integer_from(1),
        default=2_000,
        metavar="N",
        help="number of examples that are evaluated, the first ones, at most (default %(default)s)",
    )
    parser.add_argument(
        "--kept",
        type=integer_from(1),
        default=24,
        metavar="N",
        help="number of right examples of each run that the page shows, and of wrong ones (default %(default)s)",
    )
    parser.add_argument(
        "--checkpoint",
        default="best",
        help="best (the latest if none was evaluated), latest, or a step (default %(default)s)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("runs/page"),
        help="the page, FILE.html, or the folder of NAME.html (default %(default)s)",
    )
    return parser


def main(stop: Stop) -> None:
    """Runs `seqdigits page`."""
    values = command_line().parse_command_line()
    if len(values.run) > len(RUN_COLORS):
        raise UserError(f"{len(values.run)} runs: at most {len(RUN_COLORS)} are allowed on one page. Name fewer.")
    folders = [read_run(run, name, values.checkpoint) for run, name in zip(values.run, names(values.run), strict=True)]
    prepare_jax()
    out: Path = values.out
    if out.suffix != ".html" or out.is_dir():
        out = out / f"{'-'.join(folder.name.replace('/', '_') for folder in folders)[:100]}.html"
    make_folder(out.parent, "--out")
    runs = [evaluate(folder, values.split, limit=values.examples, kept=values.kept, stop=stop) for folder in folders]
    page = html(runs, shlex.join(["seqdigits", "page", *sys.argv[1:]]))
    write_output(out, page, "--out")
    print(f"{out}: {len(page.encode()) / 1e6:.2f} MB")


def names(runs: list[Path]) -> list[str]:
    """Returns a short name for each run, different for different folders: the ends of their paths.

    Raises:
      UserError: a run is named twice.

    >>> names([Path("runs/a"), Path("runs/b/")]), names([Path("old/a"), Path("new/a")])
    (['a', 'b'], ['old/a', 'new/a'])
    """
    parts = [run.absolute().resolve().parts for run in runs]
    if len(set(parts)) < len(parts):
        raise UserError(f"{' '.join(map(str, runs))}: a run is named twice. Name each one once.")
    count = 1
    while len({part[-count:] for part in parts}) < len(parts):
        count += 1
    return ["/".join(part[-count:]) for part in parts]


def evaluate(folder: RunFolder, split: str, *, limit: int, kept: int, stop: Stop) -> PageRun:
    """Evaluates the checkpoint of a run; the arguments are those of evaluate_examples."""
    restored = restore(folder.config, folder.workdir, str(folder.checkpoint), split)
    evaluated = evaluate_examples(
        folder.config, restored, split, limit=limit, kept=kept, sure=max(kept // 2, 1), stop=stop
    )
    return PageRun(folder, restored.variables, evaluated)
