from pathlib import Path

from geolatents.acquire.yandex_static import download_maps
from geolatents.paths import downloads_root
from geolatents.settings.yandex_static import YandexService, YandexStatic
from geolatents.workflow import rule_log

with rule_log(snakemake):
    download_maps(
        cell=snakemake.wildcards.cell,
        table=Path(snakemake.input[0]),
        settings=YandexStatic.parse(snakemake.params.config).model_copy(
            update={"service": YandexService.parse(snakemake.params.service.value)}
        ),
        downloads=downloads_root(),
        output=Path(snakemake.output[0]),
    )
