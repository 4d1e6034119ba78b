"""Encoders that several configs share, as layer specifications (see layer_spec)."""

from __future__ import annotations

RESIDUAL_STRIDE_8 = (
    "space_to_depth 2, conv 3x3x32, norm, relu, conv 3x3x64 /2, norm, relu, "
    "keep a, conv 3x3x64, norm, relu, conv 3x3x64, norm, add a, relu, conv 3x3x128 /2, norm, relu, "
    "keep b, conv 3x3x128, norm, relu, conv 3x3x128, norm, add b, relu"
)
"""Two pairs of convolutions with a residual connection, at strides 4 and 8: of `reader_canvas` and those that start from its weights."""


def residual_pyramid(stem: int = 32, widths: tuple[int, int, int] = (64, 96, 128)) -> str:
    """Returns the layer specification of a residual encoder with a feature pyramid, of output stride 4.

    The encoder has pairs of convolutions with a residual connection at strides 8 and 16 (He et al. 2015,
    arXiv:1512.03385, section 3.2). From stride 16, two upsampling steps by depth_to_space (Shi et al. 2016,
    arXiv:1609.05158, section 3.2) lead back to stride 4. Each step concatenates the encoder's map of the same stride,
    as in a feature pyramid network (Lin et al. 2016, arXiv:1612.03144, section 3).

    Args:
      stem: features at stride 2.
      widths: features at strides 4, 8 and 16. The output has the features of stride 4.

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
            f"{conv(4 * fine, 1)}, depth_to_space 2, concat c, {conv(middle)}",
            f"{conv(4 * fine, 1)}, depth_to_space 2, concat a, {conv(fine, 1)}",
        ]
    )


def goodfellow(units: tuple[int, ...], dense: int, dropout: float) -> str:
    """Returns the layer specification of the network of Goodfellow et al. 2013, arXiv:1312.6082, section 5.1.

    Convolutions of 5x5, the first with maxout units of three filters, the others with ReLU; each is followed by a 2x2 max pool
    of stride alternately 2 and 1, and by local subtractive normalization over 3x3. Then a locally connected layer as wide as
    the last convolution, and two dense layers. Dropout follows every hidden layer.

    Args:
      units: of each convolution.
      dense: units of each dense layer.
      dropout: its rate.

    >>> goodfellow((4, 6), 8, 0.5)[:75]
    'conv 5x5x12, maxout 3, pool 2, subtract 3, dropout 0.5, conv 5x5x6, relu, p'
    """
    words = []
    for i, features in enumerate(units):
        words += [f"conv 5x5x{features}, relu" if i else f"conv 5x5x{3 * features}, maxout 3"]
        words += ["pool 2 /1" if i % 2 else "pool 2", "subtract 3", f"dropout {dropout}"]
    words += [f"local 5x5x{units[-1]}, relu, dropout {dropout}"]
    words += [f"dense {dense}, relu, dropout {dropout}"] * 2
    return ", ".join(words)


def plain(widths: tuple[int, ...], convolutions: int, dense: int, units: int) -> str:
    """Returns the layer specification [[conv 3x3, ReLU] x convolutions, pool] x M, [dense, ReLU] x dense, one width for each of M.

    >>> plain((8, 16), 1, 2, 32)
    'conv 3x3x8, relu, pool 2, conv 3x3x16, relu, pool 2, dense 32, relu, dense 32, relu'
    """
    blocks = [", ".join([f"conv 3x3x{width}, relu"] * convolutions + ["pool 2"]) for width in widths]
    return ", ".join([*blocks, *[f"dense {units}, relu"] * dense])


def rcnn(features: int, dropout: float) -> str:
    """Returns the layer specification of an RCNN of Liang and Hu 2015, CVPR, section 3.2, for images of 32x32.

    A convolution of 5x5, two recurrent ones of 3x3 that are unrolled three times, two more at half the size, and the maximum over
    all positions. Both pools have windows of 3x3 and stride 2. Dropout follows every recurrent convolution but the last, after the
    pool where one comes next.

    Args:
      features: of each convolution.
      dropout: its rate.

    >>> rcnn(8, 0.5).split(", recurrent 3x3x8 x3")
    ['conv 5x5x8, relu, pool 3 /2', ', dropout 0.5', ', pool 3 /2, dropout 0.5', ', dropout 0.5', ', max']
    """
    recurrent, pool, drop = f"recurrent 3x3x{features} x3", "pool 3 /2", f"dropout {dropout}"
    first = f"conv 5x5x{features}, relu, {pool}, {recurrent}, {drop}"
    return f"{first}, {recurrent}, {pool}, {drop}, {recurrent}, {drop}, {recurrent}, max"
