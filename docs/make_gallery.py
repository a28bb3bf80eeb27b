"""Make the pictures of docs/gallery.md from real fields: BAYESJOINT_DATA=... python docs/make_gallery.py (two minutes on two cores)."""

import contextlib
import io
import os
import pathlib
import sys
import tempfile

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from PIL import Image as Picture

import bayesjoint as bj
from bayesjoint import plots

HERE = pathlib.Path(__file__).parent
DATA = pathlib.Path(os.environ.get("BAYESJOINT_DATA", HERE / "../../shared/data")) / "real"
WAVELENGTHS = {"u": 0.354, "g": 0.475, "r": 0.622, "i": 0.763, "Z": 0.877, "Y": 1.02, "J": 1.252, "H": 1.645, "Ks": 2.147}
TRANSIENT = [f"{year}_{c}" for year in (2016, 2018) for c in "abcde"]


def keep(name, made):
    """Write a figure, or that of axes, with few colours: a page is to load fast."""
    figure = made if hasattr(made, "savefig") else np.asarray(made, dtype=object).ravel()[0].figure
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=75, bbox_inches="tight")
    picture = Picture.open(out).convert("RGB")
    (picture if name == "colour" else picture.quantize(200)).save(HERE / "gallery" / f"{name}.png", optimize=True)
    print(name, flush=True)


def barred_spiral():
    """As docs/profiles.md draws it."""
    block, names = (HERE / "profiles.md").read_text().split("```python\n")[1].split("```")[0], {}
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):  # it saves its picture, too
        exec(block, names)
    keep("barred_spiral", names["drawn"])


def gama():
    images = [bj.Image.read(DATA / f"gama_266035/{n}.fits", band="r", name=n) for n in ("KiDS_r", "SDSS_r")]
    best = bj.Scene([bj.Sersic("galaxy"), bj.Zeropoint(0.2, images=["SDSS_r"]), bj.Sky()], images).fit(progress=False)
    keep("image_on_the_sky", plots.image(images[0], sky=True))
    keep("image_in_magnitudes", plots.image(images[1], scale="mag"))
    keep("panels", plots.panels(images, best.model_images(), best.residuals()))
    keep("profile", plots.profile(best, "galaxy"))
    keep("history", plots.history(best))
    post = best.nuts(draws=400, chains=4, seed=1, progress=False)
    keep("corner", post.corner(["galaxy.q", "galaxy.n", "galaxy.r_eff", "galaxy.flux", "zeropoint.offset"]))
    keep("trace", plots.trace(post, ["galaxy.n", "galaxy.r_eff"], figsize=(10, 5)).ravel()[0].figure)
    keep("rank", np.ravel(plots.rank(post, ["galaxy.n", "galaxy.r_eff"]))[0].figure)


def nine_bands():
    field = DATA / "gama_549698_ugriZYJHKs"
    segments = fits.getdata(field / "r.fits", "SEG")
    others = (segments != 0) & (segments != 255)
    images = [bj.Image.read(field / f"{b}.fits", band=b, wavelength=w, mask=others) for b, w in WAVELENGTHS.items()]
    galaxy = bj.Sersic("galaxy", n=bj.Polynomial(2), r_eff=bj.Polynomial(2))
    best = bj.Scene([galaxy, bj.Sky(level=0.0)], images).fit(progress=False)
    keep("colour", plots.colour(best, ["i", "r", "g"]))
    keep("sed", plots.sed(best, "galaxy"))
    keep("profiles_of_nine_bands", plots.profile(best, "galaxy", images=["u", "r", "J", "Ks"]))


def hst_and_hsc():
    images = [bj.Image.read(DATA / f"hsc_hst_1/{n}.fits") for n in ("HSC_i", "HST_F814W")]
    best = bj.scene_from(images, corrections=[bj.Shift(0.1, images=["HST_F814W"])]).fit(progress=False)
    keep("blend", plots.panels(images, best.model_images(), best.residuals(), windows=best.scene))
    some = [c.name for c in best.scene.components if hasattr(c, "light_params") and c.name != "object 2.galaxy"][:3]
    keep("components", plots.components(best, "HST_F814W", sources=some))


def transient():
    host, place = SkyCoord(318.108395, -66.015863, unit="deg"), SkyCoord(318.108231, -66.015693, unit="deg")
    images = [bj.Image.read(DATA / f"sn_decam_i/{n}.fits", band="i", name=n).cutout(host, 15 * u.arcsec) for n in TRANSIENT]
    parts = [bj.Sersic("host", position=host), bj.Point("sn", position=place, flux=bj.Param(per="image")), bj.Sky()]
    best = bj.Scene(parts, images, reference=host).fit(progress=False)
    keep("light_curve", plots.light_curve(best.laplace(500, seed=1), "sn"))
    one = next(im for im in images if im.name == "2018_c")
    keep("epoch", plots.panels([one], best.model_images(), best.residuals()))


if __name__ == "__main__":
    (HERE / "gallery").mkdir(exist_ok=True)
    for part in [barred_spiral, gama, nine_bands, hst_and_hsc, transient]:
        if len(sys.argv) < 2 or part.__name__ in sys.argv[1:]:
            part()
