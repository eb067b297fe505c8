"""Libraries that report on their users, imported so that they do not: everything else gets them from here.

onnxruntime 1.32 sends what its sessions do to Microsoft, and keeps a device's identifier and a queue of events under
the home folder, unless `ORT_DISABLE_TELEMETRY` is 1 when it is first imported (its Privacy.md, "Disabling Telemetry").
Its `disable_telemetry_events` comes too late: the import makes the identifier and may emit an event.

huggingface_hub tells the Hub by each request which PyTorch and which coding agent there are, unless
`HF_HUB_DISABLE_TELEMETRY` is set (huggingface.co/docs/huggingface_hub/package_reference/environment_variables).

Both are set whatever they were: nobody who runs quickstroke is reported by it. Programs that it starts inherit them.
"""

import os
from typing import Any


def import_onnxruntime() -> Any:
    """The module `onnxruntime`, which neither sends nor keeps anything.

    Raises:
        ModuleNotFoundError: it is not installed.
    """
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime  # type: ignore[import-untyped]

    return onnxruntime


def import_huggingface_hub() -> Any:
    """The module `huggingface_hub`, which tells the Hub nothing beyond what is asked of it.

    Raises:
        ModuleNotFoundError: it is not installed.
    """
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    import huggingface_hub

    return huggingface_hub
