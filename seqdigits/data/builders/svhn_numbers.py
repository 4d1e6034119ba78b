"""The TFDS data set `svhn_numbers`: the photographs of Street View House Numbers (Netzer et al. 2011) with a box around each digit.
For non-commercial use only."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from ml_collections import ConfigDict

from seqdigits.core.errors import UserError
from seqdigits.core.files import data_folder, sha256
from seqdigits.data import record_location
from seqdigits.data.builders import tfds, writer
from seqdigits.data.builders.base import RecordsBuilder, features, photograph, pixels
from seqdigits.data.photos import svhn, svhn_archive
from seqdigits.data.photos.crop import view_photo
from seqdigits.data.photos.svhn_annotations import Annotation

LONGEST = 6
"""Positions for digits."""
_CROP, _CROP_BYTES = 64, 8_000
"""Pixels of a side, and bytes of a PNG of these, about."""


@dataclasses.dataclass(eq=False)
class PhotographsConfig(tfds.core.BuilderConfig):
    """One set.

    Attributes:
      photographs: a key of svhn.PHOTOGRAPHS.
      parts: of it; each is a split.
      kind: "whole": photographs as they are. "cropped": cut out by the true box, 15% larger on each side, squeezed to 64x64.
    """

    photographs: str = "svhn"
    parts: tuple[str, ...] = ("train", "test", "extra")
    kind: str = "whole"


def _configs() -> list[PhotographsConfig]:
    result = []
    for kind in ("whole", "cropped"):
        for photographs, with_extra in (("svhn", True), ("svhn", False), ("svhn_2000", False)):
            parts = ("train", "test", "extra") if with_extra else ("train", "test")
            name = record_location.photographs_name(kind, photographs, with_extra)
            text = f"{kind}, {', '.join(parts)} of {photographs}"
            result.append(
                PhotographsConfig(name=name, description=text, photographs=photographs, parts=parts, kind=kind)
            )
    return result


class SvhnNumbers(RecordsBuilder):
    """Photographs in the order in which their archive has them; `index` is the number of the file, from 0."""

    BUILDER_CONFIGS: ClassVar = _configs()

    def _info(self) -> tfds.core.DatasetInfo:
        side = _CROP if self.builder_config.kind == "cropped" else None
        return tfds.core.DatasetInfo(
            builder=self,
            description=f"Photographs of house numbers: {self.builder_config.description}.",
            features=features(pixels("png", (side, side, 3)), LONGEST),
            disable_shuffling=True,
            homepage=svhn_archive.URL,
            license="for non-commercial use only",
        )

    def _sizes(self) -> dict[str, int]:
        lengths = svhn.PHOTOGRAPHS[self.builder_config.photographs].lengths
        return {part: sum(lengths[part]) for part in self.builder_config.parts}

    def _jobs(self, shards: int) -> list[list[writer.Piece]]:
        """A part is one job: an archive can only be read from its beginning on."""
        cut = writer.pieces(self.name, self._sizes(), shards)
        return [[piece for piece in cut if piece.split == part] for part in self.builder_config.parts]

    def _records(self, folder: str) -> writer.Records:
        config = self.builder_config
        where = data_folder(folder) / svhn_archive.SUBFOLDER
        self._places = {part: svhn_archive.place(where, part) for part in config.parts}
        if config.photographs == "svhn":
            for part, place in self._places.items():
                _check(part, place)
        lengths = svhn.PHOTOGRAPHS[config.photographs].lengths
        self._annotations = {
            part: svhn.read_annotations(self._places[part], part, lengths[part]) for part in config.parts
        }
        return partial(_serialized, self._places, self._annotations, config.kind)

    def _identity(self) -> dict[str, Any]:
        digest = hashlib.sha256()
        for part in self.builder_config.parts:
            for annotation in self._annotations[part]:
                digest.update(annotation.name.encode() + annotation.digits.tobytes() + annotation.boxes.tobytes())
        return {
            "places": {part: str(place.resolve()) for part, place in self._places.items()},
            "boxes": digest.hexdigest(),
        }

    def _about(self) -> dict[str, Any]:
        """How many digits each photograph has: a character each."""
        return {
            "lengths": {part: "".join(str(len(a.digits)) for a in those) for part, those in self._annotations.items()}
        }

    def _bytes(self, make: writer.Records, sizes: dict[str, int]) -> int:
        del make  # an archive can only be read from its beginning on; it has the photographs as they are, too
        whole, cropped = svhn.PHOTOGRAPHS["svhn"].lengths, self.builder_config.kind == "cropped"
        each = {part: (_CROP_BYTES if cropped else svhn_archive.BYTES[part] / sum(whole[part])) + 300 for part in sizes}
        return int(sum(each[part] * size for part, size in sizes.items()))

    def _fetch(self, download_dir: Any, config: tfds.download.DownloadConfig) -> str:
        """`manual_dir`, with the archives in it or in its subfolder `svhn_numbers`; else where data files lie anyway; else they
        are downloaded, 2.6 GB, and checked by SHA-256."""
        parts = self.builder_config.parts
        given = Path(config.manual_dir or data_folder(""))
        for folder in (given / svhn_archive.SUBFOLDER, given):
            if all((folder / f"{part}.tar.gz").exists() or (folder / part).is_dir() for part in parts):
                return (
                    os.fspath(folder.parent) if folder.name == svhn_archive.SUBFOLDER else self._linked(folder, parts)
                )
        if config.manual_dir or self.builder_config.photographs != "svhn":
            raise UserError(
                f"{given} has not all of {', '.join(f'{part}.tar.gz' for part in parts)}. Put them there, or leave out "
                "manual_dir to have them downloaded (svhn alone)."
            )
        print(f"{svhn_archive.URL}: for non-commercial use only", flush=True)
        manager = self._make_download_manager(download_dir=download_dir, download_config=config)
        found = manager.download({part: f"{svhn_archive.URL}/{part}.tar.gz" for part in parts})
        return self._linked(Path(self.data_dir_root) / "downloads", parts, found)

    def _linked(self, folder: Path, parts: tuple[str, ...], found: dict[str, Any] | None = None) -> str:
        """A folder in which the archives have the names and places that they have where data files lie."""
        source = hashlib.sha256(str(sorted(found.items()) if found else folder.resolve()).encode()).hexdigest()
        links = Path(self.data_dir_root) / "downloads" / f"links-{source[:12]}"
        (links / svhn_archive.SUBFOLDER).mkdir(parents=True, exist_ok=True)
        for part in parts:
            file = Path(found[part]) if found else svhn_archive.place(folder, part)
            link = links / svhn_archive.SUBFOLDER / (part if file.is_dir() else f"{part}.tar.gz")
            link.unlink(missing_ok=True)
            link.symlink_to(file.resolve())
        return os.fspath(links)


def builder(config: ConfigDict) -> SvhnNumbers:
    """The set that a whole config reads."""
    _, name = record_location.location(config)
    return SvhnNumbers(data_dir=record_location.root(config.data.records), config=name)


def _check(part: str, place: Path) -> None:
    """Refuses an archive that is not the published one. (A folder that was unpacked has no known hash.)"""
    known = SvhnNumbers.url_infos[f"{svhn_archive.URL}/{part}.tar.gz"]
    if place.is_file() and sha256(place) != known.checksum:
        raise UserError(
            f"{place} is damaged or not the published one: it has {place.stat().st_size:,} bytes, expected {known.size:,}, and "
            f"another SHA-256. {svhn_archive.again(place, part)} With the first 2,000 of train and the first 500 of test alone, "
            "--config.data.photographs=svhn_2000 is the set."
        )


def _serialized(
    places: dict[str, Path], annotations: dict[str, tuple[Annotation, ...]], kind: str, part: str, start: int, stop: int
) -> Iterator[bytes]:
    """Records start..stop-1 of a part, one photograph in memory at a time."""
    place, those = places[part], annotations[part]
    found = svhn_archive.photographs(place, part, range(1, len(those) + 1))
    for at, (number, data) in enumerate(found):
        if at >= stop:
            return
        if at < start:
            continue
        where = f"{part}/{number}.png in {place}"
        # What is not taken apart here is at least seen to be whole.
        photo, annotation = svhn_archive.decode_image(data, gray=False, described=where), those[number - 1]
        boxes = annotation.boxes
        if kind == "cropped":
            cut, moved = view_photo(photo, boxes, "crop", _CROP, _CROP, where)
            data, boxes = writer.encode_image(cut, "png"), moved.astype(np.float32)
        yield photograph(data, annotation.digits, boxes, LONGEST, number - 1)
