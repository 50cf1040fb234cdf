"""What ``make dist`` builds holds everything, and can be used without this checkout."""

import pathlib
import subprocess
import sys
import sysconfig
import tarfile
import venv

import pytest
from inner_pytest import PLAIN_PYTEST

ROOT = pathlib.Path(__file__).parent.parent


def run(*command, cwd=None):
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=cwd)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory):
    """The source distribution, and the folder of what was in it."""
    out = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--sdist", "--outdir", out, ROOT)
    (sdist,) = out.glob("*.tar.gz")
    with tarfile.open(sdist) as files:
        files.extractall(out, filter="data")
    return sdist, out / sdist.name.removesuffix(".tar.gz")


def test_the_source_distribution_holds_what_its_own_tests_and_builds_need(unpacked):
    files = {str(path.relative_to(unpacked[1])) for path in unpacked[1].rglob("*")}
    needed = {path.name for path in ROOT.glob("[!.]*.*") if path.is_file()} | {"Makefile"}
    for folder in ("rolo", "tests", "docs", "examples", "benchmarks"):
        found = (path.relative_to(ROOT) for path in (ROOT / folder).rglob("*.*"))
        needed |= {str(path) for path in found if path.suffix in (".py", ".md", ".typed", ".svg")}
    needed = {
        name for name in needed if not name.startswith(("benchmarks/.", "benchmarks/results"))
    }
    assert needed - files == set()


def test_it_installs_into_an_empty_environment_and_passes_its_tests_there(unpacked, tmp_path):
    sdist, folder = unpacked
    venv.create(tmp_path, with_pip=False)
    python = str(tmp_path / "bin" / "python")
    site = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip()
    # The dependencies come from the environment of the tests, the package must not.
    pathlib.Path(site, "tests.pth").write_text(sysconfig.get_path("purelib") + "\n")
    run(
        *(sys.executable, "-m", "pip", "--python", python, "install", "--quiet"),
        *("--no-index", "--no-deps", "--no-build-isolation", "--ignore-installed", sdist),
    )
    where = run(python, "-I", "-c", "import rolo; print(rolo.__file__)").strip()
    assert where.startswith(site)
    assert pathlib.Path(site, "rolo", "py.typed").exists()
    assert run(str(tmp_path / "bin" / "rolo"), "--version").startswith("rolo ")
    # -I, so that the folder's own rolo is not found instead.
    its_pytest = [python, "-I", *PLAIN_PYTEST[1:]]
    run(*its_pytest, "tests/test_public_api.py", "tests/gateway", "tests/test_demo.py", cwd=folder)
