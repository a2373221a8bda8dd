"""Travel times by OSRM's own library over an OpenStreetMap extract, in this process. Alone imports osrm (extra `osrm`, CPython 3.12 or newer).

The extract is prepared once per content, profile and version of the library (`osrm-extract`, `-partition`, `-customize`; multi-level Dijkstra)
and kept beside the other networks. Unlike `roads` it knows turn restrictions, turn and signal delays and surfaces.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from routing.matrix import FloatArray
from routing.model import Instance
from routing.travel.model import SNAP_M_MAX, WALK_M_S, ProviderName, TravelRecord, TravelRefused, TravelTable, TravelUnavailable, whole
from routing.travel.network import digest_of
from routing.travel.osrm import UNROUTABLE, decimals

PROFILE = "car"
NAME = "roads.osrm"
READY = "roads.osrm.cell_metrics"
"""The last file that the preparation writes; a folder is only ever moved to its place whole."""
ROWS = 100
"""Places per asked table: between two of them the budget is looked at."""


class OsrmLibrary:
    """An extract prepared for OSRM and opened in memory."""

    def __init__(self, extract: Path, cache_folder: Path | None, budget_s: float, profile: str = "") -> None:
        """Prepare the extract, or open what is kept of it.

        Raises:
            TravelRefused: the library is not installed, has no such profile, or cannot read the extract.
            TravelUnavailable: preparing takes longer than the budget.
        """
        _demand_library()
        import osrm

        self._budget_s = budget_s
        extract = extract.absolute()
        self._temporary = tempfile.TemporaryDirectory(prefix="fieldvisit-osrm-") if cache_folder is None else None
        rules = _rules_of(Path(osrm.__file__).parent / "share" / "profiles", profile or PROFILE)
        release, digest = version("osrm-bindings"), digest_of(extract)
        kept = _kept_at(Path(self._temporary.name if self._temporary else cache_folder or ""), digest, rules.stem)
        if not (kept / READY).is_file():
            _prepare(extract, rules, kept, time.monotonic() + budget_s)
        self._new_table = osrm.TableParameters
        self._engine = osrm.OSRM(
            storage_config=str(kept / NAME), algorithm="MLD", use_shared_memory=False, max_locations_distance_table=-1)
        self._record = TravelRecord(
            provider=ProviderName.OSRM_FILE.value, profile=f"{rules.stem}/osrm-{release}", data_set=extract.name, data_set_digest=digest)

    @property
    def record(self) -> TravelRecord:
        """The extract's name and digest, the profile and the library's version."""
        return self._record

    def table(self, instance: Instance) -> TravelTable:
        """Return fastest times and their lengths.

        Raises:
            TravelUnavailable: it takes longer than the budget.
        """
        until = time.monotonic() + self._budget_s
        places = [(one.lon, one.lat) for one in instance.locations]
        seconds, metres = np.full((len(places), len(places)), np.inf), np.full((len(places), len(places)), np.inf)
        for first in range(0, len(places), ROWS):
            if time.monotonic() > until:
                raise TravelUnavailable("asking OSRM's library took longer than its budget")
            rows = range(first, min(first + ROWS, len(places)))
            seconds[rows.start:rows.stop], metres[rows.start:rows.stop] = self._rows(places, rows)
        return TravelTable(whole(seconds), whole(metres))

    def _rows(self, places: list[tuple[float, float]], rows: range) -> tuple[FloatArray, FloatArray]:
        wanted = self._new_table(coordinates=places, sources=list(rows), annotations=["duration", "distance"], generate_hints=False)
        try:
            said = self._engine.Table(wanted)
        except RuntimeError as error:
            if str(error).split(" ", 1)[0] not in UNROUTABLE:
                raise TravelRefused(f"OSRM's library: {str(error)[:100]}") from None
            return np.full((len(rows), len(places)), np.inf), np.full((len(rows), len(places)), np.inf)
        seconds, metres = (decimals([list(row) for row in said[key]], key) for key in ("durations", "distances"))
        origins, destinations = (np.array([one["distance"] for one in said[key]]) for key in ("sources", "destinations"))
        walked: FloatArray = origins[:, None] + destinations[None, :]
        walked[origins > SNAP_M_MAX, :] = np.inf
        walked[:, destinations > SNAP_M_MAX] = np.inf
        # Two visits behind one door: nobody walks to the road and back between them.
        walked[np.array([[places[row] == place for place in places] for row in rows])] = 0.0
        seconds, metres = seconds + walked / WALK_M_S, metres + walked
        metres[np.isinf(seconds)] = np.inf
        return seconds, metres


def is_kept(folder: Path, digest: str, profile: str = "") -> bool:
    """Return whether an extract is prepared already. Raises `TravelRefused` when the library is not installed."""
    _demand_library()
    return (_kept_at(folder, digest, profile or PROFILE) / READY).is_file()


def _demand_library() -> None:
    if importlib.util.find_spec("osrm") is None:
        raise TravelRefused("the extra `osrm` (osrm-bindings; CPython 3.12 or newer) is not installed")


def _kept_at(folder: Path, digest: str, profile: str) -> Path:
    """Return the folder of a prepared extract; another profile or version of the library is another one."""
    return folder / f"osrm-{version('osrm-bindings')}-{profile}-{digest[:32]}"


def _rules_of(folder: Path, profile: str) -> Path:
    """Return the library's own file of a profile."""
    known = sorted(one.stem for one in folder.glob("*.lua"))
    if profile not in known:
        raise TravelRefused(f"OSRM's library has no profile {profile[:40]!r}; it has {', '.join(known)}")
    return folder / f"{profile}.lua"


def _prepare(extract: Path, rules: Path, kept: Path, until: float) -> None:
    """Prepare an extract in a folder of its own and move it to its place; whoever prepares at the same time keeps the first."""
    kept.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=f"{kept.name}.", suffix=".part", dir=kept.parent))
    try:
        _run("extract", "--profile", rules, "--output", part / NAME, extract, until=until)
        _run("partition", part / NAME, until=until)
        _run("customize", part / NAME, until=until)
        if not (part / READY).is_file():
            raise TravelRefused(f"{extract.name}: OSRM prepared nothing of it")
        try:
            os.rename(part, kept)
        except OSError:
            if not (kept / READY).is_file():
                raise
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _run(command: str, *arguments: Any, until: float) -> None:
    """Run one of the library's tools; none of them reaches a network."""
    try:
        done = subprocess.run(
            [sys.executable, "-m", "osrm", command, "--verbosity", "ERROR", *map(str, arguments)], capture_output=True, text=True,
            timeout=max(0.1, until - time.monotonic()), check=False)
    except subprocess.TimeoutExpired:
        raise TravelUnavailable(f"preparing the extract (osrm-{command}) took longer than its budget") from None
    if done.returncode != 0:
        last = (done.stderr.strip() or done.stdout.strip() or "no word").splitlines()[-1]
        raise TravelRefused(f"osrm-{command} refuses the extract: {last[:120]}")
