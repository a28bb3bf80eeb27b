"""The ArviZ seam: the one file that knows which ArviZ is there (0.2x or 1.x). Imports without torch.

Groups are plain xarray Datasets on this side; on the other they are an InferenceData (0.x) or a DataTree (1.x).
"""

from __future__ import annotations

import pathlib
import warnings
from typing import Any

import numpy as np
import xarray as xr
from scipy.special import logsumexp

__all__ = ["bulk_ess", "chain_axes", "container", "groups_of", "load_kind", "mean_ess", "pareto_smooth", "psis", "r_hat", "save_groups", "smoothed", "tail_ess"]

FEWEST = 25
"""Draws below which there is no tail to smooth."""
FLAT = 1e-9
"""Log ratios are alike where they differ by less."""
PLATEAU_K, PLATEAU, SHORT_TAIL = 0.5, 0.1, 16.0
"""Pareto k from which on a tail is looked at; rise of the logarithm in its lower half below which it is a plateau, where 0.5 ln 2 and more are
due; what its length is divided by then, squared."""
TAILS = (0.05, 0.95)
"""Quantiles whose effective sample size is the tails'; left to itself ArviZ 1.x takes those of its 89 % intervals."""


def _arviz() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        import arviz

    return arviz


def is_modern() -> bool:
    """Whether ArviZ is 1.x."""
    return int(_arviz().__version__.split(".")[0]) >= 1


def container(groups: dict[str, xr.Dataset]) -> Any:
    """Datasets by group as what this ArviZ works on."""
    if is_modern():
        return xr.DataTree.from_dict({f"/{k}": v for k, v in groups.items()})
    return _arviz().InferenceData(**groups)


def groups_of(data: Any) -> dict[str, xr.Dataset]:
    """Datasets by group of an InferenceData or DataTree."""
    if isinstance(data, xr.DataTree):
        return {k: v.to_dataset() for k, v in data.children.items()}
    return {k: getattr(data, k) for k in data.groups()}


def save_groups(groups: dict[str, xr.Dataset], path: Any) -> None:
    """Write groups as netCDF 4 that both ArviZ read; replaces the file."""
    mode = "w"
    for name, data in groups.items():
        data.to_netcdf(
            path,
            group=name,
            mode=mode,
            engine="h5netcdf",
            encoding={k: {"zlib": True, "complevel": 1} for k, v in data.variables.items() if v.dtype.kind in "fiu" and v.size > 1},
        )
        mode = "a"


def load_kind(path: Any, kind: str) -> dict[str, xr.Dataset]:
    """Read the groups of a file of ours into memory: of a `kind` that is also the name of its first group and stands in that one's attributes.

    Raises
    ------
    OSError
        If the file is missing or not netCDF.
    ValueError
        If it holds nothing of this kind, or another version.
    """
    if not pathlib.Path(path).is_file():
        raise FileNotFoundError(f"There is no file {str(path)!r} to load a {kind} from.")
    try:
        groups = _groups(path)
    except OSError as e:
        raise OSError(f"{str(path)!r} cannot be read as netCDF: {e}") from e
    attrs = groups[kind].attrs if kind in groups else {}
    if attrs.get("bayesjoint") != kind or int(attrs.get("version", 0)) != 1:
        raise ValueError(f"{str(path)!r} holds no {kind} written by this version of bayesjoint.")
    return groups


def _groups(path: Any) -> dict[str, xr.Dataset]:
    import h5netcdf

    with h5netcdf.File(path, "r") as f:
        names = list(f.groups)
    out = {}
    for name in names:
        with xr.open_dataset(path, group=name, engine="h5netcdf") as d:
            out[name] = d.load()
    return out


def _dataset(x: np.ndarray) -> xr.Dataset:
    """Draws (chains, draws, k) as a Dataset that either ArviZ takes."""
    return xr.Dataset({"x": (("chain", "draw", "k"), x)}, coords={"chain": np.arange(x.shape[0]), "draw": np.arange(x.shape[1])})


def _diagnose(name: str, x: np.ndarray, **options: Any) -> np.ndarray:
    if x.shape[0] * x.shape[1] < 8 or x.shape[1] < 4:
        return np.full(x.shape[2], np.nan)
    if x.shape[0] == 1:  # ArviZ wants two chains: the halves of one
        half = x.shape[1] // 2
        x = np.concatenate([x[:, :half], x[:, half : 2 * half]])
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        return np.asarray(getattr(_arviz(), name)(_dataset(x), **options)["x"].values, dtype=float)


def r_hat(x: np.ndarray) -> np.ndarray:
    """Rank-normalised split R-hat of draws (chains, draws, k) (Vehtari et al. 2021)."""
    return _diagnose("rhat", x)


def bulk_ess(x: np.ndarray) -> np.ndarray:
    """Bulk effective sample size of draws (chains, draws, k)."""
    return _diagnose("ess", x, method="bulk")


def tail_ess(x: np.ndarray) -> np.ndarray:
    """Tail effective sample size of draws (chains, draws, k): the smaller of its 5 % and 95 % quantiles'."""
    return _diagnose("ess", x, method="tail", prob=TAILS)


def mean_ess(x: np.ndarray) -> np.ndarray:
    """Effective sample size of draws (chains, draws, k) for their mean."""
    return _diagnose("ess", x, method="mean")


def pareto_smooth(log_weights: np.ndarray) -> tuple[np.ndarray, float]:
    """Pareto-smoothed importance weights, summing to 1, and k-hat; inf where nothing can be weighed."""
    lw = np.asarray(log_weights, dtype=float)
    if not np.isfinite(lw).any():
        return np.full(lw.size, 1 / lw.size), float("inf")
    lw = np.where(np.isfinite(lw), lw, np.nanmin(lw[np.isfinite(lw)]) - 1e3)
    smooth, k = smoothed(lw)
    w = np.exp(smooth - np.max(smooth))
    return w / w.sum(), k


def smoothed(log_ratios: np.ndarray) -> tuple[np.ndarray, float]:
    """`psis` of the finite log ratios (s,) of one target.

    Where a proposal covers most of the target well, most of the largest ratios are alike: a plateau
    with a few above it, to which no Pareto distribution fits. The tail is then taken shorter.
    """
    smooth, k = psis(log_ratios[None])
    tail = np.sort(log_ratios)[-int(np.ceil(3 * np.sqrt(log_ratios.size))) :]
    if k[0] > PLATEAU_K and np.median(tail) - tail[0] < PLATEAU:
        smooth, k = psis(log_ratios[None], SHORT_TAIL)
    return smooth[0], float(k[0])


def psis(log_ratios: np.ndarray, r_eff: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Pareto-smoothed importance sampling of many targets at once (Vehtari et al. 2024, JMLR 25, 72).

    Parameters
    ----------
    log_ratios : ndarray, shape (m, s)
        Finite logarithms of the importance ratios of s draws.
    r_eff : float
        Effective sample size over s: how long a tail is smoothed.

    Returns
    -------
    log_weights : ndarray, shape (m, s)
        Smoothed, their exponentials summing to 1; ratios below the tail keep their proportions.
    k_hat : ndarray, shape (m,)
        -inf where all ratios are alike, inf where there are too few draws to tell. The two ArviZ agree but for how they round the number of draws
        in the tail, 3 sqrt(s / r_eff): 0.x up, 1.x down.
    """
    lw = log_ratios - log_ratios.max(1, keepdims=True)
    k = np.full(len(lw), np.inf if lw.shape[1] < FEWEST else -np.inf)
    flat = (lw.min(1) > -FLAT) | (lw.shape[1] < FEWEST)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        if is_modern():
            from arviz_stats.base import array_stats

            for i in np.flatnonzero(~flat):
                try:  # it takes log likelihoods: minus the ratios
                    lw[i], k[i] = array_stats.psislw(-lw[i], r_eff=r_eff)
                except ValueError:  # a tail of equal ratios
                    k[i] = np.inf
        elif not flat.all():
            lw[~flat], k[~flat] = _arviz().psislw(lw[~flat], r_eff)
    k[np.isnan(k)] = np.inf  # 1.x: a quarter of the tail is equal
    return lw - logsumexp(lw, axis=1, keepdims=True), k


def chain_axes(
    kind: str, data: Any, parameters: list[str], options: dict[str, Any], units: dict[str, str] | None = None, colours: tuple[str, ...] = ()
) -> np.ndarray:
    """Draw ``arviz.plot_trace`` or ``plot_rank`` of an InferenceData or DataTree.

    Parameters
    ----------
    kind : {"trace", "rank"}
        Ranks of one chain are those of its halves.
    data : InferenceData or DataTree
        As `container` makes it.
    parameters : list of str
        Variables of its posterior.
    options : dict
        For ArviZ.
    units : dict, optional
        By variable, for the titles of 0.x.
    colours : tuple of str, optional
        Of chains, in 0.x; without them all is as ArviZ has it.

    Returns
    -------
    ndarray of Axes
        In whatever shape ArviZ has them.
    """
    posterior = groups_of(data)["posterior"]
    if colours and not is_modern():
        options = {**_style(kind, posterior, parameters, units or {}, colours), **options}
    if kind == "rank" and posterior.sizes["chain"] == 1:
        data = container({"posterior": _halves(posterior[parameters])})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.filterwarnings("default", message=".*plot.max_subplots")  # that it leaves some out
        made = getattr(_arviz(), f"plot_{kind}")(data, var_names=parameters, **options)
    return np.array(made.viz["figure"].item().axes) if is_modern() else np.atleast_1d(made)


def _style(kind: str, posterior: xr.Dataset, parameters: list[str], units: dict[str, str], colours: tuple[str, ...]) -> dict[str, Any]:
    """Options for ArviZ 0.x: a panel a site, its name and unit above, its chains in colours, and a page that is not too wide."""
    from arviz.labels import BaseLabeller

    class Labeller(BaseLabeller):
        def make_label_vert(self, var_name: Any, sel: dict[str, Any], isel: dict[str, Any]) -> str:
            name = self.make_label_flat(var_name, sel, isel)
            return f"{name} ({units[var_name]})" if units.get(var_name) else name

    sites = sum(posterior[p].isel(chain=0, draw=0).size for p in parameters)
    cycle = [colours[k % len(colours)] for k in range(posterior.sizes["chain"] + 1)]
    if kind == "trace":
        return {"labeller": Labeller(), "compact": False, "chain_prop": {"color": cycle}, "figsize": (10, 1.9 * min(sites, 20) + 0.3)}
    columns = min(3, sites)
    rows = -(-min(sites, 40) // columns)
    return {"labeller": Labeller(), "colors": cycle[: max(2, len(cycle) - 1)], "grid": (rows, columns), "figsize": (3.6 * columns, 2.4 * rows)}


def _halves(posterior: xr.Dataset) -> xr.Dataset:
    """The halves of one chain as two."""
    n = posterior.sizes["draw"] // 2
    return xr.concat(
        [posterior.isel(draw=slice(k * n, (k + 1) * n)).assign_coords(chain=[k], draw=np.arange(n)) for k in (0, 1)], "chain", join="exact"
    )
