"""The objects of the demo: what is put, and what the handler has to answer."""

from __future__ import annotations

import hashlib
import json
import random
import struct
from typing import Any

from tests.support.static_origin import StaticOrigin

BUCKET, CONFIG, MODEL = "shop", "config.json", "model.bin"
PRODUCTS = 3_000
ROWS, COLUMNS = 4_096, 4_096  # of the model: 64 MiB of float32
MODEL_CALLS = 2  # of those in `events`


class Bucket:
    """The objects, put into the server itself, not by way of the proxy."""

    def __init__(self, server: StaticOrigin) -> None:
        self._server = server
        self._random = random.Random(64)
        self.digests: dict[str, str] = {}
        self.products = [f"{number:04}" for number in range(PRODUCTS)]
        self.prices = {product: self._random.randrange(100, 10_000) / 100 for product in self.products}
        for product, price in self.prices.items():
            description = " ".join(self._random.choices(("blue", "large", "light", "round", "soft", "warm"), k=60))
            body = {"name": f"Product {product}", "price": price, "description": description}
            self._put(f"products/{product}.json", json.dumps(body).encode())
        self.put_config(revision=1)
        self._put(MODEL, struct.pack("<4sII", b"MODL", ROWS, COLUMNS) + self._weights(ROWS * COLUMNS))

    def put_config(self, revision: int) -> None:
        """Write the configuration anew."""
        flags = {f"flag-{number}": number % 3 == 0 for number in range(40)}
        self.revision = revision
        self._put(CONFIG, json.dumps({"revision": revision, "discount": 0.25, "flags": flags}).encode())

    def answer(self, event: dict[str, Any]) -> dict[str, Any]:
        """What the handler has to answer."""
        answer: dict[str, Any] = {"revision": self.revision}
        if "product" in event:
            product = event["product"]
            answer |= {"name": f"Product {product}", "price": round(self.prices[product] * 0.75, 2)}
        if "model" in event:
            answer |= {"rows": ROWS, "columns": COLUMNS, "model_bytes": 12 + ROWS * COLUMNS * 4}
        return answer

    def events(self, calls: int) -> list[dict[str, Any]]:
        """Events that make the handler call `get` so often: few products are asked for often, most of them seldom."""
        ranks = [1 / rank for rank in range(1, PRODUCTS + 1)]
        products = self._random.choices(self.products, ranks, k=calls // 2 - MODEL_CALLS)
        events = [{"product": product} for product in products] + [{"model": True} for _ in range(MODEL_CALLS)]
        self._random.shuffle(events)
        return events

    def _put(self, key: str, body: bytes) -> None:
        self._server.put(BUCKET, key, body)
        self.digests[key] = hashlib.sha256(body).hexdigest()

    def _weights(self, count: int) -> bytes:
        """Small floats with random digits: like a model's weights, they hardly compress."""
        weights = bytearray(self._random.randbytes(4 * count))
        signs_and_exponents = bytes((0x3C, 0xBC, 0x3D, 0xBD))
        weights[3::4] = weights[3::4].translate(signs_and_exponents * 64)
        return bytes(weights)
