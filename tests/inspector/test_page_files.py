"""The files of the page."""

import pathlib
import re

import rolo.inspector.page

PAGE = pathlib.Path(rolo.inspector.page.__file__).parent
INDEX = (PAGE / "index.html").read_text()


def test_all_modules_are_asked_for_at_once():
    """Else each is asked for when the one before it has come."""
    named = set(re.findall(r'(?:modulepreload" href|type="module" src)="([^"]+)"', INDEX))
    assert named == {path.name for path in PAGE.glob("*.js")}


def test_nothing_comes_from_elsewhere():
    for path in PAGE.iterdir():
        if path.suffix in (".html", ".js", ".css"):
            assert not re.search(
                r"""(?:src|href|url\(|from |import\()\s*["']?(?:https?:)?//""", path.read_text()
            )


def test_markup_is_never_made_of_text():
    for path in PAGE.glob("*.js"):
        assert not re.search(
            r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", path.read_text()
        )
