"""The page of `seqdigits.inspection.inspect`: one HTML file, nothing from elsewhere, the same for the same data and program."""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape

import numpy as np
from ml_collections import ConfigDict

from seqdigits.config.defaults import base_config
from seqdigits.core import provenance
from seqdigits.data.photos.crop import PHOTO_COMPOSITIONS
from seqdigits.inspection import checks, gallery
from seqdigits.inspection.statistics import LISTED, Example, SplitStatistics
from seqdigits.visualization import charts
from seqdigits.visualization.style import STYLE

_COMPOSITIONS = {
    "digit": "single digits as they stand",
    "scene": "synthetic scenes with numbers in handwriting and type",
    "canvas": "digits side by side, anywhere on black",
    "centered": "small digits side by side in the middle",
    "rotated": "digits in a row, each turned by up to 45° and shifted",
    "photograph": "whole photographs of numbers",
    "crop": "photographs, cropped around the number",
    "cropped_digit": "single digits cut out of photographs",
}
_SVHN = (
    "The photographs are Street View House Numbers (Y. Netzer et al. 2011), for non-commercial use only. This page shows "
    "some of them, so it is for non-commercial use only, too."
)
_ORIGINS = {
    "mnist": "The digits are MNIST's (Y. LeCun, C. Cortes, C. Burges 1998).",
    "uci": "The digits are those of E. Alpaydin and C. Kaynak (Optical Recognition of Handwritten Digits, UCI Machine "
    "Learning Repository, 1998, CC BY 4.0).",
    "folder": "The photographs are your own.",
}


def html(name: str, config: ConfigDict, statistics: Sequence[SplitStatistics], command: str) -> str:
    """The whole page.

    Args:
      name: of the config.
      config: the whole config.
      surveys: of at least one split.
      command: what made the page.
    """
    prints = {survey.split: survey.prints for survey in statistics}
    copies = checks.copies(prints)
    sections = [
        _head(name, config, statistics),
        _remarks(config, statistics, copies, checks.contradictions(prints)),
        _faults(statistics),
        _samples(statistics),
        _labels(statistics),
        _boxes(statistics),
        _pixels(statistics),
        _copies(statistics, prints, copies),
        _checks(statistics),
        _origin(config, command),
    ]
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{escape(name)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(part for part in sections if part)
        + "\n</main>\n</body>\n</html>\n"
    )


def _head(name: str, config: ConfigDict, statistics: Sequence[SplitStatistics]) -> str:
    spec = statistics[0].spec
    height, width, channels = spec.image
    length = str(spec.max_length) if spec.min_length == spec.max_length else f"{spec.min_length} to {spec.max_length}"
    about = (
        f"{height} × {width} pixels, {'gray' if channels == 1 else 'color'}, {length} "
        f"digit{'' if spec.max_length == 1 else 's'}: {_COMPOSITIONS[config.data.composition]}."
    )
    origin = _ORIGINS.get(_of(config), _SVHN)
    license = f'<p class="license">{origin}</p>' if origin == _SVHN else f'<p class="muted">{escape(origin)}</p>'
    tiles = "".join(
        f'<div class="tile {s.split}"><h2>{s.split}</h2><p class="big">{s.examples:,}</p>'
        f'<p class="muted">{_part(s)}</p><p class="muted">{_many(int(s.digits.sum()), "digit")}</p></div>'
        for s in statistics
    )
    return (
        f'<header><p class="eyebrow">Know your data</p><h1>{escape(name)}</h1><p class="lead">{escape(about)}</p>{license}'
        f'<div class="tiles">{tiles}</div></header>'
    )


def _of(config: ConfigDict) -> str:
    """What the images are made of: the name of a set."""
    return config.data.photographs if config.data.composition in PHOTO_COMPOSITIONS else config.data.digits


def _part(survey: SplitStatistics) -> str:
    if survey.endless:
        return "the first of endlessly many"
    return "all of them" if survey.whole else f"the first of {survey.spec.num_examples:,}"


def _remarks(
    config: ConfigDict, statistics: Sequence[SplitStatistics], copies: dict[tuple[str, str], int], contradictions: int
) -> str:
    """What stands out, in a few sentences."""
    total = sum(s.examples for s in statistics)
    wrong = sum(s.faults.total() for s in statistics)
    said: list[tuple[str, str]] = []
    if wrong:
        said.append(("bad", f"{_many(wrong, 'fault')} in {total:,} examples; they are listed below."))
    else:
        said.append(
            ("good", f"All {total:,} examples can be read, each comes once, and labels and boxes are in range.")
        )
    splits = [s.split for s in statistics]
    pairs = [(a, b) for i, a in enumerate(splits) for b in splits[i + 1 :] if copies[a, b]]
    for a, b in pairs:
        there, here = copies[a, b], copies[b, a]
        said.append(
            ("warn", f"{_many(here, 'image')} of {b} {_is(here)} also in {a} (there {there:,}), byte for byte.")
        )
    if len(statistics) > 1 and not pairs:
        said.append(("good", "No image is in two splits."))
    again = [f"{copies[a, a]:,} of {a}" for a in splits if copies[a, a]]
    if again:
        text = f"Images that are there more than once: {', '.join(again)}."
        if config.data.composition in ("canvas", "centered", "rotated"):
            text += " They are put together at random: with few digits and few places some come out alike."
        said.append(("note", text))
    if contradictions:
        said.append(("warn", f"{_many(contradictions, 'image')}: the same image is there with other digits, too."))
    for s in statistics:
        boxes = max(int(s.digits.sum()), 1)
        if n := s.notes["over"]:
            said.append(("note", f"{_many(n, 'box', 'boxes')} of {s.split} ({n / boxes:.1%}) reach over the edge."))
        if n := s.notes["unknown"]:
            said.append(("note", f"{_many(n, 'digit')} of {s.split} ({n / boxes:.1%}): no box is known."))
        if n := s.notes["disorder"]:
            said.append(("note", f"{_many(n, 'number')} of {s.split} with digits out of order, by their boxes."))
        if n := s.notes["plain"]:
            said.append(("warn", f"{_many(n, 'image')} of {s.split} of one color."))
    said += [("note", text) for text in (*_balance(statistics[0]), *_sizes(statistics))]
    items = "".join(f'<li class="{level}">{escape(text)}</li>' for level, text in said)
    return f'<section id="remarks"><h2>What stands out</h2><ul class="remarks">{items}</ul></section>'


def _balance(survey: SplitStatistics) -> list[str]:
    """How evenly lengths and digits are spread."""
    said = []
    first = survey.spec.min_length
    for what, counts, start in (("length", survey.lengths[first:], first), ("digit", survey.digits.sum(0), 0)):
        if len(counts) == 1 or not counts.sum():
            continue
        share = counts / counts.sum()
        there = np.flatnonzero(counts)
        most, least = int(share.argmax()), int(there[share[there].argmin()])
        if len(there) < len(counts):
            never = [str(start + i) for i in np.flatnonzero(counts == 0)]
            said.append(
                f"In {survey.split} there is no {what} {', '.join(never[:-1])}{' or ' * (len(never) > 1)}{never[-1]}."
            )
        if share[most] < 1.2 * share[least]:
            said.append(f"Each {what} is about as frequent as the others in {survey.split}.")
        else:
            said.append(
                f"Most frequent {what} in {survey.split}: {start + most}, {share[most]:.1%}; least frequent: {start + least}, "
                f"{share[least]:.1%}."
            )
    return said


def _sizes(statistics: Sequence[SplitStatistics]) -> list[str]:
    """Where the digits of a split are a good deal higher or lower than those of the first."""
    those = [s for s in statistics if s.boxes]
    said = []
    for s in those[1:]:
        here, there = s.quantile(1, 0.5), those[0].quantile(1, 0.5)
        if max(here, there) > 1.2 * min(here, there):
            said.append(
                f"Digits are {'larger' if here > there else 'smaller'} in {s.split} than in {those[0].split}: their median height is "
                f"{here} pixels, there {there}."
            )
    return said


def _faults(statistics: Sequence[SplitStatistics]) -> str:
    """Every kind of fault that there is, with the first examples; nothing where there is none."""
    parts = []
    for kind, text in checks.FAULTS.items():
        number = sum(s.faults[kind] for s in statistics)
        if number:
            rows = [(f"{f.split} {f.index:,}", f.detail) for s in statistics for f in s.listed.get(kind, [])][:LISTED]
            items = "".join(f"<li><b>{escape(where)}</b> {escape(detail)}</li>" for where, detail in rows)
            more = f'<p class="muted">and {number - len(rows):,} more</p>' if number > len(rows) else ""
            parts.append(f"<h3>{number:,} × {escape(text)}</h3><ul>{items}</ul>{more}")
    if not parts:
        return ""
    shown = "".join(gallery.gallery(s.faulty, [f"{s.split} {e.index:,}" for e in s.faulty]) for s in statistics)
    return f'<section id="faults" class="bad"><h2>Faults</h2>{"".join(parts)}{shown}</section>'


def _samples(statistics: Sequence[SplitStatistics]) -> str:
    number = 3 * max(1040 // (gallery.tile(statistics[0].spec.image[1]) + 12), 1)  # three rows on a wide page
    parts = []
    for s in statistics:
        every = max(len(s.samples) / number, 1)
        chosen = [s.samples[int(i * every)] for i in range(min(number, len(s.samples)))]
        parts.append(_split_title(s) + gallery.gallery(chosen))
    return _section(
        "samples",
        "Examples",
        "Spread evenly over each split. True boxes are green; below, what stands there and the number of the example.",
        "".join(parts),
    )


def _labels(statistics: Sequence[SplitStatistics]) -> str:
    spec = statistics[0].spec
    names = [str(digit) for digit in range(10)]
    figures = [charts.bars("Which digits", names, {s.split: s.digits.sum(0) for s in statistics})]
    after = ""
    there = np.flatnonzero(np.sum([s.lengths for s in statistics], 0))
    least, most = min(spec.min_length, *there.tolist()), max(spec.max_length, *there.tolist())
    if least < most:
        lengths = [str(n) for n in range(least, most + 1)]
        counts = {s.split: s.lengths[least : most + 1] for s in statistics}
        figures.insert(0, charts.bars("How many digits", lengths, counts))
    if spec.max_length > 1:
        tables = "".join(charts.shares(s.split, s.digits) for s in statistics)
        after = (
            f"<h3>Which digit at which place</h3><p class=muted>In percent of a row.</p><div class=three>{tables}</div>"
        )
    return _section(
        "labels", "Lengths and digits", "Shares of each split.", f'<div class="two">{"".join(figures)}</div>{after}'
    )


def _boxes(statistics: Sequence[SplitStatistics]) -> str:
    those = [s for s in statistics if s.boxes]
    if not those:
        return _section("boxes", "Boxes", "No box is known.", "")
    height, width, _ = those[0].spec.image
    low, high = np.min([s.size_low for s in those], 0), np.max([s.size_high for s in those], 0)
    maps = "".join(
        f'<figure class="map {s.split}">'
        + charts.density(s.split, s.centers, (height, width), f"Map of the centers of the boxes of {s.split}")
        + f'<figcaption><span class="dot {s.split}">{s.split}</span></figcaption></figure>'
        for s in those
    )
    cell = those[0].cell
    where = (
        f"<h3>Where the middle of a digit lies</h3><p class=muted>In squares of {_many(cell, 'pixel')}; the stronger, the "
        f"more, by the square root.</p>{charts.abreast(those[0].spec.image, maps)}"
    )
    row, column = np.nonzero(np.sum([s.centers for s in those], 0))
    if len(row) == 1:
        where = f"<p>The middle of each digit lies at x = {column[0] * cell}, y = {row[0] * cell}.</p>"
    if np.array_equal(low, high):
        size = f"<h3>How large a digit is</h3><p>Every box is {low[0]:g} pixels wide and {low[1]:g} high.</p>"
        return _section("boxes", "Boxes", "", where + size)
    sizes = "".join(
        charts.curves(title, {s.split: s.sizes[axis] for s in those}, " px")
        for axis, title in enumerate(("Width of a digit's box", "Height of a digit's box"))
    )
    rows = [
        (
            f"{s.split}, {name}",
            f"{s.size_low[axis]:.1f}",
            *(f"{s.quantile(axis, share):,}" for share in (0.05, 0.5, 0.95)),
            f"{s.size_high[axis]:.1f}",
            f"{s.size_sum[axis] / s.boxes:.1f}",
        )
        for axis, name in enumerate(("width", "height"))
        for s in those
    ]
    table = charts.table(("pixels", "least", "5%", "median", "95%", "most", "mean"), rows)
    pairs = "".join(
        _split_title(s)
        + '<div class="two">'
        + _few("Smallest box", s.smallest.examples)
        + _few("Largest box", s.largest.examples)
        + "</div>"
        for s in those
    )
    over = _rows("Farthest over the edge", [s.over.examples for s in those])
    disorder = _rows("Digits out of order", [s.disorder.examples for s in those])
    return _section(
        "boxes",
        "Boxes",
        "",
        f'{where}<h3>How large a digit is</h3><div class="two">{sizes}</div>{table}<h3>Extremes</h3>{pairs}{over}{disorder}',
    )


def _rows(title: str, rows: list[list[Example]]) -> str:
    """Examples of several splits, in one gallery; nothing where there are none."""
    examples = [example for row in rows for example in row]
    notes = [f"{example.split} {example.index:,}" for example in examples]
    return f'<h3>{title}</h3><div class="roomy">{gallery.gallery(examples, notes)}</div>' if examples else ""


def _few(title: str, examples: list[Example]) -> str:
    return f'<div><p class="muted">{title}</p>{gallery.gallery(examples)}</div>'


def _pixels(statistics: Sequence[SplitStatistics]) -> str:
    def pictures(name: str, which: str) -> str:
        figures = []
        for s in statistics:
            values = getattr(s, which)
            alt = f"{name} of each pixel of {s.split}, from {values.min():.1f} to {values.max():.1f}"
            figures.append(
                f'<figure class="map">{charts.stretched(values, alt)}<figcaption><span class="dot {s.split}">{s.split}</span> '
                f'<span class="muted">{values.min():.1f} to {values.max():.1f}</span></figcaption></figure>'
            )
        return charts.abreast(statistics[0].spec.image, "".join(figures))

    rows = [
        (s.split, *(f"{value:.2f}" for value in s.pixels), f"{s.low}", f"{s.high}", f"{s.notes['plain']:,}")
        for s in statistics
    ]
    return _section(
        "pixels",
        "Pixels",
        "0 is black, 255 white. Pictures are stretched: the least value black, the greatest white.",
        f"<h3>The mean image</h3>{pictures('Mean', 'mean')}<h3>How much each pixel varies</h3>"
        f"<p class=muted>Standard deviation over the examples.</p>{pictures('Standard deviation', 'deviation')}"
        f'<div class="two after">{charts.curves("Mean brightness of an image", {s.split: s.brightness for s in statistics})}'
        + charts.table(("all pixels", "mean", "deviation", "least", "most", "of one color"), rows)
        + "</div>",
    )


def _copies(
    statistics: Sequence[SplitStatistics], prints: dict[str, checks.Prints], copies: dict[tuple[str, str], int]
) -> str:
    splits = [s.split for s in statistics]
    rows = [(f"of {a}", *(f"{copies[a, b]:,}" for b in splits)) for a in splits]
    table = charts.table(("images", *(f"also in {b}" for b in splits)), rows)
    shown, said = [], []
    for s in statistics:
        for one in s.again.examples:
            others = [f"{split} {index:,}" for split, index in checks.places(prints, one.image_print)]
            shown.append(one)
            said.append(" = ".join(others[:4]) + (" ..." if len(others) > 4 else ""))
    return _section(
        "copies",
        "The same image again",
        "Images that are another one's equal, byte for byte. What is in two splits makes an evaluation too good.",
        table + gallery.gallery(shown, said),
    )


def _checks(statistics: Sequence[SplitStatistics]) -> str:
    splits = [s.split for s in statistics]
    faults = [(text, *(f"{s.faults[kind]:,}" for s in statistics)) for kind, text in checks.FAULTS.items()]
    notes = [(text, *(f"{s.notes[kind]:,}" for s in statistics)) for kind, text in checks.NOTES.items()]
    return _section(
        "checks",
        "What was checked",
        "Every example of each split above, as it comes in an evaluation: not augmented.",
        charts.table(("faults: examples with", *splits), faults)
        + charts.table(("no fault, but counted", *splits), notes),
    )


def _origin(config: ConfigDict, command: str) -> str:
    about = provenance.describe()
    default = base_config().data
    rows = "".join(
        f'<tr{" class=changed" if value != default[key] else ""}><th scope="row">data.{escape(key)}</th>'
        f"<td>{escape(json.dumps(value))}</td></tr>"
        for key, value in json.loads(config.data.to_json()).items()
    )
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items() if version)
    return _section(
        "origin",
        "Where this comes from",
        "",
        f"<pre>{escape(command)}</pre><p>Commit {escape(about['commit'] or 'unknown')}; Python {about['python']}, "
        f"{escape(versions)}.</p><details open><summary>The config's section <code>data</code> "
        f"(<code>seed = {config.seed}</code>); bold: not the default</summary>"
        f'<div class="scroll"><table class="config"><tbody>{rows}</tbody></table></div></details>',
    )


def _section(id_: str, title: str, about: str, content: str) -> str:
    said = f'<p class="muted">{escape(about)}</p>' if about else ""
    return f'<section id="{id_}"><h2>{escape(title)}</h2>{said}{content}</section>'


def _split_title(survey: SplitStatistics) -> str:
    return f'<h3><span class="dot {survey.split}">{survey.split}</span></h3>'


def _many(n: int, one: str, many: str = "") -> str:
    return f"{n:,} {one if n == 1 else many or one + 's'}"


def _is(n: int) -> str:
    return "is" if n == 1 else "are"
