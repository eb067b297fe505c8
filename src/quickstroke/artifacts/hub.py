"""Models of the Hugging Face Hub: hf://OWNER/NAME or hf://OWNER/NAME@REVISION, as `publish --hub` uploads them.

huggingface_hub fetches and caches them, and asks the Hub whether a cached one is the newest of its revision.
"""

import importlib.util
import re
from pathlib import Path

from quickstroke.errors import ConfigError, DownloadError, MissingExtra, WeightsError, first_line
from quickstroke.utils.telemetry import import_huggingface_hub

PREFIX = "hf://"
# Of a repository, for PyTorch and for onnxruntime.
WEIGHTS, GRAPH = "model.safetensors", "model.onnx"
_ADDRESS = re.compile(r"hf://([\w.-]+/[\w.-]+)(?:@([\w./-]+))?", re.ASCII)


def fetch(address: str) -> Path:
    """The file of a model in the cache: its safetensors, or its ONNX where PyTorch is not installed.

    Raises:
        ConfigError: it is no address.
        DownloadError: there is no such repository or revision, it is private, or the Hub cannot be reached and the
            cache has no copy.
        WeightsError: the repository has neither file.
        MissingExtra: huggingface_hub is not installed.
    """
    match = _ADDRESS.fullmatch(address)
    if match is None:
        raise ConfigError(f"{address!r:.100} is no address of a model; expected hf://OWNER/NAME or one with @REVISION")
    try:
        huggingface_hub = import_huggingface_hub()
    except ModuleNotFoundError as error:
        raise MissingExtra(address, "hub") from error
    repo, revision = match.groups()
    errors = huggingface_hub.errors
    names = (WEIGHTS, GRAPH) if importlib.util.find_spec("torch") else (GRAPH, WEIGHTS)
    for name in names:
        try:
            return Path(huggingface_hub.hf_hub_download(repo, name, revision=revision))
        except errors.LocalEntryNotFoundError as error:
            why = first_line(error.__cause__ or error)
            raise DownloadError(f"{address}: the Hub cannot be reached, and the cache has no copy ({why})") from error
        except errors.EntryNotFoundError:
            continue
        except errors.RevisionNotFoundError as error:
            raise DownloadError(f"{address}: the repository has no revision {revision!r}") from error
        except errors.GatedRepoError as error:
            raise DownloadError(f"{address}: is gated; ask for access on its page, then `hf auth login`") from error
        except errors.RepositoryNotFoundError as error:
            raise DownloadError(
                f"{address}: no such repository, or a private one: `hf auth login` as somebody who may read it"
            ) from error
        except Exception as error:  # the network's and the Hub's have no common root
            raise DownloadError(f"{address}: cannot be fetched: {first_line(error)}") from error
    missing = " and no ".join(names)
    raise WeightsError(f"{address}: has no {missing}; expected a repository of `quickstroke publish --hub`")
