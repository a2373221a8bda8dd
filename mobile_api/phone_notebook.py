"""What the reference phone keeps until the server has proven that it holds it: events, statements, pieces, its chain.

One SQLite file per phone, written through before anything is sent, so a reboot loses nothing and types nothing twice.
"""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

_SCHEMA = """
CREATE TABLE IF NOT EXISTS links (seq INTEGER PRIMARY KEY, digest TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS former_links (chain INTEGER NOT NULL, seq INTEGER NOT NULL, digest TEXT NOT NULL, PRIMARY KEY (chain, seq));
CREATE TABLE IF NOT EXISTS events (id TEXT PRIMARY KEY, seq INTEGER NOT NULL, envelope TEXT NOT NULL, answer TEXT, problem TEXT);
CREATE TABLE IF NOT EXISTS statements (
    digest TEXT PRIMARY KEY, seq INTEGER NOT NULL, manifest_id TEXT NOT NULL, envelope BLOB NOT NULL, is_due_twice INTEGER NOT NULL,
    is_signed_twice INTEGER NOT NULL, answer TEXT, receipt TEXT, problem TEXT);
CREATE TABLE IF NOT EXISTS pieces (
    digest TEXT NOT NULL, item_id TEXT NOT NULL, content BLOB NOT NULL, media_type TEXT NOT NULL, url TEXT, token TEXT,
    is_stored INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (digest, item_id));
CREATE TABLE IF NOT EXISTS taken (
    place INTEGER PRIMARY KEY AUTOINCREMENT, number TEXT NOT NULL, jti TEXT, amount_fen INTEGER NOT NULL, digest TEXT NOT NULL UNIQUE,
    is_own INTEGER NOT NULL, is_booked INTEGER NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS witnessed (digest TEXT PRIMARY KEY, seq INTEGER NOT NULL, manifest_id TEXT NOT NULL, envelope BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS notes (name TEXT PRIMARY KEY, content TEXT NOT NULL);
"""


class Link(NamedTuple):
    """The next place in the device's own chain."""

    seq: int
    prev: str


class Statement(NamedTuple):
    """A signed statement of the phone's own and how far it has come."""

    digest: str
    manifest_id: str
    envelope: bytes
    is_complete: bool            # Every signature due is on it.
    answer: dict[str, Any] | None
    receipt: str | None


class Piece(NamedTuple):
    """One captured file of a statement."""

    digest: str
    item_id: str
    content: bytes
    url: str | None
    token: str | None


class Taken(NamedTuple):
    """A receipt that this phone captured or witnessed, or a number that it made void (amount 0). Kept for ever: a number is used once."""

    number: str
    jti: str | None
    amount_fen: int
    digest: str
    is_own: bool                 # Captured here, not witnessed: it used a number of this phone.
    is_booked: bool = False      # Some bundle's figures contain it.


class Notebook:
    """The phone's durable memory. `path` None keeps it in memory, for tests that do not restart."""

    def __init__(self, path: Path | None) -> None:
        self._database = sqlite3.connect(path or ":memory:", isolation_level=None, check_same_thread=False)
        self._database.execute("PRAGMA synchronous = FULL")
        self._database.executescript(_SCHEMA)

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Write several rows as one."""
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield self._database
        except BaseException:
            self._database.execute("ROLLBACK")
            raise
        self._database.execute("COMMIT")

    def next_link(self) -> Link:
        """Return the chain's next place: sequence number from 1 and the digest before it."""
        row = self._database.execute("SELECT seq, digest FROM links ORDER BY seq DESC LIMIT 1").fetchone()
        return Link(seq=row[0] + 1, prev=row[1]) if row else Link(seq=1, prev="0" * 64)

    def begin_chain(self) -> None:
        """Begin the chain anew, under a new key; the statements of the former one stay."""
        with self.writing() as database:
            database.execute("INSERT INTO former_links SELECT coalesce((SELECT max(chain) FROM former_links), 0) + 1, seq, digest FROM links")
            database.execute("DELETE FROM links")

    def add_link(self, seq: int, digest: str) -> None:
        """Add a statement captured or witnessed to the chain."""
        self._database.execute("INSERT INTO links VALUES (?, ?)", (seq, digest))

    def add_witnessed(self, seq: int, digest: str, manifest_id: str, envelope: bytes) -> None:
        """Add a witnessed statement to the chain and keep its envelope, as one."""
        with self.writing() as database:
            database.execute("INSERT INTO links VALUES (?, ?)", (seq, digest))
            database.execute("INSERT INTO witnessed VALUES (?, ?, ?, ?)", (digest, seq, manifest_id, envelope))

    def witnessed(self) -> list[tuple[str, str, bytes]]:
        """Return digest, manifest id and envelope of each witnessed statement still kept, in the order of signing."""
        rows = self._database.execute("SELECT digest, manifest_id, envelope FROM witnessed ORDER BY rowid")
        return [(digest, manifest_id, envelope) for digest, manifest_id, envelope in rows]

    def forget_witnessed(self, digest: str) -> None:
        """Let go of a witnessed statement whose receipt verified."""
        self._database.execute("DELETE FROM witnessed WHERE digest = ?", (digest,))

    def add_event(self, event_id: str, seq: int, envelope: dict[str, Any]) -> None:
        """Keep an event to be sent."""
        self._database.execute("INSERT INTO events (id, seq, envelope) VALUES (?, ?, ?)", (event_id, seq, json.dumps(envelope)))

    def next_event_seq(self) -> int:
        """Return the next number of this device's events, from 1."""
        return int(self._database.execute("SELECT coalesce(max(seq), 0) + 1 FROM events").fetchone()[0])

    def waiting_events(self) -> list[dict[str, Any]]:
        """Return the events not yet answered, in order."""
        rows = self._database.execute("SELECT envelope FROM events WHERE answer IS NULL AND problem IS NULL ORDER BY seq")
        return [json.loads(envelope) for (envelope,) in rows]

    def settle_event(self, event_id: str, *, answer: dict[str, Any] | None = None, problem: dict[str, Any] | None = None) -> None:
        """Note the server's answer to an event."""
        self._database.execute(
            "UPDATE events SET answer = ?, problem = ? WHERE id = ?",
            (json.dumps(answer) if answer is not None else None, json.dumps(problem) if problem is not None else None, event_id),
        )

    def add_statement(self, statement: Statement, seq: int, pieces: list[tuple[str, bytes, str]], *, is_due_twice: bool,
                      taken: Taken | None = None) -> None:
        """Keep a statement with its files (item id, content, media type), its place in the chain and the money it tells of, as one."""
        with self.writing() as database:
            if taken is not None:
                self.add_taken(taken)
            database.execute("INSERT INTO links VALUES (?, ?)", (seq, statement.digest))
            database.execute(
                "INSERT INTO statements (digest, seq, manifest_id, envelope, is_due_twice, is_signed_twice) VALUES (?, ?, ?, ?, ?, 0)",
                (statement.digest, seq, statement.manifest_id, statement.envelope, is_due_twice),
            )
            database.executemany(
                "INSERT INTO pieces (digest, item_id, content, media_type) VALUES (?, ?, ?, ?)",
                [(statement.digest, item_id, content, media_type) for item_id, content, media_type in pieces],
            )

    def set_envelope(self, digest: str, envelope: bytes) -> None:
        """Replace an envelope by the one that both signed."""
        self._database.execute("UPDATE statements SET envelope = ?, is_signed_twice = 1 WHERE digest = ?", (envelope, digest))

    def settle_statement(self, digest: str, answer: dict[str, Any]) -> None:
        """Note the server's answer, its receipt, and where the files go."""
        with self.writing() as database:
            database.execute("UPDATE statements SET answer = ?, receipt = ? WHERE digest = ?", (json.dumps(answer), answer.get("receipt"), digest))
            for asked in answer.get("items", []):
                database.execute(
                    "UPDATE pieces SET url = ?, token = ?, is_stored = ? WHERE digest = ? AND item_id = ?",
                    (asked.get("uploadUrl"), asked.get("uploadToken"), asked["state"] == "stored", digest, asked["itemId"]),
                )

    def refuse_statement(self, digest: str, problem: dict[str, Any]) -> None:
        """Note a final refusal; the statement stays on the phone."""
        self._database.execute("UPDATE statements SET problem = ? WHERE digest = ?", (json.dumps(problem), digest))

    def statement(self, digest: str) -> Statement | None:
        """Return one statement."""
        rows = self._statements("digest = ?", (digest,))
        return rows[0] if rows else None

    def waiting_statements(self) -> list[Statement]:
        """Return the statements that the server has not acknowledged whole, in chain order."""
        return self._statements("problem IS NULL AND receipt IS NULL", ())

    def statements(self) -> list[Statement]:
        """Return every statement in chain order."""
        return self._statements("1 = 1", ())

    def waiting_pieces(self) -> list[Piece]:
        """Return the files that the server has asked for and does not hold yet."""
        asked = "SELECT digest, item_id, content, url, token FROM pieces WHERE is_stored = 0 AND url IS NOT NULL ORDER BY rowid"
        rows = self._database.execute(asked)
        return [Piece(*row) for row in rows]

    def settle_piece(self, digest: str, item_id: str) -> None:
        """Note that the server holds a file."""
        self._database.execute("UPDATE pieces SET is_stored = 1 WHERE digest = ? AND item_id = ?", (digest, item_id))

    def add_taken(self, taken: Taken) -> None:
        """Keep a receipt that counts against what the pair may still take. Raises sqlite3.IntegrityError for one kept before."""
        self._database.execute(
            "INSERT INTO taken (number, jti, amount_fen, digest, is_own) VALUES (?, ?, ?, ?, ?)",
            (taken.number, taken.jti, taken.amount_fen, taken.digest, taken.is_own),
        )

    def taken(self) -> list[Taken]:
        """Return every receipt and void number, in the order of signing."""
        rows = self._database.execute("SELECT number, jti, amount_fen, digest, is_own, is_booked FROM taken ORDER BY place")
        return [Taken(number, jti, amount_fen, digest, bool(is_own), bool(is_booked)) for number, jti, amount_fen, digest, is_own, is_booked in rows]

    def mark_booked(self, digests: list[str]) -> None:
        """Note that the server's figures contain these receipts."""
        with self.writing() as database:
            database.executemany("UPDATE taken SET is_booked = 1 WHERE digest = ?", [(digest,) for digest in digests])

    def note(self, name: str, content: str) -> None:
        """Keep a named text."""
        self._database.execute("INSERT INTO notes VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET content = excluded.content", (name, content))

    def noted(self, name: str) -> str | None:
        """Return a named text."""
        row = self._database.execute("SELECT content FROM notes WHERE name = ?", (name,)).fetchone()
        return str(row[0]) if row else None

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def _statements(self, where: str, values: tuple[str, ...]) -> list[Statement]:
        rows = self._database.execute(
            "SELECT digest, manifest_id, envelope, is_due_twice = 0 OR is_signed_twice = 1, answer, receipt FROM statements "
            f"WHERE {where} ORDER BY seq", values,
        )
        return [
            Statement(digest, manifest_id, envelope, bool(is_complete), json.loads(answer) if answer else None, receipt)
            for digest, manifest_id, envelope, is_complete, answer, receipt in rows
        ]
