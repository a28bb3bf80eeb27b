"""Reading and writing: FITS in the usual variants, NDData, and what cannot be read."""

import io

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.nddata import CCDData, InverseVariance, NDData, StdDevUncertainty, UnknownUncertainty, VarianceUncertainty
from astropy.wcs import WCS, Sip

from bayesjoint import PSF, Image
from bayesjoint.images import Frame

SHAPE = (24, 37)
DATA = np.random.default_rng(7).normal(size=SHAPE).astype(">f4")
SIGMA = (2 + np.abs(DATA)).astype(">f4")
DQ = np.zeros(SHAPE, ">i4")
DQ[3, 4] = 16
STAMP = np.outer([1, 2, 1], [1, 2, 4, 2, 1]).astype(">f4")


def wcs(sip=False):
    w = WCS(naxis=2)
    w.wcs.ctype = ("RA---TAN-SIP", "DEC--TAN-SIP") if sip else ("RA---TAN", "DEC--TAN")
    w.wcs.crval, w.wcs.crpix = (150.1, 2.2), (9.0, 14.0)
    w.wcs.cd = np.array([[-0.4, 0.3], [0.3, 0.4]]) / 3600
    if sip:
        a, b = np.zeros((2, 3, 3))
        a[2, 0], b[1, 1] = 1e-4, -2e-4
        w.sip = Sip(a, b, None, None, w.wcs.crpix)
    w.wcs.set()
    return w


HEADER = wcs().to_header()
HEADER.update({"MAGZERO": 25.5, "MJD": 59000.5, "GAIN": 4.0, "FILTER": "F606W/x"})


def hdus(science="SCI", **extensions):
    """An HDUList; science="" puts the pixels into the primary HDU."""
    first = [fits.PrimaryHDU(DATA, HEADER)] if not science else [fits.PrimaryHDU(), fits.ImageHDU(DATA, HEADER, name=science)]
    return fits.HDUList(first + [fits.ImageHDU(a, name=n) for n, a in extensions.items()])


@pytest.mark.parametrize(
    "source",
    [
        hdus("", VAR=SIGMA**2, MASK=DQ.astype("u1"), PSF=STAMP),
        hdus("SCI", VAR=SIGMA**2, MASK=DQ, PSF=STAMP),
        hdus("SCI", ERR=SIGMA, DQ=DQ, PSF=STAMP),
        hdus("SCI", PSF=STAMP, DQ=DQ, IVAR=1 / SIGMA**2),
        hdus("", WHT=1 / SIGMA**2, DQ=DQ, PSF=STAMP),
        hdus("IMAGE", WEIGHT=1 / SIGMA**2, FLAGS=DQ, PSF=STAMP),
        hdus("CHIP1", RMS=SIGMA, BADPIX=DQ, PSF=STAMP),
    ],
    ids=["primary VAR MASK", "SCI VAR MASK", "SCI ERR DQ", "IVAR", "WHT", "WEIGHT", "other name"],
)
def test_variants(source):
    im = Image.read(source)
    np.testing.assert_array_equal(im.data, DATA)
    np.testing.assert_allclose(im.variance, SIGMA.astype(float) ** 2, rtol=1e-6)
    assert np.argwhere(im.mask).tolist() == [[3, 4]]
    np.testing.assert_allclose(im.psf.array, STAMP / STAMP.sum(), rtol=1e-6)
    assert (im.zeropoint, im.epoch, im.gain, im.band, im.name) == (25.5, 59000.5, 4.0, "F606W-x", None)
    np.testing.assert_allclose(im.placement.wcs.all_pix2world(3, 5, 0), wcs().all_pix2world(3, 5, 0))


def test_keywords_of_the_primary_hold_for_its_extensions():
    source = hdus("SCI", ERR=SIGMA)
    source[0].header["WAVELEN"], source[0].header["GAIN"] = 0.6, 9.0
    im = Image.read(source)
    assert (im.wavelength, im.gain) == (0.6, 4.0)


def test_overrides():
    source = hdus("SCI", ERR=SIGMA, DQ=DQ, PSF=STAMP)
    im = Image.read(source, psf=None, mask=None, variance=4, zeropoint=20 * u.mag, band="z", name="n", pixel_scale=0.3, epoch=None, center=(1, 2))
    assert im.psf is None and not im.mask.any() and im.variance[0, 0] == 4
    assert (im.zeropoint, im.band, im.name, im.pixel_scale, im.epoch, im.placement.center) == (20, "z", "n", 0.3, None, (1, 2))
    same = Image.read(source, variance=None, wcs=None, pixel_scale=None)
    assert same.variance[0, 0] == pytest.approx(SIGMA[0, 0] ** 2, rel=1e-6) and same.placement.wcs is not None


def test_primary_image_alone(tmp_path):
    path = tmp_path / "g-band.cut.fits"
    fits.PrimaryHDU(DATA).writeto(path)
    im = Image.read(path, sigma=1.0, pixel_scale=0.5, psf=STAMP, origin=(1, 1))
    assert im.band == im.name == "g-band.cut" and im.zeropoint is None and im.psf.shape == STAMP.shape
    assert Image.read(str(path), sigma=1.0, pixel_scale=0.5, band="g").band == "g"


def test_sources(tmp_path):
    path = tmp_path / "field[1].fits"
    hdus("SCI", ERR=SIGMA).writeto(path)
    with path.open("rb") as f:
        assert Image.read(f).name == "field(1)"
        assert not f.closed
    memory = io.BytesIO(path.read_bytes())
    assert Image.read(memory).name is None
    assert not memory.closed
    with fits.open(path) as opened:
        np.testing.assert_array_equal(Image.read(opened).data, DATA)
        assert opened[1].data is not None
    assert Image.read(hdus("SCI", ERR=SIGMA), name="a").band == "F606W-x"
    bare = fits.HDUList([fits.PrimaryHDU(DATA)])
    assert Image.read(bare, variance="estimate", pixel_scale=1).band == "image"


@pytest.mark.parametrize(("kind", "values"), [(StdDevUncertainty, SIGMA), (VarianceUncertainty, SIGMA**2), (InverseVariance, 1 / SIGMA**2)])
def test_nddata(kind, values):
    options = {"unit": "adu", "mask": DQ != 0, "wcs": wcs(), "psf": STAMP}
    for nd in (NDData(DATA, uncertainty=kind(values), **options), CCDData(DATA, uncertainty=kind(values), **options)):
        im = Image.from_nddata(nd, band="r", sigma=None)
        np.testing.assert_allclose(im.sigma, SIGMA, rtol=1e-5)
        assert im.mask.sum() == 1 and im.band == "r" and im.placement.wcs is not None and im.psf.shape == STAMP.shape
        other = Image.from_nddata(nd, variance=1, pixel_scale=2, mask=None, psf=None)
        assert other.pixel_scale == 2 and other.psf is None and not other.mask.any() and other.variance[0, 0] == 1


def test_sliced_ccddata_keeps_its_place():
    nd = CCDData(DATA, unit="adu", uncertainty=StdDevUncertainty(SIGMA), wcs=wcs())
    frame = Frame(SkyCoord(150.1, 2.2, unit="deg"))
    part = Image.from_nddata(nd[4:20, 6:30])
    np.testing.assert_allclose(frame.to_sky(part.placement, 2, 3), frame.to_sky(Image.from_nddata(nd).placement, 8, 7), atol=1e-6)


@pytest.mark.parametrize(
    "place",
    [{"wcs": wcs()}, {"wcs": wcs(sip=True)}, {"pixel_scale": 0.5}, {"pixel_scale": 0.5, "center": (3, -2)}, {"pixel_scale": 0.5, "origin": (3, -2)}],
    ids=["wcs", "sip", "scale", "center", "origin"],
)
@pytest.mark.parametrize("change", [lambda im: im, lambda im: im.cutout((14, 11), (19, 17)).shifted(1.5, -0.7)], ids=["whole", "cut and shifted"])
def test_round_trip(place, change, tmp_path):
    psf = PSF(np.pad(STAMP, ((1, 1), (0, 0))) / 30, oversampling=3, pixel_response="subpixel", normalize=False)
    im = change(
        Image(DATA, sigma=SIGMA, mask=DQ, psf=psf, zeropoint=24.2, band="r", name="first", epoch=59000.25, gain=2.5, wavelength=0.62, **place)
    )
    im.write(tmp_path / "im.fits")
    back = Image.read(tmp_path / "im.fits")
    for k in ("data", "variance", "mask"):
        np.testing.assert_array_equal(getattr(back, k), getattr(im, k))
    for k in ("zeropoint", "band", "name", "epoch", "gain", "wavelength"):
        assert getattr(back, k) == getattr(im, k)
    np.testing.assert_array_equal(back.psf.array, psf.array)
    assert (back.psf.oversampling, back.psf.pixel_response, back.psf.normalize) == (3, "subpixel", False)
    frame, (py, px) = Frame(SkyCoord(150.1, 2.2, unit="deg")), np.indices(im.shape)
    np.testing.assert_allclose(frame.to_sky(back.placement, px, py), frame.to_sky(im.placement, px, py), atol=1e-6)
    with pytest.raises(OSError, match="overwrite"):
        im.write(tmp_path / "im.fits")
    im.write(tmp_path / "im.fits", overwrite=True)


def test_what_is_not_known_stays_unknown(tmp_path):
    dated = wcs()
    dated.wcs.mjdobs = 59000.0
    Image(DATA, sigma=1, wcs=dated).write(tmp_path / "plain.fits")
    back = Image.read(tmp_path / "plain.fits")
    assert (back.psf, back.zeropoint, back.epoch, back.gain, back.wavelength, back.band, back.name) == (
        None,
        None,
        None,
        None,
        None,
        "image",
        "plain",
    )
    Image(DATA, sigma=1, pixel_scale=0.5, center=(3, 4)).write(tmp_path / "placed.fits")
    assert Image.read(tmp_path / "placed.fits", center=(1, 1), pixel_scale=0.5).placement.center == (1, 1)


def table(name):
    return fits.BinTableHDU.from_columns([fits.Column("a", "E", array=[1])], name=name)


whole = io.BytesIO()
fits.HDUList([fits.PrimaryHDU(np.ones((50, 50)))]).writeto(whole)
PLAIN = {"sigma": 1, "pixel_scale": 1}
REFUSED = {
    "missing": (lambda path: None, {}, "no file"),
    "empty": (lambda path: path.write_bytes(b""), {}, "empty"),
    "not FITS": (lambda path: path.write_bytes(b"\x89PNG" * 2000), {}, "cannot be read as FITS"),
    "cut short": (lambda path: path.write_bytes(whole.getvalue()[:9000]), PLAIN, "cut short"),
    "no noise": (lambda path: hdus("SCI", DQ=DQ).writeto(path), {}, "has no noise"),
    "no place": (lambda path: fits.PrimaryHDU(DATA).writeto(path), {"sigma": 1}, "pixel_scale"),
    "neither": (lambda path: fits.PrimaryHDU(DATA).writeto(path), {}, "has no noise.*it also does not say"),
    "no image": (lambda path: fits.HDUList([fits.PrimaryHDU(), table("CAT")]).writeto(path), PLAIN, "No image was found"),
    "a cube": (lambda path: fits.PrimaryHDU(np.ones((2, 5, 5))).writeto(path), PLAIN, "cube"),
    "unknown argument": (lambda path: hdus("SCI", ERR=SIGMA).writeto(path), {"zero_point": 1}, "zero_point"),
    "noise of another shape": (lambda path: hdus("SCI", ERR=SIGMA[:5]).writeto(path), {}, "shape"),
}


@pytest.mark.filterwarnings("ignore:File may have been truncated")
@pytest.mark.parametrize(("make", "overrides", "word"), REFUSED.values(), ids=REFUSED)
def test_refused_in_one_sentence(make, overrides, word, tmp_path):
    make(tmp_path / "im.fits")
    with pytest.raises((ValueError, TypeError, OSError), match=word) as e:
        Image.read(tmp_path / "im.fits", **overrides)
    assert 20 < len(str(e.value)) < 500 and "\n" not in str(e.value)


def test_a_psf_that_is_a_table_is_said(tmp_path, caplog):
    fits.HDUList([*hdus("", ERR=SIGMA), table("PSF")]).writeto(tmp_path / "im.fits")
    assert Image.read(tmp_path / "im.fits").psf is None
    assert any("PSF" in r.getMessage() and "psf=" in r.getMessage() for r in caplog.records)


def test_nddata_without_noise_is_refused():
    for uncertainty in (None, UnknownUncertainty(SIGMA)):
        with pytest.raises(ValueError, match="no uncertainty"):
            Image.from_nddata(NDData(DATA, uncertainty=uncertainty, wcs=wcs()))
