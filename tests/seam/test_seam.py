"""The seam does the same with ArviZ 0.2x and 1.x; these tests need no torch."""

import subprocess
import sys

import numpy as np
import pytest
import xarray as xr
from loaded import HERE, draws, groups, ratios, seam
from scipy.special import logsumexp

# of ArviZ 0.23.4; 1.3.0 gives them too
KNOWN = {
    "r_hat": ([1.0269465973894962, 1.0045650581106935, 1.0616431914366065], [1.0130527935942217, 1.012843144130553, 1.0653988712565492]),
    "bulk_ess": ([160.52827281658156, 1024.6204124279373, 52.77839561707074], [366.2249327320377, 262.09199049696434, 28.533586968702657]),
    "tail_ess": ([1207.134968313976, 1174.0682048918045, 243.34913216885965], [199.8472224725128, 259.628212684095, 245.63032109650626]),
    "mean_ess": ([157.74761613190273, 1025.482962653332, 53.47106804201273], [376.85759632981984, 264.66786621120025, 28.83233974598659]),
}
K_HAT = {400: [0.43261517512902764, 0.2604730207373653, 0.7179514693068509], 90: [0.4833245203669884, 0.6574749223500153, 0.7545161076091826]}
SQUARES = [1.8920944188467106, 1.6338192219016805, 2.7611204537776834]


def test_it_needs_no_torch():
    code = "import sys; from loaded import draws, seam; print(*seam.r_hat(draws())); assert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, timeout=300, cwd=HERE)
    assert done.returncode == 0 and np.allclose([float(v) for v in done.stdout.split()], KNOWN["r_hat"][0]), done.stderr


@pytest.mark.parametrize("name", KNOWN)
def test_diagnostics_are_those_of_either_arviz(name):
    f, (four, one) = getattr(seam, name), KNOWN[name]
    assert np.allclose(f(draws()), four, rtol=1e-6, atol=0) and np.allclose(f(draws()[:1]), one, rtol=1e-6, atol=0)
    assert np.isnan(f(draws()[:2, :3])).all()


def test_k_hat_and_weights_are_those_of_either_arviz_where_their_tails_are_as_long():
    for count, k_hat in K_HAT.items():
        log_weights, k = seam.psis(ratios(count))
        assert np.allclose(k, k_hat, rtol=1e-6) and np.allclose(logsumexp(log_weights, axis=1), 0, atol=1e-12)
    assert np.allclose((np.exp(seam.psis(ratios(400))[0]) ** 2).sum(1) * 400, SQUARES, rtol=1e-6)


def test_one_draw_more_in_the_tail_is_all_that_rounding_changes():
    assert np.allclose(seam.psis(ratios(1000))[1], [0.4977, 1.0488, 0.4909], atol=0.01)  # between the two ArviZ's


@pytest.mark.parametrize("true", [0.2, 0.5, 0.9])
def test_k_hat_is_the_index_of_a_pareto_tail(true):
    u = np.random.default_rng(4).random((20, 4000))
    k = seam.psis(-true * np.log(u))[1]
    assert abs(k.mean() - true) < 0.05 and k.std() < 0.15


def test_what_cannot_be_smoothed_is_said_by_k_hat_and_never_nan():
    lw = ratios(400)
    assert seam.psis(np.zeros((1, 100)))[1].tolist() == [-np.inf]
    assert seam.psis(lw[:, :10])[1].tolist() == [np.inf] * 3
    assert seam.psis(np.r_[np.zeros(500), -np.arange(500.0)][None])[1].tolist() == [np.inf]  # a tail of equals
    for tied in (np.repeat(lw[:, :100], 10, axis=1), np.r_[np.full(25, 5.0), np.zeros(50), -np.arange(925.0)][None]):
        log_weights, k = seam.psis(tied)
        assert np.isfinite(log_weights).all() and not np.isnan(k).any() and np.allclose(logsumexp(log_weights, axis=1), 0, atol=1e-12)
    w, k = seam.pareto_smooth(np.r_[lw[0], -np.inf])
    assert w.sum() == pytest.approx(1) and w[-1] < 1e-300 and np.isfinite(k)
    assert seam.pareto_smooth(np.full(50, -np.inf))[1] == np.inf


@pytest.mark.parametrize("chains", [1, 4])
def test_groups_go_into_arviz_and_back(chains):
    made = groups(chains)
    data = seam.container(made)
    assert type(data).__name__ == ("DataTree" if seam.is_modern() else "InferenceData")
    assert data.posterior["galaxy.flux"].sizes["band"] == 2 and data["observed_data"]["image[g]"].shape == (6, 5)
    back = seam.groups_of(data)
    assert set(back) == set(made)
    for name, group in made.items():
        xr.testing.assert_identical(back[name], group)


def test_files_are_read_back_and_by_arviz(tmp_path):
    import arviz

    path = tmp_path / "post.nc"
    for _ in range(2):  # a file that is there is replaced
        seam.save_groups(groups(), path)
    back = seam.load_kind(path, "posterior")
    for name, group in groups().items():
        xr.testing.assert_identical(back[name].drop_encoding(), group)
    data = arviz.from_netcdf(path)
    assert np.array_equal(data["posterior"]["galaxy.x"].values, draws()[:, :, 0]) and np.isnan(data["observed_data"]["image[g]"].values[2, 3])
    with pytest.raises(ValueError, match="holds no calibration"):
        seam.load_kind(path, "calibration")
    path.write_bytes(b"no netCDF")
    with pytest.raises(OSError, match="cannot be read as netCDF"):
        seam.load_kind(path, "posterior")


def test_leave_one_out_of_arviz_is_that_of_psis():
    import arviz

    ll = groups()["log_likelihood"]["image[g]"].values.reshape(-1, 30).T
    log_weights, k = seam.psis(-ll)
    options = {"var_name": "image[g]", "reff": 1.0, "pointwise": True}
    there = arviz.loo(seam.container(groups()), **options)
    assert float(there.elpd if seam.is_modern() else there.elpd_loo) == pytest.approx(logsumexp(log_weights + ll, axis=1).sum(), rel=1e-6)
    assert np.allclose(there.pareto_k.values, k, atol=1e-6)


@pytest.mark.parametrize("kind", ["trace", "rank"])
@pytest.mark.parametrize("chains", [1, 4])
def test_arviz_draws_chains(kind, chains, recwarn):
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    axes = seam.chain_axes(kind, seam.container(groups(chains)), ["galaxy.x", "galaxy.flux"], {})
    assert isinstance(axes, np.ndarray)
    titles = " ".join(ax.get_title() for ax in axes.ravel())
    assert "galaxy.x" in titles and "galaxy.flux" in titles
    axes.ravel()[0].figure.canvas.draw()
    assert not [w for w in recwarn if "arviz" in str(w.filename) and "Future" in w.category.__name__]
    pyplot.close("all")
