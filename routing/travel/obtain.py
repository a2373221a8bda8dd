"""From a configuration to a day's matrix: open the provider, ask it, and fall back only where that is configured. The record says what was done."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np

from routing.matrix import TravelMatrix
from routing.model import Instance, TravelModel
from routing.travel.great_circle import GreatCircle
from routing.travel.model import (
    ASKED,
    MISSING,
    Fallback,
    ProviderName,
    TravelConfig,
    TravelError,
    TravelProvider,
    TravelRecord,
    TravelTable,
    finish,
)
from routing.travel.network import digest_of, kept_at

FAILURE_LENGTH_MAX = 200


def open_provider(
    config: TravelConfig, model: TravelModel, near: tuple[float, float] = (0.0, 0.0), pause: Callable[[float], None] | None = None
) -> TravelProvider:
    """Return the configured provider, opened on its data; only what it needs is imported.

    Args:
        model: The great-circle travel of the day.
        near: Some `(lat, lon)` of the day, for asking a host what data it has.
        pause: What waits between two tries of a request; tests wait for nothing.

    Raises:
        TravelError: its file cannot be read, an extra is not installed, or its host does not answer.
    """
    folder = None if config.cache_folder is None else Path(config.cache_folder)
    if config.provider is ProviderName.TABLE:
        from routing.travel.table import TableFile

        return TableFile(Path(config.file or ""))
    if config.provider is ProviderName.ROADS:
        from routing.travel.roads import RoadNetwork

        return RoadNetwork(Path(config.file or ""), folder, config.budget_s)
    if config.provider is ProviderName.OSRM_FILE:
        from routing.travel.osrm_library import OsrmLibrary

        return OsrmLibrary(Path(config.file or ""), folder, config.budget_s, config.profile)
    if config.provider in ASKED:
        from routing.travel.asked import AskedTravel
        from routing.travel.osrm import Osrm
        from routing.travel.valhalla import Valhalla

        service = Osrm(config.profile) if config.provider is ProviderName.OSRM else Valhalla(config.profile)
        return AskedTravel(config, service, near, pause)
    return GreatCircle(model)


def is_built(config: TravelConfig) -> bool:
    """Return whether the configured extract's network is kept already, so that opening it is quick.

    Raises:
        TravelError: the extract cannot be read, or an extra is not installed.
    """
    folder, digest = Path(config.cache_folder or ""), digest_of(Path(config.file or ""))
    if config.provider is ProviderName.OSRM_FILE:
        from routing.travel.osrm_library import is_kept

        return is_kept(folder, digest, config.profile)
    return kept_at(folder, digest).is_file()


def obtain(config: TravelConfig, instance: Instance, pause: Callable[[float], None] | None = None) -> tuple[TravelMatrix, TravelRecord]:
    """Return the day's matrix and what a plan records of it.

    With `Fallback.GREAT_CIRCLE` pairs without a way are filled by great-circle travel and counted, and a provider that cannot be had at all is
    replaced by it, with the reason; with `Fallback.NONE` both raise.

    Raises:
        TravelError: see above.
    """
    crow = GreatCircle(instance.travel)
    try:
        near = next(((round(one.lat, 3), round(one.lon, 3)) for one in instance.locations), (0.0, 0.0))
        provider = open_provider(config, instance.travel, near, pause)
        table, record = provider.table(instance), provider.record
    except TravelError as error:
        if config.fallback is Fallback.NONE:
            raise
        table = crow.table(instance)
        record = msgspec.structs.replace(crow.record, failure=f"{config.provider.value}: {error}"[:FAILURE_LENGTH_MAX])
    else:
        if config.fallback is Fallback.GREAT_CIRCLE:
            table, filled = _filled(instance, table, crow)
            record = msgspec.structs.replace(record, filled_pairs=filled)
    matrix = finish(instance, table)
    return matrix, msgspec.structs.replace(record, matrix_digest=matrix.digest())


def _filled(instance: Instance, table: TravelTable, crow: GreatCircle) -> tuple[TravelTable, int]:
    absent = table.seconds == MISSING
    np.fill_diagonal(absent, val=False)
    filled = int(absent.sum())
    if not filled:
        return table, 0
    straight = crow.table(instance)
    return TravelTable(np.where(absent, straight.seconds, table.seconds), np.where(absent, straight.metres, table.metres)), filled
