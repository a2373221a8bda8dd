"""Real servers on real ports around one database and store, with a phone that declares files beside them: for clients nobody here wrote."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from backend.cli import demo
from backend.core.clock import system_clock
from backend.db.cluster import Cluster
from backend.db.engine import make_engine, session_factory
from backend.keys.folder import open_folder
from backend.keys.keyring import Keyring
from tests.support.uploading import Place, place_of
from tests.support.world import FRIDAY


@dataclass
class Station:
    """A deployment, its servers' ports and processes, and the place where files are declared."""

    deployment: demo.Deployment
    place: Place
    ports: list[int]
    processes: list[subprocess.Popen[bytes]]


@contextmanager
def station(folder: Path, kind: str, *, servers: int = 1, public_port: int | None = None) -> Iterator[Station]:
    """Run `servers` server processes on a fresh database of the engine `kind`; addresses they give out are at `public_port`."""
    ports = [demo.free_port() for _ in range(servers)]
    cluster = Cluster(is_durable=True) if kind == "postgresql" else None
    processes: list[subprocess.Popen[bytes]] = []
    try:
        url = cluster.url(cluster.create()).render_as_string(hide_password=False) if cluster is not None else None
        deployment = demo.deploy(folder, f"http://{demo.HOST}:{public_port or ports[0]}", url)
        environ = {**deployment.environ, "FIELDVISIT_FREE_BYTES_MIN": "0", "FIELDVISIT_UPLOAD_DAY_BYTES_MAX": str(2**60)}
        deployment = msgspec.structs.replace(deployment, environ=environ)
        (folder / "clock").write_text(str(int((FRIDAY - system_clock()).total_seconds())), encoding="ascii")
        engine = make_engine(deployment.settings.url, pool_size=4)
        keyring = Keyring(open_folder(deployment.settings.key_folder, None))
        for port in ports:
            processes.append(demo.start_server(deployment, port))  # noqa: PERF401 - those that started are stopped when a later one does not
        named = {"tenant": deployment.settings.tenant, "key_folder": deployment.settings.key_folder}
        with place_of(session_factory(engine), deployment.settings.data_folder, FRIDAY, keyring=keyring, **named) as place:
            yield Station(deployment, place, ports, processes)
        engine.dispose()
    finally:
        for process, port in zip(processes, ports, strict=False):
            demo.stop_server(process, port)
        if cluster is not None:
            cluster.stop()
