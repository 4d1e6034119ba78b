"""Settings and rendering of all matplotlib charts: SVG with real text, in colors for light and dark pages."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HINT = "hint: "
"""Prefix of the gid of an artist: the rest is shown when the pointer is over it."""

_SVG, _XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
_FOREGROUND = "#000000"  # whatever is black becomes CSS currentColor
_SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "seqdigits",
    "font.sans-serif": ["DejaVu Sans"],  # comes with matplotlib, so that the layout is the same everywhere
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.linewidth": 0.6,
    "grid.color": _FOREGROUND,
    "grid.alpha": 0.15,
    "grid.linewidth": 0.6,
    # A tick is a marker that refers to a definition by its id; labels and grid are enough.
    "xtick.bottom": False,
    "ytick.left": False,
    "legend.frameon": False,
    "legend.handlelength": 0.8,
    "legend.handleheight": 0.8,
    "legend.columnspacing": 1.2,
}


@contextmanager
def style() -> Iterator[None]:
    """Applies the settings of all charts while they are drawn, whatever the user's matplotlibrc says.

    Also a decorator: `@style()`.
    """
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_SETTINGS)
        yield


def render(figure: Figure, label: str) -> str:
    """Returns a figure as one SVG element, the same for the same figure.

    It has a transparent background, the text color of its surroundings, and no ids but those that it refers to, so that a
    page may have several.

    Args:
      figure: drawn within `style`.
      label: what it shows, for screen readers.
    """
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    ElementTree.register_namespace("", _SVG)
    ElementTree.register_namespace("xlink", _XLINK)
    root = ElementTree.fromstring(buffer.getvalue())
    for element in list(root):
        # A style sheet would hold for the whole page.
        if element.tag == f"{{{_SVG}}}metadata" or element.find(f"{{{_SVG}}}style") is not None:
            root.remove(element)
    referred = {element.get("id") for group in root.iter(f"{{{_SVG}}}defs") for element in group}
    for element in list(root.iter()):
        name = element.get("id", "")
        if name.startswith(HINT):
            title = ElementTree.Element(f"{{{_SVG}}}title")
            title.text = name.removeprefix(HINT)
            element.insert(0, title)
        if name and name not in referred:
            del element.attrib["id"]
    root.set("fill", "currentColor")  # of text, which has no color of its own where it is black
    root.set("role", "img")
    root.set("aria-label", label)
    return ElementTree.tostring(root, encoding="unicode").replace(_FOREGROUND, "currentColor")


def render_file(figure: Figure, label: str) -> str:
    """Returns a figure as an SVG file, which chooses its colors itself, on a light or a dark screen; see render."""
    own = 'style="color-scheme: light dark; color: CanvasText; background: Canvas"'
    return f'<?xml version="1.0" encoding="utf-8"?>\n{render(figure, label).replace("<svg ", f"<svg {own} ", 1)}\n'
