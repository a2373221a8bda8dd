"""Where travel times come from: one port, six providers, chosen by a `TravelConfig`. See README.md in the folder above.

`great-circle` asks nobody and is the default · `table` reads a file · `roads` searches an OpenStreetMap extract in this process (extra `roads`) ·
`osrm-file` does so by OSRM's own library (extra `osrm`) · `osrm` and `valhalla` ask the one configured host. Importing this package loads
neither httpx nor osmium nor scipy nor osrm.
"""

from routing.travel.model import (
    Fallback,
    ProviderName,
    TravelConfig,
    TravelError,
    TravelMissing,
    TravelProvider,
    TravelRecord,
    TravelRefused,
    TravelUnavailable,
)
from routing.travel.obtain import obtain, open_provider

__all__ = [
    "Fallback",
    "ProviderName",
    "TravelConfig",
    "TravelError",
    "TravelMissing",
    "TravelProvider",
    "TravelRecord",
    "TravelRefused",
    "TravelUnavailable",
    "obtain",
    "open_provider",
]
