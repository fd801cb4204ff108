"""The examples, as their templates deploy them: what they answer, what S3 sees of it, and what each is there to show."""

from __future__ import annotations

import json
import re
from typing import Any

import boto3
import pytest

from tests.lambdabox.deployed import deployed, filled
from tests.support.embedded import EmbeddedS3
from tests.support.examples import BUCKET, EXAMPLES, Example, a_model, a_table, need
from tests.support.proxy import RecordingProxy
from tests.support.static_origin import Served, StaticOrigin

BY_NAME = {example.name: example for example in EXAMPLES}

pytestmark = pytest.mark.usefixtures("boxes")


def get(name: str) -> Example:
    """An example that can run here."""
    for package in ("cfnlint", *BY_NAME[name].packages):
        need(package)
    return BY_NAME[name]


def outcome(served: list[Served]) -> list[tuple[str, int]]:
    return [(each.key.rpartition("/")[2], each.status) for each in served]


@pytest.mark.parametrize("name", sorted(BY_NAME.keys() - {"pandas"}))  # which lists in a way that a StaticOrigin does not know
def test_what_it_has_it_does_not_ask_for_again(name: str) -> None:
    example = get(name)
    with filled(example) as origin, deployed(example, origin.endpoint) as box:
        assert box.invoke(example.event) == example.answer
        origin.forget()
        assert box.invoke(example.event) == example.answer
        missing = 1 if name == "sqs" else 0  # what is not there is asked for each time
        assert [each.status for each in origin.requests()] == [404] * missing
        box.crash()
        origin.forget()
        assert box.invoke(example.event) == example.answer
        if name != "snapstart":  # which is revalidated
            assert [each.status for each in origin.requests()] == [404] * missing, "from /tmp"
        assert box.oom_kills() == 0


def test_config_is_revalidated_and_outlives_s3() -> None:
    example = get("config")
    with filled(example) as origin, deployed(example, origin.endpoint, S3WARM_TTL="0") as box:
        texts = [box.invoke(example.event)["text"] for _ in range(2)]
        assert outcome(origin.requests()) == [("flags.json", 200), ("flags.json", 304)]
        origin.put(BUCKET, "config/flags.json", b'{"greeting": "good evening"}')
        texts.append(box.invoke(example.event)["text"])
        origin.close()
        texts.append(box.invoke(example.event)["text"])
    assert texts == ["hello, Ada", "hello, Ada", "good evening, Ada", "good evening, Ada"]


def test_onnx_keeps_its_session_until_the_model_is_another() -> None:
    example = get("onnx")
    with filled(example) as origin, deployed(example, origin.endpoint, S3WARM_TTL="0") as box:
        box.start()
        assert outcome(origin.requests()) == [("scores.onnx", 200)], "in init"
        answers = [box.invoke(example.event) for _ in range(2)]
        assert outcome(origin.requests())[1:] == [("scores.onnx", 304)] * 2
        assert box.log.count("a new session, ") == 1
        origin.put(BUCKET, "models/scores.onnx", a_model(3, version=2))
        answers += [box.invoke(example.event) for _ in range(2)]
        assert outcome(origin.requests())[3:] == [("scores.onnx", 200), ("scores.onnx", 304)]
        assert box.log.count("a new session, ") == 2
    assert answers == [example.answer] * 2 + [{"scores": [[9], [21]], "version": 2}] * 2


@pytest.mark.parametrize(("rows", "memory_mb"), [(1_000, None), (1_000_000, 192)])
def test_pandas_reads_a_table_from_s3_once(rows: int, memory_mb: int | None) -> None:
    example = get("pandas")
    body = a_table(rows)
    assert (len(body) > 8 * 2**20) == (rows == 1_000_000), "in parts, into /tmp"
    with EmbeddedS3() as s3, RecordingProxy(s3.address) as proxy, deployed(example, proxy.endpoint, memory_mb=memory_mb) as box:
        s3.reset()
        client = boto3.client(
            "s3", endpoint_url=s3.endpoint, region_name="us-east-1", aws_access_key_id="box", aws_secret_access_key="box"
        )
        client.create_bucket(Bucket=BUCKET)
        client.put_object(Bucket=BUCKET, Key="sales/2026-11-02.parquet", Body=body)
        client.close()
        for shop in (3, 4):
            expected = {"count": rows // 10, "amount": sum(range(shop, rows, 10))}
            assert box.invoke({"day": "2026-11-02", "shop": shop}) == expected
            asked = [(each.path, each.status) for each in proxy.exchanges]
            if shop == 3:
                assert (f"/{BUCKET}/sales/2026-11-02.parquet", 200) in asked
            else:
                assert asked == []
            proxy.clear()
        box.crash()
        assert box.invoke({"day": "2026-11-02", "shop": 4}) == expected
        assert proxy.exchanges == [], "from /tmp"
        assert box.oom_kills() == 0


def test_onnx_has_room_for_a_model_and_the_next_one() -> None:
    example = get("onnx")
    width = 4857
    with filled(example) as origin, deployed(example, origin.endpoint, memory_mb=384, S3WARM_TTL="0") as box:
        for version in (1, 2):
            body = a_model(version, version=version, width=width)
            assert len(body) > 90_000_000
            origin.put(BUCKET, "models/scores.onnx", body)
            answer = box.invoke(example.event)
            assert answer["version"] == version
            assert answer["scores"] == [[pytest.approx(3 * version, rel=1e-4)], [pytest.approx(7 * version, rel=1e-4)]]
        assert box.oom_kills() == 0


def test_snapstart_asks_for_what_has_changed_since_the_snapshot() -> None:
    example = get("snapstart")
    with filled(example) as origin, deployed(example, origin.endpoint, S3WARM_TTL="86400") as box:
        box.start()
        assert sorted(outcome(origin.requests())) == [("", 200), ("config.json", 200), ("letter.txt", 200), ("unused.txt", 200)]
        box.freeze()  # the snapshot, for hours
        origin.put(BUCKET, "templates/letter.txt", b"Hi $name, $sender")
        origin.forget()
        assert box.invoke(example.event) == {"letter": "Hi Ada, Grace"}
        assert sorted(outcome(origin.requests())) == [("", 200), ("config.json", 304), ("letter.txt", 200)]
        origin.forget()
        box.invoke(example.event)
        assert origin.requests() == [], "fresh from now on"


def test_a_snapshot_that_would_lack_something_is_not_taken() -> None:
    example = get("snapstart")
    with StaticOrigin() as origin, deployed(example, origin.endpoint) as box:
        origin.put(BUCKET, "templates/letter.txt", b"")
        with pytest.raises(Exception, match=r"1 of 2 sources could not be preloaded: .*config\.json"):
            box.start()


def test_sqs_reports_the_message_that_failed_alone() -> None:
    example = get("sqs")
    with filled(example) as origin, deployed(example, origin.endpoint) as box:
        assert box.invoke(example.event) == example.answer
        assert sorted(outcome(origin.requests())) == [("1.json", 200), ("2.json", 200), ("missing.json", 404)]
        log = box.log
        assert re.findall(r"order A.+: [\d.]+", log) == ["order A1: 5.0", "order A3: 2.0"]
        assert re.findall(r"message .+", log) == ["message m2"]
        sent = emf(log)
        assert (sent["FunctionName"], sent["OriginRequests"], sent["Misses"], sent["Errors"]) == ("box", 3, 2, 1)
        assert len(sent["OriginLatency"]) == 2
        assert sent["_aws"]["CloudWatchMetrics"][0]["Namespace"] == "orders"

        origin.forget()
        again = {"Records": [{"messageId": "m4", "body": "no JSON"}, *example.event["Records"]]}
        assert box.invoke(again) == {"batchItemFailures": [{"itemIdentifier": "m4"}, {"itemIdentifier": "m2"}]}
        assert outcome(origin.requests()) == [("missing.json", 404)]


def test_sqs_gives_back_what_s3_has_no_answer_for() -> None:
    example = get("sqs")
    with filled(example) as origin, deployed(example, origin.endpoint) as box:
        priced = {"Records": [example.event["Records"][2]]}
        assert box.invoke(priced) == {"batchItemFailures": []}
        origin.close()
        answer = box.invoke(example.event)
    assert answer == {"batchItemFailures": [{"itemIdentifier": "m1"}, {"itemIdentifier": "m2"}]}


def emf(log: str) -> dict[str, Any]:
    """The only line of metrics so far."""
    (line,) = (line for line in log.splitlines() if line.startswith('{"_aws"'))
    sent: dict[str, Any] = json.loads(line)
    return sent
