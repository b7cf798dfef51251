"""The small network that the benchmarks of scoring call, in a module of its own: only who calls it loads PyTorch."""

from __future__ import annotations

import torch


class Network(torch.nn.Module):
    """32 numbers in, one out."""

    def __init__(self) -> None:
        """The same weights in each process."""
        super().__init__()
        torch.manual_seed(0)
        self.layers = torch.nn.Sequential(torch.nn.Linear(32, 64), torch.nn.ReLU(), torch.nn.Linear(64, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """A number for each row."""
        return self.layers(x)
