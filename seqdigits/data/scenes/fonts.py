"""The font families from which the glyphs of synthetic scenes are drawn, see data/scenes/build_glyphs.py."""

from __future__ import annotations

from typing import NamedTuple


class FontFamily(NamedTuple):
    """A font family and those of its faces that are drawn.

    Attributes:
      name: of the family.
      package: the Python package that contains the fonts.
      faces: for each face the font file without its suffix, followed by the axes of a variable font that differ from
        their defaults: "Roboto[wdth,wght] wght=700 wdth=75".
      license: SPDX identifier; "" = the license in the metadata of the package, which is that of its fonts.
      split_group: families with the same value are in one split, because they share digits; "" = the family alone.
    """

    name: str
    package: str
    faces: tuple[str, ...]
    license: str = ""
    split_group: str = ""


def _google(name: str, *faces: str, split_group: str = "") -> FontFamily:
    package = f"fontpkg-{name.lower().replace(' ', '-')}"
    return FontFamily(name, package, faces, split_group=split_group)


# Ordered by style, because every tenth family is for validation and every tenth for testing: both get a mix of styles.
FONT_FAMILIES = (
    # Sans serif.
    FontFamily(
        "DejaVu Sans", "matplotlib", ("DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique"), "Bitstream-Vera", "DejaVu"
    ),
    _google(
        "Roboto",
        "Roboto[wdth,wght] wght=300",
        "Roboto[wdth,wght] wght=500",
        "Roboto[wdth,wght] wght=900",
        "Roboto[wdth,wght] wght=700 wdth=75",
        "Roboto-Italic[wdth,wght] wght=500",
        split_group="Roboto",
    ),
    _google("Open Sans", "OpenSans[wdth,wght]", "OpenSans[wdth,wght] wght=800", "OpenSans[wdth,wght] wght=700 wdth=75"),
    _google("Montserrat", "Montserrat[wght] wght=500", "Montserrat[wght] wght=300", "Montserrat[wght] wght=900"),
    _google("Poppins", "Poppins-Medium", "Poppins-Bold"),
    _google("Arimo", "Arimo[wght] wght=700", "Arimo[wght]", "Arimo-Italic[wght]"),
    _google("Lato", "Lato-Bold", "Lato-Light", "Lato-BoldItalic"),
    _google("Jost", "Jost[wght] wght=500", "Jost[wght] wght=300", "Jost[wght] wght=800"),
    _google("Josefin Sans", "JosefinSans[wght] wght=600", "JosefinSans[wght] wght=300"),
    _google("Overpass", "Overpass[wght] wght=700", "Overpass[wght]"),
    _google("Raleway", "Raleway[wght] wght=500", "Raleway[wght] wght=800"),
    _google("Exo 2", "Exo2[wght] wght=500", "Exo2-Italic[wght] wght=700"),
    _google("Rajdhani", "Rajdhani-SemiBold"),
    _google("Comfortaa", "Comfortaa[wght] wght=700", "Comfortaa[wght] wght=300"),
    _google("Fredoka", "Fredoka[wdth,wght] wght=600", "Fredoka[wdth,wght] wght=400"),
    _google("Varela Round", "VarelaRound-Regular"),
    # Condensed.
    _google("Oswald", "Oswald[wght] wght=600", "Oswald[wght] wght=300"),
    _google("Bebas Neue", "BebasNeue-Regular"),
    _google("Anton", "Anton-Regular"),
    _google("Archivo Narrow", "ArchivoNarrow[wght] wght=700", "ArchivoNarrow[wght]"),
    _google("Barlow Condensed", "BarlowCondensed-Medium", "BarlowCondensed-Bold"),
    _google("Teko", "Teko[wght] wght=400", "Teko[wght] wght=600"),
    _google("Yanone Kaffeesatz", "YanoneKaffeesatz[wght] wght=300", "YanoneKaffeesatz[wght] wght=700"),
    _google("Saira Condensed", "SairaCondensed-Medium", "SairaCondensed-ExtraBold"),
    # Serif.
    _google("Lora", "Lora[wght] wght=500", "Lora-Italic[wght] wght=700"),
    _google("Playfair Display", "PlayfairDisplay[wght]", "PlayfairDisplay[wght] wght=900"),
    _google("EB Garamond", "EBGaramond[wght] wght=500", "EBGaramond-Italic[wght] wght=500"),
    _google(
        "Merriweather", "Merriweather[opsz,wdth,wght] wght=400 opsz=36", "Merriweather[opsz,wdth,wght] wght=800 opsz=36"
    ),
    _google("Bodoni Moda", "BodoniModa[opsz,wght] wght=500 opsz=28", "BodoniModa[opsz,wght] wght=800 opsz=28"),
    _google("Libre Baskerville", "LibreBaskerville[wght]", "LibreBaskerville[wght] wght=700"),
    _google("Cinzel", "Cinzel[wght] wght=500", "Cinzel[wght] wght=800"),
    _google("Abril Fatface", "AbrilFatface-Regular"),
    _google("Cormorant", "Cormorant[wght] wght=600"),
    _google(
        "Fraunces",
        "Fraunces[SOFT,WONK,opsz,wght] wght=400 opsz=72 WONK=0",
        "Fraunces[SOFT,WONK,opsz,wght] wght=800 opsz=72 WONK=0",
    ),
    FontFamily("Caladea", "font-caladea", ("Caladea-Regular", "Caladea-BoldItalic"), "Apache-2.0"),
    FontFamily("DejaVu Serif", "matplotlib", ("DejaVuSerif", "DejaVuSerif-Bold"), "Bitstream-Vera", "DejaVu"),
    # Slab serif.
    _google("Roboto Slab", "RobotoSlab[wght]", "RobotoSlab[wght] wght=700", split_group="Roboto"),
    _google("Alfa Slab One", "AlfaSlabOne-Regular"),
    _google("Zilla Slab", "ZillaSlab-Medium", "ZillaSlab-BoldItalic"),
    _google("Arvo", "Arvo-Regular", "Arvo-Bold"),
    # Monospaced.
    FontFamily("DejaVu Sans Mono", "matplotlib", ("DejaVuSansMono",), "Bitstream-Vera", "DejaVu"),
    _google("JetBrains Mono", "JetBrainsMono[wght]", "JetBrainsMono[wght] wght=800"),
    _google("Space Mono", "SpaceMono-Regular", "SpaceMono-Bold"),
    _google("Inconsolata", "Inconsolata[wdth,wght] wght=700 wdth=75", "Inconsolata[wdth,wght]"),
    # Handwriting and script.
    _google("Caveat", "Caveat[wght]", "Caveat[wght] wght=700"),
    _google("Dancing Script", "DancingScript[wght]", "DancingScript[wght] wght=700"),
    _google("Pacifico", "Pacifico-Regular"),
    _google("Lobster", "Lobster-Regular"),
    _google("Permanent Marker", "PermanentMarker-Regular"),
    _google("Kalam", "Kalam-Bold", "Kalam-Light"),
    _google("Indie Flower", "IndieFlower-Regular"),
    _google("Shadows Into Light", "ShadowsIntoLight"),
    _google("Great Vibes", "GreatVibes-Regular"),
    _google("Yellowtail", "Yellowtail-Regular"),
    _google("Oleo Script", "OleoScript-Regular", "OleoScript-Bold"),
    FontFamily("Amatic SC", "font-amatic-sc", ("AmaticSC-Bold", "AmaticSC-Regular"), "OFL-1.1"),
    FontFamily("Intuitive", "font-intuitive", ("Intuitive",), "OFL-1.1"),
    # Display: stencils, electronic displays, shop signs.
    _google("Black Ops One", "BlackOpsOne-Regular"),
    _google("Bungee", "Bungee-Regular"),
    _google("Orbitron", "Orbitron[wght] wght=500", "Orbitron[wght] wght=900"),
    _google("Press Start 2P", "PressStart2P-Regular"),
    _google("Righteous", "Righteous-Regular"),
    _google("Russo One", "RussoOne-Regular"),
    _google("Titan One", "TitanOne-Regular"),
    _google("Luckiest Guy", "LuckiestGuy-Regular"),
    _google("Unbounded", "Unbounded[wght] wght=300", "Unbounded[wght] wght=700"),
    _google("Rowdies", "Rowdies-Regular", "Rowdies-Light"),
)
