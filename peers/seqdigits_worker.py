"""Worker of our own reader, with the pretrained weights of scenes; it runs in the environment of the package."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import protocol

WEIGHTS = "scene"

COMPILED = "/jax/core/compile/backend_compile_duration"
"""The event of JAX after a compilation, or after a compiled program is loaded from its cache."""


def load(cores: int) -> protocol.Engine:
    """Loads the reader."""
    import jax

    import seqdigits
    from seqdigits.checkpoint import pretrained
    from seqdigits.core import provenance
    from seqdigits.core.jax_settings import prepare_jax
    from seqdigits.inference.reader import Reader

    compilations = []

    def listen(event: str, _seconds: float, **_: Any) -> None:
        if event == COMPILED:
            compilations.append(event)

    prepare_jax()
    jax.monitoring.register_event_duration_secs_listener(listen)
    reader = Reader.from_pretrained(WEIGHTS, engine="jax")  # it uses all cores, as the other engines do

    def read(picture: Any) -> list[protocol.Number]:
        return [protocol.Number(number.number, number.confidence) for number in reader.read(picture).numbers]

    package = Path(seqdigits.__file__).parent
    sources = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(package.rglob("*.py")))).hexdigest()
    return protocol.Engine(
        version=f"{seqdigits.__version__}, {(provenance.commit() or 'unknown')[:8]}",
        settings={"weights": WEIGHTS, "sources_sha256": sources[:12]},
        weights_bytes=pretrained.path(WEIGHTS).stat().st_size,
        threads=cores,
        read=read,
        compilations=lambda: len(compilations),
    )


if __name__ == "__main__":
    protocol.serve(load)
