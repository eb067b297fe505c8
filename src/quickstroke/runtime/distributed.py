"""The processes that train one model together, as `torchrun` starts them; one alone is a group as well.

Each process runs the same program over its own share of every batch. What they say to each other is here.
"""

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist
import torch.distributed.distributed_c10d as c10d
from numpy.typing import NDArray
from torch import Tensor, nn

from quickstroke.errors import ConfigError, QuickstrokeError, TrainingError, first_line

Value = TypeVar("Value")
# Bytes that are summed at a time, so that an array as large as a dataset needs no copy of its size.
_CHUNK_BYTES = 1 << 24


@dataclass(frozen=True, slots=True)
class Group:
    """A process's place among `size` of them: its `rank`, from 0 on, and its `local_rank` on its machine.

    Every method but `part` is called by all of them at once.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0

    def part(self, items: Any) -> Any:
        """This process's share of a list or array: every `size`th item."""
        return items if self.size == 1 else items[self.rank :: self.size]

    def sum(self, value: float) -> float:
        """The sum over all processes, the same number in each."""
        return self.sums([value])[0]

    def sums(self, values: Sequence[float]) -> list[float]:
        """As `sum`, of several numbers at once."""
        if self.size == 1:
            return list(values)
        total = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(total)
        return [float(value) for value in total]

    def any(self, value: bool) -> bool:
        """Whether any process says so."""
        return self.sum(float(value)) > 0

    def all_reduce(self, *arrays: NDArray[Any]) -> None:
        """Fills arrays of one length of which each process has set rows that are 0 in all others, in place."""
        if self.size == 1:
            return
        for array in arrays:
            n_rows = max(1, _CHUNK_BYTES // max(1, array[:1].nbytes))
            for begin in range(0, len(array), n_rows):
                dist.all_reduce(torch.from_numpy(array[begin : begin + n_rows]))

    def run_on_first(self, run: Callable[[], Value]) -> Value:
        """What `run` gives in process 0, in all of them; an error of the user's there is raised in all of them."""
        if self.size == 1:
            return run()
        said: list[Any] = [None, None]
        if self.rank == 0:
            try:
                said[0] = run()
            except QuickstrokeError as error:
                said[1] = str(error)
                dist.broadcast_object_list(said)
                raise
        dist.broadcast_object_list(said)
        if said[1] is not None:
            raise Elsewhere(said[1])
        value: Value = said[0]
        return value

    def broadcast(self, tensors: Iterable[Tensor]) -> None:
        """Gives all processes the numbers that process 0 has in its tensors, in place."""
        if self.size == 1:
            return
        with torch.no_grad():
            for tensor in tensors:
                dist.broadcast(tensor, 0)

    def sum_gradients(self, model: nn.Module) -> None:
        """Makes each gradient of a model the sum of those of all processes, in one exchange: models are small."""
        if self.size == 1:
            return
        parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        own = [torch.zeros_like(each) if each.grad is None else each.grad for each in parameters]
        total = torch.cat([gradient.flatten() for gradient in own])
        dist.all_reduce(total)
        for parameter, gradient in zip(parameters, torch.split(total, [each.numel() for each in own]), strict=True):
            parameter.grad = gradient.view_as(parameter)


ALONE = Group()


class Elsewhere(TrainingError):
    """An error that process 0 has met and told of."""


class Lost(TrainingError):
    """Another process has gone in the middle of what all do together."""


def join() -> Group:
    """The group that `torchrun` has put this process into, by the environment that it sets; else `ALONE`.

    Raises:
        ConfigError: the environment is not torchrun's, or the others cannot be reached.
    """
    try:
        size = int(os.environ.get("WORLD_SIZE", "1"))
        rank, local_rank = int(os.environ.get("RANK", "0")), int(os.environ.get("LOCAL_RANK", "0"))
    except ValueError as error:
        raise ConfigError(f"RANK, LOCAL_RANK and WORLD_SIZE should be torchrun's whole numbers: {error}") from error
    if size < 2:
        return ALONE
    if not dist.is_initialized():
        # Numbers and arrays go by way of the CPU whatever the gradients do.
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
        try:
            dist.init_process_group(backend, store=_store(), rank=rank, world_size=size)
        except (RuntimeError, ValueError) as error:
            raise ConfigError(f"process {rank} of {size} cannot join the others: {first_line(error)}") from error
    return Group(rank, size, local_rank)


def _store() -> Any:
    """Where processes find each other's addresses; None for PyTorch's own.

    PyTorch keeps one store for all attempts of a `torchrun`, in which a process that is started again would find the
    addresses of those that have gone (https://github.com/pytorch/pytorch/issues/135712); each attempt has its own here.
    """
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
        return None
    address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    store = dist.TCPStore(address, port, is_master=False)  # type: ignore[attr-defined]
    return c10d.PrefixStore(f"attempt {os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", store)


def is_restart() -> bool:
    """Whether `torchrun` has started the processes again, after one of them was lost."""
    return os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") not in ("", "0")


def leave() -> None:
    """Ends what `join` began."""
    if dist.is_initialized():
        dist.barrier()
        dist.destroy_process_group()


@contextlib.contextmanager
def losing(group: Group) -> Iterator[None]:
    """Where another process has gone in the middle of a sum, that is said instead of what the network says.

    Raises:
        Lost: in place of the network's error.
    """
    try:
        yield
    except RuntimeError as error:
        if group.size == 1 or not _is_of_network(error):
            raise
        raise Lost(
            f"process {group.rank} of {group.size} has lost the others ({first_line(error)}); the run is as at its "
            "last checkpoint, and --resume goes on from it"
        ) from error


def _is_of_network(error: RuntimeError) -> bool:
    return isinstance(error, dist.DistError) or any(word in str(error).lower() for word in ("gloo", "connection"))


def seed_of_step(seed: int, epoch: int, step: int, rank: int) -> int:
    """For what is random in a step of one process of several, so that no generator's state need be kept for each."""
    return int(np.random.SeedSequence([seed, epoch, step, rank]).generate_state(1, np.uint64)[0] >> np.uint64(1))
