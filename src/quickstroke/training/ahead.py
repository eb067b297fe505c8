"""What every training on a CPU compiles, known before PyTorch is imported, so that it can be compiled meanwhile."""

import os
import sys
from functools import partial

import numpy as np

from quickstroke.config.training import TrainConfig
from quickstroke.runtime.precision import pick_precision
from quickstroke.utils.compiled import Call, calls_of
from quickstroke.utils.compiling import compile_ahead


def compile_what_trains(config: TrainConfig) -> None:
    """Has what is not on disk yet compiled beside this process, for `compile_calls` to take over.

    Nothing happens where PyTorch is there already, or where a training calls none of it.
    """
    is_alone = os.environ.get("WORLD_SIZE", "1") == "1"
    if config.reading == "length-aware" and config.device != "cuda" and is_alone and "torch" not in sys.modules:
        compile_ahead([partial(_lstm, config), _reading, _dealing])


def _lstm(config: TrainConfig) -> list[Call]:
    """Its two directions in turn: of what the first one is made of, the second one needs nearly all."""
    from quickstroke.kernels import lstm_steps

    # bfloat16 comes as its bits.
    kind = np.uint16 if pick_precision(config, "cpu") == "bfloat16" else np.float32
    own, sums, whole = np.empty((0, 0), kind), np.empty((0, 0), np.float32), np.empty(0, np.int64)
    made, room = (own, sums, own), (sums, sums, sums.view(np.uint32))

    def run() -> None:
        lstm_steps.backward(own, own, own, own, made, room, whole, whole, 0, sums, 0)
        lstm_steps.forward(own, own, kind(1), own, sums, made, own, whole, whole, 0, 0, 0)

    return calls_of(run)


def _reading() -> list[Call]:
    from quickstroke.data import points

    columns, bits, offsets = np.empty((0, 2), np.uint8), np.empty(0, np.uint8), np.empty(1, np.uint32)
    for array in (columns, bits, offsets):
        array.flags.writeable = False  # as those of files are
    indices, room, out = np.empty(0, np.int64), np.empty((3, 0)), np.empty((0, 0, 0), np.float32)
    return calls_of(lambda: points.fill_points(columns, bits, offsets, indices, room, out))


def _dealing() -> list[Call]:
    from quickstroke.kernels import lstm_steps

    whole, sizes = np.empty(0, np.int64), np.empty((0, 0), np.int64)
    return calls_of(lambda: lstm_steps.lay_out(whole, whole, 0, sizes, whole, whole, whole))
