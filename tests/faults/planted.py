"""Ways to damage a warm cache directory, or to plant something in it: rows, files, links and devices.

Each is a function of a `Site` and its random numbers; `KINDS` has them all by name. What is planted may be of any form, but none is a
consistent forgery (a body with the checksum that belongs to it in a row that belongs to it): rows are not signed, and whoever may write
the directory is this user.
"""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import shutil
import socket
import sqlite3
import stat
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from s3warm.tiers import row as rows

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator

__all__ = ["KINDS", "Site", "Victim"]

TERABYTES = 4 * 2**40
# A frame whose header claims 4 TB (RFC 8878, section 3.1.1.1: a single segment with a size of eight bytes), and the beginning of a block.
HUGE_FRAME = b"\x28\xb5\x2f\xfd" + b"\xe0" + TERABYTES.to_bytes(8, "little") + b"\x03\x00\x10\x00"
OWN_FILES = ("cache.db", "cache.db-wal", "cache.db-shm", "cache.db-journal", "lock", "intents", "pins", "unswept")
ODD: tuple[Any, ...] = (
    None,
    -1,
    0,
    1,
    2,
    3,
    4,
    5,
    1.5,
    float("inf"),
    2**62,
    -(2**63),
    "",
    "0",
    "x" * 3000,
    "../victim/secret",
    b"",
    b"\xff\xfe",
    b"\0" * 100_000,
    HUGE_FRAME,
)
ODD_IN_JSON: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    1.5,
    float("nan"),
    float("inf"),
    TERABYTES,
    10**400,
    "",
    "raw",
    "zstd",
    "../../victim/secret",
    "\ud800",
    "x" * 5000,
    [],
    ["a"],
    {},
    {"a": 1},
)
COLUMNS = ("key", "raw", "store_time", "expire_time", "access_time", "access_count", "tag", "size", "mode", "filename", "value")


class Bomb:
    """Unpickled, it makes the canary."""

    def __init__(self, canary: Path) -> None:
        self.canary = str(canary)

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return os.mkdir, (self.canary,)


class Victim:
    """A directory of somebody else's beside the cache's. Nothing in it is ever to be changed, or read through a link."""

    def __init__(self, path: Path) -> None:
        self.path = path
        (path / "folder").mkdir(parents=True)
        for name, body in (
            ("secret", b"secret" * 50),
            ("empty", b""),
            ("large", b"precious" * 20_000),
            ("folder/inner", b"inner"),
        ):
            (path / name).write_bytes(body)
            (path / name).chmod(0o644)
        for place in (*self.files(), path / "folder", path):
            os.utime(place, (1.0, 2.0))  # a first read would renew the first of them
        self.note()

    def note(self) -> None:
        """Look at it as it is to stay."""
        self._before = self.state()
        self._twins = {place: place.read_bytes() for place in self.path.glob("twin*")}

    def files(self) -> list[Path]:
        """All files in it."""
        return sorted(place for place in self.path.rglob("*") if place.is_file())

    def state(self) -> dict[str, tuple[object, ...]]:
        """What is to stay as it is. Looked at without reading a file, which would count as one more reader."""
        found: dict[str, tuple[object, ...]] = {}
        for place in (self.path, *sorted(self.path.rglob("*"))):
            status = place.lstat()
            found[str(place)] = (status.st_ino, status.st_mode, status.st_uid, status.st_size, status.st_mtime_ns)
        return found

    def was_read(self) -> list[str]:
        """Files that were read since."""
        return [str(place) for place in self.files() if place.lstat().st_atime != 1.0]

    def check(self, *, unread: bool) -> None:
        """Raises AssertionError if anything has happened to it."""
        assert self.state() == self._before
        if unread:
            assert self.was_read() == []
        assert {place: place.read_bytes() for place in self._twins} == self._twins
        assert (self.path / "secret").read_bytes() == b"secret" * 50
        assert (self.path / "large").read_bytes() == b"precious" * 20_000


class Site:
    """A directory that no cache has open, and what is planted from."""

    def __init__(self, directory: Path, victim: Victim, canary: Path) -> None:
        self.directory = directory
        self.victim = victim
        self.canary = canary
        self.linked = False  # one of the victim's files lies in the directory as well, and may be read there

    @property
    def bomb(self) -> bytes:
        return pickle.dumps(Bomb(self.canary), protocol=0)

    @contextlib.contextmanager
    def rows(self) -> Iterator[sqlite3.Connection]:
        """The database; what it refuses is not planted."""
        with contextlib.closing(sqlite3.connect(self.directory / "cache.db", isolation_level=None)) as connection:
            with contextlib.suppress(sqlite3.Error):  # damaged already, or a constraint
                yield connection
            with contextlib.suppress(sqlite3.Error):
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def ids(self, connection: sqlite3.Connection) -> list[int]:
        return [found for (found,) in connection.execute("SELECT rowid FROM Cache ORDER BY rowid")]

    def files(self) -> list[Path]:
        """All that s3warm uses or could use in the directory."""
        own = [self.directory / name for name in OWN_FILES]
        found = [place for place in sorted(self.directory.rglob("*")) if place not in own]
        return own + found

    def bodies(self) -> list[Path]:
        return [
            place for place in self.files() if place.is_file() and not place.is_symlink() and place.parent != self.directory
        ]


# -- rows -------------------------------------------------------------------------------------------------------------------------


def pickled_values(site: Site, chance: random.Random) -> None:
    (site.directory / "bodies" / "bomb").write_bytes(site.bomb)
    with site.rows() as connection:
        for row in site.ids(connection):
            named = chance.choice([None, "bodies/bomb"])
            mode = chance.choice([2, 3, 4])
            connection.execute(
                "UPDATE Cache SET mode = ?, value = ?, filename = ? WHERE rowid = ?", (mode, site.bomb, named, row)
            )


def pickled_keys(site: Site, chance: random.Random) -> None:
    with site.rows() as connection:
        row = chance.choice(site.ids(connection))
        connection.execute("UPDATE Cache SET key = ?, raw = 0 WHERE rowid = ?", (site.bomb, row))


def pickled_settings(site: Site, chance: random.Random) -> None:
    with site.rows() as connection:
        connection.execute(
            "UPDATE Settings SET value = ?", (chance.choice([site.bomb, "least-recently-used", -1, 2**62, None]),)
        )


def one_setting(site: Site, chance: random.Random) -> None:
    with site.rows() as connection:
        names = [name for (name,) in connection.execute("SELECT key FROM Settings")]
        connection.execute("UPDATE Settings SET value = ? WHERE key = ?", (chance.choice(ODD), chance.choice(names)))


def foreign_setting(site: Site, chance: random.Random) -> None:
    name = chance.choice(["sqlite_temp_store_directory", "disk", "directory", "sqlite_journal_mode; DROP TABLE Cache"])
    with site.rows() as connection:
        connection.execute("INSERT OR REPLACE INTO Settings VALUES (?, ?)", (name, str(site.victim.path)))


def named_files(site: Site, chance: random.Random) -> None:
    name = chance.choice(["../victim/secret", str(site.victim.path / "secret"), "bodies/../../victim/secret", "cache.db"])
    with site.rows() as connection:
        connection.execute("UPDATE Cache SET filename = ?", (name,))
        if chance.random() < 0.5:
            connection.execute("UPDATE Cache SET value = NULL, mode = ?", (chance.choice([1, 2, 3, 4]),))


def odd_column(site: Site, chance: random.Random) -> None:
    with site.rows() as connection:
        column = chance.choice(COLUMNS)
        where = chance.choice(["", f" WHERE rowid = {chance.choice(site.ids(connection))}"])
        connection.execute(f"UPDATE Cache SET {column} = ?{where}", (chance.choice(ODD),))


def text_that_is_none(site: Site, chance: random.Random) -> None:
    with site.rows() as connection:
        connection.execute(
            "UPDATE Cache SET tag = CAST(x'5bff5d' AS TEXT) WHERE rowid = ?", (chance.choice(site.ids(connection)),)
        )


def odd_field(site: Site, chance: random.Random) -> None:
    """One value in the JSON of a row."""
    with site.rows() as connection:
        row = chance.choice(site.ids(connection))
        ((text,),) = connection.execute("SELECT tag FROM Cache WHERE rowid = ?", (row,)).fetchall()
        try:
            inner = whole = json.loads(text)
        except (TypeError, ValueError):
            return  # another planting was quicker
        if not isinstance(whole, list):
            return
        place = chance.randrange(len(inner))
        while isinstance(inner[place], list) and inner[place] and chance.random() < 0.8:
            inner = inner[place]
            place = chance.randrange(len(inner))
        inner[place] = chance.choice(ODD_IN_JSON)
        connection.execute("UPDATE Cache SET tag = ? WHERE rowid = ?", (json.dumps(whole), row))


def swapped_rows(site: Site, chance: random.Random) -> None:
    what = chance.choice(["tag", "value", "tag, value", "tag, value, mode, size, filename"])
    with site.rows() as connection:
        one, other = chance.sample(site.ids(connection), 2)
        names = what.split(", ")
        held = {row: connection.execute(f"SELECT {what} FROM Cache WHERE rowid = ?", (row,)).fetchone() for row in (one, other)}
        for row, source in ((one, other), (other, one)):
            assignments = ", ".join(f"{name} = ?" for name in names)
            connection.execute(f"UPDATE Cache SET {assignments} WHERE rowid = ?", (*held[source], row))


def damaged_value(site: Site, chance: random.Random) -> None:
    """The inline body of a row, truncated, extended or with a byte changed."""
    with site.rows() as connection:
        inline = [row for (row,) in connection.execute("SELECT rowid FROM Cache WHERE value IS NOT NULL")]
        row = chance.choice(inline)
        ((value,),) = connection.execute("SELECT value FROM Cache WHERE rowid = ?", (row,)).fetchall()
        connection.execute("UPDATE Cache SET value = ? WHERE rowid = ?", (damaged(bytes(value), chance), row))


def huge_claim(site: Site, chance: random.Random) -> None:
    """Frames, and the rows that they lie in, that claim to hold 4 TB."""
    with site.rows() as connection:
        for row in site.ids(connection):
            ((text,),) = connection.execute("SELECT tag FROM Cache WHERE rowid = ?", (row,)).fetchall()
            whole = json.loads(text)
            whole[4:7] = ["zstd", len(HUGE_FRAME), zlib.crc32(HUGE_FRAME)]
            if chance.random() < 0.7:
                whole[3][1] = TERABYTES
            if chance.random() < 0.3:
                whole[5] = TERABYTES
            values = json.dumps(whole), HUGE_FRAME, row
            connection.execute("UPDATE Cache SET tag = ?, value = ? WHERE rowid = ?", values)
    for body in site.bodies():
        if body.name.endswith("+zstd"):
            rewrite(body, HUGE_FRAME)


def large_value(site: Site, chance: random.Random) -> None:
    """A body in a row that is larger than any that is put there."""
    with site.rows() as connection:
        connection.execute(
            "UPDATE Cache SET value = zeroblob(64000000) WHERE rowid = ?", (chance.choice(site.ids(connection)),)
        )


def odd_rank(site: Site, chance: random.Random) -> None:
    column = chance.choice(["key", "priority", "frequency", "weight", "size"])
    with site.rows() as connection:
        connection.execute(f"UPDATE Rank SET {column} = ?", (chance.choice(ODD),))


def odd_floor(site: Site, chance: random.Random) -> None:
    with site.rows() as connection:
        connection.execute(*chance.choice([("DELETE FROM Floor", ()), ("UPDATE Floor SET value = ?", (chance.choice(ODD),))]))


def odd_schema(site: Site, chance: random.Random) -> None:
    """Tables that are gone, or are others; triggers and views that run where rows are read and written."""
    others = "key, raw, store_time, expire_time, access_time, access_count, tag, size, 1 AS mode, NULL AS filename"
    endless = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n)"
    statements = (
        "DROP TABLE Cache",
        "DROP TABLE Rank",
        "DROP TABLE Floor",
        "DROP TABLE Settings",
        "PRAGMA user_version = 7",
        "ALTER TABLE Cache RENAME COLUMN value TO other",
        "CREATE TRIGGER planted AFTER UPDATE ON Cache BEGIN DELETE FROM Cache; END",
        "CREATE TRIGGER planted AFTER INSERT ON Cache BEGIN UPDATE Cache SET value = x'00', mode = 4; END",
        "CREATE TRIGGER planted BEFORE INSERT ON Cache BEGIN SELECT RAISE(ABORT, 'planted'); END",
        "CREATE TRIGGER planted BEFORE INSERT ON Rank BEGIN SELECT RAISE(IGNORE); END",
        f"ALTER TABLE Cache RENAME TO Real; CREATE VIEW Cache AS SELECT {others}, zeroblob(900000000) AS value FROM Real",
        f"ALTER TABLE Cache RENAME TO Real; CREATE VIEW Cache AS {endless} SELECT {others}, NULL AS value FROM Real, n",
    )
    with site.rows() as connection:
        connection.executescript(chance.choice(statements))


# -- files ------------------------------------------------------------------------------------------------------------------------


def rewrite(path: Path, body: bytes) -> None:
    path.chmod(0o600)
    path.write_bytes(body)


def damaged(body: bytes, chance: random.Random) -> bytes:
    """Never as it was."""
    how = chance.choice(["flip", "cut", "longer", "empty", "noise"])
    if how == "flip" and body:
        place = chance.randrange(len(body))
        return body[:place] + bytes([body[place] ^ 1 << chance.randrange(8)]) + body[place + 1 :]
    if how == "cut" and body:
        return body[: chance.randrange(len(body))]
    if how == "empty" and body:
        return b""
    if how == "noise" and body:
        return chance.randbytes(len(body)) + b"!"
    return body + chance.randbytes(chance.randrange(1, 100))


def remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def damaged_file(site: Site, chance: random.Random) -> None:
    """Any file but those that s3warm only locks."""
    files = [place for place in site.files() if place.is_file() and not place.is_symlink()]
    place = chance.choice(files)
    rewrite(place, damaged(place.read_bytes(), chance))


def damaged_page(site: Site, chance: random.Random) -> None:
    """A part of the database, whose first page stays."""
    path = site.directory / "cache.db"
    if not path.is_file() or path.is_symlink() or path.stat().st_size < 8192:
        return
    with open(path, "r+b") as file:
        file.seek(chance.randrange(4096, path.stat().st_size))
        file.write(chance.randbytes(chance.choice([1, 10, 5000])))


def damaged_log(site: Site, chance: random.Random) -> None:
    """A log beside the database that is none of its own."""
    for suffix in chance.sample(["-wal", "-shm", "-journal"], chance.choice([1, 2])):
        place = site.directory / f"cache.db{suffix}"
        remove(place)
        place.write_bytes(chance.choice([b"", b"\x37\x7f\x06\x82" + chance.randbytes(8000), chance.randbytes(40_000)]))
        place.chmod(0o600)


def damaged_body(site: Site, chance: random.Random) -> None:
    for place in chance.sample(site.bodies(), min(2, len(site.bodies()))):
        rewrite(place, damaged(place.read_bytes(), chance))


def swapped_bodies(site: Site, chance: random.Random) -> None:
    if len(site.bodies()) < 2:
        return
    one, other = chance.sample(site.bodies(), 2)
    between = site.directory / "between"
    one.rename(between)
    other.rename(one)
    between.rename(other)


def sparse_body(site: Site, chance: random.Random) -> None:
    """A file of 4 TB of which nothing is there."""
    if not site.bodies():
        return
    place = chance.choice(site.bodies())
    place.chmod(0o600)
    for size in (TERABYTES, 2**36):  # what the file system takes
        with contextlib.suppress(OSError):
            os.truncate(place, size)
            return


def sparse_own_file(site: Site, chance: random.Random) -> None:
    place = site.directory / chance.choice(["intents", "pins", "lock", "cache.db-wal", "cache.db"])
    if place.is_file() and not place.is_symlink():
        with contextlib.suppress(OSError):
            os.truncate(place, 2**36)


def something_else(site: Site, chance: random.Random) -> None:
    """A link, a directory or a device in place of any file or directory."""
    place = chance.choice(site.files())
    at = site.victim.path
    kinds: dict[str, Callable[[], object]] = {
        "link": lambda: place.symlink_to(at / chance.choice(["secret", "empty", "large"])),
        "link to a directory": lambda: place.symlink_to(at / chance.choice([".", "folder"])),
        "link to nothing": lambda: place.symlink_to(at / "to be made"),
        "link to itself": lambda: place.symlink_to(place),
        "link of a directory": lambda: directory_of_links(place, at),
        "hard link": lambda: hard_link(site, at / chance.choice(["secret", "empty", "large"]), place),
        "pipe": lambda: os.mkfifo(place, 0o600),
        "directory": lambda: full_directory(place),
        "socket": lambda: listen(place),
        "device": lambda: os.mknod(place, stat.S_IFCHR | 0o600, os.makedev(1, chance.choice([3, 5, 7]))),
    }
    kind = chance.choice(list(kinds))
    remove(place)
    try:
        kinds[kind]()
    except OSError:  # no right to make a device, or a path that a socket cannot have
        with contextlib.suppress(FileNotFoundError):
            os.mkfifo(place, 0o600)


def hard_link(site: Site, source: Path, place: Path) -> None:
    os.link(source, place)
    site.linked = True


def full_directory(place: Path) -> None:
    place.mkdir(0o700)
    (place / "file").write_bytes(b"planted")
    (place / "file").chmod(0o600)


def directory_of_links(place: Path, victim: Path) -> None:
    place.mkdir(0o700)
    for number, name in enumerate(("secret", "folder", ".")):
        (place / str(number)).symlink_to(victim / name)


def listen(place: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(place))
    place.chmod(0o600)


def odd_names(site: Site, chance: random.Random) -> None:
    """Names that nobody has written, some of which look like ours."""
    names = (
        b"\xff\xfe",
        b"0" * 32 + b"-x",
        b"0" * 32 + b".partial",
        b"0" * 32 + b"-0.tree",
        b"." * 200,
        b"a\nb",
        "ü".encode() * 100,
    )
    for folder in ("bodies", "staging"):
        place = os.fsencode(site.directory / folder / "x")[:-1] + chance.choice(names)
        kind = chance.choice(["pipe", "link", "directory"])
        with contextlib.suppress(OSError):
            if kind == "pipe":
                os.mkfifo(place, 0o600)
            elif kind == "link":
                os.symlink(os.fsencode(site.victim.path), place)
            else:
                os.mkdir(place, 0o700)


def planted_intents(site: Site, chance: random.Random) -> None:
    """Intents of writers that never were."""
    names = [place.name.encode() for place in site.bodies()] or [b"0" * 40]
    said = (
        b"../../victim/secret",
        b"/etc/passwd",
        chance.choice(names),
        chance.choice(names) + b"-1-1",
        b"\xff" * 256,
        b"0" * 255,
    )
    place = site.directory / "intents"
    remove(place)
    place.write_bytes(b"".join(chance.choice(said).ljust(256, b"\0")[:256] for _ in range(chance.choice([1, 5, 1100]))))
    place.chmod(0o600)


def published_early(site: Site, chance: random.Random) -> None:
    """As a crash between the name of a download's file and its row leaves it, but that something else has the name."""
    with site.rows() as connection:
        for (text,) in connection.execute("SELECT tag FROM Cache").fetchall():
            row = rows.readable(text)
            if row is None or row.state != rows.PARTIAL:
                continue
            for place in (site.directory / "staging").iterdir():
                remove(place)
            place = site.directory / "bodies" / rows.file_name(row)
            at = site.victim.path / chance.choice(["secret", "folder"])
            if not place.exists():
                place.symlink_to(at)


def no_manifest(site: Site, chance: random.Random) -> None:
    """A tree whose row does not say what is in it any more, and one of whose files is another."""
    with site.rows() as connection:
        value = chance.choice([None, b"", b"[]", b"{}", b'""', b"0", b"[[]]", b"[" * 100_000])
        connection.execute("UPDATE Cache SET value = ? WHERE tag LIKE '%\"tree/\"%'", (value,))
    for place in site.directory.glob("bodies/*.tree/a"):
        rewrite(place, b"another")


def linked_twice(site: Site, chance: random.Random) -> None:
    """Files of the cache's own that lie elsewhere too, as in a copy that was made of links."""
    for number, place in enumerate(chance.sample(site.files(), 3)):
        if place.is_file():
            twin = site.victim.path / f"twin {number} of {place.name}"  # two trees may have members of one name
            os.link(place, twin)
            site.linked = True
    site.victim.note()


def gone(site: Site, chance: random.Random) -> None:
    remove(chance.choice(site.files()))


def open_to_all(site: Site, chance: random.Random) -> None:
    """Modes that let others in: the directory is not used at all then, or the file is made private."""
    chance.choice([site.directory, site.directory / "bodies", site.directory / "staging"]).chmod(
        chance.choice([0o777, 0o755, 0o770])
    )


KINDS: dict[str, Callable[[Site, random.Random], None]] = {
    kind.__name__: kind
    for kind in (
        pickled_values,
        pickled_keys,
        pickled_settings,
        one_setting,
        foreign_setting,
        named_files,
        odd_column,
        text_that_is_none,
        odd_field,
        swapped_rows,
        damaged_value,
        huge_claim,
        large_value,
        odd_rank,
        odd_floor,
        odd_schema,
        damaged_file,
        damaged_page,
        damaged_log,
        damaged_body,
        swapped_bodies,
        sparse_body,
        sparse_own_file,
        something_else,
        odd_names,
        planted_intents,
        published_early,
        no_manifest,
        linked_twice,
        gone,
        open_to_all,
    )
}
