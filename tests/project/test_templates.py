"""The examples' SAM templates: what AWS's tools say to them, and that the rights that they give are those that the handler needs."""

from __future__ import annotations

import ast
import importlib.util
from fnmatch import fnmatchcase
from pathlib import Path
from pydoc import locate
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from examples.layer.build import file_name
from examples.layer.wheels import Target
from s3warm import S3WarmError, notifications, testing
from s3warm.changes import changed
from s3warm.settings import Settings
from tests.support import events, templates
from tests.support.examples import BUCKET, EXAMPLES, FOLDER, SHARED, Example, environment, need

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from s3warm.origin.base import Request

SQS = FOLDER / "sqs" / "template.yaml"
FLEET = FOLDER / "fleet" / "template.yaml"
PLANTED = {
    "a property that there is not": ("Handler: app.handler", "Handlr: app.handler", "Handlr"),
    "a runtime of the past": ("Runtime: python3.12", "Runtime: python3.7", "E2531"),
    "less memory than there may be": ("MemorySize: 256", "MemorySize: 64", "64 is less than the minimum of 128"),
    "an architecture that there is not": ("  Architectures: [arm64]", "  Architectures: [arm65]", "'arm65' is not one of"),
    "an event that there is not": ("Type: SQS\n", "Type: SQX\n", "SQX"),
    "a misspelt property of an event": ("BatchSize", "BatchSzie", "BatchSzie"),
    "a resource that there is not": ("!GetAtt Queue.Arn", "!GetAtt Quene.Arn", "'Quene' is not one of"),
    "a parameter that there is not": ("BUCKET: !Ref Bucket", "BUCKET: !Ref Buckt", "'Buckt' is not one of"),
    "an action that there is not": ("s3:GetObject", "s3:GetObjct", "'getobjct' is not one of"),
}
"""What is in the template, what is put there, and a part of the complaint."""

every_example = pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)


def running() -> list[Any]:
    """The examples, to be run: those that need packages in `make e2e`."""
    return [pytest.param(each, id=each.name, marks=[pytest.mark.e2e] if each.packages else []) for each in EXAMPLES]


# -- what AWS's tools say ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def tools() -> None:
    for module, package in templates.PACKAGES.items():
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"needs the package {package}, of the dependency group `examples` (make e2e)")


def test_each_template_is_an_example_here() -> None:
    assert {path.parent.name for path in FOLDER.glob("*/template.yaml")} == {each.name for each in EXAMPLES}


@pytest.mark.e2e
@pytest.mark.usefixtures("tools")
@every_example
def test_sam_and_cloudformation_take_it(example: Example) -> None:
    assert templates.complaints(example.template) == ""


@pytest.mark.e2e
@pytest.mark.usefixtures("tools")
@pytest.mark.parametrize("planted", PLANTED.values(), ids=PLANTED)
def test_a_planted_error_is_found(planted: tuple[str, str, str], tmp_path: Path) -> None:
    right, wrong, complaint = planted
    text = SQS.read_text()
    assert text.count(right) == 1
    path = tmp_path / "template.yaml"
    path.write_text(text.replace(right, wrong))
    assert complaint in templates.complaints(path)


# -- what they do not see ---------------------------------------------------------------------------------------------------------


@every_example
def test_what_a_template_names_is_there(example: Example) -> None:
    template = templates.read(example.template)
    function = templates.function(template)
    module, _, name = function["Handler"].partition(".")
    tree = ast.parse((example.template.parent / function["CodeUri"] / f"{module}.py").read_text())
    assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    (architecture,) = function["Architectures"]
    layer = template["Resources"]["Layer"]["Properties"]
    made = file_name(Target(function["Runtime"].removeprefix("python"), architecture))
    assert (example.template.parent / layer["ContentUri"]).resolve() == FOLDER.parent / "dist" / made
    assert (layer["CompatibleArchitectures"], layer["CompatibleRuntimes"]) == ([architecture], [function["Runtime"]])
    assert {"Ref": "Layer"} in function["Layers"]


@pytest.mark.parametrize(("path", "name"), [(SQS, "Function"), (FLEET, "Changes")])
def test_a_batch_has_time_and_an_end(path: Path, name: str) -> None:
    template = templates.read(path)
    function, queue = templates.functions(template)[name], template["Resources"]["Queue"]["Properties"]
    (event,) = function["Events"].values()
    assert event["Properties"]["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    # https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html
    assert queue["VisibilityTimeout"] >= 6 * function["Timeout"]
    assert queue["RedrivePolicy"]["maxReceiveCount"] >= 5
    dead = template["Resources"]["DeadLetters"]["Properties"]
    assert dead["MessageRetentionPeriod"] == 14 * 24 * 3600


def test_a_snapshot_is_taken_of_a_version_that_is_published() -> None:
    function = templates.function(templates.read(FOLDER / "snapstart" / "template.yaml"))
    assert function["SnapStart"] == {"ApplyOn": "PublishedVersions"}
    assert function["AutoPublishAlias"]
    assert function["EphemeralStorage"]["Size"] == 512


def test_what_the_templates_set_are_settings() -> None:
    names = {name for example in EXAMPLES for name in variables(templates.read(example.template))}
    assert set(SHARED) < names
    assert names <= {f"S3WARM_{name.upper()}" for name in Settings.__slots__}


def variables(template: dict[str, Any]) -> Iterator[str]:
    for function in templates.functions(template).values():
        for name in function.get("Environment", {}).get("Variables", {}):
            if name.startswith("S3WARM_"):
                yield name


def test_a_fleet_is_told_what_has_changed() -> None:
    template = templates.read(FLEET)
    resources, functions = template["Resources"], templates.functions(template)
    serving, telling = functions["Function"], functions["Changes"]
    assert locate(telling["Handler"]) is notifications.handler
    assert "Policies" not in telling, "it needs no rights in S3"
    # Both have to mean the same entries, or one drops what the other does not read; and to reach the same server.
    for name in ("S3WARM_NAMESPACE", *SHARED):
        assert serving["Environment"]["Variables"][name] == telling["Environment"]["Variables"][name]
    for name in ("CodeUri", "Layers", "Runtime", "Architectures", "VpcConfig"):
        assert serving[name] == telling[name]
    (statement,) = serving["Policies"][0]["Statement"]
    pattern = resources["Rule"]["Properties"]["EventPattern"]
    prefix = pattern["detail"]["object"]["key"][0]["prefix"]
    assert statement["Resource"] == {"Fn::Sub": f"arn:${{AWS::Partition}}:s3:::${{Bucket}}/{prefix}*"}, "what is read is told"
    for kind in pattern["detail-type"]:
        assert changed(events.announcement(BUCKET, f"{prefix}1", kind))
    assert {"Object Created", "Object Deleted"} <= set(pattern["detail-type"])
    queue = {"Fn::GetAtt": ["Queue", "Arn"]}
    assert [target["Arn"] for target in resources["Rule"]["Properties"]["Targets"]] == [queue]
    assert telling["Events"]["Queue"]["Properties"]["Queue"] == queue
    assert resources["Queue"]["Properties"]["MessageRetentionPeriod"] >= serving["Environment"]["Variables"]["S3WARM_TTL"]


# -- rights -----------------------------------------------------------------------------------------------------------------------


class Right(NamedTuple):
    """A statement of a policy, for one action on one resource, of a stack whose bucket is BUCKET."""

    action: str
    resource: str
    prefix: str | None  # of listings

    def allows(self, action: str, arn: str, prefix: str | None = None) -> bool:
        return action == self.action and fnmatchcase(arn, self.resource) and self.prefix in {None, prefix}


def rights(template: dict[str, Any]) -> list[Right]:
    """Each of them on a line of its own."""
    found = []
    for policy in templates.function(template)["Policies"]:
        assert isinstance(policy, dict), f"{policy}: managed policies, and SAM's own, allow more than s3warm needs"
        for statement in policy["Statement"]:
            assert statement.keys() <= {"Effect", "Action", "Resource", "Condition"}
            assert statement["Effect"] == "Allow"
            condition = statement.get("Condition")
            if condition is not None:
                assert condition.keys() == {"StringEquals"}
                assert condition["StringEquals"].keys() == {"s3:prefix"}
            prefix = condition and condition["StringEquals"]["s3:prefix"]
            for resource in as_list(statement["Resource"]):
                arn = resource["Fn::Sub"].replace("${AWS::Partition}", "aws").replace("${Bucket}", BUCKET)
                found += [Right(action, arn, prefix) for action in as_list(statement["Action"])]
    return found


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


@every_example
def test_no_right_is_wider_than_a_prefix(example: Example) -> None:
    found = rights(templates.read(example.template))
    assert found
    for right in found:
        assert "*" not in right.action
        bucket, _, key = right.resource.partition("/")
        assert bucket == f"arn:aws:s3:::{BUCKET}"
        if right.action == "s3:ListBucket":
            assert (key, bool(right.prefix)) == ("", True)
        else:
            assert key.removesuffix("*").endswith("/") or "*" not in key
            assert key.removesuffix("*")


class Guarded(testing.FakeS3):
    """An S3 that answers 403 to what no right allows."""

    __slots__ = ("_rights",)

    def __init__(self, objects: dict[str, bytes], allowed: Sequence[Right]) -> None:
        super().__init__(objects)
        self._rights = allowed

    def _answer(self, request: Request) -> Any:
        where = request.object
        self._look(f"s3://{where.bucket}/{where.key}", "s3:GetObject", f"arn:aws:s3:::{where.bucket}/{where.key}")
        return super()._answer(request)

    def list(self, bucket: str, prefix: str, token: str, deadline: float | None = None, delimiter: str = "") -> Any:
        self._look(f"s3://{bucket}/{prefix}", "s3:ListBucket", f"arn:aws:s3:::{bucket}", prefix)
        return super().list(bucket, prefix, token, deadline, delimiter)

    def _look(self, uri: str, action: str, arn: str, prefix: str | None = None) -> None:
        allowed = any(right.allows(action, arn, prefix) for right in self._rights)
        (self.denied.discard if allowed else self.denied.add)(uri)


def answer(example: Example, allowed: Sequence[Right], monkeypatch: pytest.MonkeyPatch) -> Any:
    """What a function with these rights answers; init is a part of it."""
    for package in example.packages:
        need(package)
    function = templates.function(templates.read(example.template))
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", str(function["MemorySize"]))
    for name, value in environment(function).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(testing, "FakeS3", lambda objects: Guarded(objects, allowed))
    spec = importlib.util.spec_from_file_location("app", example.app)
    assert spec is not None
    assert spec.loader is not None
    with testing.fake_s3({f"s3://{BUCKET}/{key}": body for key, body in example.objects().items()}):
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module.handler(example.event, None)


@pytest.mark.parametrize("example", running())
def test_the_rights_are_enough(example: Example, monkeypatch: pytest.MonkeyPatch) -> None:
    assert answer(example, rights(templates.read(example.template)), monkeypatch) == example.answer


@pytest.mark.parametrize("example", running())
def test_no_right_is_one_too_many(example: Example, monkeypatch: pytest.MonkeyPatch) -> None:
    every = rights(templates.read(example.template))
    for right in every:
        others = [each for each in every if each is not right]
        try:
            answered = answer(example, others, monkeypatch)
        except S3WarmError:
            continue
        assert answered != example.answer, f"{right} is not needed"
