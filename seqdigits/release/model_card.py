"""The model card of weights that come with the package, Markdown, made of what is known of them; see release/publish.py."""

from __future__ import annotations

from typing import Any

from seqdigits.data import digits
from seqdigits.data.scenes import glyphs

_PURPOSE = {
    "handwriting": (
        "Reads a number of handwritten digits, bright on black, anywhere in an image, and says where each digit stands and how "
        "sure it is.",
        (
            "Bright ink on a dark, empty ground, as MNIST has it. Dark ink on paper must be inverted first.",
            "Digits about 20 pixels high, as MNIST's; larger and smaller ones must be scaled to that.",
            "One line of digits, from left to right, turned by little: in training each digit by up to {rotation} degrees.",
            "No printed type, no photographs, nothing beside digits: whatever else there is may be read as a digit. For these "
            "take `scene`.",
        ),
    ),
    "scene": (
        "Finds numbers in handwriting and type, of any color, among letters and other things, reads each, and says where each digit "
        "stands and how sure it is.",
        (
            "Digits {min_digit} to {max_digit} pixels high; for larger ones set `decode.octaves`, or scale them down. Numbers of 1 to 6 digits.",
            "Trained on synthetic scenes alone: how well it reads photographs, only figures on photographs say.",
            "Most numbers of training are turned by little, some by up to 40 degrees; upside down is not read.",
            "Digits of the scripts of the West, 0 to 9; letters are left out as far as they do not look like digits (O, l).",
        ),
    ),
}
"""By name: what it does, and its limits; with keys of the section `data`."""


def text(name: str, facts: dict[str, Any]) -> str:
    """The card.

    Args:
      name: one of pretrained.NAMES.
      facts: what is in NAME.json, see publish.ship and measure.measure.
    """
    does, limits = _PURPOSE[name]
    lines = [f"# Weights `{name}`", "", does, ""]
    if facts["partial"]:
        lines += [f"**Partial**: trained for {facts['steps']:,} of {facts['steps_planned']:,} planned steps.", ""]
    lines += ["Written by `python -m seqdigits pretrained`; nothing here is typed by hand.", ""]
    lines += ["## What it takes", "", *_contract(facts["config"]), ""]
    lines += [
        "## Limits",
        "",
        *(f"- {limit.format(**facts['config']['data'])}" for limit in limits),
        *_ALWAYS,
        "",
    ]
    lines += ["## Figures", "", *_metrics(name, facts), ""]
    lines += ["## How it was made", "", *_origin(name, facts), ""]
    lines += ["## Training data and licenses", "", *_data(facts["config"]), ""]
    return "\n".join(lines)


_ALWAYS = (
    "- Confidences are as true as the images are like those of training. Check them on images of your own, "
    "`python -m seqdigits calibrate`, before anything depends on them.",
)


def _contract(config: dict[str, Any]) -> list[str]:
    channels = "3 channels, red, green, blue" if channels_of(config["data"]) == 3 else "1 channel, gray"
    options = config["decode"]
    lines = [
        f"- Images uint8, 0..255, {channels}, of any height and width; `[batch, height, width, channels]`.",
        f"- Trained on images of {_size(config['data'])} pixels.",
        "- Read with " + ", ".join(f"`decode.{key}` = {value}" for key, value in sorted(options.items())) + ".",
    ]
    if channels_of(config["data"]) == 3:
        lines.insert(1, "- Gray images: the same values in all three channels.")
    return lines


def channels_of(data: dict[str, Any]) -> int:
    """Channels of the images of a section `data`: 1 or 3."""
    if data["composition"] == "scene":
        return 1 if data["gray"] else 3
    return 3 if data.get("rgb") else 1


def _size(data: dict[str, Any]) -> str:
    if data["composition"] == "digit":
        return f"{digits.SIZE}x{digits.SIZE}"
    if data.get("train_height"):
        return f"{data['train_height']}x{data['train_width']}"
    return f"{data['height']}x{data['width']}"


_COLUMNS = (
    ("digit_accuracy", "{:.4f}"),
    ("localization_error", "{:.2f}"),
    ("calibration_error", "{:.4f}"),
    ("coverage_at_98", "{:.4f}"),
)


def _metrics(name: str, facts: dict[str, Any]) -> list[str]:
    if not facts["metrics"]:
        return ["Not measured yet."]
    lines = [
        "Of test splits, none of which was trained on or chosen by: sequence accuracy (all of an image is right) ± half of its 95% "
        "interval (Wilson), digit accuracy, localization error (mean squared error of the box's four numbers, px²), calibration "
        "error (expected, of whole numbers), and the share of images that can be read at 98% accuracy when the least sure ones are refused.",
        "",
        "| data | examples | sequence accuracy | digit accuracy | localization error | calibration error | coverage at 98% |",
        "|---|---|---|---|---|---|---|",
        *(_row(label, row) for label, row in facts["metrics"].items()),
        "",
    ]
    for label, row in facts["metrics"].items():
        lines.append(f"- {label}: {_measuring(name, label, row)}")
    if any(row and row["config"].startswith("reader_svhn") for row in facts["metrics"].values()):
        lines += [
            "",
            "House numbers (SVHN, for non-commercial use only) were only read for these figures; nothing was trained on them.",
        ]
    return lines


def _row(label: str, row: dict[str, Any] | None) -> str:
    if row is None:
        return f"| {label} | not measured | | | | | |"
    cells = ["-" if row[name] is None else form.format(row[name]) for name, form in _COLUMNS]
    part = "" if row["limit"] is None else "the first "
    accuracy = f"{row['sequence_accuracy']:.4f} ± {row['half_interval']:.4f}"
    return f"| {label} | {part}{row['examples']:,} | {accuracy} | {' | '.join(cells)} |"


def _measuring(name: str, label: str, row: dict[str, Any] | None) -> str:
    """What a row was measured on, and how to measure it again."""
    command = f"python -m seqdigits pretrained measure {name} --only {label}"
    if row is None:
        return f"not measured, for the data are not there: `{command}`"
    limit = "" if row["limit"] is None else f" --limit {row['limit']}"
    settings = ", ".join(f"`{key}` = {value}" for key, value in row["settings"].items())
    least, most = row["lengths"]
    told = f"that there are exactly {least}" if least == most else f"that there are {least} to {most}"
    return (
        f"{row['what']}. The data of `configs/{row['config']}.py`, {settings}; of the digits in an "
        f"image the reader knows {told}; commit `{_short(row['commit'])}`, {row['devices'][0]}: `{command}{limit}`"
    )


def _origin(name: str, facts: dict[str, Any]) -> list[str]:
    settings = "".join(f", `{key}` = {value}" for key, value in facts["settings"].items())
    base = facts["result"].split("+")[0]
    begins = facts["config"]["init"]["path"]
    devices = facts["devices"][0] + (f" x {len(facts['devices'])}" if len(facts["devices"]) > 1 else "")
    lines = [
        f"- Network: the dense detector of `configs/{base}.py`{settings}, {facts['parameters']:,} parameters.",
        f"- Layers: `{facts['config']['model']['encoder']}`.",
        f"- Training: {facts['steps']:,} steps, {facts['images']:,} images, {facts['minutes']:.0f} minutes on {devices} "
        f"({facts['cores']} cores), seed {facts['seed']}, commit `{_short(facts['commit'])}`, jax {facts['versions']['jax']}.",
        f"- Again: `python -m seqdigits reproduce {base}{_set(facts['settings'])} --weights`, then `python -m seqdigits pretrained "
        f"ship {name} results/{facts['result']}.json`.",
        f"- SHA-256 `{facts['sha256']}`, {facts['bytes']:,} bytes; an .npz of plain arrays, which cannot execute code.",
    ]
    if begins:
        lines.insert(2, f"- Begun with what `{begins}` had learned.")
    return lines


def _set(settings: dict[str, Any]) -> str:
    return "".join(f" --set {key}={value}" for key, value in settings.items())


def _short(commit: str | None) -> str:
    """Twelve digits of a commit, and "+" where files differed from it."""
    if commit is None:
        return "unknown"
    return commit[:12] + ("+" if commit.endswith("+") else "")


_LICENSES = {
    "mnist": "the {count:,} training digits of MNIST (Y. LeCun, C. Cortes, C. Burges), commonly given as CC BY-SA 3.0",
    "uci": "the {count:,} training digits of Optical Recognition of Handwritten Digits (E. Alpaydin, C. Kaynak; UCI, 1998), CC BY 4.0",
}


def _data(config: dict[str, Any]) -> list[str]:
    data = config["data"]
    count = digits.num_digits(
        data["digits"], "train", digits.DIGITS[data["digits"]].pool * data["validation_percent"] // 100
    )
    lines = [f"- Handwriting: {_LICENSES[data['digits']].format(count=count)}."]
    if data["composition"] == "scene":
        lines.append(
            f"- Type: pictures of the digits and letters of {glyphs.FACES['train']} type faces of free families, under OFL-1.1, "
            "Apache-2.0 and the Bitstream Vera license; seqdigits/data/scenes/FONTS.md names each with its notice. No font is in the "
            "weights or the package."
        )
    lines += [
        "- No photograph, and no house number, was trained on.",
        "- The weights: Apache-2.0, as the package, as far as they are ours to license. Whether the license of a data set reaches "
        "weights that were learned from it is not settled; of photographs whose use is restricted none was taken, to be sure.",
    ]
    return lines
