"""Collects natural backgrounds from Debian packages and from scikit-learn.

PICTURES lists the pictures by name. Each was looked at: it is a photograph, without text or digits that can be read at
640 pixels, and no other size or variant of it is listed. Drawings, renderings and logos, which are most pictures of
these packages, are not listed. Pictures that other versions of a package add are therefore not used unseen.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from PIL import Image, ImageOps

from seqdigits.core.constants import SPLITS
from seqdigits.core.errors import UserError, short
from seqdigits.core.files import make_folder, write_atomically
from seqdigits.core.interrupt import Stop, Stopped
from seqdigits.core.progress import progress
from seqdigits.data.photos import backgrounds
from seqdigits.data.photos.backgrounds import Entry
from seqdigits.data.photos.crop import DAMAGED


class Group(NamedTuple):
    """Pictures of one package with the same license.

    Attributes:
      package: name of the Debian package.
      license: SPDX identifier, from the copyright file of the package.
      path: path in the package; {} stands for the name of a picture.
      names: the names, separated by spaces; a suffix such as .jpg is not part of the name of the background.
    """

    package: str
    license: str
    path: str
    names: str


VERSIONS = {
    "kphotoalbum": "5.9.1-1",
    "lomiri-wallpapers-16.04": "20.04.0-2",
    "lomiri-wallpapers-20.04": "20.04.0-2",
    "lxqt-themes": "1.2.0-1",
    "mate-backgrounds": "1.26.0-1",
    "palapeli-data": "4:22.12.3-1",
    "plasma-workspace-wallpapers": "4:5.27.5-2",
    "puzzle-jigsaw": "1.0.2+git20201007.527c529+dfsg-4+b1",
    "python3-skimage": "0.19.3-8",
}
"""The Debian packages, and the version of each (Debian 12) whose pictures were looked at."""

_LOMIRI = "usr/share/backgrounds/{}.jpg"
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
)
SKLEARN = "scikit-learn"
"""The package of two further photographs, which this project requires anyway."""


def build(out: Path, packages: Path | None, stop: Stop) -> str:
    """Writes the file of backgrounds; returns what is in it as text for standard output.

    Args:
      out: path of the file.
      packages: folder of .deb files; None = fetch them with `apt-get download`.
      stop: ends the command.

    Raises:
      UserError: apt-get or dpkg-deb is missing or fails; a package has none of the pictures; `out` cannot be written.
      Stopped: `stop` was set.
    """
    out = out.expanduser()
    if out.is_dir():
        raise UserError(f"--out: {out} is a folder. Name a file, such as {out / backgrounds.FILE.name}.")
    make_folder(out.parent, "--out")
    _require("dpkg-deb", "Install dpkg.")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        debs = _fetch(Path(scratch), stop) if packages is None else _given(packages)
        entries, missing = [], []
        for package, deb in progress(iter(sorted(debs.items())), len(debs), "packages", "unpacking"):
            version = _run(["dpkg-deb", "-f", str(deb), "Version"], stop)
            folder = Path(scratch) / "unpacked" / package
            folder.mkdir(parents=True)
            _run(["dpkg-deb", "-x", str(deb), str(folder)], stop)
            taken, absent = pictures(folder, package, version, PICTURES)
            entries += taken
            missing += absent
            shutil.rmtree(folder)
    entries += _sklearn_pictures()
    data = backgrounds.encode(entries)
    try:
        write_atomically(out, data)
    except OSError as e:
        raise UserError(f"--out: {out} cannot be written: {e.strerror}. Name another file, or free some space.") from e
    return _summary(out, entries, missing)


def pictures(folder: Path, package: str, version: str, groups: Sequence[Group]) -> tuple[list[Entry], list[str]]:
    """Returns the pictures of one unpacked package, and the PACKAGE/NAME of those that it lacks.

    Args:
      folder: folder into which the package is unpacked.
      package: name of the package.
      version: version of the package.
      groups: the pictures to take; those of other packages are skipped.

    Raises:
      UserError: a picture is damaged, or the package has none of them.
    """
    taken, missing = [], []
    for group in groups:
        for name in group.names.split() if group.package == package else ():
            path, stem = folder / group.path.format(name), name.removesuffix(".jpg").removesuffix(".png")
            if path.is_file():
                taken.append(Entry(stem, package, version, group.license, _opened(path)))
            else:
                missing.append(f"{package}/{stem}")
    if not taken:
        raise UserError(
            f"{package} {version} has none of its listed pictures, such as {missing[0]}. Take the version "
            f"{VERSIONS.get(package, 'of Debian 12')}: put its .deb file into a folder and name it with --packages."
        )
    return taken, missing


def _opened(path: Path) -> Image.Image:
    try:
        with Image.open(path, formats=["JPEG", "PNG"]) as file:
            return backgrounds.shrunk(ImageOps.exif_transpose(file).convert("RGB"))
    except DAMAGED as e:
        raise UserError(f"{path} cannot be read as JPEG or PNG: {short(e)}. Get the package again.") from e


def _sklearn_pictures() -> list[Entry]:
    """Returns the two photographs that are part of scikit-learn; its README.txt names the license."""
    import sklearn
    from sklearn.datasets import load_sample_images

    found = load_sample_images()
    return [
        Entry(Path(name).stem, SKLEARN, sklearn.__version__, "CC-BY-2.0", backgrounds.shrunk(Image.fromarray(image)))
        for name, image in zip(found.filenames, found.images, strict=True)
    ]


def _fetch(folder: Path, stop: Stop) -> dict[str, Path]:
    """Downloads the packages; returns the .deb file of each."""
    _require("apt-get", "Where there is no apt-get, download the .deb files and name their folder with --packages.")
    print(f"downloading {len(VERSIONS)} packages of Debian, some 220 MB", flush=True)
    for package in progress(iter(sorted(VERSIONS)), len(VERSIONS), "packages", "downloading"):
        _run(
            ["apt-get", "download", package],
            stop,
            folder,
            "Run apt-get update first; or download the .deb files and name their folder with --packages.",
        )
    return {path.name.partition("_")[0]: path for path in folder.glob("*.deb")}


def _given(folder: Path) -> dict[str, Path]:
    """Returns the .deb file of each package in a folder."""
    folder = folder.expanduser()
    debs = {path.name.partition("_")[0]: path for path in sorted(folder.glob("*.deb"))}
    if absent := sorted(set(VERSIONS) - set(debs)):
        raise UserError(
            f"--packages: {folder} has no .deb file of {', '.join(absent)}. To download them there: "
            f"cd {folder} && apt-get download {' '.join(absent)}"
        )
    return {package: debs[package] for package in VERSIONS}


def _require(program: str, fix: str) -> None:
    if shutil.which(program) is None:
        raise UserError(f"{program} is not installed; build-backgrounds needs it to read Debian packages. {fix}")


def _run(command: list[str], stop: Stop, folder: Path | None = None, fix: str = "") -> str:
    """Runs a program; returns its standard output, without white space at the ends.

    Raises:
      UserError: it fails; the message ends with `fix`.
      Stopped: `stop` was set; the program is killed.
    """
    if stop.is_set():
        raise Stopped
    with subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace"
    ) as process:
        while True:
            try:
                out, err = process.communicate(timeout=0.2)
                break
            except subprocess.TimeoutExpired:
                if stop.is_set():
                    process.kill()  # it inherits the signal mask of core.app, which blocks SIGTERM
                    raise Stopped from None
    if process.returncode:
        reason = " ".join((err or out).split())[-300:]
        raise UserError(f"{' '.join(command)} failed with status {process.returncode}: {reason} {fix}".rstrip())
    return out.strip()


def _summary(out: Path, entries: Sequence[Entry], missing: Sequence[str]) -> str:
    splits = Counter(backgrounds.split_of(f"{entry.package}/{entry.name}") for entry in entries)
    versions = {entry.package: entry.version for entry in entries}
    counts = ", ".join(f"{splits[split]} {split}" for split in SPLITS)
    lines = [f"wrote {out} ({len(entries)} pictures: {counts}; {out.stat().st_size / 1e6:.1f} MB)"]
    lines += [
        f"{package} is {versions[package]}, not {version} as looked at"
        for package, version in VERSIONS.items()
        if versions[package] != version
    ]
    if missing:
        lines.append(f"{len(missing)} pictures are not in these versions: {', '.join(missing)}")
    return "\n".join(lines)
