"""WireMock's mappings: what matches, what is answered, and what is not read."""

import json

import pytest
import requests
from werkzeug.datastructures import Headers
from wire import fetch

from rolo.harness import Harness, MappingError, between, lognormal
from rolo.harness.wiremock import read_mappings
from rolo.matching import Seen, miss_report


def seen(target="/", method="GET", headers=(), body=b""):
    path, _, query = target.partition("?")
    return Seen(method, "h", path, query, Headers(list(headers)), body)


@pytest.fixture
def read(tmp_path):
    """Write a value to a file and read it."""

    def read(value):
        file = tmp_path / "x.json"
        file.write_text(value if isinstance(value, str) else json.dumps(value))
        return read_mappings(file)

    return read


FORM = [("Content-Type", "application/x-www-form-urlencoded")]
REQUESTS = [
    ({}, [seen(), seen("/x?y", "PUT")], [seen("/", "WEBSOCKET")]),
    ({"method": "ANY", "url": "/x?a=1"}, [seen("/x?a=1")], [seen("/x"), seen("/x?a=1&b=2")]),
    ({"method": "get", "urlPath": "/x"}, [seen("/x?q")], [seen("/x/"), seen("/x", "HEAD")]),
    ({"urlPath": "/a<b>"}, [seen("/a<b>")], [seen("/ab")]),
    ({"urlPattern": r"/x\?(?<n>\d+)"}, [seen("/x?12")], [seen("/x?1a"), seen("/x")]),
    ({"urlPathPattern": "/x/[a-z]+"}, [seen("/x/ab?1")], [seen("/x/ab/c")]),
    (
        {"urlPathTemplate": "/u/{id}/x.y", "pathParameters": {"id": {"equalTo": "a b"}}},
        [seen("/u/a%20b/x.y")],
        [seen("/u/c/x.y"), seen("/u/a%20b/xzy"), seen("/u//x.y")],
    ),
    (
        {"queryParameters": {"q": {"equalTo": "A", "caseInsensitive": True}}},
        [seen("/?q=a"), seen("/?q=x&q=A")],
        [seen("/?q=b"), seen("/")],
    ),
    ({"queryParameters": {"q": {"absent": True}}}, [seen()], [seen("/?q=1")]),
    (
        {"headers": {"X-A": {"doesNotContain": "b"}, "X-B": {"doesNotMatch": "c+"}}},
        [seen(), seen(headers=[("x-a", "a"), ("X-B", "cd")])],
        [seen(headers=[("X-A", "abc")]), seen(headers=[("X-B", "cc")])],
    ),
    (
        {
            "headers": {
                "X": {
                    "or": [
                        {"equalTo": "1"},
                        {"and": [{"contains": "2"}, {"not": {"matches": "2."}}]},
                    ]
                }
            }
        },
        [seen(headers=[("X", "1")]), seen(headers=[("X", "12")])],
        [seen(headers=[("X", "21")]), seen(headers=[("X", "3")]), seen()],
    ),
    (
        {"cookies": {"a": {"matches": "x.*"}, "b": {"anything": "(always)"}}},
        [seen(headers=[("Cookie", "a=xy; b=1")])],
        [seen(headers=[("Cookie", "a=xy")]), seen(headers=[("Cookie", "a=yx; b=1")])],
    ),
    (
        {"basicAuth": {"username": "me", "password": "pw"}},
        [seen(headers=[("Authorization", "basic bWU6cHc=")])],
        [seen(headers=[("Authorization", "Basic bWU6cHcx")]), seen()],
    ),
    (
        {"formParameters": {"a": {"equalTo": "1"}}},
        [seen(headers=FORM, body=b"b=2&a=1")],
        [seen(headers=FORM, body=b"a=2"), seen(body=b"a=1")],
    ),
    (
        {"bodyPatterns": [{"contains": "é"}, {"matches": "a.*z"}, {"doesNotContain": "q"}]},
        [seen(body="a\né z".encode())],
        [seen(body=b"az"), seen(body="aéz!".encode()), seen(body="aéqz".encode()), seen()],
    ),
    ({"bodyPatterns": [{"equalTo": "x"}]}, [seen(body=b"x")], [seen(body=b"xx"), seen()]),
    ({"bodyPatterns": [{"absent": True}]}, [seen()], [seen(body=b"x")]),
    ({"bodyPatterns": [{"binaryEqualTo": "AP8="}]}, [seen(body=b"\0\xff")], [seen(body=b"\0")]),
    (
        {"bodyPatterns": [{"equalToJson": {"a": [1, 2], "b": {"c": None}}}]},
        [seen(body=b'{"b": {"c": null}, "a": [1.0, 2]}')],
        [
            seen(body=b'{"a": [2, 1], "b": {"c": null}}'),
            seen(body=b"x"),
            seen(body=b'{"a": [1, 2]}'),
        ],
    ),
    (
        {
            "bodyPatterns": [
                {
                    "equalToJson": '{"a": [1, {"b": 2}]}',
                    "ignoreArrayOrder": True,
                    "ignoreExtraElements": True,
                }
            ]
        },
        [seen(body=b'{"a": [{"b": 2, "c": 3}, 4, 1], "d": 5}')],
        [seen(body=b'{"a": [{"b": 3}, 1]}'), seen(body=b'{"a": 1}')],
    ),
    (
        {"bodyPatterns": [{"equalToJson": [1, [2]], "ignoreExtraElements": True}]},
        [seen(body=b"[1, [2, 3], 4]")],
        [seen(body=b"[[2], 1]"), seen(body=b"[1]")],
    ),
    (
        {"bodyPatterns": [{"equalToJson": [1, 2], "ignoreArrayOrder": True}]},
        [seen(body=b"[2, 1]")],
        [seen(body=b"[2, 1, 1]")],
    ),
    (
        {
            "bodyPatterns": [
                {
                    "equalToJson": {
                        "a": "${json-unit.any-string}",
                        "b": "${json-unit.any-number}",
                        "c": "${json-unit.ignore}",
                        "d": "${json-unit.regex}x+",
                        "e": "${json-unit.any-boolean}",
                    }
                }
            ]
        },
        [seen(body=b'{"a": "", "b": 1.5, "c": [], "d": "xx", "e": true}')],
        [
            seen(body=b'{"a": 1, "b": 1.5, "c": [], "d": "xx", "e": true}'),
            seen(body=b'{"a": "", "b": true, "c": 1, "d": "x", "e": true}'),
        ],
    ),
    (
        {"bodyPatterns": [{"matchesJsonPath": "$.a.b[0]"}]},
        [seen(body=b'{"a": {"b": [false]}}')],
        [
            seen(body=b'{"a": {"b": []}}'),
            seen(body=b'{"a": {"b": [null]}}'),
            seen(body=b'{"a": {"b": [[]]}}'),
            seen(),
        ],
    ),
    (
        {"bodyPatterns": [{"matchesJsonPath": "$..t"}]},
        [seen(body=b'[{"x": {"t": null}}]')],
        [seen(body=b'["t"]')],
    ),
    (
        {"bodyPatterns": [{"matchesJsonPath": {"expression": "$.a[*].n", "equalTo": "7"}}]},
        [seen(body=b'{"a": [{"n": 6}, {"n": 7}]}')],
        [seen(body=b'{"a": [{"n": 77}]}'), seen(body=b'{"a": 1}')],
    ),
    (
        {"bodyPatterns": [{"matchesJsonPath": {"expression": "$.a", "absent": True}}]},
        [seen(body=b"{}")],
        [seen(body=b'{"a": 1}'), seen(body=b"x")],
    ),
]


@pytest.mark.parametrize(
    ("request_", "right", "wrong"),
    REQUESTS,
    ids=lambda v: json.dumps(v)[:60] if isinstance(v, dict) else "",
)
def test_requests_match_as_they_do_there(read, request_, right, wrong):
    pattern = read({"request": request_})[0].pattern
    for each in right:
        assert pattern.matched(each), pattern.match(each)
    for each in wrong:
        assert not pattern.matched(each)
        assert not pattern.match(each)
        assert pattern.describe() in " ".join(miss_report(each, [("x", pattern)]).split())


MISTAKES = [
    (
        '{"request": {\n]',
        ["Expecting property name enclosed in double quotes: line 2 column 1 (char 14)"],
    ),
    ("7", ["an object or a list is wanted, not 7"]),
    ([7], ["[0]: an object is wanted, not 7"]),
    ({"mappings": [], "importOptions": {}}, ["importOptions: this is not read"]),
    ({"mappings": []}, ["there is no mapping"]),
    (
        {"requests": {}, "priority": "1"},
        ['priority: a whole number is wanted, not "1"', "requests: this is not read"],
    ),
    ({"newScenarioState": "x"}, ["a state of a scenario needs scenarioName"]),
    (
        {"request": {"multipartPatterns": [], "url": 1}},
        ["request.url: text is wanted, not 1", "request.multipartPatterns: this is not read"],
    ),
    (
        {"request": {"url": "x", "urlPath": "/x"}},
        ["request: url and urlPath exclude each other", "request.url: a path begins with a slash"],
    ),
    (
        {"request": {"urlPattern": "(", "headers": {"X": {"equalToXml": "<a/>"}}}},
        [
            "request.urlPattern: '(' is no regular expression of Python's: missing )",
            "request.headers.X: one of equalTo, contains",
            "request.headers.X.equalToXml: this is not read",
        ],
    ),
    ({"request": {"urlPathPattern": "[a-z&&[^b]]"}}, ["Possible set intersection"]),
    (
        {"request": {"url": "/", "pathParameters": {"a": {"equalTo": "1"}}}},
        ["pathParameters needs urlPathTemplate"],
    ),
    ({"request": {"urlPathTemplate": "/{a}/{a}"}}, ["variables are written {name}, each once"]),
    (
        {
            "request": {
                "bodyPatterns": [
                    {"matchesJsonPath": "$.a[?(@.b == 1)]"},
                    {"equalToJson": {"a": "${json-unit.matches:x}"}},
                ]
            }
        },
        [
            "request.bodyPatterns[0].matchesJsonPath: ",
            "filters and functions are not read",
            "request.bodyPatterns[1].equalToJson.a: the placeholder",
        ],
    ),
    (
        {"request": {"bodyPatterns": [{"equalToJson": "{"}, {"binaryEqualTo": "?"}]}},
        ["bodyPatterns[0].equalToJson: no JSON", "bodyPatterns[1].binaryEqualTo: no Base64"],
    ),
    (
        {"response": {"transformers": ["response-template"], "status": True}},
        [
            "response.status: a whole number is wanted, not true",
            "response.transformers: this is not read",
        ],
    ),
    (
        {"response": {"body": "x", "jsonBody": 1}},
        ["response: body and jsonBody exclude each other"],
    ),
    ({"response": {"status": 99}}, ["response: an answer's status has three digits"]),
    (
        {"response": {"headers": {"A": {}, "B": "x\ny"}}},
        ["response.headers.A: text, or a list of it, not {}", "response: "],
    ),
    (
        {"response": {"bodyFileName": "../x.json"}},
        ["response.bodyFileName: '../x.json' is not within"],
    ),
    ({"response": {"bodyFileName": "none"}}, ["response.bodyFileName: there is no file"]),
    ({"response": {"fault": "BANG"}}, ["response.fault: one of EMPTY_RESPONSE"]),
    (
        {"response": {"fixedDelayMilliseconds": -1}},
        ["response.fixedDelayMilliseconds: a delay is 0 seconds or more"],
    ),
    (
        {"response": {"delayDistribution": {"type": "lognormal", "median": 1, "maxValue": 3}}},
        [
            "response.delayDistribution.maxValue: this is not read",
            "lognormal needs median and sigma",
        ],
    ),
    (
        {"response": {"delayDistribution": {"type": "x"}}},
        ["its type is lognormal, uniform or fixed, not x"],
    ),
    (
        {"response": {"chunkedDribbleDelay": {"numberOfChunks": 0, "totalDuration": 1}}},
        ["numberOfChunks is 1 or more"],
    ),
    (
        {"response": {"proxyBaseUrl": "nowhere", "body": ""}},
        ["response.proxyBaseUrl: ", "response.body: this is not read"],
    ),
]


@pytest.mark.parametrize(("content", "said"), MISTAKES, ids=range(len(MISTAKES)))
def test_what_is_not_read_is_told_with_file_and_place(read, content, said):
    with pytest.raises(MappingError) as caught:
        read(content)
    for each in said:
        assert each in str(caught.value)
    assert all("x.json: " in each for each in caught.value.mistakes)


def test_all_mistakes_of_all_files_are_told(tmp_path):
    for name in ("b", "a/c"):
        file = tmp_path / "mappings" / f"{name}.json"
        file.parent.mkdir(exist_ok=True, parents=True)
        file.write_text('{"request": {"scheme": "http", "port": 80}}')
    with pytest.raises(MappingError) as caught:
        read_mappings(tmp_path)
    assert [each.partition("mappings/")[2] for each in caught.value.mistakes] == [
        "a/c.json: request.scheme: this is not read",
        "a/c.json: request.port: this is not read",
        "b.json: request.scheme: this is not read",
        "b.json: request.port: this is not read",
    ]


@pytest.mark.parametrize(
    ("response", "delay"),
    [
        ({"fixedDelayMilliseconds": 1500}, 1.5),
        (
            {"delayDistribution": {"type": "uniform", "lower": 15, "upper": 25}},
            between(0.015, 0.025),
        ),
        (
            {"delayDistribution": {"type": "lognormal", "median": 80, "sigma": 0.4}},
            lognormal(0.08, 0.4),
        ),
        (
            {"delayDistribution": {"type": "fixed", "milliseconds": 7}, "proxyBaseUrl": "http://h"},
            0.007,
        ),
        ({}, 0.0),
    ],
)
def test_delays_are_milliseconds(read, response, delay):
    assert read({"response": response})[0].answer.delay == delay


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "__files").mkdir()
    (tmp_path / "__files" / "page.html").write_text("<p>")
    mappings = tmp_path / "mappings"
    mappings.mkdir()
    some = {
        "body": {
            "body": "é",
            "headers": {"X": ["1", "2"], "Transfer-Encoding": "chunked"},
            "status": 201,
            "statusMessage": "Fine",
        },
        "json": {"jsonBody": {"a": ["é"]}},
        "base64": {"base64Body": "AP8="},
        "file": {"bodyFileName": "page.html", "status": 404},
        "dribble": {
            "body": "hello",
            "chunkedDribbleDelay": {"numberOfChunks": 2, "totalDuration": 1},
        },
        "empty": {"fault": "EMPTY_RESPONSE"},
        "reset": {"fault": "CONNECTION_RESET_BY_PEER"},
        "chunk": {"fault": "MALFORMED_RESPONSE_CHUNK"},
        "garbage": {"fault": "RANDOM_DATA_THEN_CLOSE"},
        "priority": {"body": "first"},
    }
    content = [
        {"request": {"urlPath": f"/{name}"}, "response": each, "priority": 1, "id": name}
        for name, each in some.items()
    ]
    content += [{"request": {"url": "/priority"}, "response": {"body": "not asked"}}]
    content += [{"request": {"url": "/last"}, "response": {"body": str(n)}} for n in range(2)]
    (mappings / "one.json").write_text(json.dumps({"mappings": content, "meta": {"total": 12}}))
    states = [("Started", "one"), ("one", "two"), ("two", None)]
    content = [
        {
            "scenarioName": "the cart",
            "requiredScenarioState": before,
            "newScenarioState": after,
            "request": {"method": "GET", "url": "/state"},
            "response": {"body": before},
        }
        for before, after in states
    ]
    for each in content:
        if each["newScenarioState"] is None:
            del each["newScenarioState"]
    (mappings / "two.json").write_text(json.dumps(content))
    return tmp_path


def test_a_folder_of_mappings_is_answered_with(folder):
    with Harness() as api:
        assert len(api.wiremock(folder)) == len(api.stubs) == 16
        get = lambda path: requests.get(api.url + path, timeout=5)  # noqa: E731
        answer = get("/body")
        assert (answer.status_code, answer.reason, answer.content) == (201, "Fine", "é".encode())
        assert answer.headers["X"] == "1, 2"
        assert "Content-Type" not in answer.headers
        assert get("/json").content == '{"a":["é"]}'.encode()
        assert get("/base64").content == b"\0\xff"
        answer = get("/file")
        assert (answer.status_code, answer.text) == (404, "<p>")
        assert answer.headers["Content-Type"] == "text/html"
        answer = get("/dribble")
        assert answer.text == "hello"
        assert "Content-Type" not in answer.headers
        assert len(api.received(path="/dribble").once().answer.pieces) == 2
        for fault in ("empty", "reset", "chunk", "garbage"):
            with pytest.raises(requests.RequestException):
                get(f"/{fault}")
        assert get("/priority").text == "first"
        assert get("/last").text == "1"
        assert [get("/state").text for _ in range(4)] == ["Started", "one", "two", "two"]
        answer = get("/boddy")
        assert answer.status_code == 404
        assert "any method /body  [one.json [0]]\n     path" in answer.text
        assert answer.text.endswith("the one of lowest priority answers; of equals, the last.\n")
        api.forgive()


def test_a_mapping_proxies(tmp_path):
    (tmp_path / "x.json").write_text('{"response": {"proxyBaseUrl": "UPSTREAM/base"}}')
    with Harness() as real, Harness() as api:
        real.get("/base/x").returns("real")
        file = tmp_path / "x.json"
        file.write_text(file.read_text().replace("UPSTREAM", real.url))
        api.wiremock(file)
        assert fetch(api.url, "/x").body == b"real"
