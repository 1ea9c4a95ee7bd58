"""Several processes in a test, which meet without a port that another program could take in between."""

from __future__ import annotations

import random
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch.multiprocessing.spawn import start_processes


def on_ranks(function: Callable[..., Any], directory: Path, *arguments: Any, world: int = 2) -> list[Any]:
    """``function(rank, world, *arguments)`` in `world` forked processes joined by gloo; what each gives, by rank.

    They meet in a file of `directory`: a port that was free when it was asked for may be taken when it is used.
    """
    start_processes(_work, args=(world, directory, function, arguments), nprocs=world, start_method="fork")
    return [torch.load(directory / f"rank{rank}.pt", weights_only=False) for rank in range(world)]


def _work(rank: int, world: int, directory: Path, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{directory}/store", rank=rank, world_size=world)
    torch.save(function(rank, world, *arguments), directory / f"rank{rank}.pt")
    dist.barrier()  # the file and the connections stay until all are done
    dist.destroy_process_group()


def unused_port() -> int:
    """For programs that want a number: below the range from which the system serves those who ask for any port."""
    while True:
        port = random.SystemRandom().randrange(20_000, 32_000)
        with socket.socket() as found:
            try:
                found.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
