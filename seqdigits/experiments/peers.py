"""Off-the-shelf engines beside ours, on the same labeled pictures in one run.

Each engine runs in a process of its own, on the same cores with the same number of threads. The engines take turns, a
block of pictures each, so that other load on the machine affects all alike.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from seqdigits.core import provenance
from seqdigits.core.errors import UserError
from seqdigits.core.files import sha256, write_atomically
from seqdigits.core.interrupt import Stop
from seqdigits.core.progress import progress
from seqdigits.data.photos.labeled_pictures import LabeledPicture, labeled_pictures
from seqdigits.evaluation.answers import Answer
from seqdigits.evaluation.pictures import choose
from seqdigits.evaluation.score import score
from seqdigits.evaluation.score_table import interval, share
from seqdigits.experiments.peer_worker import MissingEngine, Worker

ROOT = Path(__file__).parents[2]
ENGINES = {
    "seqdigits": (Path(sys.executable), ROOT / "peers" / "seqdigits_worker.py"),
    **{
        name: (ROOT / environment / "bin" / "python", ROOT / "peers" / f"{name}_worker.py")
        for environment, names in {
            ".venv-peers": ("rapidocr", "rapidocr_line", "tesseract", "ddddocr", "ocrad", "gocr", "ssocr"),
            ".venv-easyocr": ("easyocr",),
        }.items()
        for name in names
    },
}
"""The interpreter and the worker of each engine."""

CORES = 2
"""The cores of all engines: each uses at most as many threads."""

BLOCK = 20
"""Pictures per turn of an engine."""


_PERCENTILES = {"median": 50, "percentile_90": 90}


class PictureSets(NamedTuple):
    """Labeled pictures to read.

    Attributes:
      sets: the pictures of each set, by its name.
      uncertain: number of pictures that are left out because their label is not sure.
    """

    sets: dict[str, list[LabeledPicture]]
    uncertain: int


def picture_sets(folders: Sequence[str], only: Sequence[str], limit: int | None) -> PictureSets:
    """Returns the pictures of folders; each subfolder is a set.

    Args:
      folders: each with a labels.csv, see data/photos/labeled_pictures.py.
      only: names of subfolders; empty = all.
      limit: number of pictures of each set, the first ones; None = all.

    Raises:
      UserError: a folder cannot be read, or a subfolder is unknown.
    """
    found = PictureSets({}, 0)
    for folder in folders:
        rows, uncertain = choose(folder, labeled_pictures(folder), only, limit)
        for row in rows:
            name = row.group if len(folders) == 1 else f"{folder}/{row.group}"
            found.sets.setdefault(name, []).append(row)
        found = found._replace(uncertain=found.uncertain + uncertain)
    return found


class AnswerFile:
    """The answers of one engine, appended to a file one by one, so that an interrupted run resumes."""

    def __init__(self, path: Path, description: Mapping[str, Any]):
        """Reads the answers of the same engine, of the same version and settings.

        Args:
          path: one JSON object per line; it need not exist.
          description: of the engine, see peers/protocol.py.
        """
        self._path = path
        self._engine = {name: description[name] for name in ("version", "settings", "threads")}
        text = path.read_text() if path.exists() else ""
        if text and not text.endswith("\n"):  # a crash left a part of a line
            with path.open("a") as file:
                file.write("\n")
        kept = [record for record in map(_record, text.splitlines()) if record.get("engine") == self._engine]
        self.answers: dict[str, dict[str, Any]] = {record["sha256"]: record for record in kept}

    def add(self, digest: str, answer: Mapping[str, Any]) -> None:
        """Appends the answer to a picture."""
        self.answers[digest] = {"engine": self._engine, "sha256": digest, **answer}
        with self._path.open("a") as file:
            file.write(json.dumps(self.answers[digest]) + "\n")


def _record(line: str) -> dict[str, Any]:
    """Returns one line of an answer file; {} where a crash left a part of it."""
    try:
        return json.loads(line)
    except ValueError:
        return {}


def run(found: PictureSets, out: Path, engines: Mapping[str, tuple[Path, Path]], stop: Stop) -> dict[str, Any]:
    """Reads all pictures with all engines, and scores the answers.

    Args:
      found: the pictures.
      out: folder of the answers, one file per engine. Those of the same version and settings are reused.
      engines: the interpreter and the worker of each, by name.
      stop: ends it early; the answers so far are kept.

    Returns:
      engines: of each engine its description (see peers/protocol.py); `reused`, the number of answers of earlier runs;
        `repeated`, the number of readings that were repeated for their time, because the engine compiled; and
        `milliseconds`, median and 90th percentile over all pictures.
      missing: the engines that are not installed, with the reason.
      sets: of each set and each engine the result of evaluation/score.py.
      uncertain: number of pictures that are left out because their label is not sure.
      load_average: of the machine at the end, over one minute; above the number of its cores, times are those of a loaded
        machine.
      unreadable: the pictures that are left out because they cannot be read, or an engine cannot open them, with the reason.
      provenance: see core/provenance.py.

    Raises:
      UserError: a worker ended, no engine is installed, or the program of a worker is missing.
      Stopped: `stop` was set.
    """
    for _, script in engines.values():
        if not script.is_file():
            raise UserError(f"{script} is missing: only the source tree of seqdigits has the workers. Run it there.")
    workers: list[Worker] = []
    missing: dict[str, str] = {}
    try:
        for name, (python, script) in engines.items():
            print(f"{name}: loading and warming up", flush=True)
            try:
                workers.append(Worker(name, [str(python), str(script), str(CORES)], ROOT, stop))
            except MissingEngine as e:
                missing[name] = str(e)
                print(f"{name} is left out: {e}", flush=True)
        if not workers:
            raise UserError("no engine is installed: " + "; ".join(f"{name}: {why}" for name, why in missing.items()))
        files = {worker.name: AnswerFile(out / f"{worker.name}.jsonl", worker.description) for worker in workers}
        digests, refused = _digests(found)
        reused = {name: len(file.answers.keys() & set(digests.values())) for name, file in files.items()}
        turns = list(_turns(digests, workers, files))
        for worker, path in progress(iter(turns), len(turns), "readings", out):
            files[worker.name].add(digests[path], worker.read(path))
    finally:
        for worker in workers:
            worker.close()
    return _scores(found, digests, refused, files) | {
        "missing": missing,
        "engines": {
            worker.name: worker.description
            | {"reused": reused[worker.name], **_times([files[worker.name].answers[d] for d in digests.values()])}
            for worker in workers
        },
        "uncertain": found.uncertain,
        "load_average": os.getloadavg()[0],
        "provenance": provenance.describe(),
    }


def _digests(found: PictureSets) -> tuple[dict[Path, str], dict[str, str]]:
    """Returns the SHA-256 of each picture that the engines are asked for, and why they are not asked for the others."""
    digests: dict[Path, str] = {}
    refused: dict[str, str] = {}
    for path in (row.path for rows in found.sets.values() for row in rows):
        if set(str(path)) & {"\n", "\r"}:  # a worker takes one path from each line
            refused[str(path)] = "a path with a line break is not allowed"
            continue
        try:
            digests[path] = sha256(path)
        except OSError as e:
            refused[str(path)] = e.strerror or str(e)
    return digests, refused


def _turns(
    digests: Mapping[Path, str], workers: Sequence[Worker], files: Mapping[str, AnswerFile]
) -> Iterator[tuple[Worker, Path]]:
    """Yields the readings that are still to do, in order; pictures of the same content are read once."""
    paths = list({digest: path for path, digest in digests.items()}.values())
    for start in range(0, len(paths), BLOCK):
        for worker in workers:
            for path in paths[start : start + BLOCK]:
                if digests[path] not in files[worker.name].answers:
                    yield worker, path


def _scores(
    found: PictureSets, digests: Mapping[Path, str], refused: Mapping[str, str], files: Mapping[str, AnswerFile]
) -> dict[str, Any]:
    """Returns `sets` and `unreadable` of `run`."""
    unreadable = dict(refused)
    for path, digest in digests.items():
        for file in files.values():
            answer = file.answers[digest]
            if "unreadable" in answer:
                unreadable[str(path)] = answer["unreadable"]
    sets: dict[str, dict[str, Any]] = {}
    for name, rows in found.sets.items():
        kept = [row for row in rows if str(row.path) not in unreadable]
        if kept:
            numbers = [row.number for row in kept]
            answers = {
                engine: [_answer(file.answers[digests[row.path]]) for row in kept] for engine, file in files.items()
            }
            sets[name] = {engine: score(numbers, given, 0.0) for engine, given in answers.items()}
    return {"sets": sets, "unreadable": unreadable}


def _answer(record: Mapping[str, Any]) -> Answer:
    return Answer(record["number"], record["confidence"], record["milliseconds"], tuple(record["numbers"]))


def _times(records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Returns `repeated` and `milliseconds` of `run`, of records of an answer file."""
    times = [record["milliseconds"] for record in records if "milliseconds" in record]
    return {
        "repeated": sum(record.get("repeated", False) for record in records),
        "milliseconds": {name: float(np.percentile(times, q)) if times else None for name, q in _PERCENTILES.items()},
    }


COLUMNS = (
    "folder",
    "engine",
    "numbers",
    "right",
    "95% interval",
    "length right",
    "nothing read",
    "among all",
    "without number",
    "false answers",
)
ENGINE_COLUMNS = ("engine", "version", "threads", "weights MB", "load s", "ms median", "ms 90%")


def rows(report: Mapping[str, Any]) -> list[list[str]]:
    """Returns the cells below COLUMNS, of a report of `run`."""
    cells = []
    for name, engines in report["sets"].items():
        for engine, result in engines.items():
            false = result["no_number"]
            cells.append(
                [
                    *(
                        name,
                        engine,
                        f"{result['pictures']:,}",
                        share(result["right"]),
                        interval(result["right_interval"]),
                    ),
                    *(share(result[key]) for key in ("length_right", "nothing_read", "among_all")),
                    *(f"{false['pictures']:,}", share(false["false_answers"])),
                ]
            )
    return cells


def engine_rows(report: Mapping[str, Any]) -> list[list[str]]:
    """Returns the cells below ENGINE_COLUMNS, of a report of `run`."""
    return [
        [
            *(name, engine["version"], str(engine["threads"]), f"{engine['weights_bytes'] / 1e6:.1f}"),
            f"{engine['load_seconds']:.1f}",
            *("-" if ms is None else f"{ms:,.0f}" for ms in engine["milliseconds"].values()),
        ]
        for name, engine in report["engines"].items()
    ]


def notes(report: Mapping[str, Any]) -> list[str]:
    """Returns what the tables do not say, a sentence each."""
    lines = [
        f"All engines run on the same {CORES} of {report['provenance']['cores']} cores and take turns of {BLOCK} pictures; "
        f"load average {report['load_average']:.1f}."
    ]
    lines += [f"{name} is left out: {reason}" for name, reason in report["missing"].items()]
    lines += [
        f"Answers of {name} that are of an earlier run: {engine['reused']:,}."
        for name, engine in report["engines"].items()
        if engine["reused"]
    ]
    lines += [
        f"{name} compiled for {engine['repeated']:,} pictures, which were read again for their time."
        for name, engine in report["engines"].items()
        if engine["repeated"]
    ]
    if report["uncertain"]:
        lines.append(f"Pictures left out because their label is uncertain: {report['uncertain']:,}.")
    lines += [f"{path} cannot be read and is left out: {reason}" for path, reason in report["unreadable"].items()]
    return lines


def markdown(report: Mapping[str, Any]) -> str:
    """Returns both tables and the notes as Markdown."""
    settings = [
        f"{name}: {', '.join(f'{key} {value}' for key, value in engine['settings'].items())}."
        for name, engine in report["engines"].items()
    ]
    parts = [
        _markdown_table(COLUMNS, rows(report)),
        "`numbers` are the pictures with a number; `without number` are those without one, of which `false answers` is the share "
        "that is answered by a number all the same. `right` is the share of numbers that are read completely, with its 95% "
        "interval (Wilson). `among all` is the share where the number is one of all that are found.",
        _markdown_table(ENGINE_COLUMNS, engine_rows(report)),
        "`ms` is the time from the decoded picture to its numbers; `load s` is that from the start of the process to its "
        "first answer.",
        " ".join(notes(report)),
        "\n".join(f"- {line}" for line in settings),
    ]
    return "\n\n".join(parts) + "\n"


def write(report: Mapping[str, Any], out: Path) -> None:
    """Writes peers.json and peers.md."""
    write_atomically(out / "peers.json", json.dumps(report, indent=1))
    write_atomically(out / "peers.md", markdown(report))


def record_names(folders: Iterable[str]) -> dict[str, str]:
    """Returns the name of each set in a record, by its folder: the last two parts of it.

    Raises:
      UserError: two sets would have the same name.
    """
    names: dict[str, str] = {}
    for folder in folders:
        name = "/".join(Path(folder).parts[-2:])
        if name in names.values():
            raise UserError(
                f"--record: {folder} and another set are both named {name}. Rename a folder, or leave --record out."
            )
        names[folder] = name
    return names


def record(report: Mapping[str, Any], path: Path) -> None:
    """Writes the part of a report that may be published, for RESULTS.md, into a folder: no paths and no command line."""
    kept = {name: report[name] for name in ("engines", "missing", "uncertain", "load_average")}
    names = record_names(report["sets"])
    kept["sets"] = {names[folder]: engines for folder, engines in report["sets"].items()}
    kept["unreadable"] = len(report["unreadable"])
    kept["provenance"] = {name: value for name, value in report["provenance"].items() if name != "command"}
    write_atomically(path, json.dumps(kept, indent=1) + "\n")


def _markdown_table(columns: Sequence[str], cells: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in (columns, ["---"] * len(columns), *cells))
