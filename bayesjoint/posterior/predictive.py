"""Predictive: images that the model makes with each draw's values, and log likelihoods pixel by pixel, for ArviZ."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
import xarray as xr

from bayesjoint.log import log
from bayesjoint.posterior.pointwise import BLOCK_MEMORY, blocks, matched, spread, whole
from bayesjoint.threads import few_threads

if TYPE_CHECKING:
    from bayesjoint.posterior.posterior import Posterior

__all__ = ["add_log_likelihood", "drawn", "predictive"]


def predictive(post: Posterior, draws: int, seed: int, memory: float) -> dict[str, np.ndarray]:
    """Images from the posterior predictive distribution: the model at each draw's values, and noise.

    They are also kept as the group ``posterior_predictive`` of ``post.arviz`` (one chain of dimensions (chain, draw, y, x) an image, named as
    in ``observed_data``), and saved with the posterior; a second call replaces them.

    Parameters
    ----------
    draws : int
        Images of each, at draws equally spaced along every chain.
    seed : int
        Of the noise.
    memory : float
        Megabytes above which to refuse.

    Returns
    -------
    dict of ndarray, shape (draws, ny, nx)
        By image, in image units; masked pixels have model and noise too.

    Raises
    ------
    ValueError
        If there is no scene, or the images would take more than `memory`.
    """
    scene, theta = matched(post, "predictions")
    theta = drawn(theta, draws)
    whole(seed, "seed", 0)
    _afford(len(theta) * sum(im.data.size for im in scene.images), memory, "the predicted images")
    rng = np.random.default_rng((seed, 2017))
    out = {im.name: np.empty((len(theta), *im.shape)) for im in scene.images}
    for k, row in enumerate(theta):
        full = scene.full(torch.as_tensor(row, dtype=scene.dtype).to(scene.device))
        for term in scene.likelihoods:
            with few_threads(term.image.data.size), torch.no_grad():
                out[term.image.name][k] = term.model(full).cpu().double().numpy() + term.draw_noise(full, rng)
    data = xr.Dataset(
        {f"image[{n}]": (("chain", "draw", f"y_{n}", f"x_{n}"), v[None]) for n, v in out.items()},
        coords={"chain": [0], "draw": np.arange(len(theta))},
    )
    post.add_group("posterior_predictive", data)
    return out


def add_log_likelihood(post: Posterior, memory: float) -> None:
    """Add the log likelihood of every pixel to the group ``log_likelihood`` of ``post.arviz``, for ArviZ's own functions.

    An image's variable ``image[name]`` has the dimensions (chain, draw, pixel_name): the unmasked pixels alone, with their ``row_name`` and
    ``column_name`` as coordinates, so that ``arviz.loo(post.arviz, var_name="image[name]")`` counts no masked ones. `Posterior.loo` gives the
    same in bounded memory, without this.

    Parameters
    ----------
    memory : float
        Megabytes above which to refuse.

    Raises
    ------
    ValueError
        If there is no scene, or the numbers would take more than `memory`.
    """
    scene, theta = matched(post, "pointwise log likelihoods")
    chains, count, n = theta.shape
    _afford(chains * count * sum(int(im.valid.sum()) for im in scene.images), memory, "the pointwise log likelihoods")
    group = post._groups["log_likelihood"]
    for im in scene.images:
        rows, columns = np.nonzero(im.valid)
        values, first = np.empty((chains * count, rows.size)), 0
        for part, _, block in blocks(scene, theta.reshape(-1, n), im.name, BLOCK_MEMORY):
            values[:, first : first + len(part)] = block.T
            first += len(part)
        dim = f"pixel_{im.name}"
        group = group.assign({f"image[{im.name}]": (("chain", "draw", dim), values.reshape(chains, count, -1))})
        group = group.assign_coords({f"row_{im.name}": (dim, rows), f"column_{im.name}": (dim, columns)})
    post.add_group("log_likelihood", group)


def drawn(theta: np.ndarray, draws: int) -> np.ndarray:
    """Exactly `draws` of the draws (or all there are), shape (draws, n), spread over the chains."""
    return spread(theta, whole(draws, "draws", 1)).swapaxes(0, 1).reshape(-1, theta.shape[-1])[: int(draws)]


def _afford(numbers: int, memory: float, what: str) -> None:
    size = numbers * 8 / 1e6
    if not size <= memory:
        raise ValueError(f"{what[0].upper()}{what[1:]} would take {size:.0f} MB, and memory={memory:g} allows less: take fewer draws, or allow more.")
    log.info("%s take %.1f MB.", what, size)
