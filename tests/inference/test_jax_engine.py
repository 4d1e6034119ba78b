"""The engine that evaluates a dense detector with JAX."""

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from exported import DETECTORS, saved
from PIL import Image, ImageDraw, ImageFont

from seqdigits.checkpoint import pretrained, weights
from seqdigits.config import base_config
from seqdigits.config.saved import to_json
from seqdigits.core.errors import UserError
from seqdigits.core.types import Spec
from seqdigits.inference.jax_engine import BATCHES, CANDIDATES, JaxEngine
from seqdigits.inference.onnx_engine import OnnxEngine
from seqdigits.inference.reader import Reader
from seqdigits.models.build import build, init_variables

OLD_FILES = Path(__file__).parents[1] / "golden" / "old_files"


def drawn(text, size, at, height, ink, paper):
    """A picture with a number in Pillow's own font."""
    picture = Image.new("RGB", size, paper)
    ImageDraw.Draw(picture).text(at, text, ink, ImageFont.load_default(height))
    return picture


@pytest.fixture(scope="module")
def scene():
    return JaxEngine(pretrained.path("scene"))


@pytest.mark.slow
def test_a_drawn_number_is_read(scene):
    picture = drawn("4071", (800, 600), (420, 150), 60, ink=(20, 20, 60), paper=(225, 215, 190))
    left, top, right, bottom = ImageDraw.Draw(picture).textbbox((420, 150), "4071", font=ImageFont.load_default(60))
    result = Reader(scene).read(picture)
    assert [number.number for number in result.numbers] == ["4071"]
    assert result.confidence > 0.8
    x, y, width, height = result.box
    shared = (min(x + width, right) - max(x, left)) * (min(y + height, bottom) - max(y, top))
    assert shared / (width * height + (right - left) * (bottom - top) - shared) > 0.8  # IoU with the ink


@pytest.mark.slow
def test_nothing_is_read_on_plain_paper(scene):
    assert Reader(scene).read(Image.new("RGB", (800, 600), (225, 215, 190))).number is None


@pytest.mark.slow
def test_candidates_do_not_depend_on_the_batch(scene):
    """1, 3 and 7 images are padded or split."""
    paper = [(240, 240, 230), (20, 30, 40), (150, 200, 150)]
    images = np.stack(
        [
            np.asarray(drawn(str(10 + 7 * i), (96, 64), (20, 10), 36, ink=(90, 20, 160), paper=paper[i % 3]))
            for i in range(BATCHES[-1] + 1)
        ]
    )
    box, probability = scene(images)
    assert (box.shape, probability.shape) == ((7, CANDIDATES, 4), (7, CANDIDATES, 10))
    assert (probability.sum(-1) >= scene.min_score).any(-1).all()
    for count in (1, 3):
        found_box, found_probability = scene(images[:count])
        np.testing.assert_allclose(found_box, box[:count], atol=1e-3)
        np.testing.assert_allclose(found_probability, probability[:count], atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("engine", [OnnxEngine, JaxEngine])
def test_weights_of_gray_images_read_a_gray_picture(engine):
    reader = Reader.from_pretrained("handwriting", engine="jax" if engine is JaxEngine else "onnx")
    assert type(reader._engine) is engine
    picture = drawn("4 0 7", (640, 480), (300, 150), 44, ink=(250, 250, 250), paper=(0, 0, 0)).convert("L")
    assert reader.read(np.asarray(picture)).number == "407"
    assert reader.read(picture.convert("RGB")).number == "407"


def test_a_model_that_reads_one_size_is_refused(tmp_path):
    with zipfile.ZipFile(OLD_FILES / "heads_workdir.zip") as file:
        file.extractall(tmp_path)
    with pytest.raises(UserError, match="Allowed is dense_detector"):
        Reader.from_workdir(tmp_path)


def test_a_detector_that_reads_one_size_is_refused(tmp_path, small_config):
    """The mean of each pixel is among its variables."""
    config = small_config({"model.pixels": "per_pixel"})
    spec = Spec(image=(32, 96, 1), max_length=3, min_length=1, num_examples=None, arrays={})
    about = {"step": 4, "config": json.loads(to_json(config))}
    weights.save(tmp_path / "small.npz", init_variables(build(config, spec), spec, seed=0), about)
    with pytest.raises(UserError, match="reads only images of its own size"):
        Reader.from_workdir(tmp_path / "small.npz")


def test_a_folder_without_weights_is_refused(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        Reader.from_workdir(tmp_path / "missing")


@pytest.mark.parametrize(("section", "key"), [("model", "nonsense"), ("decode", "nonsense"), ("model", "gru_units")])
def test_weights_of_another_version_are_refused(tmp_path, small_config, section, key):
    config = json.loads(to_json(small_config()))
    config[section][key] = "of the future"
    weights.save(tmp_path / "a.npz", {}, {"step": 4, "config": config})
    with pytest.raises(UserError, match=rf"a.npz has a config that this version cannot read: .*{key}.*of the future"):
        Reader.from_workdir(tmp_path / "a.npz")


def test_weights_without_sections_have_their_defaults(tmp_path, small_config):
    file = saved(tmp_path, small_config(DETECTORS["detector"]))
    variables, about = weights.load(file)
    for section in ("decode", "loss"):
        del about["config"][section]
    weights.save(file, variables, about)
    assert JaxEngine(file).min_score == base_config().decode.min_score
