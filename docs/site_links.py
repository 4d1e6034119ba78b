"""A hook of MkDocs: links from a guide to files of the source tree, which the site has not, become their paths."""

from __future__ import annotations

import re

_OUTSIDE = re.compile(r"\[([^\]]+)\]\(\.\./([^)#]+)(?:#[^)]*)?\)")


def on_page_markdown(markdown: str, **_: object) -> str:
    """Returns the text of a page with links such as `[configs/](../configs)` replaced by paths.

    Args:
      markdown: the text of the page.
      _: what else MkDocs passes.
    """
    return _OUTSIDE.sub(_path, markdown)


def _path(link: re.Match[str]) -> str:
    """Returns the path in code style, after the text of the link if that differs."""
    text, path = link[1].strip("`"), link[2]
    return f"`{text}`" if text.rstrip("/") == path.rstrip("/") else f"{link[1]} (`{path}`)"
