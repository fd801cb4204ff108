"""`s3warm.testing`: the world that users test their handlers in."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

import s3warm
from s3warm import Cache, Event, Settings, default, factory
from s3warm.keys import ObjectKey
from s3warm.origin.base import Listed, Request, TransportError
from s3warm.testing import FakeRequest, FakeS3, fake_s3

URI = "s3://bucket/key"
START = 1_700_000_000.0


def default_now() -> Cache | None:
    """The default cache, without making one."""
    return default._cache


def test_inside_the_block_the_module_functions_see_the_fake_and_outside_what_was_there() -> None:
    before = default_now()
    with fake_s3({URI: b"body"}) as s3:
        inside = default_now()
        assert inside is not before
        assert s3warm.get("bucket", "key") == s3warm.get(URI) == s3warm.entry(URI).body == b"body"
        assert s3.requests == [FakeRequest(URI, None, 200, 4)]
        assert inside is s3warm.default_cache()
    assert default_now() is before


def test_the_default_cache_is_restored_after_an_error_too() -> None:
    before = default_now()
    with pytest.raises(ZeroDivisionError), fake_s3():
        raise ZeroDivisionError
    assert default_now() is before


def test_a_bound_get_sees_the_fake() -> None:
    from s3warm import get

    with fake_s3({URI: b"body"}):
        assert get("bucket", "key") == b"body"


def test_worlds_nest_and_do_not_see_each_other() -> None:
    with fake_s3({URI: b"outer"}, ttl=10) as outer:
        assert s3warm.get(URI) == b"outer"
        with fake_s3({URI: b"inner"}) as inner:
            assert s3warm.get(URI) == b"inner"
            outer.advance(1000)
            assert s3warm.get(URI) == b"inner"
            assert len(inner.requests) == 1
        outer.advance(-1000)
        assert s3warm.get(URI) == b"outer"
        assert len(outer.requests) == 1


def test_a_world_knows_nothing_of_the_one_before() -> None:
    for body in (b"first", b"second"):
        with fake_s3({URI: body}):
            assert s3warm.get(URI) == body


@pytest.mark.parametrize("variable", ["AWS_LAMBDA_FUNCTION_NAME", "AWS_LAMBDA_RUNTIME_API", "S3WARM_DIRECTORY"])
def test_also_where_the_environment_names_a_directory_that_stays(
    variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(factory, "LAMBDA_DIRECTORY", str(tmp_path / "lambda"))
    monkeypatch.setenv(variable, str(tmp_path / "named"))
    for body in (b"first", b"second"):
        with fake_s3({URI: body}):
            assert s3warm.get(URI) == body


def test_the_temporary_directory_is_gone_afterwards() -> None:
    with fake_s3({URI: b"x" * 200_000}):
        s3warm.get(URI)
        directory = s3warm.budgets().directory
        assert directory is not None
        assert os.path.isdir(directory)
    assert not os.path.exists(directory)


def test_a_directory_and_namespace_that_the_test_names_are_warm_in_the_next_world(tmp_path: Path) -> None:
    with fake_s3({URI: b"body"}, directory=tmp_path / "warm", namespace="mine") as s3:
        s3warm.get(URI)
        assert len(s3.requests) == 1
    with fake_s3({URI: b"body"}, directory=tmp_path / "warm", namespace="mine") as s3:
        assert s3warm.get(URI) == b"body"
        assert s3.requests == []


def test_the_fixture_is_an_empty_world(fake_s3: FakeS3) -> None:
    with pytest.raises(s3warm.ObjectNotFoundError):
        s3warm.get(URI)
    fake_s3[URI] = b"body"
    assert s3warm.get(URI) == b"body"
    assert [request.status for request in fake_s3.requests] == [404, 200]


def test_the_clock_moves_only_when_it_is_told_to_and_the_ttl_is_exact() -> None:
    with fake_s3({URI: b"body"}, ttl=60) as s3:
        s3warm.get(URI)
        s3.advance(59.999)
        s3warm.get(URI)
        assert len(s3.requests) == 1
        s3.advance(0.001)
        s3warm.get(URI)
        assert s3.requests[1:] == [FakeRequest(URI, s3warm.entry(URI).etag, 304, 0)]
        assert s3.now == s3.clock() == START + 60


def test_jitter_may_be_asked_for() -> None:
    with fake_s3({URI: b"body"}, ttl=60, ttl_jitter=0.5):
        assert s3warm.default_cache().settings.ttl_jitter == 0.5


def test_settings_may_be_given_whole() -> None:
    with fake_s3({URI: b"body"}, Settings(ttl=5, disk_budget=0)) as s3:
        assert s3warm.default_cache().settings == Settings(ttl=5, disk_budget=0)
        assert s3warm.get(URI) == b"body"
        assert s3warm.budgets().disk is None
        assert len(s3.requests) == 1


def test_a_misspelt_option_is_refused_and_changes_nothing() -> None:
    before = default_now()
    with pytest.raises(s3warm.ConfigurationError, match="did you mean ttl"), fake_s3({}, tll=5):  # type: ignore[call-arg]
        pass
    assert default_now() is before


def test_events_reach_the_hook() -> None:
    events: list[Event] = []
    with fake_s3({URI: b"body"}, on_event=events.append):
        s3warm.get(URI)
    assert events == [Event("fetched", "bucket", "key", 4, 0.0, "")]


def test_down_is_an_origin_that_cannot_be_reached_and_counts_no_request() -> None:
    with fake_s3({URI: b"body"}, ttl=60) as s3:
        s3.down = True
        with pytest.raises(s3warm.OriginUnavailableError, match="the fake S3 is down"):
            s3warm.get(URI)
        s3.down = False
        s3.advance(1)
        assert s3warm.get(URI) == b"body"
        s3.down = True
        s3.advance(61)
        assert s3warm.entry(URI).stale
        assert len(s3.requests) == 1


def test_denied_is_by_uri() -> None:
    with fake_s3({URI: b"body", "s3://bucket/other": b"other"}) as s3:
        s3.denied.add(URI)
        with pytest.raises(s3warm.AccessDeniedError):
            s3warm.get(URI)
        assert s3warm.get("s3://bucket/other") == b"other"
        s3.denied.clear()
        assert s3warm.get(URI) == b"body"
        assert s3.requests[0] == FakeRequest(URI, None, 403, 0)


def test_deleting_what_there_is_and_what_there_is_not() -> None:
    with fake_s3({URI: b"body"}) as s3:
        del s3[URI]
        with pytest.raises(s3warm.ObjectNotFoundError):
            s3warm.get(URI)
        with pytest.raises(KeyError, match="bucket/key"):
            del s3[URI]


def test_versions_can_be_pinned_and_stay() -> None:
    with fake_s3() as s3:
        first, second = s3.put(URI, b"one"), s3.put(URI, b"two")
        assert (first, second) == ("v1", "v2")
        assert s3warm.get(URI) == b"two"
        assert s3warm.get(URI, version_id=first) == b"one"
        assert s3warm.entry(URI, version_id=first).version_id == first
        with pytest.raises(s3warm.ObjectNotFoundError, match="no such version"):
            s3warm.get(URI, version_id="v3")
        assert [(request.version_id, request.status) for request in s3.requests] == [(None, 200), ("v1", 200), ("v3", 404)]


def test_headers_of_an_object_can_be_set() -> None:
    with fake_s3() as s3:
        s3.put(URI, b"body", content_type="text/plain", cache_control="no-cache", x_amz_meta_owner="ops", etag='"mine-2"')
        entry = s3warm.entry(URI)
        assert (entry.content_type, entry.metadata, entry.etag) == ("text/plain", {"owner": "ops"}, '"mine-2"')
        assert entry.last_modified is not None
        assert entry.last_modified.timestamp() == START
        s3warm.get(URI)
        assert [request.status for request in s3.requests] == [200, 304]


@pytest.mark.parametrize("uri", ["key", "s3://bucket", "http://bucket/key"])
def test_a_uri_that_names_no_object_is_refused(uri: str) -> None:
    with pytest.raises(ValueError, match=r"object"):
        FakeS3({uri: b""})


@pytest.mark.parametrize("body", ["text", None, bytearray(b"x"), 5])
def test_a_body_is_bytes(body: object) -> None:
    with pytest.raises(TypeError, match=f"the body of {URI} must be bytes, not {type(body).__name__}"):
        FakeS3()[URI] = body  # type: ignore[assignment]


def test_before_answer_can_hold_a_request_up() -> None:
    asked, go_on = threading.Event(), threading.Event()
    with fake_s3({URI: b"old"}) as s3:

        def hold(_: object) -> None:
            asked.set()
            assert go_on.wait(10)

        s3.before_answer = hold
        bodies: list[bytes] = []
        thread = threading.Thread(target=lambda: bodies.append(s3warm.get(URI)))
        thread.start()
        assert asked.wait(10)
        s3[URI] = b"new"
        go_on.set()
        thread.join(10)
        assert bodies == [b"new"]


def test_the_switches_for_incidents_do_not_reach_the_world(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("S3WARM_OFFLINE", "1")
    with fake_s3({URI: b"body"}):
        assert s3warm.get(URI) == b"body"


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_handler_that_configures_within_the_block_leaves_the_one_before_in_place() -> None:
    before = default_now()
    with fake_s3({URI: b"body"}):
        s3warm.get(URI)
        s3warm.configure(ttl=5, disk_budget=0)
    assert default_now() is before


# -- ranges, conditions and listings, as S3 has them -----------------------------------------------------------------------------

KEY = ObjectKey("bucket", "key")


def answered(s3: FakeS3, request: Request) -> tuple[int, bytes, str]:
    """Status, body and code."""
    answer = s3.get(request)
    buffer = bytearray(100)
    body = b""
    while count := answer.readinto(memoryview(buffer)[:3]):
        body += buffer[:count]
    answer.close()
    return answer.status, body, answer.code


@pytest.mark.parametrize(
    ("span", "status", "body"),
    [
        ((0, 3), 206, b"body"),
        ((1, 2), 206, b"od"),
        ((3, 3), 206, b"y"),
        ((2, 99), 206, b"dy"),
        ((4, 4), 416, b""),
        ((9, 99), 416, b""),
    ],
)
def test_a_range_is_what_there_is_of_it(span: tuple[int, int], status: int, body: bytes) -> None:
    s3 = FakeS3({URI: b"body"})
    assert answered(s3, Request(KEY, span=span)) == (status, body, "" if body else "InvalidRange")
    assert s3.requests == [FakeRequest(URI, None, status, len(body), None, span)]


@pytest.mark.parametrize(
    ("span", "content_range"),
    [
        ((1, 2), "bytes 1-2/4"),
        ((2, 99), "bytes 2-3/4"),
    ],
)
def test_a_range_says_which_bytes_it_is(span: tuple[int, int], content_range: str) -> None:
    s3 = FakeS3()
    s3.put(URI, b"body", content_type="text/plain")
    headers = s3.get(Request(KEY, span=span)).headers
    assert headers["content-range"] == content_range
    assert headers["content-length"] == "2"
    assert (headers["etag"], headers["content-type"]) == (s3.get(Request(KEY)).headers["etag"], "text/plain")


def test_the_whole_has_no_range() -> None:
    headers = FakeS3({URI: b"body"}).get(Request(KEY)).headers
    assert "content-range" not in headers
    assert headers["content-length"] == "4"


@pytest.mark.parametrize("span", [None, (1, 2), (9, 9)])
def test_another_etag_than_that_of_if_match_is_412(span: tuple[int, int] | None) -> None:
    s3 = FakeS3({URI: b"body"})
    etag = s3.get(Request(KEY)).headers["etag"]
    assert answered(s3, Request(KEY, if_match='"other"', span=span)) == (412, b"", "PreconditionFailed")
    assert answered(s3, Request(KEY, if_match=etag, span=span))[0] == {None: 200, (1, 2): 206, (9, 9): 416}[span]


def test_the_range_of_a_version_is_of_that_version() -> None:
    s3 = FakeS3()
    s3.put(URI, b"old")
    s3.put(URI, b"new!")
    assert answered(s3, Request(ObjectKey("bucket", "key", "v1"), span=(0, 9))) == (206, b"old", "")
    assert answered(s3, Request(ObjectKey("bucket", "key", "v3"), span=(0, 9))) == (404, b"", "NoSuchVersion")


def test_a_listing_has_what_is_below_the_prefix_in_order_and_as_it_is_now() -> None:
    s3 = FakeS3({f"s3://bucket/{key}": b"x" for key in ("b/2", "a/1", "a/0", "a", "a/2")} | {"s3://other/a/9": b"x"})
    s3["s3://bucket/a/1"] = b"newer"
    del s3["s3://bucket/a/2"]
    page = s3.list("bucket", "a/", "")
    etags = [s3.get(Request(ObjectKey("bucket", key))).headers["etag"] for key in ("a/0", "a/1")]
    assert page.objects == [Listed("a/0", etags[0], 1, s3.now), Listed("a/1", etags[1], 5, s3.now)]
    assert (page.status, page.code, page.token) == (200, "", "")
    assert s3.requests[0] == FakeRequest("s3://bucket/a/", None, 200, 0)


@pytest.mark.parametrize(
    ("number", "pages"), [(0, [0]), (1, [1]), (1000, [1000]), (1001, [1000, 1]), (2500, [1000, 1000, 500])]
)
def test_a_page_has_a_thousand_and_a_token_for_the_next(number: int, pages: list[int]) -> None:
    s3 = FakeS3({f"s3://bucket/{key:04}": b"" for key in range(number)})
    page = s3.list("bucket", "", "")
    found = [page]
    while page.token:
        page = s3.list("bucket", "", page.token)
        found.append(page)
    assert [len(page.objects) for page in found] == pages
    assert [listed.key for page in found for listed in page.objects] == [f"{key:04}" for key in range(number)]


@pytest.mark.parametrize(
    ("prefix", "objects", "prefixes"),
    [
        ("", ["a", "b-"], ["/", "a/", "b/"]),
        ("a", ["a"], ["a/"]),
        ("a/", ["a/", "a/1"], ["a//", "a/x/"]),
        ("b", ["b-"], ["b/"]),
        ("a/x/1", ["a/x/1"], []),
        ("c", [], []),
    ],
)
def test_a_delimiter_rolls_keys_up(prefix: str, objects: list[str], prefixes: list[str]) -> None:
    keys = ("a", "a/", "a/1", "a//1", "a/x/1", "a/x/2", "b-", "b/1", "/lead")
    page = FakeS3({f"s3://bucket/{key}": b"" for key in keys}).list("bucket", prefix, "", delimiter="/")
    assert ([listed.key for listed in page.objects], page.prefixes) == (objects, prefixes)


def test_a_common_prefix_counts_as_one_on_a_page_and_comes_once() -> None:
    s3 = FakeS3({f"s3://bucket/{folder:04}/{number}": b"" for folder in range(1500) for number in range(2)})
    first = s3.list("bucket", "", "", delimiter="/")
    second = s3.list("bucket", "", first.token, delimiter="/")
    assert (len(first.prefixes), len(second.prefixes), second.token) == (1000, 500, "")
    assert first.prefixes + second.prefixes == [f"{folder:04}/" for folder in range(1500)]
    assert first.objects == second.objects == []


def test_a_listing_can_be_denied_and_down_as_well() -> None:
    s3 = FakeS3({"s3://bucket/a/1": b"x"})
    s3.denied.add("s3://bucket/a/")
    page = s3.list("bucket", "a/", "")
    assert (page.status, page.code, page.objects, page.token) == (403, "AccessDenied", [], "")
    assert s3.list("bucket", "", "").status == 200
    s3.down = True
    with pytest.raises(TransportError, match="the fake S3 is down"):
        s3.list("bucket", "", "")
    assert [request.status for request in s3.requests] == [403, 200]
