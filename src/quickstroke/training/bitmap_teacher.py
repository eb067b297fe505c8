"""Bitmap teachers: public convolutional networks that read Google's 28x28 bitmap of a drawing, as ONNX files.

A file has one input, float32 (B, 28, 28, 1), white ink 1 on black 0, and one output, probabilities (B, K). Beside
NAME.onnx lies NAME.classes.txt, the K words in the order of the output, one a line.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quickstroke.drawings.bitmap import BITMAP_SIDE, to_bitmap
from quickstroke.drawings.categories import read_classes
from quickstroke.errors import WeightsError, first_line
from quickstroke.utils.files import first_line_of, sha256_of
from quickstroke.utils.telemetry import import_onnxruntime

# The least probability that an answer in float32 is taken for, so that its logarithm is finite.
_LEAST = 1e-7


class BitmapTeacher:
    """A network that is asked about drawings; much distorted ones mislead it.

    Attributes:
        path: the ONNX file.
        classes: its K words.
        sha256: of the file.
    """

    def __init__(self, path: Path | str) -> None:
        """Raises:
        WeightsError: the file cannot be run, or is of other inputs or outputs.
        CategoryError: its list of words cannot be read.
        """
        self.path, words = Path(path), Path(path).with_suffix(".classes.txt")
        if self.path.is_file() and not words.exists():
            raise WeightsError(
                f"{path}: a bitmap network needs {words}, its words; in place of an exported model give the one "
                "that it was exported from"
            )
        self.classes = read_classes(words)
        onnxruntime = import_onnxruntime()
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # what is wrong is raised, too
        options.intra_op_num_threads = options.inter_op_num_threads = 1  # several batches are asked about at once
        try:
            self.sha256 = sha256_of(self.path)
            self._session = onnxruntime.InferenceSession(self.path, options, providers=["CPUExecutionProvider"])
            self._input = self._session.get_inputs()[0].name
            answers = self._ask(np.zeros((1, BITMAP_SIDE, BITMAP_SIDE, 1), np.float32))
        except Exception as error:  # onnxruntime's exceptions have no common root
            raise WeightsError(f"{path}: cannot be run as a bitmap network: {first_line(error)}") from error
        if answers.shape != (1, len(self.classes)):
            raise WeightsError(
                f"{path}: answers of shape {answers.shape}, expected (1, {len(self.classes)}), a probability for each "
                f"word of {self.path.with_suffix('.classes.txt')}"
            )

    def _ask(self, bitmaps: NDArray[Any]) -> NDArray[Any]:
        return np.asarray(self._session.run(None, {self._input: bitmaps})[0])

    def log_probabilities(self, drawings: Sequence[Sequence[NDArray[np.uint8]]]) -> NDArray[np.float32]:
        """Logarithms of probabilities, float32 (B, K), for B simplified drawings."""
        drawn = np.stack([to_bitmap(strokes) for strokes in drawings])[..., None]  # (B, 28, 28, 1)
        answers = self._ask(drawn.astype(np.float32) / np.float32(255))
        logarithms: NDArray[np.float32] = np.log(np.maximum(answers, _LEAST, dtype=np.float32))
        return logarithms

    def facts(self) -> dict[str, Any]:
        """What a run and a card say of it: its licence is the first line of NAME.LICENSE, if that is there."""
        return {
            "name": self.path.stem,
            "sha256": self.sha256,
            "licence": first_line_of(self.path.with_suffix(".LICENSE")),
            "trained_on": "bitmaps of Quick, Draw! drawings",
        }
