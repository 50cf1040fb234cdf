"""``rolo record`` and ``rolo replay`` without processes: from the options to the file and back."""

import json

import pytest
from threaded_origin import ThreadedOrigin
from wire import fetch

import rolo.cli.run
from rolo.cli import main
from rolo.cli.arguments import parse
from rolo.config.objects import player_settings, recorder_settings
from rolo.config.settings import settings
from rolo.config.tree import TREES
from rolo.har import Redaction, read_har


@pytest.fixture
def command(monkeypatch, capsys):
    """Run a command up to where it would wait for a signal, and let a client talk to it."""

    def command(*words, client=lambda url: None):
        def run(server, signals, scripted=None):
            with server:
                client(server.url)
                return 0

        with monkeypatch.context() as patch:
            patch.setattr(rolo.cli.run, "_run", run)
            code = main([*words, "--listen", "127.0.0.1:0"])
        out, err = capsys.readouterr()
        return code, out + err

    return command


def test_what_passes_is_recorded_and_replayed(command, tmp_path):
    file = str(tmp_path / "new" / "x.har")
    seen = []
    with ThreadedOrigin() as origin:
        code, said = command(
            "record",
            origin.url,
            file,
            "--redact-query=token",
            client=lambda url: seen.append(fetch(url, "/x?token=1").body),
        )
        assert (code, said.count("recording")) == (0, 1)
        assert said.endswith(f"1 exchanges are in {file}\n")
        assert read_har(file).entries[0].url == f"{origin.url}/x?token=REDACTED"
    code, said = command(
        "replay",
        file,
        "--pace=at-once",
        client=lambda url: seen.extend(fetch(url, "/x?token=2").body for _ in range(2)),
    )
    assert (code, seen) == (0, [b"ok", b"ok", b"ok"])
    assert f"replaying 1 exchanges of {file}" in said


def test_a_recording_is_written_even_if_the_command_fails(command, monkeypatch, tmp_path):
    def client(url):
        raise rolo.cli.run.CommandError("the server died")

    code, said = command("record", "http://127.0.0.1:1", str(tmp_path / "x.har"), client=client)
    assert (code, said.count("the server died")) == (1, 1)
    assert read_har(tmp_path / "x.har").entries == []


@pytest.mark.parametrize(
    ("content", "place"),
    [
        ('{"log": {"entries": [{"request": {}}]}}', "log.entries[0].response: missing"),
        ('{"log": {\n"entries": [}', "line 2 column 13: Expecting value"),
        (None, "No such file or directory"),
    ],
)
def test_a_bad_file_is_told_in_one_line_with_the_place(command, tmp_path, content, place):
    file = tmp_path / "x.har"
    if content is not None:
        file.write_text(content)
    assert command("replay", str(file)) == (2, f"rolo: error: {file}: {place}\n")


def test_what_cannot_be_recorded_or_matched_is_told_before_anything_is_served(command, tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "x.har").write_text(json.dumps({"log": {"entries": []}}))
    for words, said in [
        (["record", "http://127.0.0.1:1", str(tmp_path)], "it is a folder"),
        (["record", "http://127.0.0.1:1", str(tmp_path / "file" / "x")], "it cannot be written"),
        (["record", "http://127.0.0.1:1", "x.har", "--redact-json", "$["], "--redact-json: not a"),
        (["replay", str(tmp_path / "x.har"), "--match", "paths"], "--match: requests are not"),
        (["replay", str(tmp_path / "x.har"), "--pace", "x"], "--pace: not recorded, at-once or"),
        (["replay", str(tmp_path / "x.har"), "--pace", "-1"], "--pace: not recorded, at-once or"),
    ]:
        code, text = command(*words)
        assert (code, text.count("\n")) == (2, 1)
        assert said in text


def test_options_reach_recorder_and_player():
    words = ["record", "http://h", "x", "--redact-header=a,b", "--redact-json", "$.a", "--via=me"]
    config = parse([*words, "--redact-form=f", "--redact-query=q"]).config
    assert recorder_settings(config) == {
        "base_url": "http://h",
        "redaction": Redaction(["a", "b"], ["q"], ["$.a"], ["f"]),
    }
    config = parse(["replay", "x", "--pace=0.5", "--match=path,query:a", "--repeat=never"]).config
    assert player_settings(config) == {
        "pace": 0.5,
        "match": ("path", "query:a"),
        "repeat": "never",
    }
    assert player_settings(parse(["replay", "x"]).config)["pace"] == "recorded"


@pytest.mark.parametrize("tree", TREES.values(), ids=TREES)
def test_every_setting_is_explained_and_its_option_is_its_own(tree):
    found = [setting for _, some in settings(tree) for setting in some]
    assert all(setting.help and setting.allowed for setting in found)
    assert len({setting.option for setting in found}) == len(found)
