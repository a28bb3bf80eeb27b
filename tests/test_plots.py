"""Plots: what they show is what the fit and the posterior hold; those that cannot be made say why."""

import dataclasses
import warnings

import numpy as np
import pytest
import xarray as xr
from astropy.coordinates import SkyCoord
from conftest import TRUTH, small_scene
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import bayesjoint as bj
from bayesjoint import plots
from bayesjoint.plots.style import COLOURS, surface_brightness
from bayesjoint.plots.subject import Subject
from bayesjoint.posterior.words import rounded


@pytest.fixture(scope="module")
def best():
    return small_scene().fit(progress=False)


@pytest.fixture(scope="module")
def post(best):
    return best.laplace(draws=300, seed=1)


@pytest.fixture(scope="module")
def epochs():
    """A star in four epochs, dark in one of them."""
    images = [
        bj.Image(np.zeros((41, 41)), sigma=1.0, pixel_scale=0.3, psf=bj.PSF.gaussian(3.0), zeropoint=25.0, band=b, name=f"e{k}", epoch=60000 + 10 * k)
        for k, b in enumerate("grgr")
    ]
    scene = bj.Scene([bj.Point("sn", x=0.1, y=-0.2, flux=bj.Param(per="image")), bj.Sky()], images)
    values = dict.fromkeys(scene.names, 0.0) | {f"sn.flux[e{k}]": f for k, f in enumerate((2e4, 3e4, 0.0, 1e4))}
    return scene.with_images(scene.simulate(values, 3)).fit(progress=False).laplace(400, seed=1)


def drawn(axes):
    """All axes are of one figure, which can be drawn without a word."""
    axes = list(np.atleast_1d(np.asarray(axes, dtype=object)).ravel())
    assert all(isinstance(a, Axes) for a in axes) and len({id(a.figure) for a in axes}) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        axes[0].figure.canvas.draw()
    return axes


@pytest.mark.parametrize("make", [
    lambda b, p, ax: plots.image(b.scene.images[0], ax),
    lambda b, p, ax: plots.image(b.scene.images[0], ax, scale="mag"),
    lambda b, p, ax: plots.profile(b, "galaxy", ax, draws=5),
    lambda b, p, ax: plots.profile(p, "galaxy", ax, draws=5),
    lambda b, p, ax: plots.sed(b, ax=ax),
    lambda b, p, ax: plots.sed(p, "galaxy", ax=ax),
    lambda b, p, ax: plots.history(b, ax),
], ids=["image", "image in mag", "profile of a fit", "profile of a posterior", "sed of a fit", "sed of a posterior", "history"])  # fmt: skip
def test_each_takes_axes_and_returns_them(best, post, make):
    own = Figure().subplots()
    assert make(best, post, own) is own
    for ax in drawn(make(best, post, None)):
        assert ax.get_xlabel() and ax.get_ylabel() and ax.get_title()


def test_negative_pixels_have_a_surface_brightness_and_it_is_the_usual_one_where_bright(best):
    im = best.scene.images[0]
    light = np.array([-5.0, 0.0, 1e6]) * im.typical_sigma
    mu = surface_brightness(im, light)
    assert np.isfinite(mu).all() and (np.diff(mu) < 0).all()
    assert mu[2] == pytest.approx(im.zeropoint - 2.5 * np.log10(light[2] / im.pixel_scale**2), abs=1e-6)


def test_masked_pixels_are_shown_as_masked(best):
    im = best.scene.images[0].replace(mask=np.arange(best.scene.images[0].data.size).reshape(best.scene.images[0].shape) % 7 == 0)
    shown = plots.image(im).images[0].get_array()
    assert (np.ma.getmaskarray(shown) == im.mask).all()
    model = plots.image(im, data=np.ones(im.shape)).images[0].get_array()
    assert not np.ma.getmaskarray(model).any()
    assert plots.image(im).get_legend().get_texts()[0].get_text() == "masked"
    assert plots.image(best.scene.images[0]).get_legend() is None
    residual = plots.image(im, data=np.ones(im.shape), scale="sigma").images[0].get_array()
    assert (np.ma.getmaskarray(residual) == im.mask).all()


def test_arrows_point_north_and_east():
    """Of an image that is turned by 30 degrees."""
    from astropy.wcs import WCS

    w = WCS(naxis=2)
    w.wcs.ctype, w.wcs.crval, w.wcs.crpix = ("RA---TAN", "DEC--TAN"), (10.0, 20.0), (20.5, 20.5)
    c, s = np.cos(np.radians(30)), np.sin(np.radians(30))
    w.wcs.cd = 0.3 / 3600 * np.array([[-c, s], [s, c]])
    im = bj.Image(np.random.default_rng(0).normal(size=(40, 40)), sigma=1.0, wcs=w, zeropoint=25.0)
    ax = plots.image(im)
    at = {t.get_text(): np.array(t.get_position()) for t in ax.texts if t.get_text() in ("N", "E")}
    corner = np.array([0.82 * 40 - 19.5, 0.16 * 40 - 19.5]) * im.pixel_scale
    for word, direction in (("N", (0, 1 / 3600)), ("E", (1 / 3600 / np.cos(np.radians(20)), 0))):
        px = np.array(w.world_to_pixel(SkyCoord(10.0 + direction[0], 20.0 + direction[1], unit="deg"))) - 19.5
        arrow = at[word] - corner
        assert np.degrees(np.arccos(px @ arrow / np.linalg.norm(px) / np.linalg.norm(arrow))) < 0.1
    sky = plots.image(im, sky=True)
    assert sky.wcs is not None
    drawn(sky)


def test_panels_show_data_model_and_residuals(best):
    axes = plots.panels(best.scene.images, best.model_images(), best.residuals())
    assert axes.shape == (len(best.scene.images), 3)
    for row, im in zip(axes, best.scene.images, strict=True):
        assert np.allclose(row[1].images[0].get_array(), best.model_images()[im.name])
        assert np.allclose(row[2].images[0].get_array(), best.residuals()[im.name])
    drawn(axes)
    assert isinstance(best.plot(), Figure)


def test_components_sum_to_the_model(best):
    models = best.model_images()
    for name, parts in best.scene.render_components(best.values).items():
        assert np.allclose(sum(parts.values()), models[name], rtol=1e-10, atol=1e-10 * np.abs(models[name]).max())
    axes = drawn(plots.components(best))
    assert [a.get_title() for a in axes[1:]] == ["galaxy"]


def test_a_profile_lies_on_its_model(best):
    """Points of a simulated galaxy scatter about the line by their errors."""
    ax = plots.profile(best, "galaxy", images=[best.scene.images[0].name], draws=5)
    line = next(x for x in ax.lines if len(x.get_xdata()) > 5 and x.get_linestyle() == "-" and x.get_marker() == "None")
    (points, _, bars) = ax.containers[0]
    x, y = points.get_data()
    half = np.array([np.ptp(seg[:, 1]) / 2 for seg in bars[0].get_segments()])
    z = (y - np.interp(x, *line.get_data())) / half
    assert len(x) > 5 and np.sqrt(np.mean(z**2)) < 1.6 and np.abs(z).max() < 4


def test_a_light_curve_shows_fluxes_and_limits(epochs):
    ax = plots.light_curve(epochs, "sn")
    table = epochs.light_curve("sn")
    assert sorted(np.concatenate([c[0].get_xdata() for c in ax.containers])) == [60000, 60010, 60020, 60030]
    limits = [x for x in ax.lines if x.get_marker() == "v" and len(x.get_xdata())]
    assert [x.get_xdata().tolist() for x in limits] == [[60020.0]] and limits[0].get_ydata()[0] == pytest.approx(table["upper_limit"].value[2])
    drawn(ax)


def test_the_only_source_needs_no_name(best, epochs):
    assert plots.profile(best, draws=5).get_title() == "galaxy"
    assert plots.light_curve(epochs).get_title() == "sn"
    both = Subject.of(best)
    both = dataclasses.replace(both, meta={**both.meta, "sources": [*both.meta["sources"], {"name": "star", "sky": False}]})
    with pytest.raises(ValueError, match="A profile is of one source, and there are 2: name one of 'galaxy', 'star'"):
        plots.profile(both)


def test_legends_say_what_lines_and_triangles_are(best, epochs):
    words = [t.get_text() for t in plots.profile(best, draws=5).get_legend().get_texts()]
    assert words[:3] == ["g", "i", "model through the PSF (band: 68 %)"]
    limits = any(len(x.get_xdata()) for x in plots.profile(best, draws=5).lines if x.get_marker() == "v")
    assert ("limit of 2 σ" in words) == limits
    assert "upper limit" in [t.get_text() for t in plots.light_curve(epochs).get_legend().get_texts()]


def test_powers_of_ten_stand_in_the_label():
    """And not beyond the axis's end, where they lie on something else."""
    im = bj.Image(np.random.default_rng(0).normal(scale=1e-11, size=(20, 20)), sigma=1e-11, pixel_scale=0.3, name="faint")
    ax = plots.image(im)
    bar = ax.images[0].colorbar
    ax.figure.canvas.draw()
    assert "10^{-11}" in bar.ax.get_ylabel() or "10^{-10}" in bar.ax.get_ylabel()
    assert not bar.ax.yaxis.get_offset_text().get_text()
    assert all(abs(float(t.get_text().replace("−", "-"))) < 100 for t in bar.ax.get_yticklabels())
    assert "10^" not in plots.image(im.replace(data=im.data * 1e11, sigma=1.0)).images[0].colorbar.ax.get_ylabel()


def test_one_flux_is_legible():
    """A bright source in one band: no offset on either axis."""
    ax = plots.sed(small_scene().fit(progress=False), "galaxy")
    for axes in ax.figure.axes:
        axes.figure.canvas.draw()
        assert not axes.yaxis.get_offset_text().get_text()
    assert ax.get_ylabel() == "flux ($10^{5}$ nJy)"
    shown = [float(text.get_text()) for text in ax.get_yticklabels(minor=True) + ax.get_yticklabels() if text.get_text()]
    low, high = ax.get_ylim()
    assert sum(low < 1e5 * v < high for v in shown) >= 3


def test_colour_needs_three_images(best):
    if len(best.scene.images) != 3:
        with pytest.raises(ValueError, match="needs three images"):
            plots.colour(best)
    with pytest.raises(ValueError, match=r"the scene has 2 bands \(g, i\): name three by images="):
        plots.colour(best)
    with pytest.raises(ValueError, match=r"and 1 came \(i\)"):
        plots.colour(best, ["i"])
    names = [im.name for im in best.scene.images]
    axes = drawn(plots.colour(best, (names * 3)[:3]))
    finest = min(best.scene.images, key=lambda im: im.pixel_scale)
    data, model = (np.asarray(ax.images[0].get_array()).astype(float) for ax in axes)
    place = best.scene.frame.to_pixel(finest.placement, best.values["galaxy.x"], best.values["galaxy.y"])
    for rgb in (data, model):
        assert rgb.shape == (*finest.shape, 3) and rgb.max() > 180
        peak = np.unravel_index(rgb.sum(-1).argmax(), finest.shape)
        assert np.hypot(peak[1] - place[0], peak[0] - place[1]) < 2


def test_a_corner_plot_names_all_and_shows_the_prior(post):
    fig = post.corner(["galaxy.q", "galaxy.n"], truths=TRUTH)
    diagonal = np.array(fig.axes).reshape(2, 2).diagonal()
    assert [ax.get_title().split("\n")[0] for ax in diagonal] == ["galaxy.q", "galaxy.n"]
    with_prior, without = (np.array(f.axes).reshape(2, 2)[1, 1] for f in (fig, post.corner(["galaxy.q", "galaxy.n"], truths=TRUTH, priors=False)))
    assert len(with_prior.lines) == len(without.lines) + 1
    assert [t.get_text() for t in fig.legends[0].get_texts()] == ["16, 50, 84 % quantiles", "prior", "truth"]
    assert "prior" not in [t.get_text() for t in post.corner(["galaxy.q", "galaxy.n"], priors=False).legends[0].get_texts()]


def test_tick_labels_of_a_corner_plot_do_not_touch(post):
    fig = post.corner(["galaxy.x", "galaxy.q", "galaxy.pa", "galaxy.n", "galaxy.flux"])
    fig.canvas.draw()
    for ax in fig.axes:
        for (low, high), ticks in ((ax.get_xlim(), ax.get_xticks()), (ax.get_ylim(), ax.get_yticks())):
            assert all(low + 0.09 * (high - low) < t < high - 0.09 * (high - low) for t in ticks)
    assert post.corner(["galaxy.q"]).axes[0].get_legend() is not None


def test_arviz_draws_traces_and_ranks(post):
    from matplotlib import pyplot

    for make in (plots.trace, plots.rank):
        assert make(post, ["galaxy.q"]) is not None
        with pytest.raises(ValueError, match="no parameter"):
            make(post, ["galaxy.nothing"])
    pyplot.close("all")


def test_traces_and_ranks_name_bands_and_units_and_colour_chains(post):
    from matplotlib import colors, pyplot

    from bayesjoint.posterior import arviz_seam

    if arviz_seam.is_modern():
        pytest.skip("ArviZ 1.x has titles and colours of its own")
    traces = plots.trace(post, ["galaxy.r_eff", "galaxy.flux"])
    assert [ax.get_title() for ax in traces[:, 0]] == ["galaxy.r_eff (arcsec)", "galaxy.flux[g] (nJy)", "galaxy.flux[i] (nJy)"]
    assert traces[-1, 1].get_xlabel() == "draw" and all(ax.get_ylabel() == "density" for ax in traces[:, 0])
    drawn(traces)
    assert not any(a.get_offset_text().get_text() for ax in traces.ravel() for a in (ax.xaxis, ax.yaxis))
    ranks = plots.rank(post)
    assert "galaxy.flux[g]" in [ax.get_title() for ax in ranks.ravel()] and ranks.ravel()[0].figure.get_figwidth() < 12
    x = np.random.default_rng(0).normal(size=(4, 50))
    four = arviz_seam.container({"posterior": xr.Dataset({"x": (("chain", "draw"), x)}, coords={"chain": range(4), "draw": range(50)})})
    for kind in ("trace", "rank"):
        ax = arviz_seam.chain_axes(kind, four, ["x"], {}, {}, COLOURS).ravel()[-1]
        seen = [line.get_color() for line in ax.lines] if kind == "trace" else [bar.get_facecolor() for bar in ax.patches]
        assert {colors.to_hex(c).upper() for c in seen} == set(COLOURS[:4])
    pyplot.close("all")


@pytest.mark.parametrize(("make", "said"), [
    (lambda b, p: plots.profile(b, "galxy"), "no source 'galxy'. Did you mean 'galaxy'"),
    (lambda b, p: plots.sed(b, "star"), "no source 'star'"),
    (lambda b, p: plots.components(b, "nowhere"), "no image 'nowhere'"),
    (lambda b, p: plots.image(b.scene.images[0], scale="log"), "'asinh', 'mag' or 'sigma'"),
    (lambda b, p: plots.image(b.scene.images[0], data=np.ones((3, 3))), "of its shape"),
    (lambda b, p: plots.image(b.scene.images[0].replace(zeropoint=None), scale="mag"), "has no zeropoint"),
    (lambda b, p: plots.light_curve(p, "galaxy"), "no flux by image"),
    (lambda b, p: plots.light_curve(p), "No source has a flux by image"),
], ids=["source", "source of an sed", "image", "scale", "shape", "zeropoint", "light curve", "no light curve"])  # fmt: skip
def test_what_cannot_be_drawn_says_why(best, post, make, said):
    with pytest.raises(ValueError, match=said):
        make(best, post)


def test_what_is_no_fit_is_refused(best):
    with pytest.raises(TypeError, match="of a Fit or a Posterior, and Scene came"):
        plots.sed(best.scene)


def test_a_loaded_posterior_shows_what_needs_no_images(post, tmp_path):
    post.save(tmp_path / "post.nc")
    loaded = bj.load(tmp_path / "post.nc")
    drawn(plots.sed(loaded))
    with pytest.raises(ValueError, match="has no images to plot"):
        plots.profile(loaded, "galaxy")


def test_figures_show_themselves_without_pyplot(best, post):
    for figure in (best.plot(), plots.image(best.scene.images[0]).figure, post.corner(["galaxy.q", "galaxy.n"])):
        assert figure._repr_png_().startswith(b"\x89PNG")


def test_pages_of_a_notebook_name_every_parameter(best, post):
    for page in (best._repr_html_(), post._repr_html_()):
        assert all(n in page for n in best.names) and page.count("<tr>") == page.count("</tr>")
    assert "data:image/png" in best.scene.images[0]._repr_html_()


@pytest.mark.parametrize(("value", "error", "said"), [
    (12.3456, 0.0512, "12.346 ± 0.051"), (1234567.0, 1200.0, "(1.2346 ± 0.0012)e6"), (0.0, 0.5, "0.00 ± 0.50"), (3.0, 0.0, "3"),
    (5.0, float("nan"), "5"), (170.2, 31.0, "170 ± 31"),
])  # fmt: skip
def test_values_are_rounded_to_their_errors(value, error, said):
    assert rounded(value, error) == said
