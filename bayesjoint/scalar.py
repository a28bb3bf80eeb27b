"""Scalars of the hot path: Python floats on the CPU, where a 0-d tensor costs more than its arithmetic; tensors elsewhere.

The same formulas serve both: on other devices nothing here waits for the device.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch

__all__ = ["New", "Scalar", "add_scaled", "columns_of", "cos_sin", "dot", "log", "numbers", "pack"]

Scalar = float | torch.Tensor

New = Callable[[torch.Tensor], torch.Tensor]
"""Gives a buffer like a tensor, to write into."""


def numbers(p: torch.Tensor) -> list[Scalar]:
    """A vector's elements as floats (CPU) or 0-d tensors."""
    return p.tolist() if p.device.type == "cpu" else list(p.unbind())


def pack(values: Sequence[Scalar], like: torch.Tensor) -> torch.Tensor:
    """Scalars as a vector of the dtype and on the device of `like`."""
    if like.device.type == "cpu":
        return torch.tensor([float(v) for v in values], dtype=like.dtype)
    return torch.stack([torch.as_tensor(v, dtype=like.dtype, device=like.device) for v in values])


def cos_sin(degrees: Scalar) -> tuple[Scalar, Scalar]:
    """Cosine and sine of an angle in degrees."""
    if isinstance(degrees, float):
        return math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    angle = torch.deg2rad(degrees)
    return torch.cos(angle), torch.sin(angle)


def log(x: Scalar) -> Scalar:
    """Natural logarithm."""
    return math.log(x) if isinstance(x, float) else torch.log(x)


def add_scaled(target: torch.Tensor, x: torch.Tensor, factor: Scalar) -> torch.Tensor:
    """Add ``factor * x`` to a tensor in place."""
    return target.add_(x, alpha=factor) if isinstance(factor, float) else target.addcmul_(x, factor)


def columns_of(f: Callable[[torch.Tensor], torch.Tensor], p: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """A function's value (...), and its derivatives by each element of a vector, shape (n, ...).

    In reverse mode, twice: the gradient of a weighted sum is linear in the weights, and its slopes by them are the columns. Forward
    mode gives the same, and takes up to ten times as long for its work on each operation (torch 2.13).
    """
    if not p.numel():
        value = f(p)
        return value, value.new_zeros(0, *value.shape)
    with torch.enable_grad():
        leaf = p.detach().requires_grad_(True)
        value = f(leaf)
        weights = torch.zeros_like(value, requires_grad=True)
        # of sums, not with weights as grad_outputs: torch would check those by importing sympy, which takes a second
        (grad,) = torch.autograd.grad((value * weights).sum(), leaf, create_graph=True)
        columns = [torch.autograd.grad(g, weights, retain_graph=True)[0] for g in grad.unbind()]
    return value.detach(), torch.stack(columns)


def dot(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Sum of products, in double precision: a log likelihood is to be right to far below 1 however many pixels there are."""
    a, b = a.reshape(-1), b.reshape(-1)
    return a.dot(b) if a.dtype == torch.float64 else (a * b).sum(dtype=torch.float64)
