"""Serves a page that reads numbers in the browser: pictures, drawings and the camera.

The network runs in the browser: no picture reaches the server. With --workdir, the best checkpoint is exported as an ONNX file,
and the page loads it again when there is a better one. Other machines see the page only with
--host 0.0.0.0; browsers give their cameras to pages over HTTPS alone, or on 127.0.0.1. --out writes the files for a static host
with HTTPS.

Exit status: 2 a user error, 75 or 130 stopped by a signal, such as Ctrl-C, which ends it (docs/running.md).
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import socket
import sys
import tempfile
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import seqdigits
from seqdigits.checkpoint import pretrained
from seqdigits.checkpoint.layout import checkpoints_folder
from seqdigits.core.arguments import CommandParser, integer_from
from seqdigits.core.errors import UserError, short
from seqdigits.core.files import make_folder, write_atomically
from seqdigits.core.interrupt import Stop, Stopped
from seqdigits.inference.onnx_engine import OnnxEngine

USAGE = "seqdigits demo [--weights NAME | --workdir W] [--port PORT] [--host ADDRESS | --out FOLDER]"

PAGE = Path(seqdigits.__file__).parent / "demo_page"
"""The built page; its source is in web/."""

POLL_SECONDS = 10.0
"""Time between looking for a better checkpoint of a run, here and in the page."""

MODEL, MODEL_FACTS = "model.onnx", "model.json"
"""The files beside the page that depend on the weights."""

MEDIA_TYPES = {
    ".css": "text/css",
    ".html": "text/html; charset=utf-8",
    ".jpg": "image/jpeg",
    ".js": "text/javascript",
    ".json": "application/json",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain",
    ".webmanifest": "application/manifest+json",
}
"""Of the files of the page, by suffix."""


def command_line() -> CommandParser:
    """Returns the parser of the command line."""
    parser = CommandParser(USAGE, __doc__)
    names = " or ".join(pretrained.NAMES)
    parser.add_argument(
        "--weights", metavar="NAME", help=f"pretrained weights, {names}, or an exported file, FILE.onnx (default scene)"
    )
    parser.add_argument("--workdir", metavar="W", help="the folder of a run, in place of pretrained weights")
    parser.add_argument(
        "--port", type=integer_from(0), default=8000, metavar="PORT", help="0 is any free one (default %(default)s)"
    )
    parser.add_argument(
        "--host", default="127.0.0.1", metavar="ADDRESS", help="0.0.0.0 is all addresses (default %(default)s)"
    )
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="writes page and model there, and serves nothing")
    return parser


def main(stop: Stop) -> None:
    """Runs `seqdigits demo`."""
    values = command_line().parse_command_line()
    if values.weights and values.workdir:
        raise UserError(f"--weights {values.weights} and --workdir {values.workdir}: allowed is one of them.")
    name = values.weights or pretrained.DEFAULT
    if values.workdir:
        weights = Path(values.workdir)
        if weights.suffix == ".onnx":
            raise UserError(f"--workdir {weights} is no run. Name an exported file with --weights {weights}.")
    elif Path(name).suffix == ".onnx":
        weights, name = Path(name), Path(name).stem
        OnnxEngine(weights)  # refuses a file that the page could not read with
    else:
        weights = pretrained.onnx_path(name)
    run = weights if values.workdir and checkpoints_folder(weights).is_dir() else None
    if values.out:
        save(values.out, weights, weights.name if values.workdir else name, stop)
        return
    with tempfile.TemporaryDirectory(prefix="seqdigits-demo-") as folder:
        server = listen(values.host, values.port, Path(folder))  # before the export, which takes longer
        with server:
            checkpoint = best_checkpoint(run) if run else weights
            shown = _shown_name(checkpoint, run) if values.workdir else name
            write_model(Path(folder), checkpoint, shown, stop, POLL_SECONDS if run else None)
            threading.Thread(target=server.serve_forever, daemon=True, name="demo").start()
            host, port = server.server_address[:2]
            here, others = str(host), ""
            if host == "0.0.0.0":
                here, others = "127.0.0.1", f", for other machines http://{socket.gethostname()}:{port}/"
            print(f"http://{here}:{port}/ has the page{others}. Ctrl-C ends it.", flush=True)
            while not stop.wait(POLL_SECONDS):
                if run:
                    checkpoint = follow(run, checkpoint, Path(folder), stop)
            server.shutdown()
    raise Stopped


def follow(run: Path, shown: Path, folder: Path, stop: Stop) -> Path:
    """Exports the best checkpoint of a run if it is not the one that the page shows; the page then loads it.

    Args:
      run: the workdir.
      shown: folder of the checkpoint that the page shows.
      folder: with the model.
      stop: see write_model.

    Returns:
      The folder of the best checkpoint. A checkpoint that cannot be exported is reported, and the page keeps the one it shows.

    Raises:
      Stopped: `stop` was set.
    """
    try:
        best = best_checkpoint(run)
    except UserError as e:  # a run that trains removes checkpoints
        print(f"{run} has no checkpoint to show: {e}", flush=True)
        return shown
    if best != shown:
        try:
            write_model(folder, best, _shown_name(best, run), stop, POLL_SECONDS)
        except (UserError, OSError) as e:
            print(f"{best} is not shown: {e}", flush=True)
    return best


def _check_page() -> None:
    if not (PAGE / "index.html").is_file():
        raise UserError(f"{PAGE} has no page. Build it with Node.js: make web")


def _shown_name(checkpoint: Path, run: Path | None) -> str:
    return f"{run.resolve().name}, step {checkpoint.name}" if run else checkpoint.name


def listen(host: str, port: int, folder: Path) -> ThreadingHTTPServer:
    """Returns a server of the page, and of the model in a folder, that listens and does not answer yet.

    Raises:
      UserError: the address or port cannot be used, or the page was not built.
    """
    _check_page()
    try:
        return Server((host, port), partial(Handler, model_folder=folder))
    except (OSError, OverflowError) as e:
        number = getattr(e, "errno", None)
        if number == errno.EADDRINUSE:
            raise UserError(
                f"--port {port} is in use by another program. Name another one; --port 0 takes any free one."
            ) from e
        why = getattr(e, "strerror", None) or str(e)
        raise UserError(f"--host {host} --port {port} cannot be used: {why}. Name others, or leave them out.") from e


def save(folder: Path, weights: Path, name: str, stop: Stop) -> None:
    """Makes a folder with the page and a model, all of it or nothing; see write_model.

    Raises:
      UserError: the folder exists and is not empty, or cannot be written; see write_model.
    """
    _check_page()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"--out {folder} exists and is not an empty folder. Name a new one.")
    is_new = not folder.exists()
    make_folder(folder, "--out")
    try:
        write_model(folder, weights, name, stop)
        shutil.copytree(PAGE, folder, dirs_exist_ok=True)  # last, because it copies the modes of the page too
    except BaseException as e:
        for path in folder.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        if is_new:
            folder.rmdir()
        if isinstance(e, OSError):
            raise UserError(
                f"--out {folder} cannot be written: {e.strerror or short(e)}. Name another one, or free some space."
            ) from e
        raise
    print(f"{folder} has the page, for any static host.", flush=True)


def write_model(folder: Path, weights: Path, name: str, stop: Stop, reload_seconds: float | None = None) -> None:
    """Writes a model, and its description for the page.

    Args:
      folder: for the files.
      weights: an ONNX file; or what to export, see checkpoint.load.load_variables.
      name: that the page shows.
      stop: is polled before the files are written.
      reload_seconds: when the page looks for another model again; None = never.

    Raises:
      UserError: see export.parity.compared_detector.
      Stopped: `stop` was set.
    """
    content = weights.read_bytes() if weights.suffix == ".onnx" else export(weights, Path(MODEL), stop)
    if stop.is_set():
        raise Stopped
    facts = {
        "name": name,
        "url": MODEL,
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "reload_seconds": reload_seconds,
    }
    write_atomically(folder / MODEL, content)
    write_atomically(folder / MODEL_FACTS, json.dumps(facts))


def export(weights: Path, out: Path, stop: Stop) -> bytes:
    """Returns the ONNX file of a run, with float32 weights, see export.parity.compared_detector.

    A few candidates of a network that is still trained are always near the minimum score, and may be on either side of it.
    """
    from seqdigits.core.jax_settings import prepare_jax  # these import JAX, which pretrained weights do not need
    from seqdigits.export.parity import compared_detector
    from seqdigits.export.program import Program

    prepare_jax()
    return compared_detector(Program(weights), weights, "float32", out, stop, exact=False)


def best_checkpoint(run: Path) -> Path:
    """Returns the folder of the best checkpoint of a run, see checkpoint.load.best_checkpoint."""
    from seqdigits.checkpoint import load  # imports JAX, likewise

    return load.best_checkpoint(run)


class Server(ThreadingHTTPServer):
    """Says nothing of a browser that breaks off a download."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Prints the error of an answer, unless its connection has ended."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class Handler(SimpleHTTPRequestHandler):
    """Answers with the files of the page and of the model, and with nothing else."""

    def __init__(self, *arguments: Any, model_folder: Path) -> None:
        self._model_folder = model_folder
        super().__init__(*arguments, directory=str(PAGE))

    def send_head(self) -> Any:
        """Answers with a file as it is now; files of another installation may be older than what a browser has kept."""
        del self.headers["If-Modified-Since"]
        return super().send_head()

    def translate_path(self, path: str) -> str:
        """Returns the file that a path of a request names."""
        name = path.partition("?")[0].lstrip("/")
        return str(self._model_folder / name) if name in (MODEL, MODEL_FACTS) else super().translate_path(path)

    def guess_type(self, path: str | os.PathLike[str]) -> str:
        """Returns the media type of a file; not what this machine is set up to say, which may be wrong."""
        return MEDIA_TYPES.get(Path(path).suffix, "application/octet-stream")

    def list_directory(self, path: str) -> None:  # type: ignore[override] # a listing is never answered
        """Answers that there is no such file: a folder is not listed."""
        del path
        self.send_error(404)

    def end_headers(self) -> None:
        """Adds that files are asked for again at every visit, and ends the headers."""
        self.send_header("Cache-Control", "no-cache")
        self.send_header("X-Content-Type-Options", "nosniff")
        super().end_headers()

    def log_message(self, format: str, *arguments: Any) -> None:
        """Logs nothing."""
