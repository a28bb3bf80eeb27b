"""PSFs of every kind, held to the tools that made them; wrong ones are said, right ones silent."""

import gzip
import logging
import re
import sys
import types
import warnings

import numpy as np
import pytest
from astropy.io import fits
from astropy.nddata import NDData
from astropy.table import Table

import bayesjoint as bj
from bayesjoint.images import psf_files
from bayesjoint.images.psf import VaryingPSF
from bayesjoint.images.psf_field import CellField, FunctionField, GridField, PolynomialField
from bayesjoint.images.psf_files import from_hdu, inspect, to_hdu


# -- helpers ---------------------------------------------------------------------------------------
@pytest.fixture
def surveys(data):
    folder = data / "surveys"
    if not folder.is_dir():
        pytest.skip(f"the survey files are not at {folder}")
    return folder


@pytest.fixture
def said(caplog):
    """Warnings logged so far, as one text each."""
    caplog.set_level(logging.WARNING, "bayesjoint")
    return lambda: [r.getMessage() for r in caplog.records]


def moffat(n=25, step=1.0, fwhm=3.4, q=1.0):
    """An effective PSF by midpoints of pixels' parts, `step` pixels a sample, of axis ratio q."""
    parts = (np.arange(8) + 0.5) / 8 - 0.5
    x = (np.arange(n) - (n - 1) / 2) * step
    out = np.zeros((n, n))
    for dy in parts:
        for dx in parts:
            r2 = (x + dx) ** 2 + ((x + dy) / q)[:, None] ** 2
            out += (1 + r2 * (2 ** (1 / 3) - 1) * 4 / fwhm**2) ** -3
    return out / out.sum()


def quiet(source, **options):
    """The PSF and all that was decided, of which nothing is a warning."""
    psf, decisions = inspect(source, **options)
    assert not [d.text for d in decisions if d.warning]
    assert all(d.about == "PSF" for d in decisions)
    return psf, "; ".join(d.text for d in decisions)


def warned(source, word, **options):
    """The PSF, where just one warning has a word."""
    psf, decisions = inspect(source, **options)
    texts = [d.text for d in decisions if d.warning]
    assert len(texts) == 1, texts
    assert re.search(word, texts[0]), texts
    return psf


def refused(source, *words, **options):
    """One sentence or two that have all words, of no type of astropy's own."""
    with pytest.raises((ValueError, OSError, ImportError)) as e:
        inspect(source, **options)
    text = str(e.value)
    assert "\n" not in text and type(e.value).__module__ == "builtins", text
    for word in words:
        assert re.search(word, text), text
    return text


def point(psf, n, dx=0.0, dy=0.0):
    """A point's light at (dx, dy) from the middle of n x n pixels, by the transfer function."""
    k = 2 * np.pi * np.fft.fftfreq(16 * 128, 1 / 16)
    g = np.arange(n) - n // 2
    ey, ex = (np.exp(1j * np.outer(g - d, k)) for d in (dy, dx))
    return (ey @ psf.transfer(k, k) @ ex.T).real / 128**2


def samples(model, place, shape, oversampling):
    """Values of a photutils model at the samples of a PSF about a place."""
    oy, ox = oversampling
    y, x = ((np.arange(n) - (n - 1) / 2) / o for n, o in zip(shape, (oy, ox), strict=True))
    xx, yy = np.meshgrid(x + place[0], y + place[1])
    return model.evaluate(xx, yy, 1.0, place[0], place[1]) / (oy * ox)


def written(path, *hdus):
    primary = hdus and isinstance(hdus[0], fits.PrimaryHDU)
    fits.HDUList(list(hdus) if primary else [fits.PrimaryHDU(), *hdus]).writeto(
        path, overwrite=True
    )
    return path


def image(array, name=None, **cards):
    hdu = fits.ImageHDU(np.asarray(array), name=name)
    hdu.header.update(cards)
    return hdu


# -- PSFEx -----------------------------------------------------------------------------------------
PSFEX = (
    "c4d_140717_065122_ooi_i_ls11-S2-se.psf",
    "c4d_140818_002108_ooi_z_v1.ext27.psf",
    "decam-520206-S16-psfex.fits",
    "psfex-decam-00392360-S31.fits",
)
PLACES = ((0.0, 0.0), (1023.4, 2047.1), (2040.0, 17.0), (300.2, 3900.7), (1999.0, 4090.0))


def psfex(cube, degree, name="PSF_DATA", dim=True, **cards):
    """A PSFEx table of one CCD."""
    cube = np.asarray(cube, "f4")
    nk, ny, nx = cube.shape
    form = {"dim": f"({nx},{ny},{nk})"} if dim else {}
    hdu = fits.BinTableHDU.from_columns(
        [fits.Column("PSF_MASK", f"{cube.size}E", array=cube.reshape(1, -1), **form)], name=name
    )
    hdu.header.update({"PSF_SAMP": 1.0, "PSF_FWHM": 3.4, "ACCEPTED": 99, "PSFNAXIS": 3})
    hdu.header.update({"PSFAXIS1": nx, "PSFAXIS2": ny, "PSFAXIS3": nk})
    if degree:
        hdu.header.update(
            {"POLNAXIS": 2, "POLNGRP": 1, "POLDEG1": degree, "POLGRP1": 1, "POLGRP2": 1}
        )
        hdu.header.update({"POLNAME1": "X_IMAGE", "POLZERO1": 101.0, "POLSCAL1": 200.0})
        hdu.header.update({"POLNAME2": "YWIN_IMAGE", "POLZERO2": 151.0, "POLSCAL2": 300.0})
    else:
        hdu.header.update({"POLNAXIS": 0, "POLNGRP": 0})
    hdu.header.update(cards)
    return hdu


def components(nk, n=21):
    rng = np.random.default_rng(4)
    core = moffat(n)
    return np.stack([core, *(core * rng.normal(0, 0.1, core.shape) for _ in range(nk - 1))])


def merged(path, cubes, degrees, names, **columns):
    """A table of Legacy Surveys, a row a CCD, smaller models padded with zeros at their ends."""
    size = np.max([c.shape for c in cubes], axis=0)
    mask = np.zeros((len(cubes), *size), "f4")
    for row, c in zip(mask, cubes, strict=True):
        row[: c.shape[0], : c.shape[1], : c.shape[2]] = c
    n = len(cubes)
    values = {
        "psf_mask": mask, "expnum": np.full(n, 392360), "ccdname": names, "psf_samp": np.ones(n),
        "psf_fwhm": np.full(n, 3.4), "accepted": np.full(n, 99), "poldeg1": degrees,
        "polnaxis": [2 * (d > 0) for d in degrees], "polngrp": [int(d > 0) for d in degrees],
        "polname1": ["X_IMAGE" if d else "fake" for d in degrees],
        "polname2": ["Y_IMAGE" if d else "fake" for d in degrees],
        "polzero1": np.full(n, 101.0), "polzero2": np.full(n, 151.0),
        "polscal1": np.full(n, 200.0), "polscal2": np.full(n, 300.0),
        "psfaxis1": [c.shape[2] for c in cubes], "psfaxis2": [c.shape[1] for c in cubes],
        "psfaxis3": [c.shape[0] for c in cubes],
    }  # fmt: skip
    Table(values | columns).write(path, overwrite=True)
    return path


@pytest.mark.parametrize("name", PSFEX)
def test_psfex_equals_galsim_at_five_places(surveys, name, said):
    galsim = pytest.importorskip("galsim")
    path = surveys / "psfex" / name
    psf, text = quiet(path)
    theirs = pytest.importorskip("galsim.des").DES_PSFEx(str(path))
    h = fits.getheader(path, 1)
    assert psf.varies and psf.pixel_response == "native"
    assert np.allclose(psf.sampling, 1 / h["PSF_SAMP"])
    for part in (f"POLDEG {h['POLDEG1']}", "pixel response included", f"{h['PSF_FWHM']:.4g}"):
        assert part in text
    from_object, _ = quiet(theirs)
    for x, y in PLACES:
        stamp = theirs.getPSFArray(galsim.PositionD(x + 1, y + 1))
        stamp = stamp / stamp.sum(dtype=float)
        assert np.abs(psf.at(x, y).array - stamp).max() < 1e-6 * stamp.max()
        assert np.allclose(from_object.at(x, y).array, psf.at(x, y).array, atol=1e-12)
    assert not said()


def test_psfex_of_a_cut_out_takes_its_origin(surveys, said):
    path = surveys / "psfex" / PSFEX[0]
    whole, part = bj.PSF.read(path), bj.PSF.read(path, origin=(1000, 2000))
    assert np.array_equal(part.at(3.0, 4.0).array, whole.at(1003.0, 2004.0).array)
    assert not said()


def test_psfex_terms_run_over_x_first_and_count_from_one():
    cube = components(6)
    psf, _ = quiet(fits.HDUList([fits.PrimaryHDU(), psfex(cube, 2)]))
    x, y = 31.5, 200.25
    u, v = (x + 1 - 101) / 200, (y + 1 - 151) / 300
    wanted = np.tensordot([1, u, u**2, v, u * v, v**2], cube.astype("f4").astype(float), 1)
    assert np.allclose(psf.at(x, y).array, wanted / wanted.sum(), atol=1e-12)


def test_psfex_whose_first_axis_is_y():
    cube = components(3)
    cards = {"POLNAME1": "Y_IMAGE", "POLZERO1": 151.0, "POLSCAL1": 300.0}
    cards |= {"POLNAME2": "X_IMAGE", "POLZERO2": 101.0, "POLSCAL2": 200.0}
    psf, _ = quiet(psfex(cube[[0, 2, 1]], 1, **cards))
    wanted, _ = quiet(psfex(cube, 1))
    assert np.allclose(psf.at(30, 210).array, wanted.at(30, 210).array, atol=1e-12)


@pytest.mark.parametrize("samp", [0.5, 1.7])
def test_constant_psfex_of_any_sampling(samp):
    core = moffat(41, step=samp)
    hdu = psfex(core[None], 0, PSF_SAMP=samp, dim=False)
    psf, text = quiet(hdu)
    assert not psf.varies and np.isclose(psf.sampling[0], 1 / samp) and "constant" in text
    assert np.allclose(psf.array, core, atol=1e-8)
    wide = moffat(71, 0.25)  # the same PSF, finely
    truth = bj.PSF(wide, oversampling=4).fwhm
    assert abs(psf.fwhm / truth - 1) < 0.02


def test_psfex_of_several_ccds_is_chosen():
    tables = [psfex(components(3) * [[[k]]], 1, PSF_FWHM=float(k)) for k in (1, 2)]
    file = fits.HDUList([fits.PrimaryHDU(), *tables])
    refused(file, "several", r"\[1\], \[2\]", "chip")
    _, text = quiet(file, chip=2)
    assert "PSF_FWHM 2 " in text
    refused(file, "several", chip="S7")


def test_psfex_extension_in_the_path(tmp_path):
    path = written(
        tmp_path / "two.psf", *(psfex(components(3), 1, PSF_FWHM=float(k)) for k in (1, 2))
    )
    assert "PSF_FWHM 2 " in quiet(f"{path}[2]")[1]
    written(path, image(moffat(), "OTHER"), psfex(components(3), 1))
    assert quiet(f"{path}[OTHER]")[0].shape == (25, 25), "the path says which kind is read"
    assert quiet(path)[0].varies
    refused(f"{path}[PSF_DATA,7]", "PSF_DATA,7", "two")


def test_merged_psfex_of_legacy_surveys(tmp_path):
    cubes = components(6, 25), components(3), components(1)
    names = ["S29", "S30", "N4"]
    path = merged(tmp_path / "merged.fits", cubes, [2, 1, 0], names)
    refused(path, "3 CCDs", "S29/392360", "S30", "N4", "chip")
    refused(path, "S1", "S29/392360", chip="S1")
    for name, cube, degree in zip(names, cubes, (2, 1, 0), strict=True):
        psf, text = quiet(path, chip=name)
        single, _ = quiet(psfex(cube, degree))
        assert psf.shape == cube.shape[1:], "the padding is cut"
        assert np.allclose(psf.at(30, 40).array, single.at(30, 40).array, atol=1e-12)
        assert f"{name}/392360" in text
    for chip in ("s30 392360", ("392360", "S30"), "S30/392360"):
        assert quiet(path, chip=chip)[0].shape == (21, 21)
    one = merged(tmp_path / "one.fits", cubes[:1], [2], names[:1])
    assert quiet(one)[0].varies
    refused(one, "S29", chip="S30")


def test_psfex_with_nan_names_components_and_ccd(tmp_path):
    bad = components(6)
    bad[2, 3, 4] = bad[4, 5, 6] = np.nan
    refused(psfex(bad, 2), "components 2, 4", "NaN")
    path = merged(tmp_path / "merged.fits", (components(6), bad), [2, 2], ["S1", "S2"])
    refused(path, "components 2, 4", "S2", chip="S2")
    assert quiet(path, chip="S1")[0].varies


@pytest.mark.parametrize(
    ("cards", "word"),
    [
        ({"PSF_SAMP": 0.0}, "PSF_SAMP"),
        ({"PSF_SAMP": "one"}, "PSF_SAMP"),
        ({"POLNAME1": "X_WORLD"}, "X_WORLD"),
        ({"POLNAME2": "MAG_AUTO"}, "MAG_AUTO"),
        ({"POLNGRP": 2}, "group"),
        ({"POLSCAL1": 0.0}, "POLSCAL1"),
        ({"POLDEG1": 4}, "15 terms"),
        ({"PSFAXIS3": 2}, "component"),
        ({"POLDEG1": 0}, "1 component.*got 3"),
        ({"POLNGRP": 0}, "1 component.*got 3"),
        ({"POLNAXIS": 0}, "1 component.*got 3"),
    ],
)
def test_psfex_that_makes_no_sense_is_refused(cards, word):
    refused(psfex(components(3), 1, **cards), word)


@pytest.mark.parametrize("absent", [("POLNGRP",), ("POLNAXIS",), ("POLNGRP", "POLNAXIS")])
def test_psfex_varies_where_only_its_number_of_axes_is_not_stated(absent):
    hdu = psfex(components(3), 1)
    wanted = quiet(hdu)[0].at(30, 210).array
    for card in absent:
        del hdu.header[card]
    assert np.array_equal(quiet(hdu)[0].at(30, 210).array, wanted)
    double = psfex(components(3), 1, POLNAME1="X_IMAGE_DBL", POLNAME2="Y_IMAGE_DBL")
    assert np.array_equal(quiet(double)[0].at(30, 210).array, wanted)


def test_psfex_of_several_rows_asks_which():
    hdu, cube = psfex(components(3), 1), components(3)
    cubes = np.stack([cube, cube[[0, 2, 1]]])
    column = fits.Column("PSF_MASK", f"{cubes[0].size}E", dim="(21,21,3)", array=cubes)
    both = fits.BinTableHDU.from_columns([column], hdu.header, name="PSF_DATA")
    refused(both, "2 CCDs", "Give one of: 1, 2")
    for chip, one in ((1, cubes[0]), ("2", cubes[1])):
        wanted = quiet(psfex(one, 1))[0].at(30, 210).array
        assert np.array_equal(quiet(both, chip=chip)[0].at(30, 210).array, wanted)


def test_psfex_of_few_stars_is_said():
    warned(psfex(components(3), 1, ACCEPTED=3), "3 stars")
    refused(psfex(np.zeros((1, 9, 9)), 0), "positive sum")


# -- grids of places -------------------------------------------------------------------------------
def gridded(xs, ys, shape=(13, 13), oversampling=4):
    """A photutils model whose PSFs tell their places."""
    from photutils.psf import GriddedPSFModel

    places = [(x, y) for x in xs for y in ys]  # x slowest, as STPSF computes them
    stamps = np.stack([moffat(max(shape), 0.25, 2 + x / 999, 0.6 + y / 9999) for x, y in places])
    stamps = stamps[:, : shape[0], : shape[1]] * np.prod(np.broadcast_to(oversampling, 2))
    meta = {"grid_xypos": places, "oversampling": oversampling}
    return GriddedPSFModel(NDData(stamps, meta=meta)), stamps, places


def stpsf_grid(stamps, places, n=4, **cards):
    h = fits.PrimaryHDU(stamps)
    h.header.update({"INSTRUME": "NIRCam", "OVERSAMP": n, "DET_SAMP": n})
    for k, (x, y) in enumerate(places):
        h.header[f"DET_YX{k}"] = str((float(y), float(x)))
    h.header.update(cards)
    return fits.HDUList([h])


FIELD = ((-5.0, -5.0), (0.0, 0.0), (700.3, 120.9), (1500.0, 1999.0), (2047.0, 2100.0))


@pytest.mark.parametrize("version", ["1.2.1", "1.3.0", "2.2.0"])
def test_stpsf_grid_lies_where_it_was_computed_whoever_wrote_it(version):
    model, stamps, places = gridded((0, 1023, 2047), (0, 900, 2047))
    data = stamps if version == "1.2.1" else model.data  # since 1.3 sorted, the cards are not
    psf, text = quiet(stpsf_grid(data, places, VERSION=version), normalize=False)
    assert psf.varies and psf.pixel_response == "native" and psf.sampling == (4.0, 4.0)
    assert "9 places" in text and "pixel response included" in text
    for place in FIELD:
        wanted = samples(model, place, psf.shape, (4, 4))
        assert np.abs(psf.at(*place).array - wanted).max() < 1e-10
    normalized = bj.PSF.read(stpsf_grid(data, places, VERSION=version)).at(*FIELD[2]).array
    wanted = samples(model, FIELD[2], psf.shape, (4, 4))
    assert np.abs(normalized - wanted / wanted.sum()).max() < 1e-10


@pytest.mark.parametrize("cards", [{}, {"VERSION": "1.3.0.dev7"}, {"VERSION": "unknown"}])
def test_stpsf_grid_whose_order_is_not_known_is_said(cards):
    model, stamps, places = gridded((0, 1023), (0, 900))
    warned(stpsf_grid(stamps, places, **cards), "VERSION")
    by_row = sorted(places, key=lambda p: p[::-1])
    assert quiet(stpsf_grid(model.data, by_row, **cards))[0].varies  # either order is the same


def test_stpsf_grid_that_contradicts_itself():
    _, stamps, places = gridded((0, 1023), (0, 900))
    refused(stpsf_grid(stamps, places[:3], VERSION="2.0.0"), "DET_YX")
    refused(stpsf_grid(stamps, places, DET_YX1="here", VERSION="2.0.0"), "DET_YX1")
    no_factor = stpsf_grid(stamps, places, VERSION="2.0.0")
    for card in ("OVERSAMP", "DET_SAMP"):
        del no_factor[0].header[card]
    refused(no_factor, "OVERSAMP")
    two = {"OVERSAMP": 2, "DET_SAMP": 4, "VERSION": "2.0.0"}  # transforms', detector's
    assert quiet(stpsf_grid(stamps, places, FOVPIXEL=13 / 4, **two), oversampling=4)[0].varies
    warned(stpsf_grid(stamps, places, FOVPIXEL=7, **two), "differ")


def test_gridded_mock_files_of_stpsf(surveys):
    from photutils.psf import GriddedPSFModel

    path = surveys / "gridded_psf" / "nircam_nrca1_f200w_fovp101_samp4_npsf16_mock.fits"
    psf, text = quiet(path, normalize=False)
    assert "NIRCam NRCA1 F200W" in text and "16 places" in text
    data, h = fits.getdata(path), fits.getheader(path)
    yx = [tuple(float(v) for v in h[f"DET_YX{k}"].strip("()").split(",")) for k in range(16)]
    meta = {"grid_xypos": [p[::-1] for p in yx], "oversampling": 4}
    model = GriddedPSFModel(NDData(data, meta=meta))
    for place in FIELD:
        assert np.abs(psf.at(*place).array - samples(model, place, (5, 5), (4, 4))).max() < 1e-10
    one, text = quiet(surveys / "gridded_psf" / "nircam_nrcb4_f150w_fovp101_samp4_npsf1_mock.fits")
    assert not one.varies and one.sampling == (4.0, 4.0)


STDPSFS = {
    "STDPSF_NRCA1_F150W_mock.fits": [(None, None)],
    "STDPSF_ACSWFC_F814W_mock.fits": [("WFC2", 1), ("ACS/WFC1", 2)],
    "STDPSF_WFC3UV_F814W_mock.fits": [("UVIS2", 1), ("uvis1", 2)],
    "STDPSF_NRCSW_F150W_mock.fits": [
        *((f"A{k}", k) for k in range(1, 5)), *((f"NRCB{k - 4}", k) for k in range(5, 9)), (8, 8),
    ],
}  # fmt: skip


def stdpsf_equals_photutils(path, chip, number):
    from photutils.psf import stdpsf_reader

    psf, text = quiet(path, chip=chip, normalize=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = stdpsf_reader(str(path), detector_id=number)
    assert psf.sampling == (4.0, 4.0) and psf.pixel_response == "native"
    assert "4 samples a pixel" in text
    for place in ((0.0, 0.0), (333.3, 444.4), (790.0, 12.0), (1800.2, 2100.0)):
        wanted = samples(model, place, psf.shape, (4, 4))
        assert np.abs(psf.at(*place).array - wanted).max() < 1e-10


@pytest.mark.parametrize("name", STDPSFS)
def test_stdpsf_equals_photutils(surveys, name):
    for chip, number in STDPSFS[name]:
        stdpsf_equals_photutils(surveys / "gridded_psf" / name, chip, number)


def test_stdpsf_of_wfpc2(tmp_path):
    rng = np.random.default_rng(1)
    hdu = fits.PrimaryHDU(moffat(9, 0.25) * (1 + 0.1 * rng.normal(size=(36, 9, 9))))
    hdu.header.update({"NXPSFS": 6, "NYPSFS": 6})
    for k, v in enumerate((1, 400, 800, 801, 1200, 1600), 1):
        hdu.header[f"IPSFX{k:02d}"] = hdu.header[f"JPSFY{k:02d}"] = v
    path = written(tmp_path / "STDPSF_WFPC2_F814W.fits", hdu)
    for chip, number in (("PC", 1), ("WF2", 2), ("WF3", 3), ("wfpc2/wf4", 4)):
        with pytest.MonkeyPatch.context() as m:  # its own name parser fails on this instrument
            m.setattr("photutils.psf.model_io._get_metadata", lambda *_: None)
            stdpsf_equals_photutils(path, chip, number)


def test_stdpsf_of_several_detectors_asks_which(surveys):
    folder = surveys / "gridded_psf"
    refused(folder / "STDPSF_NRCSW_F150W_mock.fits", "A1, A2, A3, A4, B1", "chip")
    refused(folder / "STDPSF_ACSWFC_F814W_mock.fits", "WFC1", "WFC3", chip="WFC3")
    psf = warned(folder / "STDPSF_WFC3UV_F814W_mock.fits", "CCDCHIP", chip=1)
    named, _ = quiet(folder / "STDPSF_WFC3UV_F814W_mock.fits", chip="UVIS2")
    assert np.array_equal(psf.at(5, 6).array, named.at(5, 6).array)


def test_stdpsf_that_is_not_whole(tmp_path):
    hdu = fits.PrimaryHDU(np.ones((9, 5, 5)))
    hdu.header.update({"NXPSFS": 3, "NYPSFS": 3})
    refused(written(tmp_path / "a.fits", hdu), "IPSFX01", "a.fits")
    for k in (1, 2, 3):
        hdu.header[f"IPSFX{k:02d}"] = hdu.header[f"JPSFY{k:02d}"] = 100 * k
    assert quiet(hdu)[0].varies
    hdu.header["NYPSFS"] = 2
    refused(hdu, "3 x 2")


def test_photutils_grid(said):
    model, _, _ = gridded((-5, 1023, 2047), (-5, 2100), (12, 13), (2, 4))
    psf, text = quiet(model, normalize=False)
    assert psf.sampling == (2.0, 4.0) and psf.shape == (12, 13) and "GriddedPSFModel" in text
    for place in FIELD:
        wanted = samples(model, place, (12, 13), (2, 4))
        assert np.abs(psf.at(*place).array - wanted).max() < 1e-10
    assert not said()


@pytest.mark.parametrize("origin", [None, (21, 19), (18.5, 20), (20.3, 19.8)])
def test_photutils_image_psf(origin, said):
    from photutils.psf import ImagePSF

    data = moffat(41, 0.25)[:, :40] * 8
    model = ImagePSF(data, origin=origin, oversampling=(2, 4))
    psf, decisions = inspect(model, normalize=False)
    text = "; ".join(d.text for d in decisions)
    assert not psf.varies and psf.sampling == (2.0, 4.0)
    wanted = samples(model, (0.0, 0.0), psf.shape, (2, 4))
    assert np.abs(psf.array - wanted).max() < 1e-10, "the origin is the middle"
    assert ("origin" in text) == (origin is not None)
    light = psf.array.sum() / (data.sum() / 8)
    assert light == pytest.approx(1, abs=0.02)


# -- SDSS ------------------------------------------------------------------------------------------
def test_psfield_equals_the_published_formula(surveys):
    path = surveys / "sdss_field" / "psField-001000-1-0100.fit"
    for hdu, band in enumerate("ugriz", 1):
        psf, text = quiet(path, band=band)
        assert f"band {band}" in text and psf.varies and psf.pixel_response == "native"
        rows = fits.getdata(path, hdu)
        for x, y in ((0.0, 0.0), (1024.0, 744.0), (2047.0, 3.5), (77.7, 1488.0), (1500.1, 1100.9)):
            total = 0.0
            for r in rows:
                k = sum(
                    r["c"][i, j] * (0.001 * y) ** i * (0.001 * x) ** j
                    for i in range(r["nrow_b"])
                    for j in range(r["ncol_b"])
                )
                total = total + k * r["RROWS"].reshape(r["RNROW"], r["RNCOL"]).astype(float)
            total /= total.sum()
            assert np.abs(psf.at(x, y).array - total).max() < 1e-7 * total.max()


def test_psfield_asks_for_the_band(surveys):
    path = surveys / "sdss_field" / "psField-001000-1-0100.fit"
    refused(path, "band", r"u \[1\], g \[2\], r \[3\], i \[4\], z \[5\]")
    refused(path, "W1", "psField-001000", band="W1")
    third, _ = quiet(path, band="r")
    for other in (quiet(f"{path}[3]")[0], quiet(path, band="SDSS_r")[0]):
        assert np.array_equal(other.at(5, 6).array, third.at(5, 6).array)
    refused(f"{path}[6]", "must hold", "table of columns field")
    for band in (None, "r", "W1"):
        assert quiet(f"{path}[3]", band=band)[0].varies
    warned(f"{path}[3]", "is of band r.*of band g.*name HDU 2", band="g")
    assert np.array_equal(from_hdu(fits.open(path)[3])[0].at(5, 6).array, third.at(5, 6).array)


# -- STPSF -----------------------------------------------------------------------------------------
def stpsf(
    parts=("OVERSAMP", "DET_SAMP", "OVERDIST", "DET_DIST"), total=0.998, n=4, scale=0.031, **cards
):
    """A file as STPSF lays it out; the fine arrays are points, the others sums over pixels."""
    fine = moffat(24 * n, 1 / n, 2.5)
    hdus = []
    for k, name in enumerate(parts):
        array = fine * (total + 1e-4 * k)
        rebinned = name.startswith("DET")
        if rebinned:
            array = array.reshape(24, n, 24, n).sum((1, 3))
        hdu = fits.PrimaryHDU(array) if not hdus else fits.ImageHDU(array)
        hdu.header.update({"INSTRUME": "NIRCam", "FILTER": "F200W", "DET_SAMP": n, "EXTNAME": name})
        hdu.header.update({"OVERSAMP": 1, "CALCSAMP": n} if rebinned else {"OVERSAMP": n})
        hdu.header["PIXELSCL"] = scale if rebinned else scale / n
        hdu.header.update(cards)
        hdus.append(hdu)
    return fits.HDUList(hdus)


def test_stpsf_reads_the_distorted_array_not_the_first(tmp_path, said):
    psf, text = quiet(stpsf(), normalize=False)
    assert "OVERDIST" in text and "NIRCam F200W" in text and "0.2 % of the light" in text
    assert psf.array.sum() == pytest.approx(0.9982) and psf.sampling == (4.0, 4.0)
    assert psf.pixel_response is None and psf.shape == (96, 96)
    assert bj.PSF.read(stpsf()).array.sum() == pytest.approx(1)
    ideal, text = quiet(stpsf(("OVERSAMP", "DET_SAMP")), normalize=False)
    assert ideal.array.sum() == pytest.approx(0.998) and "no OVERDIST" in text
    path = tmp_path / "psf.fits"
    stpsf().writeto(path)
    for tag, total, sampling, response, better in (
        ("[OVERSAMP]", 0.998, 4.0, None, "OVERDIST"), ("[0]", 0.998, 4.0, None, "OVERDIST"),
        ("[DET_SAMP]", 0.9981, 1.0, "native", "DET_DIST"),
        ("[DET_DIST]", 0.9983, 1.0, "native", None), ("[2]", 0.9982, 4.0, None, None),
    ):  # fmt: skip
        options = {"normalize": False, "pixel_scale": 0.031}
        if better is None:
            psf, _ = quiet(f"{path}{tag}", **options)
        else:
            psf = warned(f"{path}{tag}", f"without distortion.*{better} has", **options)
        assert psf.array.sum() == pytest.approx(total) and psf.sampling == (sampling, sampling)
        assert psf.pixel_response == response
    assert not said()


def test_stpsf_in_an_images_own_file():
    for hdu, n in zip(stpsf(), (4, 1, 4, 1), strict=True):
        psf, decisions = from_hdu(hdu, pixel_scale=0.031)
        assert psf.sampling == (n, n) and not any(d.warning for d in decisions)
        assert psf.pixel_response == (None if n > 1 else "native")
    detector = from_hdu(stpsf()["DET_SAMP"])[0]
    assert detector.sampling == (1.0, 1.0), "DET_SAMP 4 on it is the other array's"


def test_stpsf_whose_transforms_are_sampled_otherwise():
    psf, text = quiet(stpsf(OVERSAMP=2), pixel_scale=0.031)
    assert psf.sampling == (4.0, 4.0) and "DET_SAMP = 4" in text


def test_stpsf_on_an_image_of_another_scale_is_resampled_and_said():
    psf = warned(stpsf(), "PIXELSCL.*0.02.*", pixel_scale=0.02)
    assert psf.sampling[0] == pytest.approx(0.02 / (0.031 / 4))
    assert quiet(stpsf(), pixel_scale=0.0312)[0].sampling == (4.0, 4.0)  # nominal, and of the WCS


def test_stpsf_that_loses_light_is_said():
    warned(stpsf(total=0.95), "4.98 %|5.0 %")
    assert quiet(stpsf(total=0.95), normalize=False)[0].array.sum() == pytest.approx(0.9502)


def test_why_stpsf_has_no_pixel_response():
    """What POPPY's matrix transform gives is the intensity at the samples' centres."""
    poppy = pytest.importorskip("poppy")
    from scipy.special import j1

    system = poppy.OpticalSystem(oversample=4, npix=512)
    system.add_pupil(poppy.CircularAperture(radius=3.25))
    system.add_detector(pixelscale=0.031, fov_pixels=11, oversample=4)
    got = system.calc_psf(2e-6)[0].data
    r = (np.arange(44) - 21.5) * 0.031 / 4 / 206264.806 * np.pi * 6.5 / 2e-6
    r = np.hypot(r[:, None], r)
    airy = (2 * j1(r) / r) ** 2
    airy *= (got * airy).sum() / (airy**2).sum()
    assert np.abs(got - airy).max() < 1e-4 * got.max()


# -- plain images: sampling ------------------------------------------------------------------------
CD = {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CD1_2": 0.0, "CD2_1": 0.0}


def wcs(x, y=None):
    """Cards of a WCS of pixels of x by y arcsec."""
    return {**CD, "CD1_1": -x / 3600, "CD2_2": (y or x) / 3600}


FACTORS = (
    "OVERSAMP", "OVERSAM", "OVERSMP", "OVRSAMP", "OVSAMP", "OSAMP", "SUBSAMP", "PSFOVER",
    "HIERARCH OVERSAMPLE", "HIERARCH OVERSAMPLING", "HIERARCH PSF OVERSAMP",
)  # fmt: skip
SCALES = (
    "PIXELSCL", "PIXSCALE", "PIXSCAL1", "PIXSCAL", "PIXSCL", "PXSCALE", "PSCALE", "PSFSCALE",
    "SECPIX", "SECPIX1", "GS_SCALE", "HIERARCH PIXELSCALE", "HIERARCH PIXEL_SCALE",
)  # fmt: skip
UNSURE = ("SAMPLING", "SAMPLE", "PSFSAMP", "PIXSIZE", "PIXELSZ", "SCALE", "HIERARCH OVERSAMPLED_BY")
LINEAR = {"CTYPE1": "LINEAR", "CTYPE2": "LINEAR", "CD1_1": 0.05, "CD2_2": 0.05}


@pytest.mark.parametrize(
    ("cards", "sampling", "warning"),
    [
        ({}, (1, 1), None),
        ({"OVERSAMP": 4}, (4, 4), None),
        ({"OVERSAMP": 2.5}, (2.5, 2.5), None),
        ({"OVERSAMP": "4"}, (4, 4), None),
        ({"OVERSAMP": "4,4"}, (4, 4), None),
        ({"OVERSAMP": "(2, 4)"}, (2, 4), None),
        ({"OVERSAMP": "[3 3]"}, (3, 3), None),
        ({"OVERSAMP": 0.75}, (0.75, 0.75), None),
        ({"PSF_SAMP": 0.5}, (2, 2), None),
        ({"PIXELSCL": 0.05}, (2, 2), None),
        ({"PIXSCALE": 0.1}, (1, 1), None),
        ({"PIXSCALE": 0.04}, (2.5, 2.5), None),
        ({"OVERSAMP": 2, "PIXELSCL": 0.05}, (2, 2), None),
        ({"OVERSAMP": 2, "PIXELSCL": 0.0502}, (2, 2), None),
        ({"OVERSAMP": 4, "PIXELSCL": 0.05}, (2, 2), "OVERSAMP = 4.*PIXELSCL"),
        ({"OVERSAMP": 4, "PIXSCALE": 0.1}, (1, 1), "OVERSAMP = 4.*PIXSCALE"),
        (wcs(0.1), (1, 1), None),
        (wcs(0.05), (2, 2), None),
        (wcs(0.05, 0.025), (4, 2), None),
        ({"OVERSAMP": 2, **wcs(0.05)}, (2, 2), None),
        ({"OVERSAMP": 3, **wcs(0.05)}, (2, 2), "OVERSAMP = 3.*WCS"),
        ({"OVERSAMP": 4, **wcs(0.1)}, (4, 4), "OVERSAMP = 4.*copy"),
        ({"CDELT1": -0.05 / 3600, "CDELT2": 0.05 / 3600}, (2, 2), None),
        ({"CDELT1": 1.0, "CDELT2": 1.0}, (1, 1), None),
        ({**LINEAR, "CD1_1": 0.5, "CD2_2": 0.5}, (1, 1), "CD1_1 = 0.5"),
        (wcs(3600.0), (1, 1), None),  # GAMA's PSFs have such
        ({"OVERSAMP": 4, **wcs(3600.0)}, (4, 4), None),
        *(({card: 4}, (4, 4), None) for card in FACTORS),
        *(({card: 0.025}, (4, 4), None) for card in SCALES),
        ({"PIXSCAL1": "0.05"}, (2, 2), None),
        ({"PIXSCAL1": 15.0}, (1, 1), None),  # microns
        *(({card: 4}, (1, 1), f"{card.split()[-1]} = 4") for card in UNSURE),
        ({"NSAMP": 15, "SCALE": 1.0, "BSCALE": 2.0, "POLSCAL1": 300.0}, (1, 1), None),
        ({"OVERSAMP": 4, "SCALE": 0.5}, (4, 4), None),
        ({"CDELT1": 0.05, "CDELT2": 0.05}, (2, 2), "no unit"),
        ({"CDELT1": 0.05, "CDELT2": 0.05, "CUNIT1": "arcsec", "CUNIT2": "arcsec"}, (2, 2), None),
        ({**LINEAR, "CUNIT1": "arcsec", "CUNIT2": "arcsec"}, (2, 2), None),
        ({**LINEAR, "GS_WCS": "PixelScale", "GS_SCALE": 0.05}, (2, 2), None),
        ({**LINEAR, "GS_WCS": "JacobianWCS", "CD2_2": 0.025}, (4, 2), None),
    ],
)
def test_sampling_is_what_the_cards_say(cards, sampling, warning, said):
    hdu = image(moffat(), "PSF", **cards)
    psf, decisions = from_hdu(hdu, pixel_scale=0.1)
    assert psf.sampling == pytest.approx(sampling)
    texts = [d.text for d in decisions if d.warning]
    assert len(texts) == (warning is not None), texts
    assert warning is None or re.search(warning, texts[0]), texts
    assert not said(), "from_hdu logs nothing: the image's reader does"


def test_pixels_that_are_not_square(tmp_path):
    """A PSF's own scale, of which the pixels' sides hold other numbers of samples."""
    sky = fits.Header({**wcs(0.2, 0.1), "CRVAL1": 150.0, "CRVAL2": 2.0})
    path = tmp_path / "image.fits"
    noise = np.random.default_rng(1).normal(size=(30, 30))
    for hdus, given in (
        ([image(moffat(), "PSF", PIXELSCL=0.05)], {}),
        ([], {"psf": written(tmp_path / "psf.fits", image(moffat(), "PSF", PIXELSCL=0.05))}),
    ):
        written(path, fits.PrimaryHDU(noise, sky), *hdus)
        assert bj.Image.read(path, sigma=1.0, **given).psf.sampling == pytest.approx((2, 4))


def test_a_scale_without_that_of_the_image():
    assert warned(image(moffat(), **wcs(0.06)), "pixel_scale=").sampling == (1, 1)
    warned(image(moffat(), PIXELSCL=0.0078), "PIXELSCL.*pixel_scale=")
    assert quiet(image(moffat(), PIXELSCL=0.0078, OVERSAMP=4))[0].sampling == (4, 4)


def test_a_wide_psf_of_which_nobody_says_how_it_is_sampled(tmp_path, surveys):
    wide = moffat(81, 0.25)
    warned(image(wide), "FWHM is 14.0 samples.*oversampling=", pixel_scale=0.1)
    refused(image(wide, SCALE=0.025), "SCALE = 0.025", "oversampling=", pixel_scale=0.1)
    for sure in ({"OVERSAMP": 4}, {"OVERSAMP": 1}, {"PIXSCALE": 0.025}, wcs(0.025), wcs(0.1)):
        assert quiet(image(wide, **sure), pixel_scale=0.1)[0].shape == (81, 81)
    for factor in (1, 4):
        quiet(image(wide, SCALE=0.025), pixel_scale=0.1, oversampling=factor)
    path = surveys / "nircam_difference" / "f200w_psf_4x.fits"  # says it in its name alone
    assert any("FWHM is 9." in d.text for d in inspect(path)[1] if d.warning)


@pytest.mark.parametrize("cards", [{"OVERSAMP": 4}, {"PIXELSCL": 0.025}, {"PIXRESP": "OPTICAL"}])
def test_an_empty_primary_says_it_for_the_image_in_the_extension(cards, tmp_path):
    header = fits.PrimaryHDU(None, fits.Header(cards))
    psf, _ = quiet(written(tmp_path / "a.fits", header, image(moffat(), "P")), pixel_scale=0.1)
    assert psf.sampling == ((1, 1) if "PIXRESP" in cards else (4, 4))
    assert psf.pixel_response == (None if "PIXRESP" in cards else "native")
    own = image(moffat(), "P", OVERSAMP=2)
    assert quiet(written(tmp_path / "b.fits", header, own), pixel_scale=0.1)[0].sampling == (2, 2)
    full = fits.PrimaryHDU(moffat(9), header.header)  # that of another image
    path = written(tmp_path / "c.fits", full, image(moffat(), "PSF"))
    assert quiet(path, pixel_scale=0.1)[0].sampling == (1, 1)


def test_units_and_what_is_given_win():
    from astropy import units as u

    hdu = image(moffat(), OVERSAMP=4, PIXELSCL=0.05)
    psf, text = quiet(hdu, oversampling=3, pixel_scale=100 * u.mas)
    assert psf.sampling == (3, 3) and "as given" in text and "OVERSAMP = 4" in text
    assert quiet(image(moffat(), PIXELSCL=0.05), pixel_scale=100 * u.mas)[0].sampling == (2, 2)
    assert quiet(image(moffat(), OVERSAMP="no"), oversampling=(2, 3))[0].sampling == (2, 3)
    assert quiet(hdu, oversampling=3, pixel_response=None)[0].pixel_response is None


@pytest.mark.parametrize(
    ("cards", "card"),
    [
        *(({"OVERSAMP": v}, "OVERSAMP") for v in (0, -4, "four", "4,", "1,2,3", "", True, "0,4")),
        *(({"PIXELSCL": v}, "PIXELSCL") for v in (0.0, -0.05, "0.05 arcsec", True)),
        ({"PIXSCALE": 31.0}, "PIXSCALE"),
        ({"PSF_SAMP": -1}, "PSF_SAMP"),
        ({"PIXRESP": "pixel"}, "PIXRESP"),
        ({"PSFNORM": "maybe"}, "PSFNORM"),
    ],
)
def test_cards_that_make_no_sense_are_refused_by_name(cards, card):
    with pytest.raises(ValueError, match=card):
        from_hdu(image(moffat(), "PSF", **cards), pixel_scale=0.1)


def test_a_nan_card_is_refused_by_name(tmp_path):
    path = written(tmp_path / "psf.fits", fits.PrimaryHDU(moffat(), fits.Header({"OVERSAMP": 1.0})))
    raw = path.read_bytes()
    card = b"OVERSAMP=                  1.0"
    path.write_bytes(raw.replace(card, b"OVERSAMP= 'nan'".ljust(len(card))))
    refused(path, "OVERSAMP", "psf.fits")


def test_pixel_response_and_sum_of_a_plain_image():
    for word, response in (("OPTICAL", None), ("subpixel", "subpixel"), ("NATIVE", "native")):
        psf, text = quiet(image(moffat(), PIXRESP=word))
        assert psf.pixel_response == response and "PIXRESP" in text
    psf, text = quiet(image(0.9 * moffat(), PSFNORM=False))
    assert psf.array.sum() == pytest.approx(0.9) and psf.pixel_response == "native"
    assert "as usual" in text and "sum" not in text
    for total, word in ((0.9, "sum, 0.9 .normalize=False"), (12507, "their sum, 12507$")):
        text = quiet(image(total * moffat()))[1].split("; ")[0]
        assert re.search(word, text), text
    assert quiet(image(0.9 * moffat()))[0].array.sum() == pytest.approx(1)
    assert quiet(image(0.9 * moffat()), normalize=False)[0].array.sum() == pytest.approx(0.9)


# -- plain images: which ---------------------------------------------------------------------------
def test_plain_files(tmp_path, said):
    p = moffat(24)  # even
    path = written(tmp_path / "psf.fits", fits.PrimaryHDU(p.astype(">f4")))
    with open(path, "rb") as f, gzip.open(tmp_path / "psf.fits.gz", "wb") as g:
        g.write(f.read())
    fits.HDUList(
        [
            fits.PrimaryHDU(),
            fits.CompImageHDU(p.astype("f4"), quantize_level=0, compression_type="GZIP_2"),
        ]
    ).writeto(tmp_path / "psf.fits.fz")
    written(tmp_path / "ext.fits", image(p, "ANY"))
    written(tmp_path / "flat.fits", fits.PrimaryHDU(p[None, None]))
    for name in ("psf.fits", "psf.fits.gz", "psf.fits.fz", "ext.fits", "flat.fits"):
        for source in (tmp_path / name, str(tmp_path / name)):
            psf, text = quiet(source)
            assert np.allclose(psf.array, p, atol=1e-7) and psf.shape == (24, 24), name
            assert "24 x 24" in text
    with open(path, "rb") as f:
        assert np.allclose(bj.PSF.read(f).array, p, atol=1e-7)
        assert not f.closed
    assert np.allclose(bj.PSF.read(p).array, p)
    assert not said()
    psf = bj.PSF(p)
    assert bj.PSF.read(psf) is psf
    refused(psf, "made already", oversampling=2)


def test_what_is_suspect_is_a_decision_and_not_logged(tmp_path, said):
    off = np.pad(moffat(), ((0, 1), (0, 0)))
    low = moffat() - 3e-4
    for array, word in ((off, "centroid lies .+0.00, -0.50"), (low, "negative values, 1.? %")):
        path = written(tmp_path / "psf.fits", fits.PrimaryHDU(array))
        for source in (path, array, to_hdu(bj.PSF.silent(array))):
            warned(source, word)
    assert not said()
    bj.PSF.read(path)
    assert len(said()) == 1 and said()[0].startswith("'psf.fits': The PSF has negative values")


def test_arrays_of_astropy():
    from astropy.nddata import CCDData

    p = moffat()
    ccd = CCDData(p, unit="adu", meta=fits.Header({"OVERSAMP": 4}))
    assert quiet(ccd)[0].sampling == (4, 4) and quiet(NDData(p))[0].sampling == (1, 1)
    assert quiet(NDData(p), oversampling=2, pixel_response=None)[0].pixel_response is None
    refused(NDData(p, mask=p > 0.5 * p.max()), "masked, NaN or infinite")
    refused(np.ma.masked_less(p, 1e-4), "masked, NaN or infinite")
    refused(Table({"a": [1]}), "astropy's Table", "as an array")


def test_objects_of_others_are_read_and_not_taken_for_arrays():
    from photutils.psf import ImagePSF, MoffatPSF

    model = ImagePSF(moffat())
    place = {"sigma": 1.0, "pixel_scale": 0.2}
    for make in (bj.PSF, lambda p: bj.Image(np.zeros((9, 9)), psf=p, **place)):
        for thing in (model, "psf.fits", object(), [[1.0], [1.0, 2.0]]):
            with pytest.raises(ValueError, match=r"must be an array of real numbers.*PSF\.read"):
                make(thing)
    refused(MoffatPSF(), "photutils's MoffatPSF", "values on a grid")


def test_the_image_named_psf_is_taken_of_several(tmp_path):
    sky = np.ones((8, 9))
    path = written(
        tmp_path / "image.fits", fits.PrimaryHDU(sky), image(sky, "VAR"), image(moffat(), "PSF")
    )
    assert quiet(path)[0].shape == (25, 25)
    assert quiet(f"{path}[PSF]")[0].shape == (25, 25) and quiet(f"{path}[2]")[0].shape == (25, 25)
    bands = [image(moffat(9 + 2 * k), f"PSF_{b}") for k, b in enumerate("GR")]
    path = written(tmp_path / "bands.fits", *bands)
    refused(path, "2", r"\[PSF_G\], \[PSF_R\]")
    assert quiet(path, band="r")[0].shape == (11, 11)
    path = written(
        tmp_path / "two.fits", image(moffat(), "PSF"), image(moffat(11), "PSF", EXTVER=2)
    )
    refused(path, r"\[PSF,1\], \[PSF,2\]", "two.fits")
    assert quiet(f"{path}[PSF,2]")[0].shape == (11, 11)
    refused(written(tmp_path / "many.fits", image(sky, "A"), image(sky, "B")), r"\[A\], \[B\]")
    refused(f"{path}[PSF,3]", "PSF,3", "two.fits|'two'")
    refused(f"{path}[7]", "7")


def test_what_a_file_is_not(tmp_path, surveys):
    cube = written(tmp_path / "cube.fits", fits.PrimaryHDU(np.stack([moffat(9)] * 3)))
    refused(cube, "cube", "NAXIS3")
    assert quiet(f"{cube}[0][*,*,2]")[0].shape == (9, 9)
    table = surveys / "psfex" / "tractor-1816p325-sub.fits"
    refused(table, "tractor-1816p325", "brickid", "PSFEx", "STPSF", "image")
    refused(f"{table}[1]", "table of columns brickid")
    archive = fits.BinTableHDU(Table({"id": [1]}), name="ARCHIVE_INDEX")
    refused(written(tmp_path / "calexp.fits", archive), "afw", "calexp.fits")
    refused(3.0, "float")
    refused(None, "NoneType")
    assert "photutils" not in refused(table, "SDSS psField").split("kinds:")[1]
    refused(image(np.full((5, 5), np.nan)), "NaN")
    refused(image(np.zeros((5, 5))), "positive sum")
    with pytest.raises(TypeError):
        bj.PSF.read(moffat(), samples=3)
    for option, bad in (("oversampling", 0), ("pixel_scale", -1), ("pixel_response", "pixel")):
        refused(moffat(), option, **{option: bad})


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.fits"):
        bj.PSF.read(tmp_path / "none.fits")
    (tmp_path / "empty.fits").touch()
    refused(tmp_path / "empty.fits", "empty")
    (tmp_path / "text.fits").write_text("no FITS at all")
    refused(tmp_path / "text.fits", r"text\.fits", "FITS")
    path = written(tmp_path / "cut.fits", fits.PrimaryHDU(np.ones((90, 90))))
    path.write_bytes(path.read_bytes()[:6000])
    refused(path, "cut", "short|whole")
    refused(f"{path}[A,B]", r"\[A,B\]")


def test_an_unparsable_card_is_no_crash(tmp_path, said):
    path = written(tmp_path / "card.fits", fits.PrimaryHDU(moffat(), fits.Header({"SEEING": 1.0})))
    raw = path.read_bytes()
    assert b"SEEING  =                  1.0" in raw
    path.write_bytes(
        raw.replace(b"SEEING  =                  1.0", b"SEEING  =                  nan")
    )
    assert quiet(path)[0].shape == (25, 25)
    assert from_hdu(fits.open(path)[0])[0].shape == (25, 25)


def test_read_logs_what_inspect_decides(tmp_path, said):
    path = written(tmp_path / "psf.fits", image(moffat(), OVERSAMP=4, PIXELSCL=0.05))
    _, decisions = inspect(path, pixel_scale=0.1)
    assert not said()
    bj.PSF.read(path, pixel_scale=0.1)
    assert said() == [f"'psf.fits': {d.text}." for d in decisions if d.warning]


# -- GalSim ----------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ["Gaussian", "Moffat", "sheared", "Airy", "convolved"])
@pytest.mark.parametrize("scale", [0.1, 0.25])
def test_galsim_profile_draws_a_point_as_galsim_does(name, scale, said):
    galsim = pytest.importorskip("galsim")
    profile = {
        "Gaussian": galsim.Gaussian(fwhm=0.6),
        "Moffat": galsim.Moffat(3.5, fwhm=0.7),
        "sheared": galsim.Moffat(3.5, fwhm=0.7).shear(g1=0.05, g2=-0.1),
        "Airy": galsim.Convolve(galsim.Airy(lam_over_diam=0.2), galsim.Gaussian(fwhm=0.3)),
        "convolved": galsim.Convolve(galsim.Moffat(3, fwhm=0.6), galsim.Gaussian(fwhm=0.4)) * 3.3,
    }[name]
    psf, text = quiet(profile, pixel_scale=scale, normalize=False)
    assert psf.pixel_response is None and not psf.varies and "no pixel response" in text
    exact = galsim.GSParams(kvalue_accuracy=1e-7, maxk_threshold=1e-5, folding_threshold=1e-3)
    for dx, dy in ((0.0, 0.0), (0.31, -0.44)):
        theirs = profile.withGSParams(exact).drawImage(
            nx=21, ny=21, scale=scale, offset=(dx, dy), dtype=float
        )
        wanted = theirs.array / profile.flux
        assert np.abs(point(psf, 21, dx, dy) - wanted).max() < 1e-4 * wanted.max()
    assert not said()


def test_galsim_profile_normalized_and_sampled_as_asked(said):
    galsim = pytest.importorskip("galsim")
    psf, _ = quiet(galsim.Gaussian(fwhm=0.6, flux=12), pixel_scale=0.2, oversampling=3)
    assert psf.array.sum() == pytest.approx(1) and psf.sampling == (3.0, 3.0)
    _, text = quiet(galsim.Kolmogorov(fwhm=0.6), pixel_scale=0.2)
    assert "outside the array" in text
    refused(galsim.Gaussian(fwhm=0.6), "pixel_scale")
    refused(galsim.DeltaFunction(), "DeltaFunction", pixel_scale=0.2)
    refused(galsim.Gaussian(fwhm=0.6), "one number", pixel_scale=0.2, oversampling=(2, 3))


def test_a_pixel_in_a_galsim_convolution_is_the_detectors():
    galsim = pytest.importorskip("galsim")
    seen = galsim.Moffat(3, fwhm=0.7)
    for profile, response in (
        (galsim.Convolve(seen, galsim.Pixel(0.2)), "native"),
        (3.3 * galsim.Convolve(seen, galsim.Pixel(0.2)), "native"),
        (galsim.Convolve(seen, galsim.Pixel(0.1)), None),  # of something else
        (galsim.Convolve(seen, galsim.Gaussian(fwhm=0.2)), None),
        (seen, None),
    ):
        psf, text = quiet(profile, pixel_scale=0.2)
        assert psf.pixel_response == response
        assert ("pixel response native" if response else "no pixel response") in text
    given, _ = quiet(galsim.Convolve(seen, galsim.Pixel(0.2)), pixel_scale=0.2, pixel_response=None)
    assert given.pixel_response is None


def test_galsim_images_and_the_files_that_it_writes(tmp_path):
    galsim = pytest.importorskip("galsim")
    p = moffat(41, 0.25)
    fine = galsim.Image(p, scale=0.05)
    pair = galsim.Image(p, wcs=galsim.JacobianWCS(0.05, 0, 0, 0.1))
    fine.write(str(tmp_path / "fine.fits"))
    pair.write(str(tmp_path / "pair.fits"))
    for source, sampling in (
        (fine, (4, 4)), (tmp_path / "fine.fits", (4, 4)), (tmp_path / "pair.fits", (2, 4)),
    ):  # fmt: skip
        psf, _ = quiet(source, pixel_scale=0.2)
        assert psf.sampling == pytest.approx(sampling) and psf.pixel_response == "native"
        assert np.allclose(psf.array, p / p.sum(), atol=1e-8)


def test_galsim_interpolated_image_says_that_the_pixel_may_be_in_it(said):
    galsim = pytest.importorskip("galsim")
    p = moffat(31, 0.5)
    profile = galsim.InterpolatedImage(galsim.Image(p, scale=0.1), flux=3)
    psf = warned(profile, "pixel_response", pixel_scale=0.2)
    assert psf.pixel_response is None
    psf, _ = quiet(profile, pixel_scale=0.2, pixel_response="native")
    assert psf.sampling == (2.0, 2.0) and np.allclose(psf.array, p, atol=1e-12)
    drawn, _ = quiet(
        profile.shear(g1=0.01), pixel_scale=0.2, pixel_response="native", oversampling=2
    )
    assert drawn.sampling == (2.0, 2.0)


# -- Piff ------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def piffs():
    """Two small Piff PSFs that vary: one with the pixel's response in it, one without."""
    piff = pytest.importorskip("piff")
    galsim = pytest.importorskip("galsim")
    local = galsim.JacobianWCS(0.26, 0.02, -0.01, 0.25)
    made = {}
    for name, model in (("grid", piff.PixelGrid(0.26, 15)), ("gaussian", piff.Gaussian())):
        stars = []
        for x in (50, 500, 950):
            for y in (50, 500, 950):
                profile = galsim.Gaussian(fwhm=0.9 + x / 4000).shear(g1=y / 20000)
                star = piff.Star.makeTarget(x=x, y=y, wcs=local, stamp_size=25)
                profile.drawImage(star.image, center=star.image_pos)
                stars.append(star)
        psf = piff.SimplePSF(model, piff.Polynomial(1), max_iter=3)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            psf.fit(stars, {0: local}, None)
        made[name] = psf
    return made


@pytest.mark.parametrize(("name", "response"), [("grid", "native"), ("gaussian", None)])
def test_piff_draws_a_point_as_piff_does(piffs, name, response, tmp_path, said):
    theirs = piffs[name]
    path = tmp_path / "psf.piff"
    theirs.write(str(path))
    for source in (theirs, path):
        psf, text = quiet(source, normalize=False)
        assert psf.varies and psf.pixel_response == response
        assert ("not included" in text) == (response is None)
        assert ("unpickled" in text) == (source is path)
        for x, y in ((100.0, 200.0), (901.0, 33.0)):
            for dx, dy in ((0.0, 0.0), (0.31, -0.44)):
                center = (x + 1 + dx, y + 1 + dy)
                wanted = theirs.draw(x + 1, y + 1, stamp_size=17, center=center).array
                got = point(psf.at(x, y), 17, dx, dy)
                assert np.abs(got - wanted).max() < 1e-3 * wanted.max()
    assert np.abs(psf.at(100, 200).array - psf.at(900, 800).array).max() > 1e-3
    assert not said()


def test_piff_that_needs_more_than_a_place(piffs):
    theirs = piffs["gaussian"]
    with pytest.MonkeyPatch.context() as m:
        m.setattr(theirs, "wcs", {3: theirs.wcs[0], 4: theirs.wcs[0]})
        refused(theirs, "chip", "3, 4")
        refused(theirs, "chip", "3, 4", chip=5)
        assert "chip 4" in quiet(theirs, chip="4")[1]
        m.setattr(type(theirs), "interp_property_names", ("u", "v", "GI_COLOR"), raising=False)
        refused(theirs, "GI_COLOR", chip=3)


def test_piff_file_without_the_packages_it_needs(surveys, monkeypatch):
    path = surveys / "piff" / "D00240560_r_c01_piff.fits"
    monkeypatch.setitem(sys.modules, "piff", None)
    refused(path, "bayesjoint\\[piff\\]", "D00240560")
    monkeypatch.undo()
    pytest.importorskip("piff")
    monkeypatch.setitem(sys.modules, "pixmappy", None)
    refused(path, "pixmappy", "WCS", "D00240560")


def test_piff_of_des(surveys, monkeypatch, said):
    """Its WCS is of a package that PyPI does not have: it is fitted to the file's stars instead."""
    piff = pytest.importorskip("piff")
    galsim = pytest.importorskip("galsim")
    path = surveys / "piff" / "D00240560_r_c01_piff.fits"

    class Stub:
        def __init__(self, *_, **__):
            pass

        def __setstate__(self, state):
            pass

    for name in ("pixmappy", "pixmappy.GalSimWCS", "pixmappy.PixelMapCollection"):
        module = types.ModuleType(name)
        names = "GalSimWCS", "Constant", "Linear", "Polynomial", "Template", "Piecewise", "WCS"
        for c in (*names, "ColorTerm", "Composite", "Gnomonic"):
            setattr(module, c, Stub)
        monkeypatch.setitem(sys.modules, name, module)
    theirs = piff.read(str(path))
    stars = fits.getdata(path, "psf_stars")
    x, y, u, v = (np.asarray(stars[k], float) for k in "xyuv")

    def terms(x, y):
        return [(x / 1000 - 1) ** i * (y / 2000 - 1) ** j for i in range(4) for j in range(4 - i)]

    fit = [np.linalg.lstsq(np.stack(terms(x, y), 1), t, rcond=None)[0] for t in (u, v)]

    def sky(coefficients):
        return lambda x, y: sum(c * t for c, t in zip(coefficients, terms(x, y), strict=True))

    theirs.pointing, theirs.wcs = None, {1: galsim.UVFunction(*map(sky, fit))}
    psf, text = quiet(theirs, normalize=False)
    assert "SimplePSF" in text and "pixel response included" in text
    assert psf.at(999, 1499).fwhm == pytest.approx(4.0, abs=0.2)
    for dx, dy in ((0.0, 0.0), (0.31, -0.44)):
        wanted = theirs.draw(1000, 1500, stamp_size=17, center=(1000 + dx, 1500 + dy)).array
        assert np.abs(point(psf.at(999, 1499), 17, dx, dy) - wanted).max() < 1e-3 * wanted.max()
    assert not said()


# -- LSST and cells --------------------------------------------------------------------------------
def test_cells():
    stamps = np.stack([[moffat(9, fwhm=2 + i + j / 2) for j in range(3)] for i in range(2)])
    psf = psf_files.from_cells(stamps, cell=(40, 50), start=(100, 200))
    for (x, y), (i, j) in {
        (100, 200): (0, 0), (149.4, 239.4): (0, 0), (149.6, 239.4): (0, 1), (149.4, 239.6): (1, 0),
        (249.4, 279.4): (1, 2), (0, 0): (0, 0),
    }.items():  # fmt: skip
        assert np.allclose(psf.at(x, y).array, stamps[i, j], atol=1e-12), (x, y)
    stamps[1, 1] = np.nan
    holes = psf_files.from_cells(stamps, cell=(40, 50))
    assert np.allclose(holes.at(5, 5).array, stamps[0, 0])
    with pytest.raises(ValueError, match="no PSF"):
        holes.at(60, 50)
    for bad in ({"stamps": stamps[0], "cell": (4, 5)}, {"stamps": stamps, "cell": (0, 5)}):
        with pytest.raises(ValueError, match="must be"):
            psf_files.from_cells(**bad)


class Axis:
    def __init__(self, start, stop):
        self.start, self.stop = start, stop


class Box:
    def __init__(self, x0, x1, y0, y1):
        self.x, self.y = Axis(x0, x1), Axis(y0, y1)


class Kernels:
    """As lsst-images has it: kernels at places of the parent image."""

    bounds = types.SimpleNamespace(bbox=Box(1000, 1200, 500, 600))

    def compute_kernel_image(self, *, x, y):
        return types.SimpleNamespace(array=moffat(15, fwhm=3 + x / 1000))


def test_lsst_objects(monkeypatch):
    psf, text = quiet(Kernels(), origin=(1000, 500))
    assert psf.varies and "pixel response included" in text and psf.sampling == (1.0, 1.0)
    assert np.allclose(psf.at(100, 3).array, moffat(15, fwhm=4.1), atol=1e-12)
    visit = type(
        "VisitImage",
        (),
        {"__module__": "lsst.images", "psf": Kernels(), "bbox": Kernels.bounds.bbox},
    )()
    psf, text = quiet(visit)
    assert (
        np.allclose(psf.at(100, 3).array, moffat(15, fwhm=4.1), atol=1e-12)
        and "(1000, 500)" in text
    )


def test_lsst_files_without_the_package(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "lsst", None)
    path = tmp_path / "visit.h5"
    path.write_bytes(b"\x89HDF\r\n\x1a\n")
    refused(path, "lsst-images", "bayesjoint\\[lsst\\]", "visit.h5")
    with pytest.raises(FileNotFoundError):
        inspect(tmp_path / "none.h5")
    hdu = fits.PrimaryHDU(header=fits.Header({"DATAMODL": "https://images.lsst.io", "JSONADDR": 9}))
    refused(written(tmp_path / "visit.fits", hdu), "lsst-images", "visit.fits")


def test_lsst_coadd_of_the_package(tmp_path):
    pytest.importorskip("lsst.images")
    from astropy import units as u
    from astropy.wcs import WCS
    from lsst.images import YX, Box, Image, MaskPlane, MaskSchema, SkyProjection, TractFrame
    from lsst.images._cell_grid import CellGrid, CellGridBounds, CellIJ
    from lsst.images.cells import CellCoadd, CellPointSpreadFunction
    from lsst.images.psfs import GaussianPointSpreadFunction
    from lsst.images.serialization import write_archive

    box = Box.factory[500:580, 1000:1150]
    grid = CellGrid(bbox=box, cell_shape=YX(y=40, x=50))
    stamps = np.stack([[moffat(9, fwhm=2 + i + j / 2) for j in range(3)] for i in range(2)])
    stamps[1, 1] = np.nan
    bounds = CellGridBounds(grid=grid, bbox=box, missing=frozenset([CellIJ(i=1, j=1)]))
    theirs = CellPointSpreadFunction(stamps, bounds)
    header = {
        "CTYPE1": "RA---TAN",
        "CTYPE2": "DEC--TAN",
        "CDELT1": -0.2 / 3600,
        "CDELT2": 0.2 / 3600,
    }
    frame = TractFrame(skymap="s", tract=1, bbox=box)
    sky = SkyProjection.from_fits_wcs(WCS(header), frame, pixel_bounds=box, x0=1000, y0=500)
    coadd = CellCoadd(
        Image(np.zeros((80, 150), "f4"), bbox=box, unit=u.nJy),
        variance=Image(np.ones((80, 150), "f4"), bbox=box, unit=u.nJy**2),
        mask_schema=MaskSchema([MaskPlane("BAD", "bad")]), psf=theirs, band="r", sky_projection=sky,
    )  # fmt: skip
    part = coadd[Box.factory[510:570, 1020:1140]]
    write_archive(coadd, tmp_path / "whole.fits")
    write_archive(part, tmp_path / "part.fits")
    sources = (theirs, 0, 0), (coadd, 1000, 500), (tmp_path / "whole.fits", 1000, 500)
    for source, x0, y0 in (*sources, (part, 1020, 510), (tmp_path / "part.fits", 1020, 510)):
        psf, _ = quiet(source)
        for x, y in ((1020, 510), (1049, 539), (1050, 539), (1049, 540), (1139, 569)):
            wanted = theirs.compute_kernel_image(x=x, y=y).array
            assert np.allclose(psf.at(x - x0, y - y0).array, wanted, atol=1e-12)
        with pytest.raises(ValueError, match="no PSF"):
            psf.at(1070 - x0, 560 - y0)
    smooth = GaussianPointSpreadFunction(2.0, bounds=box, stamp_size=21)
    psf, _ = quiet(smooth, origin=(1000, 500))
    wanted = smooth.compute_kernel_image(x=1003, y=504).array
    assert np.allclose(psf.at(3, 4).array, wanted, atol=1e-12)


# -- our own layout --------------------------------------------------------------------------------
def fields():
    grid = gridded((0.1, 100.7), (3.3, 77.1))[1]
    return {
        "polynomial": PolynomialField(
            components(3), [(0, 0), (1, 0), (0, 1)], (0.1, 1 / 3), (7.7, 3.3)
        ),
        "limited": PolynomialField(components(1), [(0, 0)], limits=((0.1, 9.9), (1 / 3, 7.0))),
        "grid": GridField(grid, [(x, y) for x in (0.1, 100.7) for y in (3.3, 77.1)]),
        "cells": CellField(grid[:2], [(-0.5, 9.5, -0.5, 9.5), (9.5, 19.5, -0.5, 9.5)]),
    }


@pytest.mark.parametrize("name", ["polynomial", "limited", "grid", "cells"])
@pytest.mark.parametrize("normalize", [True, False])
def test_a_varying_psf_is_written_and_read_back_exactly(name, normalize, tmp_path):
    psf = VaryingPSF(
        fields()[name], oversampling=(1 / 1.09333646, 2), pixel_response="subpixel",
        normalize=normalize, origin=(0.1, 1 / 3),
    )  # fmt: skip
    path = written(tmp_path / "psf.fits", to_hdu(psf))
    stored = fits.open(path)
    for again in (quiet(path)[0], from_hdu(stored[1], hdus=stored)[0], bj.PSF.read(f"{path}[PSF]")):
        assert again.sampling == psf.sampling and again.origin == psf.origin
        assert (again.pixel_response, again.normalize) == ("subpixel", normalize)
        assert again.field.limits == psf.field.limits
        for place in ((0.0, 0.0), (12.25, 5.5)):
            assert np.array_equal(again.at(*place).array, psf.at(*place).array)


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("response", ["native", "subpixel", None])
@pytest.mark.parametrize("oversampling", [1, 4, 2.5, 1 / 1.09333646, (2, 4)])
def test_a_constant_psf_is_written_and_read_back_exactly(oversampling, response, normalize):
    psf = bj.PSF(
        0.93 * moffat(12), oversampling=oversampling, pixel_response=response, normalize=normalize
    )
    hdu = to_hdu(psf)
    again, decisions = from_hdu(hdu, pixel_scale=0.2)
    assert np.array_equal(again.array, psf.array) and not any(d.warning for d in decisions)
    assert (again.sampling, again.pixel_response) == (psf.sampling, response)
    assert again.normalize == normalize and hdu.name == "PSF"


def test_a_psf_of_a_function_is_sampled_before_it_is_written():
    psf = VaryingPSF(FunctionField(lambda x, y: moffat(9, fwhm=3 + x / 100)))
    with pytest.raises(ValueError, match="on_grid"):
        to_hdu(psf)
    gridded_psf = psf_files.on_grid(psf, x=np.arange(0, 101, 10), y=[0, 50])
    again = from_hdu(to_hdu(gridded_psf))[0]
    assert np.abs(again.at(33, 20).array - psf.at(33, 20).array).max() < 1e-4


def test_a_layout_of_the_future_is_refused():
    hdu = to_hdu(bj.PSF(moffat()))
    hdu.header["BJPSF"] = "SPLINE"
    refused(hdu, "SPLINE")


# -- adding a kind ---------------------------------------------------------------------------------
def test_what_a_user_adds_is_asked_first(tmp_path):
    registry = psf_files.base._REGISTRY
    before = list(registry)
    try:

        class Mine(psf_files.PSFFile):
            kind = "mine"

            @classmethod
            def matches(cls, source):
                return isinstance(source, dict) or getattr(source, "stem", None) == "mine"

            def read(self):
                self.say("mine")
                return self.constant(moffat(7), (2.0, 2.0), None)

        assert psf_files.kinds()[0] is Mine
        path = written(tmp_path / "mine.fits", fits.PrimaryHDU(moffat()))
        for source in ({}, path):
            psf, text = quiet(source)
            assert text == "mine" and psf.shape == (7, 7) and psf.sampling == (2.0, 2.0)
    finally:
        registry[:] = before
