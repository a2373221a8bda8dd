"""Travel times that ask nobody: great-circle, and a table from a file."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from routing import load_instance, table_matrix, travel_matrix
from routing.__main__ import main
from routing.travel import Fallback, ProviderName, TravelConfig, TravelMissing, TravelRefused, obtain
from tests.unit.routing.support_days import bench_day, day
from tests.unit.routing.support_travel import places_day

PLACES = [(31.23, 121.47), (31.24, 121.48), (31.25, 121.46)]
TABLE: dict[str, Any] = {
    "schema": "travel-table/1", "data_set": "sh 2026-11", "profile": "car, 10:00", "places": [*map(list, PLACES), [31.3, 121.5]],
    "seconds": [[0, 11, 12, 9], [21, 0, 22, 9], [31, 32, 0, 9], [9, 9, 9, 0]],
    "metres": [[0, 110, 120, 9], [210, 0, 220, 9], [310, 320, 0, 9], [9, 9, 9, 0]],
}


def config(path: Path, content: Any, **changes: Any) -> TravelConfig:
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return TravelConfig(provider=ProviderName.TABLE, file=str(path), **changes)


BAD_TABLES: list[tuple[str, Any]] = [
    ("schema", {**TABLE, "schema": "travel-table/9"}),
    ("ids or places", {key: value for key, value in TABLE.items() if key != "places"}),
    ("ids or places", {**TABLE, "ids": ["a"]}),
    ("twice", {**TABLE, "places": [PLACES[0]] * 4}),
    ("seconds: expected 4 rows", {**TABLE, "seconds": TABLE["seconds"][:3]}),
    ("metres[1]: expected 4 entries", {**TABLE, "metres": [TABLE["metres"][0], [1], *TABLE["metres"][2:]]}),
    ("null in one", {**TABLE, "seconds": [[0, None, 12, 9], *TABLE["seconds"][1:]]}),
    ("seconds[0][1]", {**TABLE, "seconds": [[0, -1, 12, 9], *TABLE["seconds"][1:]]}),
    ("seconds[0][1]", {**TABLE, "seconds": [[0, 1.5, 12, 9], *TABLE["seconds"][1:]]}),
    ("seconds[0][1]", {**TABLE, "seconds": [[0, 10**22, 12, 9], *TABLE["seconds"][1:]]}),
    ("outside", {**TABLE, "places": [[91, 0], *TABLE["places"][1:]]}),
    ("unknown field", {**TABLE, "speed": 3}),
    ("truncated", "{"),
    ("malformed", "NaN"),
]


@pytest.mark.parametrize(("named", "content"), BAD_TABLES, ids=range(len(BAD_TABLES)))
def test_a_bad_table_is_refused_by_what_is_wrong_with_it(tmp_path: Path, named: str, content: Any) -> None:
    with pytest.raises(TravelRefused, match=r"t\.json") as refusal:
        obtain(config(tmp_path / "t.json", content), places_day(PLACES))
    assert named in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_an_absent_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TravelRefused, match=r"none\.json: cannot be read"):
        obtain(TravelConfig(provider=ProviderName.TABLE, file=str(tmp_path / "none.json")), places_day(PLACES))


def test_a_place_outside_the_table_or_a_pair_without_a_way_is_named(tmp_path: Path) -> None:
    with pytest.raises(TravelMissing, match="'p3' is not in the table"):
        obtain(config(tmp_path / "t.json", TABLE), places_day([*PLACES, (31.9, 121.9)]))
    gap = {key: [[*rows[0]], [rows[1][0], 0, None, 9], *rows[2:]] for key, rows in TABLE.items() if key in ("seconds", "metres")}
    asked = config(tmp_path / "gap.json", {**TABLE, **gap})
    with pytest.raises(TravelMissing, match="no way from location 'p1' to 'p2', and between 0 other pairs"):
        obtain(asked, places_day(PLACES))


def test_a_gap_is_filled_by_great_circle_only_where_that_is_configured_and_the_record_counts_it(tmp_path: Path) -> None:
    gap = {key: [rows[0], [rows[1][0], 0, None, 9], *rows[2:]] for key, rows in TABLE.items() if key in ("seconds", "metres")}
    made = places_day(PLACES)
    matrix, record = obtain(config(tmp_path / "gap.json", {**TABLE, **gap}, fallback=Fallback.GREAT_CIRCLE), made)
    straight = travel_matrix(made)
    assert (record.provider, record.filled_pairs, record.failure) == ("table", 1, "")
    assert matrix.seconds[1, 2] == straight.seconds[1, 2]
    assert matrix.seconds[2, 1] == 32


def test_a_table_is_directed_cut_and_ordered_by_the_day_and_says_what_it_is(tmp_path: Path) -> None:
    matrix, record = obtain(config(tmp_path / "t.json", TABLE), places_day([PLACES[2], PLACES[0]]))
    assert matrix.seconds.tolist() == [[0, 31], [12, 0]]
    assert matrix.metres.tolist() == [[0, 310], [120, 0]]
    assert (record.provider, record.data_set, record.profile, record.matrix_digest) == ("table", "sh 2026-11", "car, 10:00", matrix.digest())
    assert len(record.data_set_digest) == 64
    by_id = {**{key: value for key, value in TABLE.items() if key != "places"}, "ids": ["p1", "p0", "office", "bank"]}
    again, other = obtain(config(tmp_path / "ids.json", by_id), places_day(PLACES[:2]))
    assert again.seconds.tolist() == [[0, 21], [11, 0]]
    assert other.data_set_digest != record.data_set_digest


@pytest.mark.parametrize("name", ["fd50-compact", "fd200-shanghai"])
def test_great_circle_is_to_the_byte_what_it_was(name: str) -> None:
    instance = load_instance(bench_day(name))
    matrix, record = obtain(TravelConfig(), instance)
    assert matrix.digest() == travel_matrix(instance).digest() == record.matrix_digest
    assert (record.provider, record.profile, record.data_set) == ("great-circle", "haversine/1", "radius 6.37101e+06 m, detour 1.35, 25 km/h")


@pytest.mark.parametrize("speed", [25.0, 30.0])
def test_other_parameters_are_another_data_set(speed: float) -> None:
    made = load_instance(day(travel={"model": "haversine", "earth_radius_m": 6371008.8, "detour_factor": 1.35, "speed_kmh": speed}))
    digest = obtain(TravelConfig(), load_instance(day()))[1].data_set_digest
    assert (obtain(TravelConfig(), made)[1].data_set_digest == digest) == (speed == 25.0)


@pytest.mark.parametrize("changed", [
    {"provider": ProviderName.TABLE}, {"provider": ProviderName.ROADS}, {"provider": ProviderName.OSRM, "url": "http://127.0.0.1:5000"},
    {"provider": ProviderName.OSRM, "url": "ftp://host", "data_set": "x"}, {"provider": ProviderName.OSRM, "url": "http://", "data_set": "x"},
    {"provider": ProviderName.VALHALLA, "url": "http://user:pass@host", "data_set": "x"}, {"timeout_s": 0.0}, {"timeout_s": float("nan")},
    {"provider": ProviderName.VALHALLA, "url": "http://host/?key=1", "data_set": "x"}, {"attempts_max": 0}, {"block_max": 0},
    {"provider": ProviderName.OSRM, "url": "http://host:99999", "data_set": "x"},
])
def test_a_provider_without_what_it_needs_is_not_configured(changed: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        TravelConfig(**changed)


def test_no_places_is_an_empty_matrix(tmp_path: Path) -> None:
    for asked in (TravelConfig(), config(tmp_path / "t.json", TABLE)):
        assert obtain(asked, places_day([]))[0].seconds.shape == (0, 0)
    assert np.array_equal(obtain(TravelConfig(), places_day([PLACES[0]]))[0].metres, [[0]])


def test_the_command_writes_a_table_that_solve_takes_or_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, out = tmp_path / "day.json", tmp_path / "table.json"
    source.write_text(json.dumps(day()), encoding="utf-8")
    assert main(["travel", str(source), "--out", str(out)]) == 0
    assert "great-circle haversine/1: 6 places" in capsys.readouterr().out
    instance = load_instance(day())
    assert table_matrix(json.loads(out.read_bytes()), instance).digest() == travel_matrix(instance).digest()
    assert main(["travel", str(source), "--provider", "table", "--file", str(out), "--out", str(out)]) == 0
    for bad in (["--provider", "roads"], ["--provider", "osrm"], ["--provider", "table", "--file", str(source)]):
        capsys.readouterr()
        assert main(["travel", str(source), "--out", str(out), *bad]) == 2
        assert capsys.readouterr().err.count("\n") == 1
