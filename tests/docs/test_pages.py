"""The pages as they are built: every public name is there, with types and text, without the noise of the tool, and every link leads somewhere."""

from __future__ import annotations

import html
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from s3warm.declared import TABLE
from tests.docs import public
from tests.docs.links import broken

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built in a process of its own: pdoc runs what is imported for type checkers only."""
    if find_spec("pdoc") is None:
        pytest.skip("pdoc is missing (make docs installs it)")
    directory = tmp_path_factory.mktemp("docs")
    command = [sys.executable, "-W", "error", "-m", "tests.docs", str(directory)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=100)
    assert (done.returncode, done.stderr) == (0, "")
    return directory


def text(page: Path) -> str:
    shown = re.sub(r"(?s)<(style|script)\b.*?</\1>", "", page.read_text())
    return html.unescape(re.sub(r"<[^>]+>", "", shown))


@pytest.mark.e2e
@pytest.mark.parametrize("each", public.names(), ids=lambda each: each.name)
def test_every_public_name_is_there_with_its_text(pages: Path, each: public.Public) -> None:
    module = next(path for path in reversed(public.MODULES) if each.name.startswith(path))
    page = pages.joinpath(*module.split(".")).with_suffix(".html")
    assert f'id="{each.name.removeprefix(module + ".")}"' in page.read_text()
    words = " ".join(re.sub(r"[`*]", "", each.doc.partition("\n\n")[0]).split())
    assert words in " ".join(re.sub(r"[`*]", "", text(page)).split())


@pytest.mark.e2e
def test_the_settings_are_explained(pages: Path) -> None:
    shown = text(pages / "s3warm.html")
    assert [setting.name for setting in TABLE if setting.meaning.replace("`", "") not in shown] == []


@pytest.mark.e2e
@pytest.mark.parametrize(
    "signature",
    [
        "get( bucket: str, key: str = <no key given>, *, version_id: str | None = None, ttl: float | datetime.timedelta | None = None, request: Mapping[str, object] | None = None, transform: Any = None, size_of: Callable[[Any], int] | None = None) -> Any:",
        "open( bucket: str, key: str = <no key given>, *, version_id: str | None = None, ttl: float | datetime.timedelta | None = None, request: Mapping[str, object] | None = None) -> BinaryIO:",
        "glob(pattern: str, *, limit: int = 1000) -> list[str]:",
        "stats() -> Stats:",
        "on_event: Callable[[Event], None] | None = None, ttl: float | datetime.timedelta | None = ...,",
        "sources: tuple[Preloaded, ...]",
        "ObjectNotFoundError(s3warm.S3WarmError, builtins.FileNotFoundError):",
        "class FakeCache(s3warm.Cache):",
    ],
)
def test_types_are_shown(pages: Path, signature: str) -> None:
    shown = "".join("".join(text(page).split()) for page in sorted(pages.rglob("*.html")))
    assert "".join(signature.split()) in shown


@pytest.mark.e2e
@pytest.mark.parametrize(
    "noise", ["Alias for field", "Create new instance", "<class ", "<function", "<built-in", " at 0x", "Ellipsis", "~S"]
)
def test_there_is_no_noise(pages: Path, noise: str) -> None:
    assert [page.name for page in pages.rglob("*.html") if noise in text(page)] == []


@pytest.mark.e2e
def test_internal_modules_stay_out(pages: Path) -> None:
    assert {str(page.relative_to(pages)) for page in pages.rglob("*.html")} == {
        "index.html",
        *(f"{path.replace('.', '/')}.html" for path in public.MODULES),
    }
    named = {found for page in pages.rglob("*.html") for found in re.findall(r"\bs3warm\.([a-z_]+)\.\w", text(page))}
    assert named - {"origin"} <= {path.partition(".")[2] for path in public.MODULES}  # OpenTelemetry's s3warm.origin.duration


@pytest.mark.parametrize(
    ("link", "dead"),
    [
        ("#here", False),
        ("other.html", False),
        ("other.html#there", False),
        ("#there", True),
        ("none.html", True),
        ("other.html#x", True),
    ],
)
def test_a_link_that_leads_nowhere_is_found(tmp_path: Path, link: str, dead: bool) -> None:
    (tmp_path / "page.html").write_text(f'<p id="here"><a href="{link}">a</a> <a href="https://example.com/x#y">b</a></p>')
    (tmp_path / "other.html").write_text('<p id="there"></p>')
    assert broken(tmp_path) == ([f"page.html: {link}"] if dead else [])
