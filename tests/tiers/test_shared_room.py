"""What the shared tier takes of the server's memory, which others may need."""

from __future__ import annotations

import fakeredis

from tests.support.entries import NOW, an_entry, noise
from tests.support.tiers import shared_tier


def test_a_body_goes_with_its_head() -> None:
    client = fakeredis.FakeRedis()
    tier = shared_tier(client, largest=1000)
    assert tier.put(an_entry(noise(1000), validated_at=NOW - 1))
    (name,) = client.keys()
    assert client.hkeys(name) == [b"t", b"h", b"b"]
    assert not tier.put(an_entry(noise(1001)))
    assert client.hkeys(name) == [b"t", b"h"], "it is known, but too large to lie there"
    assert tier.put(an_entry(noise(10), validated_at=NOW + 1))
    assert client.hlen(name) == 3
    tier.evict(an_entry().object)
    assert client.hkeys(name) == [b"g"]
    assert 0 < client.pttl(name) <= 300_000
