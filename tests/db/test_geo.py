"""Places and areas get the same answers from PostGIS and from SQLite, to the tolerances stated here."""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyproj import Geod
from sqlalchemy import Column, Connection, MetaData, Table, insert, select
from sqlalchemy.exc import StatementError

from backend.core import geo
from backend.core.geo import Datum, LonLat, MultiPolygon
from backend.core.ids import new_id
from backend.db.base import Uuid
from backend.db.engine import make_engine
from backend.db.geo import Area, Point, covers, distance_m, within_m
from tests.support.engines import AnyEngine

DISTANCE_TOLERANCE_M = 0.001  # Over at most 4,000 km; both engines solve the geodesic on the same ellipsoid.

BUND, AIRPORT, BEIJING = LonLat(121.4903, 31.2397), LonLat(121.8083, 31.1443), LonLat(116.3974, 39.9093)
GEODESICS_M = {(BUND, AIRPORT): 32_102.9, (BUND, BEIJING): 1_067_000.0, (BUND, BUND): 0.0}

PLACES = Table("places", MetaData(), Column("id", Uuid(), primary_key=True), Column("place", Point()), Column("area", Area()))


def ring(*positions: tuple[float, float]) -> tuple[LonLat, ...]:
    return tuple(LonLat(lon, lat) for lon, lat in (*positions, positions[0]))


# Two districts; the first is a long box (its edges would bend by kilometres along great circles) with a park cut out.
TERRITORY = MultiPolygon(
    (
        (ring((110.0, 31.0), (122.0, 31.0), (122.0, 32.0), (110.0, 32.0)), ring((121.4, 31.4), (121.6, 31.4), (121.6, 31.6), (121.4, 31.6))),
        (ring((100.0, 20.0), (101.0, 20.0), (100.0, 21.0)),),
    )
)
COVERED = {
    (121.0, 31.5): True,
    (116.0, 31.001): True,  # Inside the straight edge, outside the great circle through its ends.
    (116.0, 32.001): False,  # The other way round.
    (121.5, 31.5): False,  # In the hole …
    (121.4, 31.5): True,  # … whose edge is the area's own.
    (110.0, 31.0): True,  # A corner.
    (122.0, 31.5): True,  # An edge.
    (122.000001, 31.5): False,
    (100.2, 20.2): True,  # The second polygon.
    (100.6, 20.6): False,
    (0.0, 0.0): False,
}


@pytest.fixture(scope="module")
def _places_engine(database: AnyEngine) -> Iterator[Any]:
    with database.empty() as empty:
        engine = make_engine(empty.url)
        if database.kind == "postgresql":
            with engine.begin() as connection:
                connection.exec_driver_sql("CREATE EXTENSION postgis")
        PLACES.metadata.create_all(engine)
        yield engine
        engine.dispose()


@pytest.fixture
def connection(_places_engine: Any) -> Iterator[Connection]:
    """One connection with the table of this module, rolled back."""
    with _places_engine.connect() as connection:
        yield connection
        connection.rollback()


def geodesic_m(a: LonLat, b: LonLat) -> float:
    return float(Geod(ellps="WGS84").inv(a.lon, a.lat, b.lon, b.lat)[2])


def asked(connection: Connection, expression: Any) -> Any:
    return connection.execute(select(expression)).scalar_one()


@pytest.mark.parametrize(("lon", "lat"), [(180.1, 0.0), (-181.0, 0.0), (0.0, 90.5), (0.0, -91.0), (float("nan"), 0.0), (0.0, float("inf"))])
def test_a_position_off_the_earth_is_refused(lon: float, lat: float) -> None:
    with pytest.raises(ValueError, match="must lie in"):
        LonLat(lon, lat)


@pytest.mark.parametrize("polygons", [(), ((),), ((ring((0, 0), (1, 1)),),), (((LonLat(0, 0), LonLat(1, 0), LonLat(1, 1), LonLat(0, 1)),),)])
def test_a_shape_that_is_no_area_is_refused(polygons: Any) -> None:
    with pytest.raises(ValueError, match=r"area|polygon|ring"):
        MultiPolygon(polygons)


def test_an_area_that_crosses_itself_is_refused(connection: Connection) -> None:
    bow_tie = MultiPolygon(((ring((0, 0), (1, 1), (1, 0), (0, 1)),),))
    with pytest.raises(StatementError, match="must not cross itself"):
        connection.execute(insert(PLACES).values(id=new_id(), area=bow_tie))


def test_places_and_areas_come_back_bit_by_bit(connection: Connection) -> None:
    exact = LonLat(121.490_312_345_678_91, 31.239_700_000_000_003)
    connection.execute(insert(PLACES).values(id=new_id(), place=exact, area=TERRITORY))
    connection.execute(insert(PLACES).values(id=new_id(), place=None, area=None))
    found = {tuple(row) for row in connection.execute(select(PLACES.c.place, PLACES.c.area))}
    assert found == {(exact, TERRITORY), (None, None)}


def test_distances_agree_with_the_geodesic(connection: Connection) -> None:
    for (a, b), expected_m in GEODESICS_M.items():
        measured_m = asked(connection, distance_m(a, b))
        assert measured_m == pytest.approx(geodesic_m(a, b), abs=DISTANCE_TOLERANCE_M)
        assert measured_m == pytest.approx(expected_m, rel=0.01)
        assert geo.distance_m(a, b) == pytest.approx(measured_m, rel=0.006)


def test_distance_to_an_unknown_place_is_unknown(connection: Connection) -> None:
    connection.execute(insert(PLACES).values(id=new_id(), place=None, area=None))
    assert asked(connection, distance_m(PLACES.c.place, BUND)) is None
    assert asked(connection, covers(PLACES.c.area, BUND)) is None
    assert asked(connection, within_m(PLACES.c.place, BUND, 100)) is None


def test_the_nearest_place_comes_first(connection: Connection) -> None:
    connection.execute(insert(PLACES), [{"id": new_id(), "place": place} for place in (BEIJING, BUND, AIRPORT)])
    nearest = select(PLACES.c.place).order_by(distance_m(PLACES.c.place, BUND))
    assert connection.execute(nearest).scalars().all() == [BUND, AIRPORT, BEIJING]
    near = select(PLACES.c.place).where(within_m(PLACES.c.place, BUND, 40_000)).order_by(distance_m(PLACES.c.place, BUND))
    assert connection.execute(near).scalars().all() == [BUND, AIRPORT]


@pytest.mark.parametrize(("position", "is_covered"), COVERED.items())
def test_an_area_covers_its_inside_and_its_boundary(connection: Connection, position: tuple[float, float], is_covered: bool) -> None:
    connection.execute(insert(PLACES).values(id=new_id(), area=TERRITORY, place=LonLat(*position)))
    assert asked(connection, covers(PLACES.c.area, PLACES.c.place)) is is_covered
    assert asked(connection, covers(TERRITORY, LonLat(*position))) is is_covered


positions_in_china = st.builds(LonLat, st.floats(74.0, 134.0), st.floats(18.5, 53.0))


@given(positions_in_china, st.sampled_from(Datum))
def test_datums_convert_there_and_back_within_a_centimetre(place: LonLat, datum: Datum) -> None:
    assert geo.distance_m(place, geo.to_wgs84(geo.from_wgs84(place, datum), datum)) < 0.01


@given(positions_in_china)
def test_other_datums_are_shifted_by_hundreds_of_metres(place: LonLat) -> None:
    shift_m = geo.distance_m(place, geo.from_wgs84(place, Datum.GCJ02))
    assert 10 < shift_m < 1_500
    assert geo.from_wgs84(place, Datum.WGS84) == place


def test_a_published_pair_of_datums_is_matched() -> None:
    """Tiananmen: the widely printed example of the three datums, given to six decimals."""
    tiananmen = LonLat(116.404, 39.915)
    assert geo.distance_m(geo.from_wgs84(tiananmen, Datum.GCJ02), LonLat(116.410244, 39.916404)) < 0.5
    assert geo.distance_m(geo.from_wgs84(tiananmen, Datum.BD09), LonLat(116.416627, 39.922699)) < 1.0


def test_gcj02_leaves_the_rest_of_the_world_alone() -> None:
    assert geo.to_wgs84(LonLat(2.35, 48.85), Datum.GCJ02) == LonLat(2.35, 48.85)
