"""SAM templates, as they are deployed: read, translated to CloudFormation by AWS's own translator, and checked by cfn-lint.

cfn-lint alone passes in silence over events of an unknown type, misspelt properties of an event, unknown architectures and unknown IAM
actions; of what the translator makes of them nothing is left, or cfn-lint finds it there. `python -m tests.support.templates FILE`
says what is wrong with a template; a process of its own, for both libraries warn.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

__all__ = ["complaints", "function", "functions", "read", "translated"]

PACKAGES = {"cfnlint": "cfn-lint", "samtranslator": "aws-sam-translator"}
"""What this needs, by the name of the module."""

_REGION = "us-east-1"
_UPLOADED = "s3://code/uploaded.zip"  # where `sam package` has put what a path names: the translator takes no paths


def read(path: Path) -> dict[str, Any]:
    """The template, with `!Ref` and the like written out."""
    from cfnlint.decode import cfn_yaml

    plain: dict[str, Any] = json.loads(json.dumps(cfn_yaml.loads(path.read_text(encoding="utf-8"))))
    return plain


def functions(template: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The properties of its functions, by their names in it."""
    resources = template["Resources"].items()
    return {name: each["Properties"] for name, each in resources if each["Type"] == "AWS::Serverless::Function"}


def function(template: dict[str, Any]) -> dict[str, Any]:
    """The properties of the function that the example is there for: the one called `Function`."""
    return functions(template)["Function"]


def translated(path: Path) -> dict[str, Any]:
    """The CloudFormation that SAM makes of it.

    Raises:
        samtranslator.model.exceptions.InvalidDocumentException: SAM does not take it; `causes` say why.
    """
    import boto3
    from samtranslator.parser.parser import Parser
    from samtranslator.translator.translator import Translator

    os.environ.setdefault("AWS_DEFAULT_REGION", _REGION)  # the translator looks nowhere else
    template = read(path)
    for resource in template["Resources"].values():
        for name in {"CodeUri", "ContentUri"} & resource["Properties"].keys():
            resource["Properties"][name] = _UPLOADED
    made: dict[str, Any] = Translator({}, Parser(), None, boto3.Session(region_name=_REGION)).translate(template, {})
    return made


def complaints(path: Path) -> str:
    """What is wrong with a template; empty if nothing is."""
    command = [sys.executable, "-m", "tests.support.templates", str(path)]
    project = Path(__file__).parents[2]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    if done.returncode not in {0, 1} or done.stderr:
        raise RuntimeError(f"{path} cannot be checked:\n{done.stdout}{done.stderr}")
    return done.stdout


def _main(path: Path) -> int:
    from cfnlint.api import ManualArgs, lint_file
    from samtranslator.model.exceptions import InvalidDocumentException

    try:
        made = translated(path)
    except InvalidDocumentException as error:
        print(*(cause.message for cause in error.causes), sep="\n")
        return 1
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder, "cloudformation.json")
        output.write_text(json.dumps(made))
        found = [match for file in (path, output) for match in lint_file(file, ManualArgs(regions=[_REGION]))]
    for match in found:
        print(f"{Path(match.filename or path).name}:{match.linenumber}: {match.rule.id} {match.message}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(_main(Path(sys.argv[1])))
