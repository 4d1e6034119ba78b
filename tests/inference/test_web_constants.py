"""The Reader in web/src has the constants of the Reader in Python, and docs/page.md its limits; read from the text, without Node.js."""

import re

import numpy as np
import pytest
from conftest import ROOT

from seqdigits.inference import onnx_engine, reader, reading, views

SOURCES = ROOT / "web" / "src"
CONSTANT = re.compile(r"^(?:export )?const ([A-Z_]+)(?:: [^=]+)? = ([^;]+);", re.MULTILINE)


def constants(name):
    """The numbers in each constant of a file, in order; a string as it is."""
    found = {}
    for constant, value in CONSTANT.findall((SOURCES / name).read_text()):
        found[constant] = value.strip('"') if value[0] == '"' else [float(v) for v in re.findall(r"[\d.]+", value)]
    return found


def numbers(value):
    return value if isinstance(value, str) else [float(v) for v in np.ravel(value)]


@pytest.mark.parametrize(
    ("name", "module", "count"),
    [("reading.ts", reading, 15), ("views.ts", views, 8), ("reader.ts", reader, 7), ("engine.ts", onnx_engine, 1)],
)
def test_constants_are_those_of_python(name, module, count):
    found = constants(name)
    assert len(found) == count
    assert found == {constant: numbers(getattr(module, constant)) for constant in found}


def test_the_guide_has_the_limits_of_the_page():
    guide = " ".join((ROOT / "docs" / "page.md").read_text().split())
    picture, tracker = constants("picture.ts"), constants("tracker.ts")
    megapixels, side, megabytes = (picture[name][0] for name in ("MAX_MEGAPIXELS", "MAX_SIDE", "MAX_MEGABYTES"))
    assert f"Up to {megapixels:g} megapixels, {side:,.0f} pixels a side and {megabytes:g} MB" in guide
    assert (tracker["OVERVIEW_EVERY"], tracker["MEMORY"]) == ([12], [8])
    assert "every twelfth frame is searched anew" in guide
    assert "of the last eight frames" in guide
