"""The harness as clients from the registry see it: those that people's programs use."""

import gc
import threading
import warnings

import pytest
from real_clients import HTTP_1, HTTP_2, WEBSOCKETS, Closed

from rolo.faults import close_with, cut, fragment, lose, reset, status
from rolo.har import Player, read_har
from rolo.harness import Harness, close, expect, gate, send, sse
from rolo.matching import ANY, subset

every_client = pytest.mark.parametrize("client", HTTP_1 + HTTP_2)
every_http1_client = pytest.mark.parametrize("client", HTTP_1)
every_websocket_client = pytest.mark.parametrize("client", WEBSOCKETS)


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    """Clients take proxies and authorities of the environment, and of the machine."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture(autouse=True)
def _left_to_the_collector():
    """What these libraries leave to the garbage collection, a socket of a refused certificate
    say, is collected here, and not in a test of somebody else's."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.fixture(scope="module")
def servers():
    """Make harnesses for the module, one of each sort."""
    with Harness(http2=True) as plain, Harness(http2=True, tls=True) as secure:
        yield {"plain": plain, "secure": secure}


@pytest.fixture
def plain(servers):
    api = servers["plain"]
    lent = api.lend()
    yield api
    api.give_back(lent)


@pytest.fixture
def secure(servers):
    api = servers["secure"]
    lent = api.lend()
    yield api
    api.give_back(lent)


def websocket_url(api, path):
    return api.url.replace("http", "ws", 1) + path


# --- HTTP


@every_client
def test_a_client_that_trusts_the_authority_is_answered_json(client, secure):
    order = {"id": 7, "to": {"city": "Bern"}}
    stub = secure.post("/orders", json=subset({"to": {"city": "Bern"}}))
    stub.returns(201, {"places": ["Zürich"], "next": None})

    with client(secure.ca_file) as connected:
        answered = connected.post(f"{secure.url}/orders", order)

    version = "2" if client in HTTP_2 else "1.1"
    assert answered == (201, version, {"places": ["Zürich"], "next": None})
    assert secure.received("POST", "/orders").once().json == order


@every_client
def test_a_client_that_does_not_trust_the_authority_asks_nothing(client, secure):
    with client() as connected, pytest.raises(client.tls_errors):
        connected.body(f"{secure.url}/secret")
    secure.received().never()


@every_client
def test_a_client_gets_each_event_when_its_step_is_taken(client, plain):
    plain.get("/events").streams(sse("1"), gate(), sse({"n": 2}, id="7"), gate(), sse("3"))

    with client() as connected:
        pieces = connected.pieces(f"{plain.url}/events")
        assert next(pieces) == b"data: 1\n\n"
        plain.step()
        assert next(pieces) == b'id: 7\ndata: {"n": 2}\n\n'
        plain.step()
        assert b"".join(pieces) == b"data: 3\n\n"


@every_client
def test_what_a_client_sends_in_pieces_comes_whole(client, plain):
    plain.put("/file").returns(204)

    with client() as connected:
        assert connected.upload(f"{plain.url}/file", [b"one", b"x" * 100_000, b"end"]) == 204

    record = plain.received("PUT", "/file").once()
    assert record.body == b"one" + b"x" * 100_000 + b"end"


@every_client
def test_an_answer_that_is_cut_is_an_error_and_the_next_one_is_whole(client, plain):
    plain.get("/file").returns("x" * 5000).fails(cut(after=1000), first=1)

    with client() as connected:
        with pytest.raises(client.errors):
            connected.body(f"{plain.url}/file")
        assert len(connected.body(f"{plain.url}/file")) == 5000


@every_http1_client
def test_a_reset_is_an_error_and_the_next_answer_is_whole(client, plain):
    plain.post("/orders").fails(reset()).times(1).then({"id": 7}).forever()

    with client() as connected:
        with pytest.raises(client.errors):  # of a GET, aiohttp tries a second time
            connected.post(f"{plain.url}/orders", {})
        assert connected.post(f"{plain.url}/orders", {}).json == {"id": 7}


# --- websockets


@every_websocket_client
def test_a_websocket_client_plays_its_part_over_tls(client, secure):
    stub = secure.websocket("/chat", subprotocol="chat")
    stub.plays(send("hi"), expect("hello"), send(b"\x00" * 5000), expect(ANY), close(4001, "go"))

    with client(websocket_url(secure, "/chat"), secure.ca_file) as chat:
        assert chat.subprotocol == "chat"
        assert chat.receive() == "hi"
        chat.send("hello")
        assert chat.receive() == b"\x00" * 5000
        chat.send(b"\x01" * 5000)
        with pytest.raises(Closed) as over:
            chat.receive()

    assert (over.value.code, over.value.reason) == (4001, "go")
    record = secure.received("WEBSOCKET", "/chat").once().wait_ended()
    assert record.received_messages == ["hello", b"\x01" * 5000]
    assert record.closed == ("server", 4001, "go")


@every_websocket_client
@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (lose(after=1), 1006),
        (cut(after=1, within="message"), 1006),
        (close_with(1012, after=1), 1012),
    ],
    ids=["lose", "cut", "close_with"],
)
def test_a_websocket_client_notices_how_it_broke(client, fault, code, plain):
    plain.websocket("/news").plays(send("one"), send("two")).fails(fault)

    with client(websocket_url(plain, "/news")) as news:
        assert news.receive() == "one"
        with pytest.raises(Closed) as over:
            news.receive()
    assert over.value.code == code


@every_websocket_client
def test_a_websocket_client_joins_odd_fragments(client, plain):
    plain.websocket("/news").plays(send("one"), expect("more"), send("two")).fails(fragment(size=1))

    with client(websocket_url(plain, "/news")) as news:
        assert news.receive() == "one"
        news.send("more")
        assert news.receive() == "two"


# --- boto3: a recording of S3


@pytest.fixture
def moto():
    """S3 by moto's server; returns its URL. Imported late, as it is big."""
    from moto.moto_server.threaded_moto_server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()
    server._server.server_close()


def s3(api):
    import boto3
    from botocore.config import Config

    return boto3.client(
        "s3",
        endpoint_url=api.url,
        region_name="eu-central-1",
        aws_access_key_id="the-key",
        aws_secret_access_key="the-secret",
        aws_session_token="the-token",
        verify=None if api.url.startswith("http:") else api.ca_file,
        config=Config(
            s3={"addressing_style": "path"},
            connect_timeout=10,
            read_timeout=10,
            retries={"mode": "standard", "total_max_attempts": 2},
        ),
    )


def up_and_down(api, folder):
    """Put a small and a big object, the latter in parts by several threads, and get them back."""
    from boto3.s3.transfer import TransferConfig

    parts = TransferConfig(multipart_threshold=2**20, multipart_chunksize=5 * 2**20)
    big = folder / "big"
    big.write_bytes(bytes(range(256)) * 24 * 1024)  # 6 MiB
    client = s3(api)
    try:
        client.create_bucket(
            Bucket="box", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"}
        )
        client.put_object(Bucket="box", Key="small", Body=b"some text", Metadata={"by": "me"})
        client.upload_file(str(big), "box", "a folder/big", Config=parts)
        small = client.get_object(Bucket="box", Key="small")
        with small["Body"] as body:
            got = (small["Metadata"], body.read())
        client.download_file("box", "a folder/big", str(folder / "back"), Config=parts)
        names = [found["Key"] for found in client.list_objects_v2(Bucket="box")["Contents"]]
    finally:
        client.close()
    assert (folder / "back").read_bytes() == big.read_bytes()
    return got, names


def test_an_s3_upload_and_download_is_recorded_and_replayed_without_the_service(
    moto, tmp_path, monkeypatch
):
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    file = tmp_path / "s3.har"
    with Harness(upstream=moto, mode="capture", recording=file) as api:
        recorded = up_and_down(api, tmp_path)
        asked = [(record.method, record.path) for record in api.records]
    assert recorded == (({"by": "me"}, b"some text"), ["a folder/big", "small"])
    assert [method for method, path in asked].count("PUT") == 4  # bucket, object, two parts

    assert b"the-key" not in file.read_bytes()
    assert b"the-token" not in file.read_bytes()

    # The parts of a download are asked for at once, and come in any order.
    match = ("method", "path", "query", "header:Range")
    player = Player(read_har(file), match=match, pace="at_once")
    with Harness(recording=player, tls=True) as api:
        assert up_and_down(api, tmp_path) == recorded
        assert api.unused == []
        assert sorted(asked) == sorted((record.method, record.path) for record in api.records)


def test_boto3_tries_again_after_a_reset(plain, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # botocore's pause between tries
    plain.get("/box/key").fails(reset()).times(1).then("there").forever()
    client = s3(plain)
    try:
        with client.get_object(Bucket="box", Key="key")["Body"] as body:
            assert body.read() == b"there"
    finally:
        client.close()
    plain.received("GET", "/box/key").times(2)


# --- openai: a stream of events


def openai_client(api):
    import openai

    return openai.OpenAI(base_url=f"{api.url}/v1", api_key="sk-the-key", max_retries=1, timeout=10)


def chunk(text, **more):
    return sse(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion.chunk",
            "created": 1,
            "model": "some-model",
            "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None, **more}],
        }
    )


def talk(client):
    """Yield the texts of a completion as they come."""
    with client.chat.completions.create(
        model="some-model", messages=[{"role": "user", "content": "hello"}], stream=True
    ) as stream:
        for piece in stream:
            yield piece.choices[0].delta.content


CHAT = "/v1/chat/completions"


def test_an_llm_client_gets_each_piece_when_its_step_is_taken(secure):
    secure.export_ca()
    secure.post(CHAT, json=subset({"stream": True})).streams(
        chunk("Good"), gate(), chunk(" day"), sse("[DONE]")
    )
    with openai_client(secure) as client:
        texts = talk(client)
        assert next(texts) == "Good"
        secure.step()
        assert list(texts) == [" day"]

    record = secure.received("POST", CHAT).once()
    assert record.headers["Authorization"] == "Bearer sk-the-key"
    assert record.json["messages"] == [{"role": "user", "content": "hello"}]


def test_an_llm_client_tries_again_when_it_is_told_to(plain):
    too_many = status(429, headers={"Retry-After-Ms": "1"}, body=b"{}")
    plain.post(CHAT).streams(chunk("Hello"), sse("[DONE]")).fails(too_many, first=1)
    with openai_client(plain) as client:
        assert list(talk(client)) == ["Hello"]
    plain.received("POST", CHAT).times(2)


def test_an_llm_client_whose_stream_is_cut_within_an_event_has_what_came_before(plain):
    import openai

    plain.post(CHAT).streams(chunk("one"), chunk("two"), chunk("three"), sse("[DONE]")).fails(
        cut(after=2, within="event")
    )
    with openai_client(plain) as client:
        texts = talk(client)
        assert [next(texts), next(texts)] == ["one", "two"]
        with pytest.raises(openai.APIConnectionError):
            next(texts)


def test_the_stream_of_an_llm_is_recorded_without_the_key_and_replayed_piece_by_piece(
    plain, tmp_path
):
    plain.post(CHAT).streams(chunk("Good"), chunk(" day"), sse("[DONE]"))
    file = tmp_path / "llm.har"
    with (
        Harness(upstream=plain.url, mode="capture", recording=file) as api,
        openai_client(api) as client,
    ):
        assert list(talk(client)) == ["Good", " day"]
    assert "sk-the-key" not in file.read_text()

    player = Player(read_har(file), match=["method", "path", "json:$.messages"], pace="gated")
    with Harness(recording=player) as api, openai_client(api) as client:
        texts = talk(client)
        api.step()
        assert next(texts) == "Good"
        api.step(2)
        assert list(texts) == [" day"]
        assert api.unused == []


def test_clients_leave_no_thread(plain):
    before = set(threading.enumerate())
    plain.websocket("/chat").plays(send("hi"))
    for client in WEBSOCKETS:
        with client(websocket_url(plain, "/chat")) as chat:
            assert chat.receive() == "hi"
    assert set(threading.enumerate()) <= before
