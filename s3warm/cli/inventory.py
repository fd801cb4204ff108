"""What lies in a cache directory, object by object: the numbers of `s3warm inspect`."""

from __future__ import annotations

from s3warm.origin.base import part_length
from s3warm.record import NamedTuple
from s3warm.tiers import row as rows

TYPE_CHECKING = False
if TYPE_CHECKING:
    from s3warm.rules.budget import Budget
    from s3warm.tiers.survey import Found, Survey

__all__ = ["ORDERS", "Inventory", "Item", "take"]

ORDERS = ("size", "age", "key")


class Item(NamedTuple):
    """One row. Sizes are bytes, `validated_at` and `expires_at` seconds since the epoch.

    `kind` is `"object"`, `"tree"`, `"older"` (a file that is in use, or was, though its object has another body by now) or `"download"` (cut off
    or under way, with `finished` parts); `where` is `"row"`, `"file"` or `"folder"`; `in_use` None where it cannot be told.
    """

    namespace: str
    kind: str
    bucket: str
    key: str
    version_id: str | None
    etag: str
    size: int
    stored_size: int
    codec: str
    where: str
    verified_by: str
    validated_at: float
    expires_at: float
    in_use: bool | None
    finished: int = 0
    parts: int = 0


class Inventory(NamedTuple):
    """All items, the rows that cannot be read, and bytes: SQLite's own files, all that is held, and what may be."""

    items: tuple[Item, ...]
    unreadable: int
    database_bytes: int
    held: int
    budget: Budget

    @property
    def namespaces(self) -> tuple[str, ...]:
        """Those of all items, as they are stored."""
        return tuple(sorted({item.namespace for item in self.items}))

    def count(self, kind: str) -> int:
        """Items of a kind."""
        return sum(item.kind == kind for item in self.items)

    def sorted_by(self, order: str) -> list[Item]:
        """The items, largest first, youngest first or by name."""
        by_name = sorted(self.items, key=lambda item: (item.namespace, item.bucket, item.key, item.version_id or ""))
        if order == "size":
            return sorted(by_name, key=lambda item: -item.stored_size)
        return sorted(by_name, key=lambda item: -item.validated_at) if order == "age" else by_name


def take(survey: Survey, budget: Budget, held: int) -> Inventory:
    """Look at every row.

    Raises:
        BadDatabase: it cannot be read.
    """
    found = [_item(survey, each) for each in survey.rows()]
    items = tuple(item for item in found if item is not None)
    return Inventory(items, len(found) - len(items), survey.database_bytes(), held, budget)


def _item(survey: Survey, found: Found) -> Item | None:
    row = found.row
    if row is None:
        return None
    info, where = row.info, row.object
    item = Item(
        row.namespace,
        "tree" if where.tree else "object",
        where.bucket,
        where.key,
        where.version_id or info.version_id,
        info.etag,
        info.size,
        row.stored_size,
        row.codec,
        "folder" if where.tree else "file",
        info.verified_by,
        row.validated_at,
        row.expires_at,
        in_use=False,
    )
    if row.state == rows.PARTIAL:
        parts = 0 if where.tree else -(-info.size // part_length(info.size))
        finished = int(row.finished or "0", 16).bit_count()
        return item._replace(
            kind="download", in_use=survey.in_use(rows.partial_name(found.key)), finished=finished, parts=parts
        )
    name = rows.body_name(row)
    if name is None:
        return item._replace(where="row")
    return item._replace(kind="older" if row.state == rows.OLDER else item.kind, in_use=survey.in_use(name))
