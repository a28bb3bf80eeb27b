"""Pointwise: the log likelihood of every pixel under every draw, in blocks of pixels that fit in memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from bayesjoint.threads import few_threads

if TYPE_CHECKING:
    from bayesjoint.posterior.posterior import Posterior
    from bayesjoint.scene.scene import Scene

__all__ = ["BLOCK_MEMORY", "blocks", "matched", "spread", "whole"]

BLOCK_MEMORY = 256
"""Megabytes that a block of log likelihoods takes, unless told otherwise."""


def whole(value: Any, what: str, least: int) -> int:
    """A whole number of at least `least`; else one sentence."""
    try:
        if int(value) == value and value >= least:
            return int(value)
    except (TypeError, ValueError):
        pass
    raise ValueError(f"{what} is to be a whole number of at least {least}, and {value!r} came.")


def matched(post: Posterior, what: str) -> tuple[Scene, np.ndarray]:
    """The scene of a posterior, and its draws (chains, draws, n) in the order of that scene's sites.

    Raises
    ------
    ValueError
        If there is no scene, or its sites are not the posterior's.
    """
    if post.scene is None:
        raise ValueError(
            f"A posterior loaded from a file has no images for {what}: load the scene with bj.Scene.load(path, images) and set post.scene."
        )
    if set(post.scene.names) != set(post.names):
        odd = sorted(set(post.scene.names) ^ set(post.names))
        raise ValueError(f"The sites of post.scene are not those of the draws: {', '.join(odd[:5])} {'is' if len(odd) == 1 else 'are'} in one alone.")
    return post.scene, post.theta[:, :, [post.names.index(n) for n in post.scene.names]]


def _index(scene: Scene, name: str) -> int:
    """Where the image `name` is among the scene's."""
    from bayesjoint.scene.layout import suggest

    names = [im.name for im in scene.images]
    if name not in names:
        raise ValueError(f"There is no image {name!r}." + suggest(str(name), names))
    return names.index(name)


def spread(theta: np.ndarray, draws: int | None) -> np.ndarray:
    """About `draws` of the draws (chains, draws, n), equally spaced along every chain; all of them for None."""
    chains, count = theta.shape[:2]
    if draws is None or whole(draws, "draws", 1) >= chains * count:
        return theta
    each = min(count, -(-int(draws) // chains))
    return theta[:, np.linspace(0, count - 1, each).round().astype(int)]


def blocks(scene: Scene, theta: np.ndarray, image: str, memory: float) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Log likelihood of an image's unmasked pixels, some pixels at a time.

    Parameters
    ----------
    theta : ndarray, shape (s, n)
        Values of the sites, in the order of ``scene.names``.
    image : str
        Name of the image.
    memory : float
        Megabytes that a block may take. The image is drawn for every draw once a block.

    Yields
    ------
    rows, columns : ndarray of int, shape (m,)
        Which pixels.
    log_likelihood : ndarray, shape (m, s)
        With all constants, in image units.

    Raises
    ------
    ValueError
        If the image is not there, or the memory is less than a megabyte.
    """
    if not memory >= 1:
        raise ValueError(f"memory is to be a number of megabytes of at least 1, and {memory!r} came.")
    term = scene.likelihoods[_index(scene, image)]
    rows, columns = np.nonzero(term.image.valid)
    different, back = np.unique(theta, axis=0, return_inverse=True)  # resampled draws recur
    back = back.ravel()
    size = max(1, int(memory * 1e6 / (8 * max(len(theta), 1))))
    for first in range(0, rows.size, size):
        part = slice(first, first + size)
        where = torch.as_tensor(rows[part] * term.image.shape[1] + columns[part]).to(scene.device)
        out = np.empty((len(theta), len(where)))
        with few_threads(term.image.data.size), torch.no_grad():
            for k, row in enumerate(different):
                full = scene.full(torch.as_tensor(row, dtype=scene.dtype).to(scene.device))
                out[back == k] = term.pointwise(full).reshape(-1)[where].cpu().double().numpy()
        yield rows[part], columns[part], out.T
