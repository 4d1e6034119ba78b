"""The TFDS data set `svhn_numbers`: Street View House Numbers (Netzer et al. 2011) with a box around each digit.

For non-commercial use only.
"""

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
from seqdigits.data.builders import tfds
from seqdigits.data.builders.base import RecordsBuilder, features, photograph, pixels
from seqdigits.data.builders.record_format import encode_image
from seqdigits.data.builders.shards import Records, ShardPlan, plan_shards
from seqdigits.data.photos import svhn, svhn_archive
from seqdigits.data.photos.crop import crop_photo
from seqdigits.data.photos.svhn_annotations import Annotation

MAX_DIGITS = 6
"""Number of digit positions."""
_CROP, _CROP_BYTES = 64, 8_000
"""Side of a cropped photograph in pixels, and approximate size of its PNG in bytes."""


@dataclasses.dataclass(eq=False)
class PhotographsConfig(tfds.core.BuilderConfig):
    """One set.

    Attributes:
      photographs: a key of svhn.PHOTOGRAPHS.
      parts: parts of the set; each is a split.
      kind: "whole": original photographs. "cropped": crops of the box that encloses the true boxes, extended by 15% on
        each side, resized to 64x64.
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
    """Photographs N.png, in the order of the archive, or of N where it is unpacked; `index` is N - 1.

    The two orders may differ, and with them the shards.
    """

    BUILDER_CONFIGS: ClassVar = _configs()

    def _info(self) -> tfds.core.DatasetInfo:
        side = _CROP if self.builder_config.kind == "cropped" else None
        return tfds.core.DatasetInfo(
            builder=self,
            description=f"Photographs of house numbers: {self.builder_config.description}.",
            features=features(pixels("png", (side, side, 3)), MAX_DIGITS),
            disable_shuffling=True,
            homepage=svhn_archive.URL,
            license="for non-commercial use only",
        )

    def _sizes(self) -> dict[str, int]:
        lengths = svhn.PHOTOGRAPHS[self.builder_config.photographs].lengths
        return {part: sum(lengths[part]) for part in self.builder_config.parts}

    def _jobs(self, shards: int) -> list[list[ShardPlan]]:
        """Returns one job per part, because an archive can only be read sequentially."""
        plans = plan_shards(self.name, self._sizes(), shards)
        return [[plan for plan in plans if plan.split == part] for part in self.builder_config.parts]

    def _records(self, folder: str) -> Records:
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

    def _metadata(self) -> dict[str, Any]:
        """Returns the number of digits of each photograph, as one character each."""
        return {
            "lengths": {
                part: "".join(str(len(a.digits)) for a in annotations)
                for part, annotations in self._annotations.items()
            }
        }

    def _bytes(self, make: Records, sizes: dict[str, int]) -> int:
        del make  # sampling would need random access; the size of the archive gives the size of the photographs
        lengths, cropped = svhn.PHOTOGRAPHS["svhn"].lengths, self.builder_config.kind == "cropped"
        each = {
            part: (_CROP_BYTES if cropped else svhn_archive.BYTES[part] / sum(lengths[part])) + 300 for part in sizes
        }
        return int(sum(each[part] * size for part, size in sizes.items()))

    def _fetch(self, download_dir: Any, config: tfds.download.DownloadConfig) -> str:
        """Returns the folder of data files, after downloading the archives if necessary.

        The archives are searched in `manual_dir` (by default the data folder) and in its subfolder `svhn_numbers`. If
        they are missing and `manual_dir` is not set, they are downloaded (2.6 GB) and their SHA-256 is checked.
        """
        parts = self.builder_config.parts
        given = Path(config.manual_dir or data_folder(""))
        for folder in (given / svhn_archive.SUBFOLDER, given):
            if all((folder / f"{part}.tar.gz").exists() or (folder / part).is_dir() for part in parts):
                return (
                    os.fspath(folder.parent) if folder.name == svhn_archive.SUBFOLDER else self._linked(folder, parts)
                )
        if config.manual_dir or self.builder_config.photographs != "svhn":
            raise UserError(
                f"{given} does not have all of {', '.join(f'{part}.tar.gz' for part in parts)}. Put them there, or, for "
                "svhn, omit manual_dir to download them."
            )
        print(f"{svhn_archive.URL}: for non-commercial use only", flush=True)
        manager = self._make_download_manager(download_dir=download_dir, download_config=config)
        downloaded = manager.download({part: f"{svhn_archive.URL}/{part}.tar.gz" for part in parts})
        return self._linked(Path(self.data_dir_root) / "downloads", parts, downloaded)

    def _linked(self, folder: Path, parts: tuple[str, ...], downloaded: dict[str, Any] | None = None) -> str:
        """Returns a folder with links to the archives that has the layout of a data folder."""
        source = hashlib.sha256(
            str(sorted(downloaded.items()) if downloaded else folder.resolve()).encode()
        ).hexdigest()
        links = Path(self.data_dir_root) / "downloads" / f"links-{source[:12]}"
        (links / svhn_archive.SUBFOLDER).mkdir(parents=True, exist_ok=True)
        for part in parts:
            file = Path(downloaded[part]) if downloaded else svhn_archive.place(folder, part)
            link = links / svhn_archive.SUBFOLDER / (part if file.is_dir() else f"{part}.tar.gz")
            link.unlink(missing_ok=True)
            link.symlink_to(file.resolve())
        return os.fspath(links)


def builder(config: ConfigDict) -> SvhnNumbers:
    """Returns the builder of the set of a complete config."""
    _, name = record_location.location(config)
    return SvhnNumbers(data_dir=record_location.root(config.data.records), config=name)


def _check(part: str, place: Path) -> None:
    """Raises UserError if an archive is not the published one; an unpacked folder has no known hash."""
    known = SvhnNumbers.url_infos[f"{svhn_archive.URL}/{part}.tar.gz"]
    if place.is_file() and sha256(place) != known.checksum:
        raise UserError(
            f"{place} is damaged or not the published archive: its SHA-256 differs, and it has {place.stat().st_size:,} "
            f"bytes, expected {known.size:,}. {svhn_archive.download_hint(part)} For the first 2,000 of train and the first "
            "500 of test only, set --config.data.photographs=svhn_2000."
        )


def _serialized(
    places: dict[str, Path], annotations: dict[str, tuple[Annotation, ...]], kind: str, part: str, start: int, stop: int
) -> Iterator[bytes]:
    """Yields the records start..stop-1 of a part, see SvhnNumbers, with one photograph in memory at a time."""
    place, of_part = places[part], annotations[part]
    photographs = svhn_archive.photographs(place, part, range(1, len(of_part) + 1))
    for at, (number, data) in enumerate(photographs):
        if at >= stop:
            return
        if at < start:
            continue
        where = f"{part}/{number}.png in {place}"
        # Decoded even if the PNG is stored unchanged, to detect damage.
        photo, annotation = svhn_archive.decode_image(data, gray=False, described=where), of_part[number - 1]
        boxes = annotation.boxes
        if kind == "cropped":
            crop, moved = crop_photo(photo, boxes, "crop", _CROP, _CROP, where)
            data, boxes = encode_image(crop, "png"), moved.astype(np.float32)
        yield photograph(data, annotation.digits, boxes, MAX_DIGITS, number - 1)
