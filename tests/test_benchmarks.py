"""The benchmarks run; what they measure is nobody's promise here."""

import json
import pathlib
import subprocess
import sys

import pytest

pytest.importorskip("aiohttp")
pytest.importorskip("httptools")

ROOT = pathlib.Path(__file__).resolve().parent.parent


def run(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
    )


def test_a_short_run_prints_a_table_and_writes_json_and_a_chart(tmp_path):
    samples, chart = tmp_path / "samples.json", tmp_path / "chart.svg"
    done = run(
        *("--quick", "--no-pin", "--subjects", "aiohttp", "--only", "get32,download,ws100,sse"),
        *("--seconds", "0.2", "--megabytes", "1", "--streams", "5"),
        *("--json", samples, "--svg", chart),
    )
    assert done.returncode == 0, done.stderr
    assert "### Small GET, 32 connections" in done.stdout
    assert done.stdout.count("| aiohttp by hand |") == 4, done.stdout
    measured = json.loads(samples.read_text())
    assert measured["notes"] == []
    assert measured["samples"]["get32"]["aiohttp"][0]["rate"] > 0
    assert measured["samples"]["ws100"]["aiohttp"][0]["rate"] > 0
    assert measured["samples"]["sse"]["aiohttp"][0]["opened"] == 5
    assert chart.read_text().startswith("<svg")


def test_an_unknown_subject_is_refused_with_the_known_ones():
    done = run("--subjects", "apache")
    assert done.returncode == 2
    assert "no 'apache' among direct, nginx, aiohttp" in done.stderr
