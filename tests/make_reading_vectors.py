"""Test vectors for the arithmetic of the Reader, which docs/reading.md describes: golden/reading.json.

`python tests/make_reading_vectors.py` writes them. Each section of the file has the name of a function below, which maps the
inputs of a case to its output; a port to another language needs the file alone. Inputs are rounded to 1e-6 before they are
used, and outputs after it, so that the file holds both as they are.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from seqdigits.inference import reading, views
from seqdigits.inference.reader import Number, _turned_back
from seqdigits.inference.reading import Choice, Place, Reading
from seqdigits.inference.views import CutSize

PATH = Path(__file__).parent / "golden" / "reading.json"

Case = dict[str, Any]


def level_shapes(case: Case) -> Any:
    found = views.level_shapes(case["width"], case["height"], case["overview"])
    return [{"size": list(size), "shape": list(shape)} for size, shape in found]


def group(case: Case) -> Any:
    box = np.array(case["box"], np.float64).reshape(-1, 4)
    probability = np.array(case["probability"], np.float64).reshape(-1, 10)
    return [_reading_out(r) for r in reading.group(box, probability, case["min_score"])]


def shared_area(case: Case) -> Any:
    return reading.shared_area(_reading_in(case["a"]), _reading_in(case["b"]))


def find_places(case: Case) -> Any:
    readings = [_reading_in(r) for r in case["readings"]]
    places = reading.find_places(readings, case["count"], case["views"])
    return [{"readings": [_index(r, readings) for r in place.readings], "views": place.views} for place in places]


def add_readings(case: Case) -> Any:
    place, readings = _place_in(case["place"]), [_reading_in(r) for r in case["readings"]]
    found = reading.add_readings(place, readings, case["views"])
    added = found.readings[len(place.readings) :]
    return {"added": [_index(r, readings) for r in added], "views": found.views}


def choose(case: Case) -> Any:
    place = _place_in(case["place"])
    found = reading.choose(place, case["longer_side"])
    return {
        "reading": _index(found.reading, place.readings),
        "text": found.reading.text,
        "support": found.support,
        "rank": found.rank,
        "confidence": found.confidence,
    }


def remove_overlaps(case: Case) -> Any:
    choices = [Choice(_reading_in(c["reading"]), 0.0, c["rank"], 0.0) for c in case["choices"]]
    kept = reading.remove_overlaps(choices)
    return [_index(c, choices) for c in kept]


def cut_geometry(case: Case) -> Any:
    found = views.cut_geometry(_reading_in(case["reading"]), CutSize(case["digit_height"], case["margin"], 1.0))
    return {"width": found.width, "scale": found.scale, "matrix": found.matrix.tolist()}


def to_picture(case: Case) -> Any:
    """The boxes that the view shows, in pixels of the picture."""
    view = views.View(np.zeros((0, 0, 3), np.uint8), np.array(case["matrix"]), case["scale"], tuple(case["size"]))
    box = np.array(case["box"], np.float64)
    shown = view.shows(box)
    return {"shown": shown.tolist(), "box": view.to_picture(box[shown]).tolist()}


def turned_back(case: Case) -> Any:
    """The box ltwh of a number, from the picture rotated counterclockwise by `degrees` to the picture."""
    rotation = {90: Image.Transpose.ROTATE_90, 270: Image.Transpose.ROTATE_270}[case["degrees"]]
    return list(_turned_back(Number("", 0.0, tuple(case["box"]), ()), rotation, (case["width"], case["height"])).box)


ANSWERS: dict[str, Callable[[Case], Any]] = {
    f.__name__: f
    for f in (
        level_shapes,
        group,
        shared_area,
        find_places,
        add_readings,
        choose,
        remove_overlaps,
        cut_geometry,
        to_picture,
        turned_back,
    )
}


def _reading_in(saved: Case) -> Reading:
    box = np.array(saved["box"], np.float64).reshape(-1, 4)
    return Reading(saved["text"], box, np.array(saved["digit_confidence"], np.float64), saved["angle"])


def _reading_out(found: Reading) -> Case:
    """A reading, with the values that are computed from it."""
    return {
        "text": found.text,
        "box": found.box.tolist(),
        "digit_confidence": found.digit_confidence.tolist(),
        "angle": found.angle,
        "confidence": found.confidence,
        "height": found.height,
        "edges": list(found.edges),
    }


def _place_in(saved: Case) -> Place:
    readings = tuple(_reading_in(r) for r in saved["readings"])
    return Place(readings[0], readings, saved["views"])


def _index(one: Any, among: Sequence[Any]) -> int:
    return next(i for i, other in enumerate(among) if other is one)


def rounded(value: Any) -> Any:
    """The value with every float rounded to 1e-6, and no negative zero."""
    if isinstance(value, dict):
        return {key: rounded(v) for key, v in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(v) for v in value]
    return round(float(value), 6) + 0.0 if isinstance(value, float) else value


# Inputs


def probabilities(text: str, confidence: float | Sequence[float] = 0.9, rest: float = 0.0) -> list[list[float]]:
    """For each digit of a text its probability, and `rest` for the next digit."""
    chosen = [confidence] * len(text) if isinstance(confidence, float) else confidence
    table = np.zeros((len(text), 10))
    for row, digit, value in zip(table, map(int, text), chosen, strict=True):
        row[(digit + 1) % 10], row[digit] = rest, value
    return table.tolist()


def line(
    text: str,
    x: float = 50.0,
    y: float = 40.0,
    height: float = 20.0,
    *,
    degrees: float = 0.0,
    step: float = 0.7,
    aspect: float = 0.6,
) -> list[list[float]]:
    """Boxes of digits on a line from (x, y); `step` from center to center and `aspect` in heights."""
    dx, dy = (step * height * f(math.radians(degrees)) for f in (math.cos, math.sin))
    return [[x + i * dx, y + i * dy, aspect * height, height] for i in range(len(text))]


def a_reading(text: str, confidence: float = 0.9, **where: float) -> Case:
    box = line(text, **where)
    return {
        "text": text,
        "box": box,
        "digit_confidence": [confidence] * len(text),
        "angle": math.radians(where.get("degrees", 0.0)),
    }


def a_stack(text: str, x: float = 50.0, y: float = 40.0, height: float = 20.0) -> Case:
    """A number from top to bottom."""
    return a_reading(text, x=x, y=y, height=height, degrees=90.0, step=1.1) | {"angle": math.pi / 2}


def random_readings(rng: np.random.Generator, count: int, spread: float = 60.0) -> list[Case]:
    return [
        a_reading(
            "".join(map(str, rng.integers(0, 10, rng.integers(1, 5)))),
            confidence=float(rng.uniform(0.3, 1.0)),
            x=float(rng.uniform(10, 10 + spread)),
            y=float(rng.uniform(10, 10 + spread)),
            height=float(rng.uniform(10, 40)),
            degrees=float(rng.uniform(-30, 30)),
        )
        for _ in range(count)
    ]


def inputs() -> dict[str, list[Case]]:
    """The inputs of all cases by section, not rounded yet."""
    rng = np.random.default_rng(14)
    sizes = [
        *[(1024, 768, 512), (768, 1024, 512), (640, 480, 1024), (4000, 3000, 256), (8000, 5000, 512), (512, 512, 512)],
        *[(74, 37, 512), (37, 74, 512), (32, 32, 512), (1, 1, 512), (3, 200, 512), (200, 3, 512), (28, 28, 128)],
        *[(20000, 10, 512), (10, 20000, 512), (1920, 1080, 512), (1080, 1920, 640), (257, 191, 512), (100, 75, 1024)],
        *[(3000, 1000, 512), (1000, 3100, 128), (256, 192, 512), (255, 192, 512)],
    ]

    def candidates(box: list[list[float]], probability: list[list[float]], min_score: float = 0.6) -> Case:
        return {"box": box, "probability": probability, "min_score": min_score}

    shuffled = rng.permutation(6).tolist()
    slanted, tall = line("123456", degrees=25.0), line("7", x=200.0, y=60.0, height=60.0)
    groups = [
        candidates([], []),
        candidates([*line("1"), [0.0] * 4], [*probabilities("1"), [0.0] * 10], 0.0),  # the second one is missing
        candidates(line("7"), probabilities("7")),
        candidates(line("7"), probabilities("7", 0.5)),  # below min_score
        candidates(line("7"), probabilities("7", 0.4, rest=0.2)),  # at min_score: the score is the sum
        candidates(line("7"), probabilities("7", 0.4, rest=0.4)),  # a tie of two digits: the smaller one
        candidates([slanted[i] for i in shuffled], [probabilities("123456")[i] for i in shuffled]),
        candidates(line("123", degrees=-35.0), probabilities("123")),
        candidates(line("321", degrees=58.0), probabilities("321")),
        candidates(line("321", degrees=65.0)[::-1], probabilities("123")),  # from top to bottom
        candidates(line("123", degrees=65.0, step=1.1), probabilities("123")),  # neither on a line nor a stack
        candidates(line("12", step=1.85), probabilities("12")),  # a gap of 1.25 heights
        candidates(line("12", step=1.9), probabilities("12")),  # of 1.3: not below the limit
        candidates(line("12", degrees=90.0, step=1.2), probabilities("12")),  # a stack
        candidates(line("123", degrees=90.0, step=1.2), probabilities("123")),
        candidates(line("12", degrees=90.0, step=1.7), probabilities("12")),  # a stack with a gap of 0.7 heights: apart
        candidates(line("12") + line("34", y=62.0), probabilities("1234")),  # lines of text
        candidates(line("12") + line("3", y=62.0), probabilities("123")),  # a digit below a line is no stack
        candidates(line("1") + line("2", x=62.0, height=36.0), probabilities("12")),  # a height ratio of 1.8: linked
        candidates(line("1") + line("2", x=64.0, height=36.5), probabilities("12")),  # larger: apart
        candidates(line("12345678"), probabilities("12345678", 0.7)),
        candidates(line("123456789", step=0.65), probabilities("123456789", 0.7)),  # more than 8 digits and not sure
        candidates(line("123456789", step=0.65), probabilities("123456789", 0.85)),  # and sure
        candidates(line("12") + line("34"), probabilities("1234")),  # equal positions keep their order
        candidates(
            line("12") + tall + line("34", x=300.0, degrees=10.0), probabilities("12734", [0.9, 0.7, 0.95, 1.0, 0.61])
        ),
        candidates(
            [[10.0, 40.0, 12.0, 20.0], [24.0, 52.0, 12.0, 20.0], [38.0, 40.0, 12.0, 20.0]], probabilities("123")
        ),
    ]
    for count in (12, 24, 48):
        box = np.stack([*rng.uniform(0, 200, (2, count)), *rng.uniform(8, 30, (2, count))], 1)
        raw = rng.dirichlet(np.full(10, 0.1), count) * rng.uniform(0.3, 1.0, (count, 1))
        groups.append(candidates(box.tolist(), raw.tolist()))

    upright, stack = a_reading("123"), a_stack("12")
    pairs = [
        (upright, upright),
        (upright, a_reading("2", x=64.0)),  # inside of it
        (upright, a_reading("23", x=64.0, y=50.0)),
        (upright, a_reading("4", x=300.0)),
        (upright, a_reading("4", x=90.0)),  # they touch
        (a_reading("12", degrees=20.0), stack),
    ]
    places = [
        {"readings": [], "count": 6, "views": 3},
        {
            "readings": [a_reading("12", 0.8), a_reading("12", 0.9, x=51.0), a_reading("1", 0.95)],
            "count": 6,
            "views": 3,
        },
        {
            "readings": [a_reading("12"), a_reading("34", x=200.0), a_reading("12", y=41.0)],
            "count": 6,
            "views": 2,
        },  # a tie
        {"readings": [a_reading("1234", 0.8), a_reading("567", 0.8, x=300.0)], "count": 1, "views": 1},
        *({"readings": random_readings(rng, 12, 150.0), "count": count, "views": 3} for count in (2, 6, 12)),
    ]
    first = {"readings": [a_reading("123"), a_reading("12", 0.7)], "views": 3}
    added = [
        {"place": first, "readings": [], "views": 1},
        {"place": first, "readings": [a_reading("123", x=52.0), a_reading("9", x=150.0)], "views": 1},
        {"place": first, "readings": [a_reading("723", x=40.0, y=54.0), a_reading("723", x=40.0, y=53.0)], "views": 2},
        {"place": {"readings": random_readings(rng, 3), "views": 3}, "readings": random_readings(rng, 8), "views": 2},
    ]
    votes = [
        ({"readings": [a_reading("123")], "views": 3}, 512),
        ({"readings": [a_reading("7", 0.99)], "views": 1}, 512),
        ({"readings": [a_reading("7", 0.99), a_reading("1", 0.99)], "views": 3}, 640),  # a tie: the first
        ({"readings": [a_reading("12", 0.6), a_reading("12", 0.7, x=51.0), a_reading("17", 0.9)], "views": 4}, 1024),
        ({"readings": [a_reading("12", 0.9), a_reading("12", 0.9, height=30.0), a_reading("1")], "views": 2}, 1024),
        ({"readings": [a_reading("12", 1.0), a_reading("12", 1.0)], "views": 1}, 100),  # support is at most 1
        ({"readings": [a_reading("12", 1e-7)], "views": 6}, 4000),
        *(({"readings": random_readings(rng, count), "views": count}, 800) for count in (2, 5, 9)),
        *(
            ({"readings": [r | {"text": rng.choice(["12", "17", "7"]).item()} for r in readings], "views": 6}, 1200)
            for readings in ([a_reading("12", float(c)) for c in rng.uniform(0.5, 1.0, 6)] for _ in range(4))
        ),
    ]
    for place, _ in votes:  # a text of another length has as many boxes
        for r in place["readings"]:
            r["box"], r["digit_confidence"] = r["box"][: len(r["text"])], r["digit_confidence"][: len(r["text"])]
    ranked = [
        [],
        [(a_reading("1"), 0.1), (a_reading("2", x=200.0), 0.3), (a_reading("3", x=400.0), 0.2)],
        [(a_reading("123"), 0.2), (a_reading("12"), 0.3), (a_reading("9", x=300.0), 0.2)],
        [(a_reading("12"), 0.2), (a_reading("13"), 0.2)],  # a tie: the first
        [(r, float(rank)) for r, rank in zip(random_readings(rng, 10, 120.0), rng.uniform(0, 1, 10), strict=True)],
    ]
    numbers = [
        upright,
        a_reading("1", x=10.5, y=3.25, height=7.5),
        a_reading("1234", degrees=20.0, height=31.0),
        a_reading("1234", degrees=-44.0, height=31.0),
        a_reading("12", degrees=45.0),  # the steepest that is turned upright
        stack,
        a_stack("123", height=90.0),
        a_reading("12345678", height=55.0),  # too wide
        a_reading("12345678", degrees=30.0, step=1.2),
        a_reading("12", x=2000.0, y=1500.0, height=800.0),
    ]
    box = np.stack([rng.uniform(0, 160, 8), rng.uniform(0, 110, 8), *rng.uniform(5, 40, (2, 8))], 1)
    geometries = [views.cut_geometry(_reading_in(rounded(n)), CutSize(28.0, 0.5, 1.0)) for n in numbers[2:6]]
    mapped = [
        *({"matrix": g.matrix.tolist(), "scale": g.scale, "size": [g.width, views.CUT_HEIGHT]} for g in geometries),
        {"matrix": [[2.0, 0.0, 0.0], [0.0, 2.0, 0.0]], "scale": 0.5, "size": [128, 96]},
        {"matrix": [[3.9, 0.0, 0.0], [0.0, 4.1, 0.0]], "scale": 1 / math.sqrt(3.9 * 4.1), "size": [100, 64]},
    ]
    mapped = [case | {"box": [*box.tolist(), [float(case["size"][0]), 10.0, 5.0, 5.0]]} for case in mapped]
    return {
        "level_shapes": [{"width": w, "height": h, "overview": overview} for w, h, overview in sizes],
        "group": groups,
        "shared_area": [{"a": a, "b": b} for a, b in pairs],
        "find_places": places,
        "add_readings": added,
        "choose": [{"place": place, "longer_side": side} for place, side in votes],
        "remove_overlaps": [{"choices": [{"reading": r, "rank": rank} for r, rank in case]} for case in ranked],
        "cut_geometry": [
            {"reading": number, "digit_height": height, "margin": margin}
            for number in numbers
            for height, margin in ((36.0, 0.4), (28.0, 0.5), (22.0, 0.7))
        ],
        "to_picture": mapped,
        "turned_back": [
            {"degrees": degrees, "width": 640, "height": 480, "box": box}
            for degrees in (90, 270)
            for box in ([0.0, 0.0, 10.0, 20.0], [100.5, 200.25, 60.0, 30.0], [479.0, 0.0, 1.0, 640.0])
        ],
    }


def text() -> str:
    """The file: one case a line."""
    sections = []
    for name, cases in inputs().items():
        pairs = ({"input": case, "output": rounded(ANSWERS[name](case))} for case in map(rounded, cases))
        lines = [json.dumps(pair, separators=(",", ":")) for pair in pairs]
        sections.append(f'"{name}": [\n' + ",\n".join(lines) + "\n]")
    return "{\n" + ",\n".join(sections) + "\n}\n"


if __name__ == "__main__":
    PATH.write_text(text())
