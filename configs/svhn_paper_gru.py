"""House numbers of 1 to 6 digits, the whole photograph resized to 128x256.

The six wide convolutions of svhn_paper_heads, a GRU of six steps, and a box head of one layer. The text has five convolutions of 5x5,
whose widths it does not give; the six are those of the code, which has six dense heads in place of the GRU. 576 units are assumed, as in
canvas_weighted.

    python -m seqdigits.main --config configs/svhn_paper_gru.py --workdir runs/svhn_paper_gru

Published (train / test): localization error 84.4 / 251.3 px², sequence accuracy 0.70 / 0.38, character accuracy 0.93 /
0.82 after 30,000 steps of 50, Adam 1e-4, on 33,402 photographs; ours keeps 4,000 of them for validation. On the first
2,000 photographs only: --config.data.photographs=svhn_2000
"""

from ml_collections import ConfigDict

from seqdigits.config.registry import load_config


def get_config() -> ConfigDict:
    config = load_config("svhn_paper_heads")
    config.model.name = "gru"
    config.model.head = ""
    config.model.gru_units = 576
    config.model.box_head = ""
    return config
