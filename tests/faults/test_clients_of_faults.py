"""What clients that people use make of faults."""

import asyncio

import aiohttp
import pytest
import requests
from faults_support import BODY, answering
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from rolo import faults
from rolo.faults import Faults
from rolo.gateway import Gateway
from rolo.response import Response
from rolo.serving import serve


@pytest.fixture
def failing():
    rules = Faults(seed=1)
    with serve(Gateway([rules.handler, answering(lambda: Response(BODY))])) as server:
        yield rules, server.url


SILENT = (faults.hang(), faults.hang(after=30), faults.wrong_length(5), faults.late(30))


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (faults.refuse(), requests.ConnectionError),
        (faults.reset(), requests.ConnectionError),
        (faults.reset(after=30), requests.exceptions.ChunkedEncodingError),
        (faults.empty(), requests.ConnectionError),
        (faults.hang(), requests.Timeout),
        (faults.hang(after=30), requests.ConnectionError),
        (faults.cut(after=30), requests.exceptions.ChunkedEncodingError),
        (faults.cut(after=5, within="head"), requests.ConnectionError),
        (faults.garbage(), requests.ConnectionError),
        (faults.malformed_head(), requests.ConnectionError),
        (faults.oversized_head(), requests.ConnectionError),
        (faults.bad_chunk(), requests.exceptions.ChunkedEncodingError),
        (faults.wrong_length(5), requests.ConnectionError),
        (faults.late(30), requests.Timeout),
    ],
    ids=repr,
)
def test_requests_raises(failing, fault, error):
    rules, url = failing
    rules.add(fault)
    with pytest.raises(error):
        requests.get(url, timeout=0.2 if fault in SILENT else 10)


def test_a_client_that_tries_again_gets_through(failing):
    rules, url = failing
    rules.add(faults.status(503), first=1)
    rules.add(faults.reset(), first=2)
    with requests.Session() as session:
        session.mount("http://", HTTPAdapter(max_retries=Retry(3, status_forcelist=[503])))
        assert session.get(url, timeout=5).content == BODY
    assert [rule.hits for rule in rules.rules] == [1, 2]


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (faults.reset(), aiohttp.ClientConnectionError),
        (faults.empty(), aiohttp.ServerDisconnectedError),
        (faults.cut(after=30), aiohttp.ClientPayloadError),
        (faults.bad_chunk("huge"), aiohttp.ClientError),
        (faults.malformed_head("control"), aiohttp.ClientResponseError),
    ],
    ids=repr,
)
def test_aiohttp_raises(failing, fault, error):
    rules, url = failing
    rules.add(fault)

    async def get():
        async with aiohttp.ClientSession() as session, session.get(url) as answer:
            await answer.read()

    with pytest.raises(error):
        asyncio.run(get())
