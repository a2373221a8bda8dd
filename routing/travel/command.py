"""`python -m routing travel`: write the table of a day's places, as `solve --matrix` takes it."""

from __future__ import annotations

import argparse
from pathlib import Path

import msgspec

from routing.model import Instance
from routing.travel.model import Fallback, ProviderName, TravelConfig
from routing.travel.obtain import obtain


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what chooses a provider."""
    parser.add_argument("--provider", choices=[one.value for one in ProviderName], default=ProviderName.GREAT_CIRCLE.value)
    parser.add_argument("--file", type=Path, help="the table, or the .osm.pbf extract")
    parser.add_argument("--url", help="the one host that is asked")
    parser.add_argument("--data-set", help="your name for the host's map data")
    parser.add_argument("--profile", default="")
    parser.add_argument("--fallback", choices=[one.value for one in Fallback], default=Fallback.NONE.value)
    parser.add_argument("--cache", type=Path, help="folder for built networks and asked legs")


def table_of(asked: argparse.Namespace, instance: Instance) -> tuple[bytes, str]:
    """Return the table's file and a line on what it is.

    Raises:
        ValueError: the provider lacks something. TravelError: it has no table for this day.
    """
    config = TravelConfig(
        provider=ProviderName(asked.provider), file=None if asked.file is None else str(asked.file), url=asked.url, data_set=asked.data_set,
        profile=asked.profile, fallback=Fallback(asked.fallback), cache_folder=None if asked.cache is None else str(asked.cache),
    )
    matrix, record = obtain(config, instance)
    filed = {
        "schema": "travel-table/1", "data_set": record.data_set[:200], "profile": record.profile, "ids": list(matrix.ids),
        "seconds": matrix.seconds.tolist(), "metres": matrix.metres.tolist(),
    }
    told = f"{record.provider} {record.profile}: {len(matrix.ids)} places, matrix {record.matrix_digest[:16]}, {record.filled_pairs} pairs filled"
    return msgspec.json.encode(filed), told + (f", because {record.failure}" if record.failure else "")
