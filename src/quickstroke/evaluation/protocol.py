"""The protocols by which a model is evaluated.

standard  evaluation mode: the result of a drawing depends on nothing but the drawing
2020      as the 2020 project measured: batch norm in training mode over drawings sorted by label, then by file order,
          so each batch is normalised by the statistics of its own one or two classes; no statistics are kept
"""

from typing import Literal, get_args

from quickstroke.config import former
from quickstroke.errors import ConfigError

Protocol = Literal["standard", "2020"]


def check_protocol(name: str) -> None:
    """Raises ConfigError for an unknown protocol; for a name of version 0.1.0 the message has that of today."""
    former.refuse({"protocol": name})
    if name not in get_args(Protocol):
        raise ConfigError(f"protocol should be {' or '.join(map(repr, get_args(Protocol)))}, got {name!r:.60}")
