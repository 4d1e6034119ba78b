"""Pieces of a page: bars, curves, maps, pictures and tables as HTML that needs nothing from elsewhere."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from html import escape

import numpy as np
from PIL import Image

from seqdigits.visualization import predictions

COLORS = {"train": (58, 118, 240), "validation": (222, 132, 38), "test": (18, 152, 130)}
"""Of the splits, in both light and dark."""

_TOPS = (0.02, 0.05, 0.1, 0.12, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 0.6, 0.7, 0.8, 1.0)  # round ends of an axis
_BARS = 48  # steps of a curve, at most


def table(head: Sequence[str], rows: Iterable[Sequence[str]], caption: str = "") -> str:
    """A table of plain text; all columns but the first are numbers."""
    top = "".join(f'<th scope="col"{_number(i)}>{escape(cell)}</th>' for i, cell in enumerate(head))
    body = "".join(
        "<tr>"
        + "".join(
            f'<th scope="row">{escape(cell)}</th>'
            if i == 0
            else f'<td class="n{" zero" * (cell == "0")}">{escape(cell)}</td>'
            for i, cell in enumerate(row)
        )
        + "</tr>"
        for row in rows
    )
    said = f"<caption>{escape(caption)}</caption>" if caption else ""
    return f'<div class="scroll"><table>{said}<thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'


def _number(column: int) -> str:
    return ' class="n"' if column else ""


def legend(splits: Iterable[str]) -> str:
    """Which color is which split."""
    return '<p class="legend">' + "".join(f'<span class="dot {s}">{s}</span>' for s in splits) + "</p>"


def bars(title: str, names: Sequence[str], counts: Mapping[str, np.ndarray]) -> str:
    """Bars side by side, a color a split: which share of it has each name.

    Args:
      title: what is counted.
      names: below the bars.
      counts: i64 [N] of each split.
    """
    shares = {split: count / max(count.sum(), 1) for split, count in counts.items()}
    top = _round_up(max(float(share.max()) for share in shares.values()))
    columns = "".join(
        '<div class="group">'
        + "".join(
            f'<i class="{split}" style="height:{share[i] / top:.2%}" title="{escape(name)}, {split}: '
            f'{share[i]:.1%} ({counts[split][i]:,})"></i>'
            for split, share in shares.items()
        )
        + "</div>"
        for i, name in enumerate(names)
    )
    labels = "".join(f"<span>{escape(name)}</span>" for name in names)
    said = f"{title}. " + " ".join(
        f"{split}: " + ", ".join(f"{name} {share[i]:.1%}" for i, name in enumerate(names)) + "."
        for split, share in shares.items()
    )
    return (
        f'<figure class="chart"><figcaption>{escape(title)}</figcaption>'
        f'<div class="plot" role="img" aria-label="{escape(said)}">{_axis(top)}<div class="bars">{columns}</div></div>'
        f'<div class="names" aria-hidden="true">{labels}</div>{legend(shares)}</figure>'
    )


def curves(title: str, counts: Mapping[str, np.ndarray], unit: str = "") -> str:
    """A histogram of whole numbers, a stepped line a split.

    Args:
      title: what is counted.
      counts: i64 [N] of each split, how many are 0, 1, 2 ..
      unit: behind the numbers of the axis.
    """
    there = np.flatnonzero(sum(count / max(count.sum(), 1) for count in counts.values()))
    if not len(there):
        return ""
    first, last = int(there[0]), int(there[-1])
    tail = max(_tail(count) for count in counts.values())
    cut, last = tail < last, min(last, tail)
    step = -(-(last - first + 1) // _BARS)
    edges = np.arange(first, last + 1 + step, step)
    lines, top, said = [], 0.0, []
    shares = {}
    for split, count in counts.items():
        share = np.add.reduceat(np.pad(count, (0, step))[: edges[-1]], edges[:-1]) / max(count.sum(), 1)
        shares[split] = share
        top = max(top, float(share.max()))
        said.append(f"{split}: most often {edges[int(share.argmax())]}{unit}")
    top = _round_up(top)
    for split, share in shares.items():
        path = f"M0 100 V{100 * (1 - share[0] / top):.2f} " + " ".join(
            f"H{i + 1} V{100 * (1 - share[i + 1] / top):.2f}" if i + 1 < len(share) else f"H{i + 1} V100"
            for i in range(len(share))
        )
        lines.append(f'<path class="{split}" d="{path}"/>')
    ticks = "".join(f"<span>{value:,.0f}{unit}</span>" for value in np.linspace(edges[0], edges[-1], 5))
    cut_off = "<small>without the largest 0.2%</small>" if cut else ""
    return (
        f'<figure class="chart"><figcaption>{escape(title)}{cut_off}</figcaption><div class="plot">{_axis(top)}'
        f'<svg viewBox="0 0 {len(edges) - 1} 100" preserveAspectRatio="none" role="img" '
        f'aria-label="{escape(title)}. {escape("; ".join(said))}.">{"".join(lines)}</svg></div>'
        f'<div class="ticks" aria-hidden="true">{ticks}</div>{legend(counts)}</figure>'
    )


def _tail(count: np.ndarray) -> int:
    """What all but 0.2% do not exceed."""
    return int(np.searchsorted(np.cumsum(count), 0.998 * count.sum()))


def _round_up(share: float) -> float:
    return next((top for top in _TOPS if share <= top), 1.0)


def _axis(top: float) -> str:
    """Lines at the top and in the middle, with their shares."""
    return "".join(f'<span class="line" style="bottom:{at}%">{top * at:g}%</span>' for at in (50, 100))


def shares(split: str, counts: np.ndarray) -> str:
    """Which share each digit has at each position: i64 [L, 10], as a table whose cells are the darker the more."""
    rows = []
    for place, count in enumerate(counts, 1):
        share = count / max(count.sum(), 1)
        cells = "".join(
            f'<td style="--s:{min(value / 0.3, 1):.2f}" title="{n:,}">{f"{100 * value:.0f}" if n else ""}</td>'
            for value, n in zip(share, count, strict=True)
        )
        rows.append(f'<tr><th scope="row">{place}</th>{cells}<td class="n">{count.sum():,}</td></tr>')
    head = "".join(f'<th scope="col">{digit}</th>' for digit in range(10))
    return (
        f'<div class="scroll"><table class="heat {split}"><caption><span class="dot {split}">{split}</span></caption>'
        f'<thead><tr><th scope="col">place</th>{head}<th scope="col" class="n">digits</th></tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def density(split: str, counts: np.ndarray, size: tuple[int, int], alt: str) -> str:
    """A map of counts i64 [h, w]: the more, the less the ground shines through. `size`: height and width it stands for."""
    alpha = (255 * np.sqrt(counts / max(counts.max(), 1))).astype(np.uint8)
    color = np.broadcast_to(np.array(COLORS[split], np.uint8), (*counts.shape, 3))
    return _frame(Image.fromarray(np.concatenate([color, alpha[..., None]], -1)), size, alt)


def stretched(values: np.ndarray, alt: str) -> str:
    """f64 [H, W, C] as a picture, from its least value, black, to its greatest, white."""
    low, high = float(values.min()), float(values.max())
    pixels = np.rint((values - low) * (255 / max(high - low, 1e-9))).astype(np.uint8)
    return _frame(picture(pixels), values.shape[:2], alt)


def abreast(image: tuple[int, int, int], figures: str) -> str:
    """Pictures or maps side by side, on a phone too unless they are wide; `image`: H, W, C of what they show."""
    return f'<div class="{"three" if image[1] > 1.5 * image[0] else "thirds"}">{figures}</div>'


def _frame(image: Image.Image, size: Sequence[int], alt: str) -> str:
    widest = round(220 * size[1] / size[0])  # pixels, so that none is higher than 220
    return f'<div class="frame" style="aspect-ratio:{size[1]}/{size[0]};max-width:{widest}px"><img src="{data_uri(image)}" alt="{escape(alt)}"></div>'


def picture(pixels: np.ndarray) -> Image.Image:
    """u8 [H, W, C] of one or three channels."""
    return Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)


def data_uri(image: Image.Image) -> str:
    return "data:image/png;base64," + base64.b64encode(predictions.png(image)).decode()
