"""Off-the-shelf engines beside ours: the protocol of their workers, with engines that the tests write."""

import errno
import importlib.util
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from PIL import Image

from seqdigits.cli import peers as cli_peers
from seqdigits.core.errors import UserError
from seqdigits.core.interrupt import Stop, Stopped
from seqdigits.data.photos.picture_files import open_picture
from seqdigits.experiments import peers
from seqdigits.experiments.peer_table import peer_lines


def load_module(name):
    """Imports a module of the folder peers."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "peers" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


protocol = load_module("protocol")


@pytest.fixture
def worker(monkeypatch):
    """Imports a worker, which imports `protocol` as a module beside it."""
    monkeypatch.setitem(sys.modules, "protocol", protocol)
    return load_module


WORKER = """
import sys
sys.path.insert(0, {folder!r})
import protocol

def load(cores):
    {before}
    def read(picture):
        red = int(picture[0, 0, 0])
        {during}
        return [protocol.Number(str(red), 0.5), protocol.Number("7", 0.25)] if red else []
    print("a line that an engine logs")
    return protocol.Engine({version!r}, {{"size": 3}}, 2_000_000, cores, read)

protocol.serve(load)
"""


@pytest.fixture
def engine(tmp_path):
    """Writes the worker of an engine whose number is the red of the first pixel, nothing where it is 0."""

    def write(name="red", version="1.0", before="pass", during="pass"):
        path = tmp_path / f"{name}_worker.py"
        values = {"folder": str(ROOT / "peers"), "version": version, "before": before, "during": during}
        path.write_text(WORKER.format(**values))
        return Path(sys.executable), path

    return write


@pytest.fixture
def folder(tmp_path):
    """Five pictures: one read right, one in part, one not; one without a number; one with an uncertain label."""
    root = tmp_path / "pictures"
    rows = [
        ("a/1.png", 12, "12"),
        ("a/2.png", 34, "345"),
        ("a/3.png", 0, "5"),
        ("b/1.png", 200, ""),
        ("b/2.png", 9, "9"),
    ]
    lines = ["filename,label,note"]
    for name, red, label in rows:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 6), (red, 0, 0)).save(path)
        lines.append(f"{name},{label},{'UNCERTAIN' if name == 'b/2.png' else ''}")
    (root / "labels.csv").write_text("\n".join(lines) + "\n")
    return root


def run(folder, out, engines, stop=None):
    out.mkdir(exist_ok=True)
    return peers.run(peers.picture_sets([str(folder)], [], None), out, engines, stop or Stop())


OCRAD_RESULT = """# Ocr Results File. Created by GNU Ocrad version 0.28
text block 1 0 0 300 120
lines 2
line 1 chars 4 height 43
 99  41 30 43; 2, '3'1, '8'0
130  41  5 43; 1, ' '0
135  41 29 43; 0
171  40 28 43; 1, '2'0
line 2 chars 0 height 20
"""

GOCR_RESULT = """<page x="0" y="0" dx="0" dy="0">
<line x="99" y="42" dx="100" dy="53" value="1">
 <space x="99" y="41" dx="30" dy="43" />
 <box x="99" y="41" dx="30" dy="43" value="3" numac="2" weights="90,52" achars="38" />
 <box x="135" y="41" dx="29" dy="41" value="(PICTURE)" />
 <box x="171" y="40" dx="28" dy="40" value="2" numac="1" weights="80" achars="2" />
</line>
<line x="9" y="142" dx="10" dy="5" value="2">
</line>
"""


def test_lines_of_ocrad_are_parsed(worker):
    lines = worker("ocrad_worker").lines
    assert lines(OCRAD_RESULT) == [("3 2", 43.0, 0.5), ("", 20.0, 0.5)]
    assert lines("") == []


def test_lines_of_gocr_are_parsed(worker):
    lines = worker("gocr_worker").lines
    assert lines(GOCR_RESULT) == [("32", 43.0, pytest.approx(0.85))]
    assert lines("") == []


def test_number_of_ssocr_with_an_unread_digit_is_none(worker):
    number = worker("ssocr_worker").number
    assert number("25.8\n") == [("258", 0.5)]
    assert number("2_8\n") == number("\n") == []


def test_path_of_ddddocr_is_collapsed(worker):
    collapse = worker("ddddocr_worker").collapse
    assert collapse([0, 4, 4, 0, 4, 1, 0]) == "330"
    assert collapse([]) == ""


def test_program_gets_a_gray_pgm_file():
    picture = np.zeros((2, 3, 3), np.uint8)
    picture[0] = 255
    copy = [sys.executable, "-c", "import sys; print(list(sys.stdin.buffer.read()))"]
    expected = b"P5\n3 2\n255\n" + bytes([255] * 3 + [0] * 3)
    assert protocol.output_of(copy, picture) == f"{list(expected)}\n"


def test_failed_program_ends_the_worker_with_its_message():
    with pytest.raises(RuntimeError, match="failed with status 3: no font"):
        protocol.output_of([sys.executable, "-c", "import sys; sys.stderr.write('no font'); sys.exit(3)"])


def test_program_may_end_with_a_status_that_is_no_failure():
    command = [sys.executable, "-c", "import sys; print('8_'); sys.exit(2)"]
    assert protocol.output_of(command, statuses=(0, 2)) == "8_\n"
    with pytest.raises(RuntimeError, match="failed with status 2"):
        protocol.output_of(command)


def test_slow_program_ends_the_worker(monkeypatch):
    monkeypatch.setattr(protocol, "TIMEOUT", 0.2)
    with pytest.raises(RuntimeError, match="longer than 0.2 seconds"):
        protocol.output_of([sys.executable, "-c", "import time; time.sleep(60)"])


def test_run_scores_each_folder_and_names_what_is_left_out(engine, folder, tmp_path, capsys):
    absent = "raise protocol.MissingError('it is not installed. Debian: apt-get install it')"
    slow = engine(during="import time; time.sleep(0.003)")
    report = run(folder, tmp_path / "out", {"red": slow, "absent": engine("absent", before=absent)})
    assert report["missing"] == {"absent": "it is not installed. Debian: apt-get install it"}
    assert "absent is left out: it is not installed" in capsys.readouterr().out
    assert report["uncertain"] == 1
    a, b = report["sets"]["a"]["red"], report["sets"]["b"]["red"]
    assert (a["right"], a["length_right"], a["nothing_read"]) == pytest.approx((1 / 3, 1 / 3, 1 / 3))
    assert (b["pictures"], b["no_number"]["pictures"], b["no_number"]["false_answers"]) == (0, 1, 1.0)
    about = report["engines"]["red"]
    assert (about["version"], about["settings"], about["weights_bytes"], about["threads"]) == (
        *("1.0", {"size": 3}),
        *(2_000_000, peers.CORES),
    )
    assert about["reused"] == 0
    assert about["milliseconds"]["percentile_90"] >= about["milliseconds"]["median"] >= 3
    assert about["load_seconds"] > 0


def test_tables_hold_every_engine_and_its_settings(engine, folder, tmp_path):
    report = run(folder, tmp_path / "out", {"red": engine()})
    peers.write(report, tmp_path / "out")
    assert json.loads((tmp_path / "out" / "peers.json").read_text())["sets"] == report["sets"]
    text = (tmp_path / "out" / "peers.md").read_text()
    assert "| a | red | 3 | 0.333 | 0.061 to 0.792 | 0.333 | 0.333 | 0.333 | 0 | - |\n" in text
    assert "| b | red | 0 | - | - | - | - | - | 1 | 1.000 |\n" in text
    assert "| red | 1.0 | 2 | 2.0 | " in text
    assert "red: size 3." in text
    assert "because their label is uncertain: 1." in text


def test_record_has_no_paths(engine, folder, tmp_path):
    report = run(folder, tmp_path / "out", {"red": engine()})
    sets = {f"{folder}/{name}": scores for name, scores in report["sets"].items()}
    report |= {"sets": sets, "unreadable": {str(folder / "a" / "1.png"): "damaged"}}
    path = tmp_path / "results" / "peers" / "pictures.json"
    path.parent.mkdir(parents=True)
    peers.record(report, path)
    assert str(tmp_path) not in path.read_text()
    kept = json.loads(path.read_text())
    assert list(kept["sets"]) == ["pictures/a", "pictures/b"]
    assert (kept["unreadable"], kept["provenance"]["commit"]) == (1, report["provenance"]["commit"])
    assert peer_lines(path.parent)[2].startswith("| pictures/a | 0.333 (0.061 to 0.792) of 3 | `")


def test_sets_of_one_name_are_no_record():
    assert peers.record_names(["/a/pictures/svhn", "/a/pictures/mnist"])["/a/pictures/svhn"] == "pictures/svhn"
    with pytest.raises(UserError, match="/b/pictures/svhn and another set are both named pictures/svhn"):
        peers.record_names(["/a/pictures/svhn", "/b/pictures/svhn"])


def test_reading_that_compiles_is_repeated(engine, folder, tmp_path):
    python, path = engine(during="seen.update([red])")
    compiling = path.read_text().replace("import protocol", "import protocol\nseen = set()")
    path.write_text(compiling.replace(", read)", ", read, lambda: len(seen))"))
    report = run(folder, tmp_path / "out", {"red": (python, path)})
    assert report["engines"]["red"]["repeated"] == 4
    assert "red compiled for 4 pictures, which were read again for their time." in peers.notes(report)


def test_answers_are_reused_by_the_same_version_only(engine, folder, tmp_path):
    out = tmp_path / "out"
    run(folder, out, {"red": engine()})
    with (out / "red.jsonl").open("a") as file:
        file.write('{"engine": {"ver')  # as a crash leaves it
    fails = engine(during="assert picture.shape[0] != 6, 'a known answer'")
    report = run(folder, out, {"red": fails})
    assert report["engines"]["red"]["reused"] == 4
    assert "Answers of red that are of an earlier run: 4." in peers.notes(report)
    for reused in (0, 4):
        assert run(folder, out, {"red": engine(version="1.1")})["engines"]["red"]["reused"] == reused


def test_crash_names_the_engine_and_keeps_the_answers(engine, folder, tmp_path):
    crashes = engine(during="if red == 34: raise RuntimeError('the model broke')")
    with pytest.raises(
        UserError, match=r"(?s)worker of red ended with status 1:.*RuntimeError: the model broke\n.*resume"
    ):
        run(folder, tmp_path / "out", {"red": crashes})
    (line,) = (tmp_path / "out" / "red.jsonl").read_text().splitlines()
    assert json.loads(line)["number"] == "12"
    assert run(folder, tmp_path / "out", {"red": engine()})["engines"]["red"]["reused"] == 1


def test_crash_while_loading_is_reported(engine, folder, tmp_path):
    with pytest.raises(UserError, match=r"(?s)worker of red ended with status 1:.*no such model"):
        run(folder, tmp_path / "out", {"red": engine(before="raise OSError('no such model')")})


def test_missing_environment_says_how_to_make_it(engine, folder, tmp_path):
    missing = (tmp_path / "python", engine()[1])
    with pytest.raises(UserError, match=r"no engine is installed: rapidocr: .*python does not exist. Run: make peers"):
        run(folder, tmp_path / "out", {"rapidocr": missing})
    report = run(folder, tmp_path / "out", {"red": engine(), "easyocr": missing})
    assert list(report["engines"]) == ["red"]
    assert report["missing"] == {"easyocr": f"{missing[0]} does not exist. Run: make easyocr"}


def test_interpreter_that_cannot_be_started_is_reported(engine, folder, tmp_path):
    with pytest.raises(UserError, match=f"^red: {tmp_path} cannot be started: Permission denied$"):
        run(folder, tmp_path / "out", {"red": (tmp_path, engine()[1])})


def test_an_installed_package_without_workers_names_the_source_tree(folder, tmp_path):
    script = tmp_path / "site-packages" / "peers" / "seqdigits_worker.py"
    with pytest.raises(UserError, match=f"{script} is missing: only the source tree of seqdigits has the workers"):
        run(folder, tmp_path, {"seqdigits": (Path(sys.executable), script)})


def test_no_installed_engine_is_an_error(engine, folder, tmp_path):
    with pytest.raises(UserError, match="no engine is installed: red: not here"):
        run(folder, tmp_path / "out", {"red": engine(before="raise protocol.MissingError('not here')")})


def test_unreadable_picture_is_left_out_for_all(engine, folder, tmp_path):
    (folder / "a" / "2.png").write_bytes(b"no picture")
    report = run(folder, tmp_path / "out", {"red": engine()})
    assert list(report["unreadable"]) == [str(folder / "a" / "2.png")]
    assert report["sets"]["a"]["red"]["pictures"] == 2
    assert any("2.png cannot be read and is left out: cannot identify" in line for line in peers.notes(report))


def test_picture_that_is_not_given_to_the_engines_is_left_out(engine, folder, tmp_path, monkeypatch):
    """The picture after a name with a line break has its own answer."""
    (folder / "a" / "1.png").rename(folder / "a" / "1\n.png")
    labels = folder / "labels.csv"
    labels.write_text(labels.read_text().replace("a/1.png", '"a/1\n.png"'))

    def refuse(path, sha256=peers.sha256):
        if path.name == "3.png":
            raise PermissionError(errno.EACCES, "Permission denied")
        return sha256(path)

    monkeypatch.setattr(peers, "sha256", refuse)
    report = run(folder, tmp_path / "out", {"red": engine()})
    assert report["unreadable"] == {
        str(folder / "a" / "1\n.png"): "a path with a line break is not allowed",
        str(folder / "a" / "3.png"): "Permission denied",
    }
    assert (report["sets"]["a"]["red"]["pictures"], report["sets"]["a"]["red"]["length_right"]) == (1, 0)
    assert report["sets"]["b"]["red"]["no_number"]["false_answers"] == 1


def test_record_is_refused_before_anything_is_read(folder, tmp_path, monkeypatch):
    (tmp_path / "results").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["peers", str(folder), "--out", str(tmp_path / "out"), "--record", "a"])
    with pytest.raises(UserError, match="^--record: results/peers cannot be used: "):
        cli_peers.main(Stop())


def test_two_sets_of_one_name_are_refused_before_anything_is_read(folder, tmp_path, monkeypatch):
    other = tmp_path / "other" / folder.name
    shutil.copytree(folder, other)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        sys, "argv", ["peers", str(folder), str(other), "--out", str(tmp_path / "out"), "--record", "a"]
    )
    monkeypatch.setattr(peers, "run", None)
    with pytest.raises(UserError, match="another set are both named"):
        cli_peers.main(Stop())


def test_stop_ends_a_worker_that_hangs(engine, folder, tmp_path):
    stop = Stop()
    stop.set()
    with pytest.raises(Stopped):
        run(folder, tmp_path / "out", {"red": engine(before="import time; time.sleep(60)")}, stop)


def test_folders_are_told_apart(folder):
    found = peers.picture_sets([str(folder), str(folder)], ["a"], 2)
    assert {name: len(rows) for name, rows in found.sets.items()} == {f"{folder}/a": 4}
    copy = folder.with_name("copy")
    shutil.copytree(folder, copy)
    found = peers.picture_sets([str(folder), str(copy)], [], None)
    assert list(found.sets) == [f"{folder}/a", f"{folder}/b", f"{copy}/a", f"{copy}/b"]
    assert found.uncertain == 2


def test_command_prints_both_tables(engine, folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(peers, "ENGINES", {"red": engine(), "other": engine("other")})
    out = tmp_path / "out"
    monkeypatch.setattr(sys, "argv", ["peers", str(folder), "--engine", "red", "--limit", "1", "--out", str(out)])
    cli_peers.main(Stop())
    lines = capsys.readouterr().out.splitlines()
    assert lines[2] == (
        "folder  engine  numbers  right    95% interval  length right  nothing read  among all  without number  false answers"
    )
    assert lines[3].split() == ["a", "red", "1", "1.000", "0.207", "to", "1.000", "1.000", "0.000", "1.000", "0", "-"]
    assert lines[-1] == f"{out / 'peers.json'} and {out / 'peers.md'} are written."


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "FOLDER is missing"),
        (["F", "--engine", "tesserakt"], "tesserakt"),
        (["F", "--limit", "0"], "limit"),
        (["F", "--record", "a/b"], "a name without folders"),
        (["no_such_folder"], "labels.csv cannot be read"),
    ],
)
def test_command_refuses_unusable_arguments(monkeypatch, arguments, message):
    monkeypatch.setattr(sys, "argv", ["peers", *arguments])
    with pytest.raises(UserError, match=message):
        cli_peers.main(Stop())


def test_engines_take_turns_of_blocks(engine, folder, tmp_path, monkeypatch):
    monkeypatch.setattr(peers, "BLOCK", 2)
    order = tmp_path / "order"
    engines = {
        name: engine(name, during=f"if picture.shape[0] == 6: open({str(order)!r}, 'a').write({name!r})")
        for name in "xy"
    }
    run(folder, tmp_path / "out", engines)
    assert order.read_text() == "xxyyxxyy"


def test_number_is_the_digits_of_the_tallest_text_with_any():
    texts = [
        protocol.Text("No. 7", 10, 0.9),
        protocol.Text("$1.250,", 30, 0.8),
        protocol.Text("Main St", 40, 0.9),
        protocol.Text("²", 50, 0.9),  # only 0 to 9 are digits
        protocol.Text("8", 10, 0.95),
    ]
    found = [(number.digits, number.confidence) for number in protocol.numbers_of(texts)]
    assert found == [("1250", 0.8), ("8", 0.95), ("7", 0.9)]
    assert protocol.numbers_of([]) == []


def test_small_pictures_are_enlarged_to_the_short_side():
    assert protocol.enlarged(np.zeros((50, 100, 3), np.uint8), 128).shape == (128, 256, 3)
    assert protocol.enlarged(np.zeros((200, 300, 3), np.uint8), 128).shape == (200, 300, 3)


@pytest.mark.parametrize("mode", ["RGB", "L", "LA", "P", "RGBA", "I;16", "turned"])
def test_workers_see_the_pixels_of_our_own_pictures(tmp_path, mode):
    path = tmp_path / "picture.png"
    levels = np.random.default_rng(0).integers(0, 256, (6, 9, 4), np.uint8)
    if mode == "I;16":
        Image.fromarray(levels[..., 0].astype(np.uint16) * 255).save(path)
    elif mode == "turned":
        exif = Image.Exif()
        exif[0x0112] = 6  # orientation: rotate by 90 degrees
        Image.fromarray(levels[..., :3]).save(path, exif=exif)
    else:
        Image.fromarray(levels).convert(mode).save(path)
    np.testing.assert_array_equal(protocol.decode(str(path)), np.asarray(open_picture(path)))


def test_workers_keep_the_upper_8_of_16_bits_in_32(tmp_path):
    path = tmp_path / "picture.pgm"
    Image.fromarray(np.linspace(0, 65535, 24).astype(np.uint16).reshape(4, 6)).save(path)
    np.testing.assert_array_equal(protocol.decode(str(path)), np.asarray(open_picture(path, formats=None)))
