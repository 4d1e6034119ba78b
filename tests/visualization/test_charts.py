"""Charts are SVG that a page can hold: text as text, one set of colors for light and dark, nothing that collides."""

from __future__ import annotations

import base64
import io
import re
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pytest
from PIL import Image

from seqdigits.visualization import charts, reliability, search_charts

SVG = "{http://www.w3.org/2000/svg}"


def texts(drawn: str) -> list[str]:
    return [str(element.text).strip() for element in ElementTree.fromstring(drawn).iter(f"{SVG}text")]


def bars() -> str:
    return charts.bars("Digits", ["0", "<1>"], {"train": np.array([1, 3]), "test": np.array([0, 0])}, "digit")


def histogram() -> str:
    return charts.histogram("Width", {"train": np.array([0, 2, 0, 6]), "test": np.array([0, 1, 3, 0])}, "pixels")


def density() -> str:
    return charts.density("test", np.array([[0, 1, 4], [16, 0, 0]]), 10, "Box centers")


DRAWN = {"bars": bars, "histogram": histogram, "density": density}


@pytest.mark.parametrize("draw", DRAWN.values(), ids=DRAWN)
def test_chart_is_self_contained(draw):
    drawn = draw()
    assert "currentColor" in drawn
    for foreign in (" id=", "url(", "<style", "<defs", "metadata", "#000000"):
        assert foreign not in drawn
    assert set(re.findall(r'href="(.{5})', drawn)) <= {"data:"}


@pytest.mark.parametrize("draw", DRAWN.values(), ids=DRAWN)
def test_chart_ignores_the_users_settings(draw):
    before = draw()
    with matplotlib.rc_context({"font.size": 30, "svg.fonttype": "path", "axes.grid": True}):
        assert draw() == before
        assert matplotlib.rcParams["font.size"] == 30


def test_bars_show_shares_and_name_their_counts():
    drawn = bars()
    assert {"Digits", "digit", "0", "<1>", "train", "test"} <= set(texts(drawn))
    titles = [element.text for element in ElementTree.fromstring(drawn).iter(f"{SVG}title")]
    assert titles == ["0, train: 25.0% (1)", "<1>, train: 75.0% (3)", "0, test: 0.0% (0)", "<1>, test: 0.0% (0)"]
    label = ElementTree.fromstring(drawn).attrib["aria-label"]
    assert label == "Digits. train: 0 25.0%, <1> 75.0%. test: 0 0.0%, <1> 0.0%."


def test_histogram_covers_what_occurs():
    drawn = histogram()
    assert {"Width", "pixels", "1", "2", "3"} <= set(texts(drawn))
    assert "0" not in texts(drawn)
    assert "Width, pixels. train: most often 3; test: most often 2." in drawn
    assert "without the largest" not in drawn


def test_histogram_leaves_out_a_thin_tail():
    counts = np.zeros(1001, np.int64)
    counts[5], counts[1000] = 10_000, 10
    drawn = charts.histogram("Width", {"train": counts}, "pixels")
    assert "without the largest 0.2%" in texts(drawn)
    assert "1000" not in texts(drawn)


def test_histogram_of_nothing_is_empty():
    assert charts.histogram("Width", {"train": np.zeros(4, np.int64)}, "pixels") == ""


def test_density_opacity_is_the_root_of_the_count():
    (data,) = re.findall(r"base64,([^\"]+)", density())
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))
    np.testing.assert_allclose(pixels[..., 3], [[0, 64, 128], [255, 0, 0]], atol=1)
    np.testing.assert_allclose(pixels[1, 0, :3], (0x12, 0x98, 0x82), atol=1)


def test_reliability_keeps_the_ids_that_it_refers_to():
    bins = [{"count": 3, "confidence": 0.4, "accuracy": 0.5}, {"count": 0}]
    metrics = {
        "reliability": {"digits": bins, "numbers": bins},
        "calibration_error": 0.1,
        "digit_calibration_error": None,
    }
    drawn = reliability.reliability(metrics, metrics)
    assert drawn == reliability.reliability(metrics, metrics)
    root = ElementTree.fromstring(drawn.encode())
    uses = {element.attrib["{http://www.w3.org/1999/xlink}href"] for element in root.iter(f"{SVG}use")}
    referred = re.findall(r"url\((#[^)]+)\)", drawn)
    ids = {"#" + element.attrib["id"] for element in root.iter() if "id" in element.attrib}
    assert uses | set(referred) <= ids
    assert "numbers, after: calibration error 0.1000" in drawn
    assert {"before: calibration error -", "confidence", "accuracy"} <= set(texts(drawn.split("\n", 1)[1]))


AXES = [
    search_charts.Axis("learning_rate", [1e-4, 1e-3, 3e-3, None, 1e-2], True, (), 0.7),
    search_charts.Axis("name", ["adam", "adamw", "adam", "adam", "adamw"], False, ("adam", "adamw"), 0.2),
    search_charts.Axis("gru_units", [64, 128, 64, 192, 256], False, (), 0.1),
]
STATES = ["complete", "complete", "pruned", "running", "failed"]


def test_the_picture_of_a_search_shows_each_parameter_and_each_score():
    drawn = search_charts.what_mattered(AXES, [0.5, 0.75, 0.25, None, None], STATES, 1, "sequence accuracy")
    said = texts(drawn)
    assert [said.count(name) for name in ("importance", "learning_rate", "name", "gru_units")] == [1, 1, 1, 1]
    assert {"learning_rate  70%", "name  20%", "gru_units  10%", "complete", "best"} <= set(said)
    titles = [str(element.text) for element in ElementTree.fromstring(drawn).iter(f"{SVG}title")]
    assert "trial 1, complete: 0.001 gives 0.7500" in titles
    assert "trial 2, pruned: adam gives 0.2500" in titles
    assert len([title for title in titles if title.startswith("trial")]) == 3 * 3
    assert drawn.startswith('<?xml version="1.0" encoding="utf-8"?>\n<svg style="color-scheme: light dark')


def test_the_picture_of_a_short_search_says_that_importances_are_unknown():
    axes = [search_charts.Axis("name", ["adam"], False, ("adam", "adamw"), None)]
    drawn = search_charts.what_mattered(axes, [0.5], ["complete"], 0, "sequence accuracy")
    assert {"name  -", "known from four complete trials on"} <= set(texts(drawn))
