"""Names the origin of the images that a page shows."""

from __future__ import annotations

from ml_collections import ConfigDict

from seqdigits.data.photos.crop import PHOTO_COMPOSITIONS

_SVHN = (
    "The photographs are Street View House Numbers (Y. Netzer et al. 2011), for non-commercial use only. This page shows "
    "some of them, so it is for non-commercial use only, too."
)
_ORIGINS = {
    "mnist": "The digits are MNIST's (Y. LeCun, C. Cortes, C. Burges 1998).",
    "uci": "The digits are those of E. Alpaydin and C. Kaynak (Optical Recognition of Handwritten Digits, UCI Machine "
    "Learning Repository, 1998, CC BY 4.0).",
    "folder": "The photographs are your own.",
    **dict.fromkeys(("svhn", "svhn_2000", "svhn_cropped"), _SVHN),
}


def data_origin(data: ConfigDict) -> tuple[str, bool]:
    """Returns the origin of the digits or photographs, as a sentence, and whether only non-commercial use is allowed.

    Args:
      data: the section `data` of a config.
    """
    origin = _ORIGINS[data.photographs if data.composition in PHOTO_COMPOSITIONS else data.digits]
    return origin, origin == _SVHN
