"""The commands `seqdigits COMMAND`, one module each."""

COMMANDS = {
    "ablate": "trains the variants of the ablation and compares them",
    "benchmark": "measures the speed of an experiment",
    "build-backgrounds": "collects natural backgrounds from Debian packages into one file",
    "build-glyphs": "draws the glyphs of synthetic scenes from fonts",
    "calibrate": "calibrates the confidences of a checkpoint on validation",
    "check-photos": "checks a folder of custom photos",
    "completion": "prints the script that completes commands and flags in a shell",
    "config": "prints a config with all keys, or the documentation of all keys",
    "demo": "serves a page that reads numbers in the browser",
    "draw-displays": "draws pictures of seven-segment displays, with labels",
    "draw-scenes": "draws synthetic scenes as labeled pictures",
    "export": "writes a trained network for ONNX Runtime, TensorFlow Lite or StableHLO",
    "find-misread": "finds numbers that a reader sees in backgrounds, to train on",
    "find-unlabeled": "finds digits that the labels of SVHN leave out",
    "inspect": "writes a page with the statistics and faults of a data set",
    "learning-curve": "trains on more and more pictures of a folder, and draws the accuracy",
    "measure": "measures the Reader on a folder of labeled pictures",
    "page": "writes a page about runs, side by side",
    "paste-photos": "makes private pictures to choose reading rules on",
    "peers": "compares with off-the-shelf engines on labeled pictures",
    "predict": "reads the numbers in pictures",
    "prepare": "writes the records that a config streams",
    "pretrained": "lists, publishes and measures the pretrained weights",
    "report": "writes all results as one page",
    "reproduce": "runs experiments and compares them with the published ones",
    "tune": "searches for better values of config keys",
    "unpack-photos": "writes photographs of SVHN in their own size, with labels",
    "upper-bound": "prints the upper bound of accuracy of a model's grid",
}
"""Descriptions of the commands; each is `main` of the module that `module_of` names."""


def module_of(command: str) -> str:
    """Returns the name of the module of a command.

    >>> module_of("check-photos")
    'seqdigits.cli.check_photos'
    """
    return f"seqdigits.cli.{command.replace('-', '_')}"
