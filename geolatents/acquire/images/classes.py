"""Classes of published image sets, in their official order, which labels and models keep."""

from __future__ import annotations

from geolatents.nomenclature import LandClass, Nomenclature

EUROSAT = (
    "AnnualCrop", "Forest", "HerbaceousVegetation", "Highway", "Industrial", "Pasture", "PermanentCrop",
    "Residential", "River", "SeaLake",
)  # fmt: skip
"""Helber et al. 2019, in the order of their archive."""

EUROSAT_BANDS = (
    "B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B09", "B10", "B11", "B12", "B8A",
)  # fmt: skip
"""Sentinel-2 bands in the order of EuroSAT's GeoTIFFs: B8A stands last, not after B08."""

UCMERCED = (
    "agricultural", "airplane", "baseballdiamond", "beach", "buildings", "chaparral", "denseresidential", "forest",
    "freeway", "golfcourse", "harbor", "intersection", "mediumresidential", "mobilehomepark", "overpass", "parkinglot",
    "river", "runway", "sparseresidential", "storagetanks", "tenniscourt",
)  # fmt: skip
"""Yang & Newsam 2010."""

PARIS = (
    "defense", "eiffel", "general", "invalides", "louvre", "moulinrouge", "museedorsay", "notredame", "pantheon",
    "pompidou", "sacrecoeur", "triomphe",
)  # fmt: skip
"""Philbin et al. 2008: eleven landmarks and ``general`` photos of the city."""

PARIS_CORRUPT = frozenset(
    {
        "paris_louvre_000136", "paris_louvre_000146", "paris_moulinrouge_000422", "paris_museedorsay_001059",
        "paris_notredame_000188", "paris_pantheon_000284", "paris_pantheon_000960", "paris_pantheon_000974",
        "paris_pompidou_000195", "paris_pompidou_000196", "paris_pompidou_000201", "paris_pompidou_000467",
        "paris_pompidou_000640", "paris_sacrecoeur_000299", "paris_sacrecoeur_000330", "paris_sacrecoeur_000353",
        "paris_triomphe_000662", "paris_triomphe_000833", "paris_triomphe_000863", "paris_triomphe_000867",
    }
)  # fmt: skip
"""Photos that hold a page of HTML; the authors list them in ``parisbuildings/corrupt.txt``."""

TERRASSA = (
    "mnactec", "mercat_independencia", "ajuntament", "societat_general", "estacio_nord", "dona_treballadora",
    "escola_enginyeria", "catedral", "teatre_principal", "farmacia_albinyana", "masia_freixa", "castell_cartoixa",
    "desconegut",
)  # fmt: skip
"""Twelve buildings and ``desconegut`` (unknown), in the order of the course that published them."""

CIFAR10 = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip
"""Krizhevsky 2009, in the order of ``batches.meta``."""

FROZEN = {
    "eurosat_rgb": ("eurosat", EUROSAT),
    "eurosat_rgb_2018": ("eurosat", EUROSAT),
    "eurosat_ms": ("eurosat", EUROSAT),
    "eurosat_ms_2018": ("eurosat", EUROSAT),
    "ucmerced": ("ucmerced", UCMERCED),
    "paris": ("paris", PARIS),
    "terrassa": ("terrassa", TERRASSA),
}
"""Name and classes of archives whose classes are folders or annotations."""

DFC2019 = Nomenclature(
    "dfc2019",
    (
        LandClass("2", "Ground", "#a87000"),
        LandClass("5", "Trees", "#267300"),
        LandClass("6", "Buildings", "#e60000"),
        LandClass("9", "Water", "#0070ff"),
        LandClass("17", "Bridge or elevated road", "#9c9c9c"),
    ),
)
"""Classes of the LAS specification that the contest uses (pubgeo/dfc2019, data/README.md)."""

DFC2019_UNLABELLED = 65
