"""Travel times over an extract's roads: what may be driven on, and the fastest way against an independent search."""

import heapq
import math
import random
import threading
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from routing.travel import ProviderName, TravelConfig, TravelMissing, TravelRefused, obtain
from routing.travel.great_circle import crow_m
from routing.travel.model import MISSING, WALK_M_S
from routing.travel.network import great_circle_m, kept_at, load, save
from routing.travel.profile import Drive, blocks, drive, limit_kmh
from routing.travel.roads import RoadNetwork
from tests.unit.routing.support_days import BENCH
from tests.unit.routing.support_travel import places_day, write_extract

pytest.importorskip("osmium", reason="the extra `roads` is not installed")
pytest.importorskip("scipy", reason="the extra `roads` is not installed")

LAT, LON, STEP = 31.2, 121.4, 0.01
STREET = {"highway": "residential"}


@pytest.mark.parametrize(("tags", "expected"), [
    ({"highway": "residential"}, Drive(25, 25)),
    ({"highway": "motorway"}, Drive(90, 0)),
    ({"highway": "motorway", "oneway": "no"}, Drive(90, 90)),
    ({"highway": "motorway_link"}, Drive(45, 45)),
    ({"highway": "primary", "oneway": "yes"}, Drive(65, 0)),
    ({"highway": "primary", "oneway": "-1"}, Drive(0, 65)),
    ({"highway": "primary", "oneway": "yes", "oneway:motor_vehicle": "no"}, Drive(65, 65)),
    ({"highway": "primary", "oneway": "reversible"}, None),
    ({"highway": "tertiary", "junction": "roundabout"}, Drive(40, 0)),
    ({"highway": "tertiary", "maxspeed": "60"}, Drive(48, 48)),
    ({"highway": "tertiary", "maxspeed": "30 mph", "maxspeed:backward": "50"}, Drive(30 * 1.609344 * 0.8, 40)),
    ({"highway": "tertiary", "maxspeed": "CN:urban"}, Drive(40, 40)),
    ({"highway": "service", "access": "private"}, None),
    ({"highway": "service", "access": "private", "motor_vehicle": "yes"}, Drive(15, 15)),
    ({"highway": "service", "access": "yes", "motorcar": "no"}, None),
    ({"highway": "service", "access": "destination"}, Drive(15, 15)),
    ({"highway": "footway"}, None), ({"highway": "pedestrian"}, None), ({"highway": "construction"}, None), ({}, None),
    ({"highway": "service", "area": "yes"}, None),
])
def test_a_way_is_driven_as_its_tags_say(tags: dict[str, str], expected: Drive | None) -> None:
    assert drive(tags) == expected


@pytest.mark.parametrize(("text", "expected"), [
    ("50", 50), ("50 km/h", 50), ("30 mph", 48.28032), ("none", None), ("4", None), ("999", 130), ("", None),
])
def test_a_limit_is_read_or_left_alone(text: str, expected: float | None) -> None:
    assert limit_kmh(text) == (None if expected is None else pytest.approx(expected))


@pytest.mark.parametrize(("tags", "expected"), [
    ({"barrier": "bollard"}, True), ({"barrier": "gate"}, False), ({"barrier": "gate", "access": "private"}, True),
    ({"barrier": "bollard", "motor_vehicle": "yes"}, False), ({"highway": "crossing"}, False),
])
def test_a_barrier_blocks_unless_it_lets_cars_through(tags: dict[str, str], expected: bool) -> None:
    assert blocks(tags) is expected


def node(x: int, y: int) -> int:
    return 1 + 100 * y + x


def grid(side: int) -> dict[int, tuple[float, float]]:
    return {node(x, y): (LAT + STEP * y, LON + STEP * x) for x in range(side) for y in range(side)}


def at(x: float, y: float) -> tuple[float, float]:
    return LAT + STEP * y, LON + STEP * x


def square(path: Path, **bottom: str) -> Path:
    """One block of streets; the bottom one, from the left, as tagged."""
    ways = [([node(0, 0), node(1, 0)], {**STREET, **bottom}), ([node(1, 0), node(1, 1)], STREET), ([node(1, 1), node(0, 1)], STREET),
            ([node(0, 1), node(0, 0)], STREET)]
    return write_extract(path, grid(2), ways)


def table(extract: Path, *places: tuple[float, float]) -> Any:
    return RoadNetwork(extract, None, 60).table(places_day(places))


def test_a_oneway_is_driven_around(tmp_path: Path) -> None:
    both, one = (table(square(tmp_path / f"{tags}.osm.pbf", **tags), at(0, 0), at(1, 0)) for tags in ({}, {"oneway": "yes"}))
    assert both.metres[0, 1] == both.metres[1, 0] == one.metres[0, 1]
    assert one.metres[1, 0] > 2.9 * one.metres[0, 1]
    assert one.seconds[1, 0] > 2.9 * one.seconds[0, 1]


def test_a_private_street_is_driven_around_both_ways(tmp_path: Path) -> None:
    closed = table(square(tmp_path / "x.osm.pbf", access="private"), at(0, 0), at(1, 0))
    assert min(closed.metres[0, 1], closed.metres[1, 0]) > 2.9 * 950


def test_a_bollard_in_the_middle_is_driven_around_but_reached_from_both_sides(tmp_path: Path) -> None:
    nodes = {**grid(2), 7: at(0.5, 0)}
    ways = [([node(0, 0), 7, node(1, 0)], STREET), ([node(1, 0), node(1, 1), node(0, 1), node(0, 0)], STREET)]
    open_, shut = (
        table(write_extract(tmp_path / f"{number}.osm.pbf", nodes, ways, {7: {"barrier": kind}}), at(0.4, 0), at(0.6, 0))
        for number, kind in enumerate(("gate", "bollard"))
    )
    assert open_.metres[0, 1] == pytest.approx(190, abs=3)
    assert shut.metres[0, 1] > 10 * open_.metres[0, 1]


def test_places_are_joined_to_the_largest_connected_part_not_to_an_island_or_a_dead_end(tmp_path: Path) -> None:
    nodes = {**grid(2), 50: at(0.5, 0.5), 51: at(0.5, 0.55), 60: at(-1, 0)}
    ways = [([node(0, 0), node(1, 0), node(1, 1), node(0, 1), node(0, 0)], STREET), ([50, 51], STREET),
            ([node(0, 0), 60], {**STREET, "oneway": "yes"})]
    found = table(write_extract(tmp_path / "x.osm.pbf", nodes, ways), at(0.5, 0.5), at(1, 0), at(-0.3, 0))
    assert (found.seconds != MISSING).all()
    assert found.metres[0, 1] > 475 + 200         # Walked from the middle of the block to its edge, and driven on.


def test_a_place_far_from_every_road_has_no_way_and_is_named(tmp_path: Path) -> None:
    extract = square(tmp_path / "x.osm.pbf")
    asked = TravelConfig(provider=ProviderName.ROADS, file=str(extract))
    with pytest.raises(TravelMissing, match="no way from location 'p0' to 'p1', and between 1 other pairs"):
        obtain(asked, places_day([at(0, 0), at(9, 9)]))


def test_two_on_one_street_meet_without_a_detour_and_a_oneway_between_them_counts(tmp_path: Path) -> None:
    found = table(square(tmp_path / "x.osm.pbf", oneway="yes"), at(0.2, 0), at(0.7, 0), at(0.7, 0))
    assert found.metres[0, 1] == pytest.approx(0.5 * great_circle_m(*(np.array([one]) for one in (*at(0, 0), *at(1, 0))))[0], abs=2)
    assert found.metres[1, 0] > 3_000
    assert found.metres[1, 2] == found.seconds[1, 2] == 0


@pytest.mark.parametrize("content", [b"", b"no extract at all", None])
def test_what_is_no_extract_is_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "x.osm.pbf"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(TravelRefused, match=r"x\.osm\.pbf"):
        RoadNetwork(path, None, 60)


def test_an_extract_without_roads_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TravelRefused, match="no road"):
        RoadNetwork(write_extract(tmp_path / "x.osm.pbf", grid(2), [([node(0, 0), node(1, 0)], {"highway": "footway"})]), None, 60)


def reference(nodes: Mapping[int, tuple[float, float]], ways: Sequence[tuple[Sequence[int], Mapping[str, str]]], origin: int) -> dict[int, float]:
    """Search from node to node, segment by segment, with nothing of the library but the tags' reading."""
    ahead: dict[int, list[tuple[int, float]]] = {}
    for along, tags in ways:
        how = drive(tags)
        assert how is not None
        for a, b in pairwise(along):
            metres = 6_371_008.8 * math.acos(min(1.0, math.sin(math.radians(nodes[a][0])) * math.sin(math.radians(nodes[b][0])) + math.cos(
                math.radians(nodes[a][0])) * math.cos(math.radians(nodes[b][0])) * math.cos(math.radians(nodes[a][1] - nodes[b][1]))))
            for here, there, speed in ((a, b, how.forward_kmh), (b, a, how.backward_kmh)):
                if speed:
                    ahead.setdefault(here, []).append((there, metres * 3.6 / speed))
    best, queue = {origin: 0.0}, [(0.0, origin)]
    while queue:
        spent, here = heapq.heappop(queue)
        for there, more in ahead.get(here, ()):
            if spent + more < best.get(there, math.inf):
                best[there] = spent + more
                heapq.heappush(queue, (spent + more, there))
    return best


@pytest.mark.parametrize("seed", range(6))
def test_every_time_is_the_fastest_by_an_independent_search(tmp_path: Path, seed: int) -> None:
    choice, nodes, side = random.Random(seed), grid(7), 7
    ways: list[tuple[list[int], dict[str, str]]] = [
        ([node(x, 0) for x in range(side)] + [node(side - 1, y) for y in range(1, side)], {"highway": "secondary"}),
        ([node(0, y) for y in range(side)] + [node(x, side - 1) for x in range(1, side)], {"highway": "tertiary"}),
    ]
    for _ in range(40):
        x, y = choice.randrange(side), choice.randrange(side)
        along = [node(x, y)]
        while len(along) < 4:
            x, y = (min(side - 1, max(0, x + choice.choice((-1, 0, 1)))), y) if choice.random() < 0.5 else (x, min(side - 1, y + 1))
            if node(x, y) in along:
                break
            along.append(node(x, y))
        tags = {"highway": choice.choice(("primary", "residential", "service")), "oneway": choice.choice(("yes", "no", "-1"))}
        if len(along) > 1:
            ways.append((along, tags))
    extract = write_extract(tmp_path / "x.osm.pbf", nodes, ways)
    asked = [node(0, 0), node(3, 0), node(side - 1, 4), node(0, 5), node(2, side - 1), node(side - 1, side - 1)]
    found = RoadNetwork(extract, None, 60).table(places_day([nodes[one] for one in asked]))
    for row, origin in enumerate(asked):
        fastest = reference(nodes, ways, origin)
        assert found.seconds[row].tolist() == [pytest.approx(fastest[one], abs=1.5) for one in asked]


def test_a_built_network_is_kept_and_gives_the_same_table_whatever_happens_to_it(tmp_path: Path) -> None:
    extract, folder = square(tmp_path / "x.osm.pbf", oneway="yes"), tmp_path / "cache"
    day = places_day([at(0.1, 0), at(1, 0.5), at(0, 0.2)])
    first = RoadNetwork(extract, folder, 60)
    (kept,) = folder.iterdir()
    assert kept == kept_at(folder, first.record.data_set_digest)
    built = kept.stat().st_mtime_ns
    assert np.array_equal(RoadNetwork(extract, folder, 60).table(day).seconds, first.table(day).seconds)
    assert kept.stat().st_mtime_ns == built
    for damage in (b"", b"PK\x03\x04 torn", kept.read_bytes()[: kept.stat().st_size // 2]):
        kept.write_bytes(damage)
        assert load(kept, first.record.data_set_digest) is None
        assert np.array_equal(RoadNetwork(extract, folder, 60).table(day).metres, first.table(day).metres)
    assert load(kept, "0" * 64) is None           # Of another extract.


def test_many_may_keep_the_same_network_at_once(tmp_path: Path) -> None:
    network = RoadNetwork(square(tmp_path / "x.osm.pbf"), None, 60).network
    path, seen = tmp_path / "cache" / "n.npz", []

    def work() -> None:
        for _ in range(5):
            save(network, path, "d" * 64)
            seen.append(load(path, "d" * 64) is not None)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert seen == [True] * 20
    assert [one.name for one in path.parent.iterdir()] == ["n.npz"]


@pytest.mark.parametrize(("name", "box"), [
    ("baltimore", (39.265, 39.300, -76.600, -76.540)), ("campo-grande", (-20.50, -20.44, -54.59, -54.55)),
])
def test_a_real_extract_gives_a_finite_directed_table_longer_than_the_crow_flies(tmp_path: Path, name: str, box: tuple[float, ...]) -> None:
    extract = BENCH / "osm" / f"{name}.osm.pbf"
    if not extract.is_file():
        pytest.skip("the shared benchmark folder is absent")
    choice = random.Random(7)
    day = places_day([(choice.uniform(*box[:2]), choice.uniform(*box[2:])) for _ in range(50)])
    matrix, record = obtain(TravelConfig(provider=ProviderName.ROADS, file=str(extract), cache_folder=str(tmp_path)), day)
    away = ~np.eye(50, dtype=bool)
    crow = crow_m(day.locations)[away]
    assert record.filled_pairs == 0
    assert (matrix.metres[away] >= np.floor(crow) - 2).all()
    assert 1.2 < np.median(matrix.metres[away] / crow) < 1.8
    assert (matrix.seconds != matrix.seconds.T)[away].mean() > 0.5
    assert (matrix.metres[away] <= 90 / 3.6 * matrix.seconds[away] * 1.5 + 100).all()
    assert WALK_M_S < 90 / 3.6
