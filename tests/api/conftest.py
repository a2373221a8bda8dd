"""One whole application per engine for the tests that ask every route."""

from collections.abc import Iterator

import pytest

from tests.support.engines import AnyEngine
from tests.support.whole import Whole, whole_application


@pytest.fixture(scope="package")
def whole(database: AnyEngine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Whole]:
    """The whole application with everybody and one thing of every kind. What a request writes is taken back after it.

    Its transaction stays open as long as it lives, which must not be longer than these tests: no dead row of the cluster can go meanwhile.
    """
    with whole_application(database, tmp_path_factory.mktemp("whole")) as running:
        yield running
