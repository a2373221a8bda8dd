"""Travel times asked of a host of one's own, over real HTTP on the loopback interface: every way in which it can fail, then what it answers."""

import multiprocessing
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from routing import travel_matrix
from routing.travel import Fallback, ProviderName, TravelConfig, TravelMissing, TravelRefused, TravelUnavailable, obtain
from routing.travel.asked import blocks_of
from routing.travel.legs import Legs, keys_of
from routing.travel.model import MISSING, TravelRecord
from tests.unit.routing.support_travel import Answer, Cut, Drip, OsrmTables, Silent, ValhallaTables, leg, listening, places_day

pytestmark = pytest.mark.long

PLACES = [(31.20 + 0.01 * (number % 5), 121.40 + 0.013 * number) for number in range(12)]
SEA, ISLAND = (31.90, 121.45), (31.21, 201.0)
OSRM_EMPTY = {"code": "Ok", "data_version": "1", "waypoints": []}


def config(url: str, provider: ProviderName = ProviderName.OSRM, **changes: Any) -> TravelConfig:
    return TravelConfig(**{"provider": provider, "url": url, "data_set": "sh", "timeout_s": 5.0, **changes})


def at_once(_: float) -> None:
    """Wait for nothing between two tries."""


def raising(error: type[Exception]) -> Callable[..., Answer]:
    def answer(method: str, path: str, body: dict[str, Any] | None) -> Answer:
        raise error

    return answer


def expected(places: list[tuple[float, float]]) -> tuple[list[list[int]], list[list[int]]]:
    legs = [[leg(a, b) if a != b else (0, 0) for b in places] for a in places]
    return [[int(one[0] + 0.5) for one in row] for row in legs], [[int(one[1] + 0.5) for one in row] for row in legs]


# ---- refusals

def test_a_host_that_is_not_there_is_unavailable_after_bounded_tries() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
    waited: list[float] = []
    with pytest.raises(TravelUnavailable, match="after 3 tries"):
        obtain(config(url), places_day(PLACES), waited.append)
    assert waited == [0.2, 0.4]


@pytest.mark.parametrize("error", [Silent, Cut, Drip])
def test_an_answer_that_never_ends_is_unavailable(error: type[Exception]) -> None:
    with listening(raising(error)) as fleet, pytest.raises(TravelUnavailable):
        obtain(config(fleet.url, timeout_s=0.2, attempts_max=2), places_day(PLACES), at_once)
    assert len(fleet.heard) == 2


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_host_in_trouble_is_asked_again_and_given_up(status: int) -> None:
    with listening(lambda *_: (status, b"<html>")) as fleet, pytest.raises(TravelUnavailable, match=f"status {status}"):
        obtain(config(fleet.url), places_day(PLACES), at_once)
    assert len(fleet.heard) == 3


@pytest.mark.parametrize("answer", [
    (200, b"<html>hello</html>"), (200, b"[]"), (200, b""), (302, {}), (404, b"not found"), (200, {"code": "InvalidUrl"}), (401, {"message": "no"}),
    (400, {"code": "InvalidQuery", "message": "Query string malformed close to position 31.23123"}),
])
def test_what_is_no_such_service_is_refused_without_another_try_and_quotes_no_coordinates(answer: Answer) -> None:
    with listening(lambda *_: answer) as fleet, pytest.raises(TravelRefused) as refusal:
        obtain(config(fleet.url), places_day(PLACES), at_once)
    assert len(fleet.heard) == 1
    assert "31.2" not in str(refusal.value)


NINES: list[list[Any]] = [[9] * 12] * 12
TABLES: list[dict[str, Any]] = [
    {}, {"durations": [[0]], "distances": [[0]]}, {"durations": "x", "distances": []}, {"durations": [[0] * 12] * 11, "distances": NINES[:11]},
    {"durations": [[-1] * 12] * 12, "distances": NINES}, {"durations": [["9"] * 12] * 12, "distances": NINES},
    {"durations": [[True] * 12] * 12, "distances": NINES}, {"durations": [[1e9] * 12] * 12, "distances": NINES},
    {"durations": [[0], [0, 1]], "distances": [[0]]}, {"durations": NINES, "distances": NINES[:11]},
]


@pytest.mark.parametrize("said", TABLES, ids=range(len(TABLES)))
def test_a_table_that_is_no_table_is_refused(said: dict[str, Any]) -> None:
    with listening(lambda _, path, __: (200, {"code": "Ok", **said} if "table" in path else OSRM_EMPTY)) as fleet, pytest.raises(TravelRefused):
        obtain(config(fleet.url), places_day(PLACES), at_once)


@pytest.mark.parametrize("said", [
    {}, {"sources_to_targets": []}, {"sources_to_targets": [[1]]}, {"sources_to_targets": {"durations": [[0]]}},
    {"sources_to_targets": {"durations": [[0] * 12] * 12, "distances": [[0] * 12] * 12}, "units": "miles"},
    {"sources_to_targets": {"durations": [[0] * 12] * 12, "distances": [[0] * 11] * 12}},
])
def test_a_matrix_that_is_no_matrix_is_refused(said: dict[str, Any]) -> None:
    with listening(lambda _, path, __: (200, said if path != "/status" else {})) as fleet, pytest.raises(TravelRefused):
        obtain(config(fleet.url, ProviderName.VALHALLA), places_day(PLACES), at_once)


def test_an_unknown_costing_is_refused_by_the_hosts_own_words() -> None:
    with listening(ValhallaTables()) as fleet, pytest.raises(TravelRefused, match="No costing method found plane"):
        obtain(config(fleet.url, ProviderName.VALHALLA, profile="plane"), places_day(PLACES), at_once)


def test_SEC_01_nothing_but_the_configured_host_is_contacted(monkeypatch: pytest.MonkeyPatch) -> None:
    with listening(lambda *_: (200, {})) as elsewhere, listening(lambda *_: (307, {})) as fleet:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy", "HTTPS_PROXY"):
            monkeypatch.setenv(name, elsewhere.url)
        with pytest.raises(TravelRefused, match="leads elsewhere"):
            obtain(config(fleet.url), places_day(PLACES), at_once)
        assert (len(fleet.heard), elsewhere.heard) == (1, [])


def test_SEC_01_the_default_contacts_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a socket")

    monkeypatch.setattr(socket, "socket", refuse)
    assert obtain(TravelConfig(), places_day(PLACES))[1].provider == "great-circle"


def test_a_host_that_refuses_even_two_places_is_refused() -> None:
    with listening(OsrmTables(table_max=1)) as fleet, pytest.raises(TravelRefused, match="even a table of two"):
        obtain(config(fleet.url), places_day(PLACES), at_once)


HOSTS: list[tuple[ProviderName, Callable[[], Callable[..., Answer]]]] = [
    (ProviderName.OSRM, lambda: OsrmTables(sea=31.8)), (ProviderName.OSRM, lambda: OsrmTables(sea=31.8, is_refusing_sea=True)),
    (ProviderName.VALHALLA, lambda: ValhallaTables(sea=31.8)),
]


@pytest.mark.parametrize(("provider", "host"), HOSTS)
def test_a_place_without_a_road_is_named_and_only_its_own_pairs_are_filled(provider: ProviderName, host: Callable[[], Callable[..., Answer]]) -> None:
    made = places_day([*PLACES[:5], SEA, *PLACES[5:]])
    with listening(host()) as fleet:
        with pytest.raises(TravelMissing, match="no way from location 'p0' to 'p5', and between 23 other pairs"):
            obtain(config(fleet.url, provider), made, at_once)
        matrix, record = obtain(config(fleet.url, provider, fallback=Fallback.GREAT_CIRCLE), made, at_once)
    straight, rest = travel_matrix(made), [index for index in range(13) if index != 5]
    assert record.filled_pairs == 24
    assert matrix.seconds[5].tolist() == straight.seconds[5].tolist()
    assert matrix.seconds[np.ix_(rest, rest)].tolist() == expected(PLACES)[0]


@pytest.mark.parametrize("provider", [ProviderName.OSRM, ProviderName.VALHALLA])
def test_a_null_is_a_pair_without_a_way(provider: ProviderName) -> None:
    tables = OsrmTables() if provider is ProviderName.OSRM else ValhallaTables()
    island = (31.21, 120.0)
    def answer(method: str, path: str, body: dict[str, Any] | None) -> Answer:
        status, said = tables(method, path, body)
        assert isinstance(said, dict)
        if "durations" in said:
            said["durations"][0][1] = said["distances"][0][1] = None
        elif "sources_to_targets" in said:
            said["sources_to_targets"]["durations"][0][1] = said["sources_to_targets"]["distances"][0][1] = None
        return status, said

    with listening(answer) as fleet, pytest.raises(TravelMissing, match="between 0 other pairs"):
        obtain(config(fleet.url, provider), places_day([PLACES[0], island]), at_once)


def test_a_host_that_is_down_is_replaced_only_where_that_is_configured_and_the_record_says_so() -> None:
    with listening(lambda *_: (503, {})) as fleet:
        with pytest.raises(TravelUnavailable):
            obtain(config(fleet.url), places_day(PLACES), at_once)
        matrix, record = obtain(config(fleet.url, fallback=Fallback.GREAT_CIRCLE), places_day(PLACES), at_once)
    assert matrix.digest() == travel_matrix(places_day(PLACES)).digest()
    assert record.provider == "great-circle"
    assert record.failure.startswith("osrm: ")
    assert "status 503" in record.failure


# ---- answers

@pytest.mark.parametrize(("provider", "host", "block"), [
    (ProviderName.OSRM, OsrmTables(), 50), (ProviderName.OSRM, OsrmTables(), 5), (ProviderName.OSRM, OsrmTables(table_max=7), 50),
    (ProviderName.OSRM, OsrmTables(data_version=""), 1), (ProviderName.VALHALLA, ValhallaTables(), 50),
    (ProviderName.VALHALLA, ValhallaTables(is_verbose=True), 5), (ProviderName.VALHALLA, ValhallaTables(pairs_max=10), 50),
])
def test_a_table_is_put_together_from_blocks_in_the_days_order(provider: ProviderName, host: Callable[..., Answer], block: int) -> None:
    with listening(host) as fleet:
        matrix, record = obtain(config(fleet.url, provider, block_max=block), places_day(PLACES), at_once)
    seconds, metres = expected(PLACES)
    assert matrix.seconds.tolist() == seconds
    assert matrix.metres.tolist() == metres
    assert record.matrix_digest == matrix.digest()
    assert record.data_set.startswith("sh")


def test_a_host_that_stumbles_once_is_asked_again() -> None:
    host, turns = OsrmTables(), [0]

    def answer(method: str, path: str, body: dict[str, Any] | None) -> Answer:
        turns[0] += 1
        if turns[0] % 3 == 1:
            raise Cut
        return (503, {}) if turns[0] % 3 == 2 else host(method, path, body)

    with listening(answer) as fleet:
        assert obtain(config(fleet.url), places_day(PLACES), at_once)[0].seconds.tolist() == expected(PLACES)[0]


def test_places_that_are_one_place_are_asked_for_once() -> None:
    with listening(OsrmTables()) as fleet:
        matrix, _ = obtain(config(fleet.url), places_day([PLACES[0], PLACES[1], PLACES[0]]), at_once)
    assert fleet.tables() == 1
    assert fleet.heard[-1][1].split("?")[0].count(";") == 1
    assert matrix.seconds[0].tolist() == [0, expected(PLACES)[0][0][1], 0]


def test_what_was_asked_is_kept_by_data_set_profile_and_place(tmp_path: Path) -> None:
    folder = {"cache_folder": str(tmp_path)}
    with listening(OsrmTables()) as fleet:
        obtain(config(fleet.url, **folder), places_day(PLACES[:8]), at_once)
        assert fleet.tables() == 1
        moved = [(lat + 0.000001, lon) for lat, lon in PLACES[:8]]
        again, _ = obtain(config(fleet.url, **folder), places_day(list(reversed(moved))), at_once)
        assert fleet.tables() == 1                                                    # Less than a metre away, in another order.
        assert again.seconds.tolist() == [list(reversed(row)) for row in reversed(expected(PLACES[:8])[0])]
        fleet.heard.clear()
        obtain(config(fleet.url, **folder), places_day(PLACES[:9]), at_once)
        asked = [path for _, path, _ in fleet.heard if "table" in path]
        assert sorted(path.split("sources=")[1].count(";") for path in asked) == [7, 8]   # One new place: its row and its column.
        for changed in ({"profile": "foot"}, {"data_set": "other"}):
            before = fleet.tables()
            obtain(config(fleet.url, **folder, **changed), places_day(PLACES[:8]), at_once)
            assert fleet.tables() == before + 1
        fleet.answer, before = OsrmTables(data_version="2026-12"), fleet.tables()
        obtain(config(fleet.url, **folder), places_day(PLACES[:8]), at_once)          # The host got new data by itself.
        assert fleet.tables() == before + 1


def test_what_was_answered_before_a_host_went_down_is_not_asked_again(tmp_path: Path) -> None:
    host, left = OsrmTables(), [3]

    def answer(method: str, path: str, body: dict[str, Any] | None) -> Answer:
        left[0] -= 1
        return host(method, path, body) if left[0] >= 0 else (503, {})

    with listening(answer) as fleet:
        asked = config(fleet.url, block_max=6, cache_folder=str(tmp_path))
        with pytest.raises(TravelUnavailable):
            obtain(asked, places_day(PLACES), at_once)
        left[0], before = 1000, fleet.tables()
        assert obtain(asked, places_day(PLACES), at_once)[0].seconds.tolist() == expected(PLACES)[0]
        assert fleet.tables() < before + 4


def test_a_damaged_store_of_legs_is_started_anew(tmp_path: Path) -> None:
    asked = {"cache_folder": str(tmp_path)}
    with listening(OsrmTables()) as fleet:
        obtain(config(fleet.url, **asked), places_day(PLACES), at_once)
        (tmp_path / "legs.sqlite").write_bytes(b"SQLite format 3\0" + b"\xff" * 4000)
        assert obtain(config(fleet.url, **asked), places_day(PLACES), at_once)[0].seconds.tolist() == expected(PLACES)[0]
        before = fleet.tables()
        obtain(config(fleet.url, **asked), places_day(PLACES), at_once)
        assert fleet.tables() in (before, before + 1)


RECORD = TravelRecord(provider="osrm", profile="driving", data_set="sh", data_set_digest="d" * 64)


def write_legs(folder: str, number: int) -> None:
    """Keep and read back blocks of one of several processes."""
    legs, keys = Legs(Path(folder), RECORD), keys_of(places_day(PLACES).locations)
    rows = np.arange(len(keys), dtype=np.intp)
    for turn in range(6):
        some = rows[(turn + number) % 3:: 3]
        block = np.add.outer(some, rows).astype(np.int32) + 1
        legs.keep(keys, some, rows, block, block * 10)
        seconds, metres = legs.look_up(keys)
        known = seconds != MISSING
        assert (metres[known] == 10 * seconds[known]).all()
        assert (seconds[known] == (np.add.outer(rows, rows) + 1)[known]).all()


def test_many_processes_may_write_the_legs_at_once(tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    workers = [spawn.Process(target=write_legs, args=(str(tmp_path), number)) for number in range(2)]
    for one in workers:
        one.start()
    for one in workers:
        one.join(120)
    assert [one.exitcode for one in workers] == [0, 0]
    seconds, _ = Legs(tmp_path, RECORD).look_up(keys_of(places_day(PLACES).locations))
    assert (seconds == np.add.outer(np.arange(12), np.arange(12)) + 1).all()


@pytest.mark.parametrize("side", [1, 3, 50])
def test_blocks_cover_what_is_wanted_and_stay_small(side: int) -> None:
    wanted = np.random.default_rng(3).random((17, 17)) < 0.5
    np.fill_diagonal(wanted, val=False)
    covered = np.zeros_like(wanted)
    for rows, columns in blocks_of(wanted, side):
        assert len(rows) <= side
        assert len(columns) <= side
        covered[np.ix_(rows, columns)] = True
    np.fill_diagonal(covered, val=False)
    assert (covered == wanted).all()
