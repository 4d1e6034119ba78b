"""Encoders that several configs share, as layer text."""

from __future__ import annotations


def residual_pyramid(stem: int = 32, widths: tuple[int, int, int] = (64, 96, 128)) -> str:
    """Returns the layer text of a residual encoder whose coarser maps are joined to its finer ones, of stride 4.

    Residual pairs at strides 8 and 16 (He et al. 2015, arXiv:1512.03385, section 3.2); from there two steps up, each enlarged
    by rearranging features (Shi et al. 2016, arXiv:1609.05158, section 3.2) and joined to the map of that stride, as a feature
    pyramid does (Lin et al. 2016, arXiv:1612.03144, section 3).

    Args:
      stem: features at stride 2.
      widths: features at strides 4, 8 and 16; the result has the first.

    >>> residual_pyramid().count("conv"), residual_pyramid(8, (16, 24, 32))[:54]
    (12, 'space_to_depth 2, conv 3x3x8, norm, relu, conv 3x3x16 /')
    """
    fine, middle, coarse = widths

    def conv(features: int, size: int = 3, stride: str = "") -> str:
        return f"conv {size}x{size}x{features}{stride}, norm, relu"

    def pair(features: int, name: str) -> str:
        return f"keep {name}, {conv(features)}, conv 3x3x{features}, norm, add {name}, relu"

    return ", ".join(
        [
            f"space_to_depth 2, {conv(stem)}",
            f"{conv(fine, stride=' /2')}, keep a",
            f"{conv(middle, stride=' /2')}, {pair(middle, 'b')}, keep c",
            f"{conv(coarse, stride=' /2')}, {pair(coarse, 'd')}",
            f"{conv(4 * fine, 1)}, depth_to_space 2, concat c, {conv(middle)}",
            f"{conv(4 * fine, 1)}, depth_to_space 2, concat a, {conv(fine, 1)}",
        ]
    )
