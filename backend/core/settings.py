"""The process's configuration, read once from `FIELDVISIT_*` and passed down; nothing else reads the environment."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import msgspec

from routing.travel.model import Fallback, ProviderName, TravelConfig

PREFIX = "FIELDVISIT_"
_STORE_URL = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](?:/[a-zA-Z0-9_-]+)*", re.ASCII)

_OID = re.compile(r"[012](\.(0|[1-9][0-9]{0,15})){1,20}", re.ASCII)


class SettingsError(ValueError):
    """A variable is unknown or its value cannot be read; the message names it."""


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Every setting with its safe default. Each is the lower-case name of its variable.

    `data_folder` holds the embedded database and the evidence store, `key_folder` the server's keys; keep them on
    different backups. `key_passphrase_file` names a file whose first line unwraps the keys. `public_url` is what
    phones see (DPoP's `htu` is compared with it); `trusted_proxies` are the addresses whose forwarded headers count.
    `jobs` says who does the work outside requests: `threads` of the one server process, or `workers` started with `fieldvisit worker`, which
    need PostgreSQL; every process of a deployment says the same. A worker without a heartbeat for `worker_stalled_s` counts as dead.
    `attestation_roots_file` pins the roots of key attestation as JSON (docs/devices.md); without it no phone is more than `unattested`.
    Evidence rests in the data folder, or in the bucket that `store_url` names (docs/storage.md). `upload_day_bytes_max` is what one device
    may open in a day; uploads stop below `free_bytes_min` or `free_share_min` of free disk.
    `tsa_url` names a time-stamping authority (RFC 3161) for the log's daily checkpoint, `tsa_certificates_file` (PEM) whom to believe, `tsa_policy`
    the OID of the policy to ask for, `tsa_crl_file` (PEM or DER) the revocation lists to judge its stamps by (docs/audit.md); by default nobody is
    asked and nothing looked up.
    `travel_…` say where travel times come from (docs/travel.md); by default nobody is asked.
    """

    data_folder: Path = Path("var/data")
    key_folder: Path = Path("var/keys")
    key_passphrase_file: Path | None = None
    database_url: str | None = None
    owner_database_url: str | None = None
    public_url: str = "http://127.0.0.1:8000"
    tenant: str = "fieldvisit"
    store_url: str | None = None
    store_endpoint: str | None = None
    store_region: str = "us-east-1"
    store_credentials_file: Path | None = None
    attestation_roots_file: Path | None = None
    threads: int = 16
    trusted_proxies: tuple[str, ...] = ()
    is_demo: bool = False
    demo_clock_file: Path | None = None
    free_bytes_min: int = 2_000_000_000
    free_share_min: float = 0.05
    upload_day_bytes_max: int = 10_000_000_000
    request_bytes_max: int = 1_000_000
    batch_bytes_max: int = 100_000_000
    jobs: Literal["threads", "workers"] = "threads"
    worker_stalled_s: int = 30
    solver_memory_bytes_max: int = 4_000_000_000
    solver_strands: int | None = None
    tsa_url: str | None = None
    tsa_certificates_file: Path | None = None
    tsa_policy: str | None = None
    tsa_crl_file: Path | None = None
    travel_provider: ProviderName = ProviderName.GREAT_CIRCLE
    travel_file: Path | None = None
    travel_url: str | None = None
    travel_data_set: str | None = None
    travel_profile: str = ""
    travel_fallback: Fallback = Fallback.NONE
    travel_timeout_s: float = 20.0
    travel_budget_s: float = 300.0
    travel_block_max: int = 50

    def __post_init__(self) -> None:
        if not 1 <= self.threads <= 256:
            raise SettingsError(f"{PREFIX}THREADS: expected 1 to 256, got {self.threads}")
        if not self.public_url.startswith(("http://", "https://")) or self.public_url.endswith("/"):
            raise SettingsError(f"{PREFIX}PUBLIC_URL: expected http(s)://host without a final slash, got {self.public_url!r}")
        if self.demo_clock_file is not None and not self.is_demo:
            raise SettingsError(f"{PREFIX}DEMO_CLOCK_FILE: only a demo may run on a clock of its own; set {PREFIX}IS_DEMO")
        if self.jobs == "workers" and self.is_embedded:
            raise SettingsError(f"{PREFIX}JOBS: workers need PostgreSQL; set {PREFIX}DATABASE_URL")
        if not 1 <= self.worker_stalled_s <= 3600:
            raise SettingsError(f"{PREFIX}WORKER_STALLED_S: expected 1 to 3600, got {self.worker_stalled_s}")
        if self.solver_strands is not None and not 1 <= self.solver_strands <= 64:
            raise SettingsError(f"{PREFIX}SOLVER_STRANDS: expected 1 to 64, got {self.solver_strands}")
        if self.store_url is not None and not _STORE_URL.fullmatch(self.store_url):
            raise SettingsError(f"{PREFIX}STORE_URL: expected s3://BUCKET or s3://BUCKET/PREFIX, got {self.store_url!r}")
        if self.tsa_url is not None and not (self.tsa_url.startswith(("http://", "https://")) and self.tsa_certificates_file is not None):
            raise SettingsError(f"{PREFIX}TSA_URL: expected http(s)://… and {PREFIX}TSA_CERTIFICATES_FILE beside it, got {self.tsa_url!r}")
        if self.tsa_policy is not None and not _OID.fullmatch(self.tsa_policy):
            raise SettingsError(f"{PREFIX}TSA_POLICY: expected an object identifier like 1.2.3, got {self.tsa_policy!r}")
        if self.upload_day_bytes_max < 1:
            raise SettingsError(f"{PREFIX}UPLOAD_DAY_BYTES_MAX: expected at least 1, got {self.upload_day_bytes_max}")
        if not 0 <= self.free_share_min < 1:
            raise SettingsError(f"{PREFIX}FREE_SHARE_MIN: expected 0 to below 1, got {self.free_share_min}")
        try:
            self.travel  # noqa: B018 - it judges itself.
        except ValueError as error:
            raise SettingsError(f"{PREFIX}TRAVEL_…: {error}") from None

    @property
    def url(self) -> str:
        """The application's database URL; the embedded SQLite file when none is set."""
        return self.database_url or f"sqlite:///{self.data_folder / 'fieldvisit.sqlite'}"

    @property
    def owner_url(self) -> str:
        """The database URL that may migrate; the application's when none is set."""
        return self.owner_database_url or self.url

    @property
    def is_embedded(self) -> bool:
        """Whether the database is the embedded SQLite file."""
        return self.url.startswith("sqlite")

    @property
    def travel(self) -> TravelConfig:
        """Where travel times come from."""
        return TravelConfig(
            provider=self.travel_provider, file=None if self.travel_file is None else str(self.travel_file), url=self.travel_url,
            data_set=self.travel_data_set, profile=self.travel_profile, fallback=self.travel_fallback, timeout_s=self.travel_timeout_s,
            budget_s=self.travel_budget_s, block_max=self.travel_block_max,
        )

    @property
    def strands_per_plan(self) -> int:
        """Threads of one search. Workers plan branches side by side and give each one; a single process gives a plan up to four."""
        return self.solver_strands or (1 if self.jobs == "workers" else min(4, os.cpu_count() or 1))

    @property
    def store_folder(self) -> Path:
        """Where the local evidence store lives."""
        return self.data_folder / "evidence"


def read_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Read `FIELDVISIT_*` from `environ` (the process's own by default).

    Raises:
        SettingsError: an unknown variable, or a value of the wrong type; the message names the variable.
    """
    source = os.environ if environ is None else environ
    given = {name.removeprefix(PREFIX).lower(): text for name, text in source.items() if name.startswith(PREFIX)}
    known = {field.name: field for field in msgspec.structs.fields(Settings)}
    values: dict[str, object] = {}
    for name, text in given.items():
        if name not in known:
            raise SettingsError(f"{PREFIX}{name.upper()}: no such setting")
        try:
            if known[name].type == tuple[str, ...]:
                values[name] = tuple(part.strip() for part in text.split(",") if part.strip())
            elif known[name].type in (Path, Path | None):
                values[name] = Path(text)
            else:
                values[name] = msgspec.convert(text, known[name].type, strict=False)
        except msgspec.ValidationError as error:
            raise SettingsError(f"{PREFIX}{name.upper()}: {error}") from error
    return Settings(**values)  # type: ignore[arg-type]
