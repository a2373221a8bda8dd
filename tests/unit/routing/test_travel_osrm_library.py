"""Travel times by OSRM's own library: an extract prepared once, the same streets as our own search, and clear words where it cannot be had."""

import importlib.util
import random
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from routing.travel import ProviderName, TravelConfig, TravelMissing, TravelRefused, TravelUnavailable, obtain
from routing.travel.obtain import is_built
from tests.unit.routing.support_days import BENCH
from tests.unit.routing.support_travel import places_day, write_extract

IS_THERE = importlib.util.find_spec("osrm") is not None
needs_osrm = pytest.mark.skipif(not IS_THERE, reason="the extra `osrm` is not installed (it needs CPython 3.12)")
LAT, LON, STEP = 31.2, 121.4, 0.01
STREET = {"highway": "residential"}


def at(x: float, y: float) -> tuple[float, float]:
    return LAT + STEP * y, LON + STEP * x


def square(path: Path, **bottom: str) -> Path:
    """One block of streets, the bottom one from the left as tagged."""
    pytest.importorskip("osmium")
    nodes = {1: at(0, 0), 2: at(1, 0), 3: at(1, 1), 4: at(0, 1)}
    return write_extract(path, nodes, [([1, 2], {**STREET, **bottom}), ([2, 3], STREET), ([3, 4], STREET), ([4, 1], STREET)])


def config(extract: Path, **changes: Any) -> TravelConfig:
    return TravelConfig(**{"provider": ProviderName.OSRM_FILE, "file": str(extract), "cache_folder": str(extract.parent / "kept"), **changes})


@pytest.mark.skipif(IS_THERE, reason="the extra `osrm` is installed")
def test_without_the_library_one_line_names_the_extra(tmp_path: Path) -> None:
    (tmp_path / "city.osm.pbf").write_bytes(b"anything")
    for act in (lambda: obtain(config(tmp_path / "city.osm.pbf"), places_day([at(0, 0)])), lambda: is_built(config(tmp_path / "city.osm.pbf"))):
        with pytest.raises(TravelRefused, match=r"the extra `osrm`.*3\.12.*not installed"):
            act()


@needs_osrm
def test_a_oneway_is_driven_around_and_two_behind_one_door_are_together(tmp_path: Path) -> None:
    extract = square(tmp_path / "city.osm.pbf", oneway="yes")
    matrix, record = obtain(config(extract), places_day([at(0.2, 0), at(0.7, 0), at(0.7, 0)]))
    assert matrix.metres[0, 1] == pytest.approx(0.5 * 952, abs=5)
    assert matrix.metres[1, 0] > 3_000
    assert matrix.seconds[1, 0] > 4 * matrix.seconds[0, 1]
    assert matrix.metres[1, 2] == matrix.seconds[1, 2] == 0
    assert (record.provider, record.data_set, record.profile.split("-")[0]) == ("osrm-file", "city.osm.pbf", "car/osrm")
    assert record.matrix_digest == matrix.digest()


@needs_osrm
def test_who_stands_off_the_road_walks_to_it(tmp_path: Path) -> None:
    extract = square(tmp_path / "city.osm.pbf")
    on, off = (obtain(config(extract), places_day([at(0.2, 0), at(0.7, y)]))[0] for y in (0.0, -0.1))
    assert off.metres[0, 1] - on.metres[0, 1] == pytest.approx(111, abs=3)
    assert off.seconds[0, 1] - on.seconds[0, 1] == pytest.approx(111 / 1.25, abs=2)


@needs_osrm
def test_a_place_far_from_every_road_has_no_way_and_is_named(tmp_path: Path) -> None:
    with pytest.raises(TravelMissing, match="no way from location 'p0' to 'p1', and between 1 other pairs"):
        obtain(config(square(tmp_path / "city.osm.pbf")), places_day([at(0, 0), at(9, 9)]))


@needs_osrm
def test_an_extract_is_prepared_once_and_then_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, day = config(square(tmp_path / "city.osm.pbf")), places_day([at(0, 0), at(1, 1)])
    assert not is_built(asked)
    first = obtain(asked, day)[0]
    assert is_built(asked)

    def unwanted(*_: Any, **__: Any) -> None:
        raise AssertionError("prepared again")

    monkeypatch.setattr(subprocess, "run", unwanted)
    assert obtain(asked, day)[0].digest() == first.digest()
    assert [one.suffix for one in (tmp_path / "kept").iterdir()] != [".part"]
    with pytest.raises(AssertionError, match="prepared again"):
        obtain(config(tmp_path / "city.osm.pbf", profile="foot"), day)


@needs_osrm
@pytest.mark.parametrize(("content", "changes", "told"), [
    (b"no extract at all", {}, "osrm-extract refuses the extract"), (b"", {}, "osrm-extract refuses the extract"),
    (None, {}, "cannot be read"), (b"x", {"profile": "../car"}, "no profile '../car'; it has .*car"),
])
def test_what_cannot_be_prepared_is_refused_and_leaves_nothing(tmp_path: Path, content: bytes | None, changes: dict[str, Any], told: str) -> None:
    if content is not None:
        (tmp_path / "city.osm.pbf").write_bytes(content)
    with pytest.raises(TravelRefused, match=told):
        obtain(config(tmp_path / "city.osm.pbf", **changes), places_day([at(0, 0), at(1, 1)]))
    assert list((tmp_path / "kept").glob("*")) == []


@needs_osrm
def test_a_budget_is_kept(tmp_path: Path) -> None:
    with pytest.raises(TravelUnavailable, match="longer than its budget"):
        obtain(config(square(tmp_path / "city.osm.pbf"), budget_s=1e-6), places_day([at(0, 0), at(1, 1)]))


@needs_osrm
def test_it_agrees_with_our_own_search_over_a_real_city() -> None:
    extract = BENCH / "osm" / "baltimore.osm.pbf"
    if not extract.is_file():
        pytest.skip("no shared extract")
    chance = random.Random(2)
    day = places_day([(chance.uniform(39.285, 39.30), chance.uniform(-76.625, -76.60)) for _ in range(120)])
    theirs, ours = (
        obtain(TravelConfig(provider=one, file=str(extract)), day)[0] for one in (ProviderName.OSRM_FILE, ProviderName.ROADS))
    apart = theirs.metres != 0
    for one, other in ((theirs.seconds, ours.seconds), (theirs.metres, ours.metres)):
        assert 0.85 < float(np.median(one[apart] / np.maximum(1, other[apart]))) < 1.25
    assert (theirs.seconds != theirs.seconds.T).mean() > 0.5
