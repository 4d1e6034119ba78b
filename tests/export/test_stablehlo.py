"""The StableHLO file of every family predicts what the predict step predicts."""

import jax
import pytest
from exported import DETECTORS, FAMILIES, GLIMPSES, assert_same, drawn, saved

from seqdigits.export.program import Program
from seqdigits.export.stablehlo import smallest_side, stablehlo_runtime, to_stablehlo


@pytest.mark.parametrize("family", FAMILIES | GLIMPSES)
def test_stablehlo_equals_the_predict_step(tmp_path, small_config, family):
    program = Program(saved(tmp_path, small_config((FAMILIES | GLIMPSES)[family])))
    images = drawn(program, 3)
    expected = jax.jit(program.predict)(images)
    assert_same(stablehlo_runtime(to_stablehlo(program))(images), expected)


@pytest.mark.slow
@pytest.mark.parametrize("family", DETECTORS)
def test_stablehlo_of_detectors_takes_images_of_other_sizes(tmp_path, small_config, family):
    config = small_config(DETECTORS[family])
    program = Program(saved(tmp_path, config))
    run = stablehlo_runtime(to_stablehlo(program))
    images = drawn(program, 3)
    assert_same(run(images), jax.jit(program.predict)(images))
    if not config.decode.octaves:
        side = smallest_side(program)
        images = images[:, :side, :side]
        assert_same(run(images), jax.jit(program.predict)(images))
        with pytest.raises(ValueError, match="[Ss]hape"):
            run(images[:, :-1])
