"""The pictures that are natural backgrounds, and the packages they are from, see data/photos/build_backgrounds.py.

PICTURES lists the pictures by name. Each was looked at: it is a photograph or a photographic texture, without text or
digits that can be read at 640 pixels, and no other size or variant of it is listed. Drawings, renderings and logos,
which are most pictures of these packages, are not listed. Pictures that other versions of a package add are therefore
not used unseen.

The textures of games and of Sweet Home 3D are walls, doors, windows, facades, roofs, fences and ground, for their edges
are easily read as digits.
"""

from __future__ import annotations

from typing import NamedTuple


class Group(NamedTuple):
    """Pictures of one package with the same license.

    Attributes:
      package: name of the Debian package.
      license: SPDX identifier, from the copyright file of the package.
      path: path in the package; {} stands for the name of a picture. MEMBER stands between the path of a ZIP archive
        (.jar, .pk3) and the path of a picture in it.
      names: the names, separated by spaces; a suffix such as .jpg is not part of the name of the background.
    """

    package: str
    license: str
    path: str
    names: str


MEMBER = "!/"
"""Stands between the path of a ZIP archive and the path of a member."""

VERSIONS = {
    "kphotoalbum": "5.9.1-1",
    "lomiri-wallpapers-16.04": "20.04.0-2",
    "lomiri-wallpapers-20.04": "20.04.0-2",
    "lxqt-themes": "1.2.0-1",
    "mate-backgrounds": "1.26.0-1",
    "opencv-doc": "4.6.0+dfsg-12",
    "palapeli-data": "4:22.12.3-1",
    "plasma-workspace-wallpapers": "4:5.27.5-2",
    "puzzle-jigsaw": "1.0.2+git20201007.527c529+dfsg-4+b1",
    "python3-skimage": "0.19.3-8",
    "sweethome3d": "7.0.2+dfsg-3",
    "torcs-data": "1.3.7+dfsg-5",
    "ufoai-textures": "2.5-2",
}
"""The Debian packages, and the version of each (Debian 12) whose pictures were looked at."""

_LOMIRI = "usr/share/backgrounds/{}.jpg"
_UFOAI = f"usr/share/games/ufoai/base/0textures.pk3{MEMBER}textures/tex_{{}}"
PICTURES = (
    Group(
        "kphotoalbum",
        "GPL-2.0-or-later",
        "usr/share/kphotoalbum/demo/{}.jpg",
        "blackie donna donna_2 grand_canyon_3 skagen skagen_2 spiff sunset",
    ),
    Group(
        "lomiri-wallpapers-16.04",
        "CC-BY-4.0",
        _LOMIRI,
        "Picture_0B_by_freespace Picture_1A_by_freespace Wine_by_Jakkub_Mede aitzgorri_by_Aitzol_Berasategi "
        "friends_by_Aitzol_Berasategi life_by_Aitzol_Berasategi picosdeeuropa_by_Aitzol_Berasategi "
        "sunset_by_Aitzol_Berasategi",
    ),
    Group(
        "lomiri-wallpapers-16.04",
        "CC-BY-SA-4.0",
        _LOMIRI,
        "Bridge_by_Sander_Klootwijk Dragonfly_by_Bolly free_by_Peter_Nerlich",
    ),
    Group("lomiri-wallpapers-16.04", "CC0-1.0", _LOMIRI, "seeding_by_Clements_Engelhardt"),
    Group("lomiri-wallpapers-20.04", "CC-BY-SA-3.0", _LOMIRI, "Kleiber_by_Lukas_Baubkus"),
    Group(
        "lxqt-themes",
        "LGPL-2.1-or-later",
        "usr/share/lxqt/wallpapers/{}",
        "Butterfly-Kenneth-Wimer.jpg Valendas.png after-the-rain.jpg appleflower.png beam.png butterfly.png cloud.png "
        "drop.png flowers.png fog.jpg this-is-not-windows.jpg",
    ),
    Group(
        "mate-backgrounds",
        "GPL-2.0-or-later",
        "usr/share/backgrounds/mate/nature/{}.jpg",
        "Aqua Blinds Dune FreshFlower Garden GreenMeadow LadyBird RainDrops Storm TwoWings Wood YellowFlower",
    ),
    Group(
        "opencv-doc",
        "Apache-2.0",
        "usr/share/doc/opencv-doc/examples/data/{}.jpg",
        "aero1 building butterfly ela_original fruits home leuvenB",
    ),
    Group(
        "opencv-doc",
        "Apache-2.0",
        "usr/share/doc/opencv-doc/opencv4/html/{}.jpg",
        "Histogram_Calculation_Original_Image Hough_Lines_Tutorial_Original_Image astra_color",
    ),
    Group(
        "palapeli-data",
        "GPL-2.0-or-later",
        "usr/share/palapeli/collection/{}.jpg",
        "castle-maintenon cincinnati-bridge citrus-fruits european-honey-bee panther-chameleon-female",
    ),
    Group(
        "plasma-workspace-wallpapers",
        "GPL-2.0-or-later",
        "usr/share/wallpapers/{}/contents/images/2560x1600.jpg",
        "BytheWater ColdRipple ColorfulCups DarkestHour EveningGlow FallenLeaf Grey Kite OneStandsOut Path summer_1am",
    ),
    Group("puzzle-jigsaw", "CC0-1.0", "usr/share/puzzle-jigsaw/samples/{}.jpg", "cat-animal-cat-portrait-mackerel"),
    Group("puzzle-jigsaw", "GPL-3.0-or-later", "usr/share/puzzle-jigsaw/images/{}.png", "table"),
    Group(
        "python3-skimage",
        "BSD-3-Clause",
        "usr/lib/python3/dist-packages/skimage/data/{}",
        "brick.png camera.png chelsea.png coffee.png grass.png gravel.png rocket.jpg",
    ),
    Group(
        "sweethome3d",
        "GPL-2.0-or-later",
        "usr/share/sweethome3d/sweethome3d.jar!/com/eteks/sweethome3d/io/resources/textures/{}.jpg",
        "beigeTile blackAndWhiteTiles blueTiles boxTree darkBlueTile grass greyTile lightBlueTile marbleWall "
        "oldWoodenFloor pebbles redTiles roughcast veryCloudy woodenFloor",
    ),
    Group(
        "torcs-data",
        "LAL-1.3",
        "usr/share/games/torcs/tracks/dirt/{}.png",
        "dirt-2/CONCSH01 dirt-2/background dirt-2/concretetile dirt-2/house12 dirt-2/house13 dirt-2/roof11 "
        "dirt-2/silo1-w dirt-2/wall-concrete dirt-2/wall14-2 dirt-2/wall14 dirt-3/background dirt-3/barrier-wooden_n "
        "dirt-3/bridgeplanks",
    ),
    Group(
        "torcs-data",
        "LAL-1.3",
        "usr/share/games/torcs/tracks/road/{}.png",
        "alpine-2/rockwall brondehach/CWALLPT4 brondehach/PALAZB08 brondehach/PDKKA23 brondehach/TRIBA08 "
        "brondehach/XRW1 e-track-2/block4f e-track-2/block4s e-track-2/block5f e-track-2/block5s e-track-2/conc "
        "e-track-2/concrete-wall1 e-track-2/gravel-end-e2 e-track-2/house17facade e-track-2/house21w1 "
        "e-track-2/house22facade e-track-2/house24facade e-track-2/house25facade e-track-2/house25roof "
        "e-track-2/house25side e-track-2/house26elev e-track-2/house26facade e-track-2/house26parking "
        "e-track-2/house31facade e-track-2/house32facade e-track-2/house33facade e-track-2/road-dirt "
        "e-track-2/rock-wall-e2 e-track-6/wall2 ole-road-1/cracked-asphalt wheel-1/garage3 wheel-1/garage5 "
        "wheel-1/rock1-w1 wheel-2/swall2",
    ),
    Group(
        "ufoai-textures",
        "GPL-2.0-only",
        _UFOAI + ".jpg",
        "buildings/cementwall_btmmtl buildings/concrete022 buildings/floor026 buildings/floor033 buildings/roof10 "
        "buildings/streetbricks14 buildings/surface2 buildings/wall035 buildings/window021 ctp1/bark_b_1 "
        "ctp1/bricks_c_1 ctp1/bricks_g_1 ctp1/bricks_g_2 ctp1/bricks_g_3 ctp1/bricks_m_1 ctp1/bricks_r_1 "
        "ctp1/bricks_r_2 ctp1/bricks_r_3 ctp1/bricks_r_4 ctp1/bricks_r_6 ctp1/bricks_t_1 ctp1/bricks_w_1 "
        "ctp1/concrete_g_9 ctp1/concrete_s_1 ctp1/door_r_1 ctp1/door_w_1 ctp1/door_w_2 ctp1/metal_b_1 ctp1/metal_r_1 "
        "ctp1/pebbles_m_1 ctp1/roof_t_1 ctp1/roof_w_1 ctp1/tiles_g_2 ctp1/tiles_m_1 ctp1/tiles_r_2 ctp1/wood_b_6 "
        "ctp1/wood_b_9 ctp1/woodb_5",
    ),
    Group(
        "ufoai-textures",
        "GPL-2.0-or-later",
        _UFOAI + ".png",
        "buildings/floor010 buildings/floor015 buildings/wall007_2 buildings/window012 mattn/door062 mattn/door064 "
        "mattn/wall014 mattn/wall084 mattn/wall088 mattn/window11 mattn/window12 mattn/wood026",
    ),
    Group(
        "ufoai-textures",
        "GPL-2.0-only",
        _UFOAI + ".png",
        "buildings/floor034 buildings/floor035 buildings/floor039 doors/door002 doors/door018 doors/door019 "
        "doors/door020 doors/door021 nature/dirt",
    ),
    Group(
        "ufoai-textures",
        "CC-BY-SA-3.0",
        _UFOAI + ".png",
        "buildings/floor_se03 buildings/floor_se04 buildings/wall_brick01 buildings/wall_stone_dirt "
        "buildings_snow/wall002",
    ),
    Group(
        "ufoai-textures",
        "LicenseRef-public-domain",
        _UFOAI + ".png",
        "buildings/paving001 buildings/roof004 buildings/tile01 buildings/tile02",
    ),
    Group(
        "ufoai-textures",
        "LicenseRef-public-domain",
        _UFOAI + ".jpg",
        "material/metall006",
    ),
    Group(
        "ufoai-textures",
        "GPL-2.0-or-later",
        _UFOAI + ".jpg",
        "mattn/bark002 mattn/brick03 mattn/crate001 mattn/door003 mattn/door004 mattn/door005 mattn/door016 "
        "mattn/door020 mattn/door025 mattn/door026 mattn/door030 mattn/door031 mattn/door033 mattn/door035 "
        "mattn/door043 mattn/door044 mattn/door045 mattn/door046 mattn/door047 mattn/door050 mattn/door052 "
        "mattn/door053 mattn/door055 mattn/door058 mattn/door059 mattn/floor009 mattn/floor027 mattn/metal5 "
        "mattn/roof002 mattn/roof003 mattn/roof007 mattn/roof009 mattn/rust mattn/wall003 mattn/wall009 mattn/wall031 "
        "mattn/wall034 mattn/wall047 mattn/wall049 mattn/wall052 mattn/wall053 mattn/wall054 mattn/wall055 "
        "mattn/wall056 mattn/wall062 mattn/wall064 mattn/wall065 mattn/wall066 mattn/wall067 mattn/wall070 "
        "mattn/wall071 mattn/wall080 mattn/wall083 mattn/wall_bricks001 mattn/wall_bricks002 mattn/wall_bricks005 "
        "mattn/window007 mattn/window10 mattn/wood002 mattn/wood003 mattn/wood004 mattn/wood013 mattn/wood015 "
        "mattn/wood016 mattn/wood021 mattn/wood022 mattn/wood024 nature/flower nature/tree_chopped2",
    ),
)
"""The pictures, by package.

No two show the same side of a building. Where several show one building (block4f and block4s, block5f and block5s,
house25..., house26..., wall14 and wall14-2 of torcs-data), all are in the split train.
"""
SKLEARN = "scikit-learn"
"""The package of two further photographs, which this project requires anyway."""
