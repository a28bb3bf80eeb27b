"""Chain: one Markov chain of Pyro's NUTS kernel, whose draws are written down as they come: each with all that the next one needs."""

from __future__ import annotations

import pathlib
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
import pyro
import torch
from pyro.infer.mcmc.nuts import NUTS

from bayesjoint.infer.targets import Target
from bayesjoint.log import log
from bayesjoint.threads import threads

__all__ = ["STATS", "ChainTask", "run_chain"]

STATS = ("lp", "energy", "n_steps", "diverging", "acceptance_rate", "step_size", "warmup_steps", "log_weight")
"""What is kept of each draw beside its z and log likelihoods."""
STEADY = 1.1
"""Step on a posterior that is nearly a unit Normal: a sixth of a turn and a little more, so that three go half round and a draw lands on the far
side."""
BURN_IN, ADAPTATION = 30, 100
"""Steps that warm a chain up: to forget its start, and to find its step size as well."""
DENSITY, PRECISION = 0.05, {torch.float64: 1e-9, torch.float32: 1e-5}
"""Difference in a stored draw's log density up to which it is of the model at hand: the same fit made elsewhere draws images a little otherwise."""
SELDOM, ACCEPT = 0.5, 0.8
"""Acceptance below which steady steps are given up, and the one that is aimed at then. It makes steps of half the length, 5 to 7 gradients a draw,
which follow walls and bends without divergences."""


@dataclass
class ChainTask:
    """What a chain needs: what to draw from, numbers, and where to write.

    A `warmup` of None is `BURN_IN` steps in steady steps, `ADAPTATION` where the step size is adapted. So it is where `target_accept`, the
    acceptance at which it aims, is given, or where steady steps (`STEADY` long) are taken too seldom.
    """

    target: Target
    chain: int
    seed: int
    draws: int
    warmup: int | None
    target_accept: float | None
    folder: str
    threads: int

    @property
    def rows(self) -> pathlib.Path:
        """File of finished draws, float64 rows of (z, log likelihoods, stats, whitened coordinates, checksum)."""
        return pathlib.Path(self.folder) / f"chain_{self.chain}.rows"

    @property
    def width(self) -> int:
        """Numbers in a row."""
        return len(self.target.scene.names) + len(self.target.scene.images) + len(STATS) + len(self.target) + 1

    def done(self) -> int:
        """Draws finished so far."""
        return self.rows.stat().st_size // (8 * self.width) if self.rows.exists() else 0


class _Kernel(NUTS):
    """Pyro's NUTS, which notes each transition's energy."""

    energy: float | None = None

    def _kinetic_energy(self, r_unscaled: Any) -> Any:
        e = super()._kinetic_energy(r_unscaled)
        if self.energy is None:
            self.energy = float(e)
        return e

    def sample(self, params: Any) -> Any:
        self.energy = None
        before = self._potential_energy_last
        out = super().sample(params)
        self.energy += float(before) if before is not None else float("nan")
        return out


def run_chain(task: ChainTask, watch: Callable[[], None]) -> None:
    """Run (or go on with) one chain to its end; draws land in `task.rows`, and `watch` is called before each.

    The same seed gives the same draws, whether or not the chain was stopped on the way.
    """
    with task.rows.with_suffix(".lock").open("w") as lock, threads(task.threads):
        _alone(lock)
        _run_chain(task, watch)


def _alone(lock: IO[str]) -> None:
    """Wait until no other process writes this chain: one whose run was killed ends after its draw."""
    try:
        import fcntl
    except ImportError:  # not on this system
        return
    fcntl.flock(lock, fcntl.LOCK_EX)


def _run_chain(task: ChainTask, watch: Callable[[], None]) -> None:
    target, like = task.target, task.target.center
    calls = 0

    def potential(params: dict[str, torch.Tensor]) -> torch.Tensor:
        nonlocal calls
        calls += 1
        value = -target.log_density(target.flat(params["y"]))
        return torch.where(torch.isfinite(value), value, torch.full_like(value, float("inf")))

    with torch.random.fork_rng(devices=[]), pyro.validation_enabled(False):
        last = _last(task)
        _seed(task, 0)
        if last is None:
            y = 0.5 * torch.randn(len(target), dtype=like.dtype).to(like.device)
            kernel, params, warmup = _warm(task, potential, y, watch)
            task.rows.write_bytes(b"")
        else:
            stats, y = last
            kernel, params, warmup = _kernel(potential, y, 0, stats["step_size"]), {"y": y}, 0
        warmup_steps = calls if last is None else stats["warmup_steps"]
        with task.rows.open("ab") as out:
            for k in range(task.done(), task.draws):
                watch()
                _seed(task, k + 1)
                before, divergences = calls, len(kernel._divergences)
                mean_accept = kernel._mean_accept_prob
                params = kernel.sample(params)
                t = kernel._t - warmup
                accept = kernel._mean_accept_prob * t - (mean_accept * (t - 1) if t > 1 else 0.0)
                y = params["y"].detach()
                place = target.flat(y)
                target.settle(place)
                z, ll, log_weight, lp = target.finish(place, torch.randn(target.noise, dtype=torch.float64))
                stats = [float(lp), kernel.energy, calls - before, len(kernel._divergences) - divergences, accept, kernel.step_size, warmup_steps]
                stats.append(float(log_weight))
                row = np.concatenate([*(v.cpu().double().numpy() for v in (z, ll)), stats, y.cpu().double().numpy()]).tobytes()
                out.write(row + np.float64(zlib.crc32(row)).tobytes())
                out.flush()


def _seed(task: ChainTask, draw: int) -> None:
    """Random numbers of a draw (0 for those of the warm-up): its own, so that a chain goes on from any draw as if it had not stopped."""
    seed = int(np.random.SeedSequence((task.seed, draw)).generate_state(1, np.uint64)[0] >> 1)
    if task.target.center.device.type == "cpu":  # the same numbers; torch's own way to all devices takes most of a millisecond
        torch.default_generator.manual_seed(seed)
    else:
        torch.manual_seed(seed)


def _warm(task: ChainTask, potential: Any, y: torch.Tensor, watch: Callable[[], None]) -> tuple[_Kernel, dict[str, torch.Tensor], int]:
    """A kernel and where it is after its warm-up, of so many steps."""
    params = {"y": y}
    for aim in dict.fromkeys((task.target_accept, task.target_accept or ACCEPT)):
        steps = (ADAPTATION if aim else BURN_IN) if task.warmup is None else task.warmup
        kernel = _kernel(potential, params["y"].detach(), steps, *((1.0, aim) if aim and steps else (STEADY,)))
        for _ in range(steps):
            watch()
            params = kernel.sample(params)
            task.target.settle(task.target.flat(params["y"]))
        if kernel._mean_accept_prob >= SELDOM or not steps:
            break
    return kernel, params, steps


def _kernel(potential: Any, y: torch.Tensor, warmup: int, step: float, aim: float | None = None) -> _Kernel:
    """A kernel at whitened coordinates, of this step or, where it is to aim at an acceptance, one that begins with it."""
    adapted = {"adapt_step_size": aim is not None, "target_accept_prob": aim or ACCEPT}
    kernel = _Kernel(potential_fn=potential, step_size=step, adapt_mass_matrix=False, max_tree_depth=8, **adapted)
    kernel.initial_params = {"y": y}
    kernel.setup(warmup)
    return kernel


def _last(task: ChainTask) -> tuple[dict[str, float], torch.Tensor] | None:
    """Statistics and whitened coordinates of the last finished draw; None if there is none.

    What lies behind the last whole row, and all from the first damaged one on, is cut off, to be drawn anew.

    Raises
    ------
    ValueError
        For draws that have another log density than they were stored with.
    """
    done, target = task.done(), task.target
    if not done:
        return None
    rows = np.fromfile(task.rows, count=done * task.width).reshape(done, task.width)
    good = [zlib.crc32(row[:-1].tobytes()) == row[-1] for row in rows]
    whole = done if all(good) else good.index(False)
    if whole < done:
        log.warning("%s: %d of %d draws are damaged, or follow one that is; they are drawn anew.", task.rows, done - whole, done)
    with task.rows.open("r+b") as f:
        f.truncate(whole * 8 * task.width)
    if not whole:
        return None
    for k in {0, whole // 2, whole - 1}:
        _check_density(task, rows[k])
    row, k = rows[whole - 1, :-1], len(target)
    stats = dict(zip(STATS, row[-k - len(STATS) : -k].tolist(), strict=True))
    return stats, torch.tensor(row[-k:], dtype=target.center.dtype, device=target.center.device)


@torch.no_grad()
def _check_density(task: ChainTask, row: np.ndarray) -> None:
    """Refuse a draw that has another log density in the scene than it was stored with: it is of another model."""
    scene = task.target.scene
    n, i = len(scene.names), len(scene.images)
    z = torch.as_tensor(row[:n], dtype=scene.dtype).to(scene.device)
    now = np.append(*(v.cpu().double().numpy() for v in scene.log_parts(z)))
    before = np.append(row[n : n + i], row[n + i + STATS.index("lp")] - row[n : n + i].sum())
    off = np.abs(now - before).max()
    if not off < DENSITY + PRECISION[scene.dtype] * np.abs(before).max():
        raise ValueError(
            f"The checkpoint {task.folder!r} belongs to another run (a draw's log density is off by {off:.3g}): name a new folder, or remove this one."
        )
