"""Libraries that report on their users, imported so that they do not: everything else gets them from here.

onnxruntime 1.32 sends what its sessions do to Microsoft, and keeps a device's identifier and a queue of events under
the home folder, unless `ORT_DISABLE_TELEMETRY` is 1 when it is first imported (its Privacy.md, "Disabling Telemetry").
Its `disable_telemetry_events` comes too late: the import makes the identifier and may emit an event.

huggingface_hub tells the Hub by each request which PyTorch and which coding agent there are, unless
`HF_HUB_DISABLE_TELEMETRY` is set (huggingface.co/docs/huggingface_hub/package_reference/environment_variables).

wandb reports its own errors, unless `WANDB_ERROR_REPORTING` is false, and tells a run's owner at Weights & Biases which
machine, repository and program it was, unless further variables say no (wandb_settings.py). MLflow counts which of its
functions are called, unless `MLFLOW_DISABLE_TELEMETRY` is true (its docs, "Usage Tracking").

All are set whatever they were: nobody who runs quickstroke is reported by it. Programs that it starts inherit them.

Each function raises ModuleNotFoundError where its library is not installed.
"""

import os
from typing import Any


def import_onnxruntime() -> Any:
    """The module `onnxruntime`, which neither sends nor keeps anything."""
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime  # type: ignore[import-untyped]

    return onnxruntime


def import_huggingface_hub() -> Any:
    """The module `huggingface_hub`, which tells the Hub nothing beyond what is asked of it."""
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    import huggingface_hub.errors

    return huggingface_hub


def import_wandb() -> Any:
    """The module `wandb`, which sends what it is given and nothing else."""
    os.environ["WANDB_ERROR_REPORTING"] = "false"
    for what in ("DISABLE_GIT", "DISABLE_CODE", "X_DISABLE_META", "X_DISABLE_MACHINE_INFO", "X_DISABLE_STATS"):
        os.environ[f"WANDB_{what}"] = "true"
    os.environ["WANDB_X_SAVE_REQUIREMENTS"] = "false"
    os.environ["WANDB_CONSOLE"] = "off"  # nor what is printed meanwhile
    os.environ["WANDB_HOST"] = "unnamed"
    import wandb

    return wandb


def import_mlflow() -> Any:
    """The module `mlflow`, which tells the store of the runs alone."""
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    import mlflow

    return mlflow


def import_datasets() -> Any:
    """The module `datasets`, which asks the Hub for nothing of itself."""
    import_huggingface_hub()
    import datasets

    return datasets
