"""Pages: what images, scenes, fits and posteriors show of themselves in a notebook."""

from __future__ import annotations

import base64
import html
import io
from typing import TYPE_CHECKING, Any

from bayesjoint.posterior.words import rounded

if TYPE_CHECKING:
    from bayesjoint.images import Image
    from bayesjoint.infer.fit import Fit
    from bayesjoint.posterior.posterior import Posterior

__all__ = ["fit_page", "image_page", "picture", "posterior_page"]

MANY = 40
"""Rows of a table that are shown."""


def picture(fig: Any, dpi: int = 72) -> str:
    """A figure as an HTML image with its pixels in it."""
    out = io.BytesIO()
    fig.savefig(out, format="png", dpi=dpi)
    return f'<img alt="" style="max-width:100%" src="data:image/png;base64,{base64.b64encode(out.getvalue()).decode()}">'


def image_page(im: Image) -> str:
    """An image's picture, and what it says of itself."""
    from bayesjoint.plots.image import image

    return f"{picture(image(im).figure)}<pre>{html.escape(repr(im))}</pre>"


def fit_page(best: Fit) -> str:
    """A fit's values with their errors, how it ended, and its residuals at a glance."""
    rows = [(n, rounded(best.values[n], best.errors[n]), best.scene.units[n]) for n in best.names]
    noise = [(k, f"{n.chi2:.3f}", f"{n.scatter:.3f}") for k, n in best.noise.items()]
    return "".join(
        [
            f"<p><b>Fit</b>: χ² {best.chi2:.2f} for {best.dof} degrees of freedom.</p><p>{'<br>'.join(html.escape(line) for line in best.message.splitlines())}</p>",
            _table(("parameter", "value", "unit"), rows),
            _table(("image", "reduced χ²", "scatter / σ"), noise),
        ]
    )


def posterior_page(post: Posterior) -> str:
    """A posterior's verdict, and its summary."""
    chains, draws, _ = post.theta.shape
    verdict = "Converged." if post.converged else "NOT converged: " + " ".join(post.reasons)
    s = post.summary()
    rows = [
        (n, rounded(r["mean"], r["sd"]), r["unit"], f"{r['r_hat']:.3f}", f"{r['ess_bulk']:.0f}", f"{r['ess_tail']:.0f}", r["flags"])
        for n, r in s.iterrows()
    ]
    return (
        f"<p><b>Posterior</b> by {html.escape(str(post.info.get('sampler')))}: {chains} chain{'s' * (chains != 1)} of {draws} draws.</p>"
        f"<p>{html.escape(verdict)}</p>" + _table(("parameter", "mean ± sd", "unit", "R-hat", "bulk ESS", "tail ESS", "flags"), rows)
    )


def _table(head: tuple[str, ...], rows: list[tuple[Any, ...]]) -> str:
    cells = "".join("<tr>" + "".join(f"<td>{html.escape(str(c))}</td>" for c in row) + "</tr>" for row in rows[:MANY])
    more = f"<p>... and {len(rows) - MANY} more.</p>" if len(rows) > MANY else ""
    return f"<table><thead><tr>{''.join(f'<th>{html.escape(h)}</th>' for h in head)}</tr></thead><tbody>{cells}</tbody></table>{more}"
