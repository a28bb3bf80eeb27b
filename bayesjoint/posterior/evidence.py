"""Evidence of a posterior: what its sampler noted, or a bridge from its chains."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bayesjoint.infer.evidence import Evidence, check_priors, noted
from bayesjoint.posterior.pointwise import matched, whole

if TYPE_CHECKING:
    from bayesjoint.posterior.posterior import Posterior

__all__ = ["log_evidence"]


def log_evidence(post: Posterior, draws: int, seed: int) -> Evidence:
    """Log evidence of a posterior (see `Posterior.log_evidence`).

    Raises
    ------
    ValueError
        Where a prior is improper, or the draws are of the posterior itself and there is no scene, or there are too few of them.
    """
    whole(draws, "draws", 100)
    whole(seed, "seed", 0)
    if post.scene is not None:
        check_priors(post.scene)
    method, several = post.info.get("log_evidence_method"), len(post.info.get("maxima", [])) > 1
    weighed = "log_evidence" in post.info and method in (None, "closed form")
    if several and "log_evidence" not in post.info:
        raise ValueError("A log evidence of several maxima needs more draws about each of them, and proper priors: draw more.")
    if not weighed and not several and post.scene is not None:
        from bayesjoint.infer.bridge import bridged

        scene, theta = matched(post, "a log evidence")
        post.info.update(bridged(scene, theta, post._groups["sample_stats"]["lp"].values, int(draws), int(seed)))
    if "log_evidence" not in post.info:
        raise ValueError(
            "This posterior holds no log evidence (it was loaded from a file, and its sampler noted none): load the scene with"
            " bj.Scene.load(path, images) and set post.scene."
        )
    found = noted(post.info)
    return Evidence(found.value, found.error, found.method, found.k_hat, [*found.words, *_doubts(post, weighed)])


def _doubts(post: Posterior, weighed: bool) -> list[str]:
    """That chains are not to be trusted; weights speak for themselves."""
    if weighed or post.converged:
        return []
    return ["The draws themselves are not to be trusted: " + " ".join(post.reasons)]
