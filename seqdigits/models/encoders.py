"""Encoders that several configs share, as layer specifications (see layer_spec)."""

from __future__ import annotations


def residual_pyramid(stem: int = 32, widths: tuple[int, int, int] = (64, 96, 128), deep: bool = False) -> str:
    """Returns the layer specification of a residual encoder with a feature pyramid, of output stride 4.

    The encoder has pairs of convolutions with a residual connection at strides 8 and 16 (He et al. 2015,
    arXiv:1512.03385, section 3.2). From stride 16, two upsampling steps by depth_to_space (Shi et al. 2016,
    arXiv:1609.05158, section 3.2) lead back to stride 4. Each step concatenates the encoder's map of the same stride,
    as in a feature pyramid network (Lin et al. 2016, arXiv:1612.03144, section 3).

    Args:
      stem: features at stride 2.
      widths: features at strides 4, 8 and 16. The output has the features of stride 4.
      deep: whether there are two residual pairs at stride 16, and a cheaper layer after the first step back.

    >>> residual_pyramid().count("conv"), residual_pyramid(8, (16, 24, 32))[:55]
    (12, 'space_to_depth 2, conv 3x3x8, norm, relu, conv 3x3x16 /')
    """
    fine, middle, coarse = widths

    def conv(features: int, size: int = 3, stride: str = "") -> str:
        return f"conv {size}x{size}x{features}{stride}, norm, relu"

    def residual_pair(features: int, name: str) -> str:
        return f"keep {name}, {conv(features)}, conv 3x3x{features}, norm, add {name}, relu"

    return ", ".join(
        [
            f"space_to_depth 2, {conv(stem)}",
            f"{conv(fine, stride=' /2')}, keep a",
            f"{conv(middle, stride=' /2')}, {residual_pair(middle, 'b')}, keep c",
            f"{conv(coarse, stride=' /2')}, {residual_pair(coarse, 'd')}",
            *([residual_pair(coarse, "e")] if deep else []),
            f"{conv(4 * fine, 1)}, depth_to_space 2, concat c, {conv(middle, 1 if deep else 3)}",
            f"{conv(4 * fine, 1)}, depth_to_space 2, concat a, {conv(fine, 1)}",
        ]
    )
