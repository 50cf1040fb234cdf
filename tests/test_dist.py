"""What ``make dist`` builds can be installed and used without this checkout."""

import pathlib
import subprocess
import sys
import sysconfig
import venv
import zipfile

import pytest

ROOT = pathlib.Path(__file__).parent.parent


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def dist(tmp_path_factory):
    out = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(ROOT))
    return out


@pytest.mark.timeout(180)
def test_the_wheel_installs_and_imports_in_an_empty_environment(dist, tmp_path):
    (wheel,) = dist.glob("*.whl")
    environment = tmp_path / "empty"
    venv.create(environment, with_pip=True)
    python = str(environment / "bin" / "python")
    run(python, "-m", "pip", "install", "--no-index", "--no-deps", "--quiet", str(wheel))
    # The dependencies come from the environment of the tests, the package must not.
    site = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip()
    pathlib.Path(site, "tests.pth").write_text(sysconfig.get_path("purelib") + "\n")
    where = run(python, "-I", "-c", "import rolo, rolo.proxy; print(rolo.__file__)").strip()
    assert where.startswith(str(environment))
    assert run(str(environment / "bin" / "rolo"), "--version").startswith("rolo ")


def test_the_wheel_says_that_it_is_typed(dist):
    (wheel,) = dist.glob("*.whl")
    with zipfile.ZipFile(wheel) as files:
        assert "rolo/py.typed" in files.namelist()


def test_there_is_a_source_distribution(dist):
    assert len(list(dist.glob("*.tar.gz"))) == 1
