"""Collects natural backgrounds from Debian packages and from scikit-learn."""

from __future__ import annotations

import io
import shutil
import subprocess
import tempfile
import zipfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageOps

from seqdigits.core.constants import SPLITS
from seqdigits.core.errors import UserError, short
from seqdigits.core.files import expanded, make_folder, write_output
from seqdigits.core.interrupt import Stop, Stopped
from seqdigits.core.progress import progress
from seqdigits.data.photos import backgrounds
from seqdigits.data.photos.background_packages import MEMBER, PICTURES, SKLEARN, VERSIONS, Group
from seqdigits.data.photos.backgrounds import Entry
from seqdigits.data.photos.picture_files import DAMAGED

_MAX_PICTURE = 50_000_000
"""Maximum size of a member of an archive, in bytes."""


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
    out = expanded(out)
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
    write_output(out, data, "--out")
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
            picture = _opened(folder, group.path.format(name))
            stem = name.removesuffix(".jpg").removesuffix(".png")
            if picture is not None:
                taken.append(Entry(stem, package, version, group.license, picture))
            else:
                missing.append(f"{package}/{stem}")
    if not taken:
        raise UserError(
            f"{package} {version} has none of its listed pictures, such as {missing[0]}. Take the version "
            f"{VERSIONS.get(package, 'of Debian 12')}: put its .deb file into a folder and name it with --packages."
        )
    return taken, missing


def _opened(folder: Path, path: str) -> Image.Image | None:
    """Returns the picture at a path in an unpacked package, shrunk; None = there is no such file or member.

    Raises:
      UserError: the picture, or the archive that it is a member of, is damaged.
    """
    try:
        content = _content(folder, path)
        if content is None:
            return None
        with Image.open(io.BytesIO(content), formats=["JPEG", "PNG"]) as file:
            return backgrounds.shrunk(ImageOps.exif_transpose(file).convert("RGB"))
    except (*DAMAGED, zipfile.BadZipFile, RuntimeError) as e:  # RuntimeError: the archive is encrypted
        raise UserError(f"{folder / path} cannot be read as JPEG or PNG: {short(e)}. Get the package again.") from e


def _content(folder: Path, path: str) -> bytes | None:
    archive, mark, member = path.partition(MEMBER)
    file = folder / archive
    if not file.is_file():
        return None
    if not mark:
        return file.read_bytes()
    with zipfile.ZipFile(file) as members:
        if member not in members.namelist():
            return None
        if (size := members.getinfo(member).file_size) > _MAX_PICTURE:
            raise ValueError(f"it has {size:,} bytes; allowed are {_MAX_PICTURE:,}")
        return members.read(member)


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
    print(f"downloading {len(VERSIONS)} packages of Debian, some 1 GB", flush=True)
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
    folder = expanded(folder)
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
