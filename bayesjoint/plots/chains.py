"""Chains: trace and rank plots, by ArviZ."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bayesjoint.posterior.posterior import Posterior

__all__ = ["rank", "trace"]


def trace(post: Posterior, parameters: list[str] | None = None, **options: Any) -> Any:
    """Draws of each chain in their order, by ``arviz.plot_trace``; returns what that returns.

    Parameters
    ----------
    post : Posterior
        The draws.
    parameters : list of str, optional
        Parameters by name (``"galaxy.flux"``, with all its bands); default, all but the skies'.
    **options
        For ArviZ.
    """
    return _by_arviz("plot_trace", post, parameters, options)


def rank(post: Posterior, parameters: list[str] | None = None, **options: Any) -> Any:
    """Ranks of each chain's draws among all, by ``arviz.plot_rank``: uniform where chains agree (Vehtari et al. 2021, Bayesian Analysis 16, 667).

    Parameters
    ----------
    post, parameters, **options
        See `trace`.
    """
    return _by_arviz("plot_rank", post, parameters, options)


def _by_arviz(name: str, post: Posterior, parameters: list[str] | None, options: dict[str, Any]) -> Any:
    import arviz

    known = list(dict.fromkeys(s["parameter"] for s in post.meta["sites"]))
    if parameters is None:
        skies = {s["name"] for s in post.meta["sources"] if s["sky"]}
        parameters = [p for p in known if p.rpartition(".")[0] not in skies] or known
    for p in parameters:
        if p not in known:
            post.draws(p)  # says which there are
            raise ValueError(f"ArviZ's plots take parameters with all their bands, and {p!r} is one site: take {p.split('[')[0]!r}.")
    return getattr(arviz, name)(post.arviz, var_names=parameters, **options)
