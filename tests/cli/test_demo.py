"""`seqdigits demo`: the page that comes with the package is whole, and the server answers with it alone."""

import errno
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from exported import DETECTORS, saved

from seqdigits.checkpoint import pretrained
from seqdigits.cli import demo
from seqdigits.core.errors import UserError
from seqdigits.core.interrupt import Stop, Stopped
from seqdigits.export import parity
from seqdigits.inference.onnx_engine import OnnxEngine

PAGE = demo.PAGE


def digest(content):
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def address(tmp_path):
    """The address of a server whose model is a few bytes."""
    (tmp_path / demo.MODEL).write_bytes(b"model")
    (tmp_path / demo.MODEL_FACTS).write_text('{"name": "a"}')
    (tmp_path / "secret").write_text("secret")
    with demo.listen("127.0.0.1", 0, tmp_path) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def test_the_page_was_built_from_its_sources():
    """After a change in web/: make web."""
    lines = (PAGE / "sources.sha256").read_text().splitlines()
    saved = {name: digest for digest, name in (line.split("  ") for line in lines)}
    files = [path for folder in ("src", "static") for path in (ROOT / "web" / folder).rglob("*") if path.is_file()]
    sources = [ROOT / "web" / "build.mjs", ROOT / "web" / "package-lock.json", *files]
    assert saved == {str(path.relative_to(ROOT / "web")): digest(path.read_bytes()) for path in sources}


def test_the_files_that_the_page_names_are_there():
    worker = (PAGE / "service_worker.js").read_text()
    (names,) = re.findall(r'\["\./",([^\]]*)\]', worker)
    files = {str(path.relative_to(PAGE)) for path in PAGE.rglob("*") if path.is_file()}
    own = {"index.html", "runtime.LICENSE.txt", "runtime.wasm.gzip", "service_worker.js", "sources.sha256"}
    assert set(json.loads(f"[{names}]")) == files - own
    html = (PAGE / "index.html").read_text()
    assert set(re.findall(r'(?:src|href)="([^"]+)"', html)) <= files
    icons = json.loads((PAGE / "page.webmanifest").read_text())["icons"]
    assert {icon["src"] for icon in icons} <= files


def test_the_runtime_has_the_hash_that_the_page_checks():
    runtime = (PAGE / "runtime.wasm.gzip").read_bytes()
    assert f'bytes:{len(runtime)},sha256:"{digest(runtime)}"' in (PAGE / "worker.js").read_text()


def test_the_lock_has_hashes_and_no_addresses():
    lock = json.loads((ROOT / "web" / "package-lock.json").read_text())
    packages = {name: facts for name, facts in lock["packages"].items() if name}
    assert packages
    assert all("integrity" in facts and "resolved" not in facts for facts in packages.values())


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "text/html; charset=utf-8"),
        ("/worker.js", "text/javascript"),
        ("/page.webmanifest", "application/manifest+json"),
        ("/examples/door.jpg", "image/jpeg"),
        ("/model.json", "application/json"),
        ("/model.onnx?sha256=1", "application/octet-stream"),
    ],
)
def test_it_serves_the_page_and_the_model(address, path, kind):
    with urllib.request.urlopen(address + path) as answer:
        assert answer.headers["Content-Type"] == kind
        assert answer.headers["Cache-Control"] == "no-cache"
        assert answer.read()


@pytest.mark.parametrize("path", ["/secret", "/examples/", "/../__init__.py", "/%2e%2e/__init__.py", "/nothing"])
def test_it_serves_nothing_else(address, path):
    with pytest.raises(urllib.error.HTTPError) as e:
        urllib.request.urlopen(address + path)
    assert e.value.code == 404


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--weights=scene", "--workdir=runs/a"], "--weights scene and --workdir runs/a: allowed is one of them"),
        (["--weights=bogus"], "bogus"),
        (["--port=-1"], "usage: seqdigits demo"),
        (["--port=99999"], "--port 99999 cannot be used"),
        (["--host=192.0.2.1"], "--host 192.0.2.1 --port 8000 cannot be used"),
    ],
)
def test_what_is_not_allowed_is_refused(monkeypatch, arguments, message):
    monkeypatch.setattr(sys, "argv", ["seqdigits demo", *arguments])
    with pytest.raises(UserError, match=re.escape(message)):
        demo.main(Stop())


def test_a_file_is_sent_whatever_the_browser_has_kept(address):
    request = urllib.request.Request(
        f"{address}/page.js", headers={"If-Modified-Since": "Fri, 01 Jan 2100 00:00:00 GMT"}
    )
    with urllib.request.urlopen(request) as response:
        assert response.read() == (PAGE / "page.js").read_bytes()


def test_other_machines_get_an_address(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["seqdigits demo", "--host=0.0.0.0", "--port=0"])
    monkeypatch.setattr(demo.socket, "gethostname", lambda: "office")
    stop = Stop()
    monkeypatch.setattr(stop, "wait", lambda _: True)  # stops as soon as the page is served
    with pytest.raises(Stopped):
        demo.main(stop)
    found = re.fullmatch(
        r"http://127\.0\.0\.1:(\d+)/ has the page, for other machines http://office:(\d+)/\. Ctrl-C ends it\.\n",
        capsys.readouterr().out,
    )
    assert found[1] == found[2]


def test_a_port_in_use_is_refused(address, tmp_path):
    port = int(address.rpartition(":")[2])
    with pytest.raises(UserError, match=f"--port {port} is in use by another program. Name another one"):
        demo.listen("127.0.0.1", port, tmp_path)


def test_a_page_that_was_not_built_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(demo, "PAGE", tmp_path)
    with pytest.raises(UserError, match="make web"):
        demo.listen("127.0.0.1", 0, tmp_path)


def test_the_files_for_a_static_host_are_written(monkeypatch, tmp_path, capsys):
    model = pretrained.onnx_path("handwriting").read_bytes()
    monkeypatch.setattr(sys, "argv", ["seqdigits demo", "--weights=handwriting", f"--out={tmp_path / 'site'}"])
    demo.main(Stop())
    assert capsys.readouterr().out == f"{tmp_path}/site has the page, for any static host.\n"
    page = {path.relative_to(PAGE) for path in PAGE.rglob("*")} | {Path(demo.MODEL), Path(demo.MODEL_FACTS)}
    assert {path.relative_to(tmp_path / "site") for path in (tmp_path / "site").rglob("*")} == page
    facts = json.loads((tmp_path / "site" / demo.MODEL_FACTS).read_text())
    assert (facts["name"], facts["sha256"], facts["reload_seconds"]) == ("handwriting", digest(model), None)
    with pytest.raises(UserError, match="exists and is not an empty folder"):
        demo.main(Stop())


@pytest.mark.parametrize("fails", ["write_atomically", "shutil.copytree"])
def test_a_folder_that_cannot_be_completed_is_not_made(monkeypatch, tmp_path, fails):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(f"seqdigits.cli.demo.{fails}", full)
    with pytest.raises(
        UserError, match=f"--out {tmp_path}/site cannot be written: No space left on device. Name another"
    ):
        demo.save(tmp_path / "site", pretrained.onnx_path("handwriting"), "a", Stop())
    assert not list(tmp_path.iterdir())


def test_a_better_checkpoint_is_exported_once(monkeypatch, tmp_path, capsys):
    run, first, better = tmp_path, tmp_path / "checkpoints" / "100", tmp_path / "checkpoints" / "200"
    exported = []
    monkeypatch.setattr(demo, "best_checkpoint", lambda workdir: better)
    monkeypatch.setattr(demo, "write_model", lambda folder, weights, name, *_: exported.append((weights, name)))
    assert demo.follow(run, first, tmp_path, Stop()) == better
    assert demo.follow(run, better, tmp_path, Stop()) == better
    assert exported == [(better, f"{run.name}, step 200")]

    def fail(*_):
        raise UserError("damaged")

    monkeypatch.setattr(demo, "write_model", fail)
    assert demo.follow(run, first, tmp_path, Stop()) == better  # it is not tried again
    assert capsys.readouterr().out == f"{better} is not shown: damaged\n"
    monkeypatch.setattr(demo, "best_checkpoint", fail)
    assert demo.follow(run, first, tmp_path, Stop()) == first


def test_a_run_is_exported_with_the_weights_that_it_has(monkeypatch, small_config, tmp_path, capsys):
    """Of a run, weights are float32; in drawn images, its network may find nothing."""
    weights = saved(tmp_path, small_config(DETECTORS["detector"]))
    nothing = np.zeros((1, 33, 47, 1), np.uint8)
    monkeypatch.setattr(parity, "drawn_batches", lambda channels: iter([nothing]))
    demo.write_model(tmp_path, weights, "a", Stop())
    assert "41 validation and drawn images, ONNX Runtime beside JAX" in capsys.readouterr().out
    assert OnnxEngine(tmp_path / demo.MODEL).channels == 1


def test_an_exported_file_is_shown(monkeypatch, tmp_path):
    model = pretrained.onnx_path("handwriting").read_bytes()
    (tmp_path / "mine.onnx").write_bytes(model)
    (tmp_path / "text.onnx").write_text("no model")

    def save(*arguments):
        monkeypatch.setattr(sys, "argv", ["seqdigits demo", *arguments, f"--out={tmp_path / 'site'}"])
        demo.main(Stop())

    for name, message in (("text", "damaged, or not an ONNX file"), ("none", "cannot be read")):
        with pytest.raises(UserError, match=f"{name}.onnx.* {message}"):
            save(f"--weights={tmp_path / name}.onnx")
    with pytest.raises(UserError, match="mine.onnx is no run. Name an exported file with --weights"):
        save(f"--workdir={tmp_path / 'mine.onnx'}")
    save(f"--weights={tmp_path / 'mine.onnx'}")
    assert json.loads((tmp_path / "site" / demo.MODEL_FACTS).read_text())["name"] == "mine"
    assert (tmp_path / "site" / demo.MODEL).read_bytes() == model


@pytest.mark.slow
def test_ctrl_c_ends_it_with_130(tmp_path):
    command = [sys.executable, "-m", "seqdigits", "demo", "--port", "0"]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            address = next(line.split()[0] for line in process.stdout if line.startswith("http://127.0.0.1:"))
            with urllib.request.urlopen(f"{address}model.json") as answer:
                facts = json.load(answer)
            with urllib.request.urlopen(address + facts["url"]) as answer:
                model = answer.read()
            served = [path.name for path in tmp_path.glob("seqdigits-demo-*/*")]
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=60)
        finally:
            process.kill()
    assert (facts["name"], facts["bytes"], facts["sha256"]) == ("scene", len(model), digest(model))
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert demo.MODEL in served
    assert list(tmp_path.iterdir()) == []
