"""Drive the services of a running LocalStack; ``localstack.py`` starts this in its environment.

``python localstack_services.py URL [NAME]``: runs every function below that is named ``test_...``
(and has NAME in its name); a line tells how each ended.
"""

from __future__ import annotations

import contextlib
import http.client
import http.server
import io
import json
import queue
import sys
import threading
import time
import traceback
import typing as t
import urllib.parse
import warnings

import boto3
import requests
from botocore.config import Config
from botocore.exceptions import ClientError

URL = sys.argv[1]
HOST = URL.removeprefix("http://")
PORT = int(HOST.partition(":")[2])
KEYS = {"aws_access_key_id": "test", "aws_secret_access_key": "test", "region_name": "us-east-1"}


def client(service: str, **settings: t.Any) -> t.Any:
    config = Config(retries={"max_attempts": 1}, read_timeout=30, **settings)
    return boto3.client(service, endpoint_url=URL, config=config, **KEYS)


def bucket(s3: t.Any, name: str) -> str:
    s3.create_bucket(Bucket=name)
    return name


def failure(call: t.Callable[..., t.Any], **parameters: t.Any) -> str:
    """Return the code of the error that ``call`` ends with."""
    try:
        call(**parameters)
    except ClientError as exc:
        return str(exc.response["Error"]["Code"])
    raise AssertionError("no error")


def eventually(status: t.Callable[[], str], going_on: str) -> str:
    """Return the first ``status()`` that does not end like ``going_on``."""
    for _ in range(150):
        found = status()
        if not found.endswith(going_on):
            return found
        time.sleep(0.2)
    return found


@contextlib.contextmanager
def origin(status: int = 200, body: bytes = b'{"from": "origin"}') -> t.Iterator[tuple[str, t.Any]]:
    """A server on loopback; gives its URL and a queue of ``(method, path, headers, body)``."""
    seen: queue.Queue[t.Any] = queue.Queue()

    class Handler(http.server.BaseHTTPRequestHandler):
        def answer(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            seen.put((self.command, self.path, self.headers, self.rfile.read(length)))
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_PUT = answer

        def log_message(self, format: str, *args: t.Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", seen
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


# -- S3 ------------------------------------------------------------------------------------


def test_s3_objects_come_back_as_they_were_put():
    s3 = client("s3")
    name = bucket(s3, "objects")
    for key in (
        "plain",
        "a b+c",
        "ümläut/ключ",
        "with//slashes",
        "per%2Fcent",
        "end/",
        "q?x=1&y#z",
    ):
        body = key.encode() * 1000
        s3.put_object(Bucket=name, Key=key, Body=body, Metadata={"Mixed-Case": "Value"})
        answer = s3.get_object(Bucket=name, Key=key)
        assert answer["Body"].read() == body, key
        assert answer["Metadata"] == {"mixed-case": "Value"}, answer["Metadata"]
        assert s3.head_object(Bucket=name, Key=key)["ContentLength"] == len(body)
        s3.copy_object(Bucket=name, Key=key + ".copy", CopySource={"Bucket": name, "Key": key})
    assert len(s3.list_objects_v2(Bucket=name)["Contents"]) == 14
    part = s3.get_object(Bucket=name, Key="plain", Range="bytes=5-9")
    assert (part["Body"].read(), part["ContentRange"]) == (b"plain", "bytes 5-9/5000")
    s3.delete_objects(Bucket=name, Delete={"Objects": [{"Key": "plain"}, {"Key": "end/"}]})
    assert len(s3.list_objects_v2(Bucket=name)["Contents"]) == 12


def test_s3_empty_and_large_objects():
    s3 = client("s3")
    name = bucket(s3, "sizes")
    for size in (0, 1, 65536, 9_000_000):
        s3.put_object(Bucket=name, Key=str(size), Body=io.BytesIO(b"x" * size))
        assert s3.get_object(Bucket=name, Key=str(size))["Body"].read() == b"x" * size


def test_s3_multipart_upload():
    s3 = client("s3")
    name = bucket(s3, "multipart")
    data = bytes(range(256)) * 65536
    s3.upload_fileobj(io.BytesIO(data), name, "whole")
    target = io.BytesIO()
    s3.download_fileobj(name, "whole", target)
    assert target.getvalue() == data


def test_s3_payloads_in_signed_chunks_and_with_trailing_checksums():
    for algorithm in ("CRC32", "SHA256"):
        s3 = client("s3", request_checksum_calculation="when_supported")
        name = bucket(s3, "checksums-" + algorithm.lower())
        s3.put_object(
            Bucket=name, Key="k", Body=io.BytesIO(b"y" * 300_000), ChecksumAlgorithm=algorithm
        )
        answer = s3.get_object(Bucket=name, Key="k", ChecksumMode="ENABLED")
        assert answer["Body"].read() == b"y" * 300_000
        assert answer[f"Checksum{algorithm}"]


def test_s3_presigned_urls():
    s3 = client("s3", signature_version="s3v4")
    name = bucket(s3, "presigned")
    params = {"Bucket": name, "Key": "a/b c"}
    put = s3.generate_presigned_url("put_object", params)
    assert requests.put(put, data=iter([b"in ", b"chunks"]), timeout=20).status_code == 200
    got = requests.get(s3.generate_presigned_url("get_object", params), timeout=20)
    assert got.content == b"in chunks"


def test_s3_forms():
    s3 = client("s3")
    name = bucket(s3, "forms")
    post = s3.generate_presigned_post(
        name,
        "uploads/${filename}",
        Fields={"x-amz-meta-tag": "v"},
        Conditions=[["starts-with", "$key", ""], {"x-amz-meta-tag": "v"}],
    )
    files = {"file": ("name.bin", b"\x00\r\n--x" * 300_000)}
    answer = requests.post(post["url"], data=post["fields"], files=files, timeout=30)
    assert answer.status_code == 204, answer.text
    got = s3.get_object(Bucket=name, Key="uploads/name.bin")
    assert got["Body"].read() == files["file"][1]
    assert got["Metadata"] == {"tag": "v"}


def test_s3_virtual_hosts():
    s3 = client("s3")
    name = bucket(s3, "virtual")
    s3.put_object(Bucket=name, Key="k", Body=b"there")
    host = f"{name}.s3.localhost.localstack.cloud:{PORT}"
    assert requests.get(f"{URL}/k", headers={"Host": host}, timeout=20).content == b"there"
    s3.put_bucket_website(Bucket=name, WebsiteConfiguration={"IndexDocument": {"Suffix": "k"}})
    host = f"{name}.s3-website.localhost.localstack.cloud:{PORT}"
    assert requests.get(f"{URL}/", headers={"Host": host}, timeout=20).content == b"there"


def test_s3_field_names_keep_their_case():
    s3 = client("s3")
    name = bucket(s3, "case")
    s3.put_object(Bucket=name, Key="k", Body=b"1", Metadata={"some": "thing"})
    connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=20)
    connection.request("GET", f"/{name}/k")
    answer = connection.getresponse()
    names = [field for field, _ in answer.getheaders()]
    answer.read()
    connection.close()
    assert {"ETag", "Last-Modified", "x-amz-meta-some"} <= set(names), names


def test_s3_expect_100_continue_and_errors():
    s3 = client("s3")
    name = bucket(s3, "errors")
    assert failure(s3.get_object, Bucket=name, Key="absent") == "NoSuchKey"
    assert failure(s3.head_object, Bucket=name, Key="absent") == "404"
    body = b"z" * 2_000_000
    assert failure(s3.put_object, Bucket="absent", Key="k", Body=body) == "NoSuchBucket"


def test_s3_cors():
    s3 = client("s3")
    name = bucket(s3, "cors")
    rule = {
        "AllowedMethods": ["PUT"],
        "AllowedOrigins": ["http://a.example"],
        "AllowedHeaders": ["x-one"],
    }
    s3.put_bucket_cors(Bucket=name, CORSConfiguration={"CORSRules": [rule]})
    asked = {
        "Origin": "http://a.example",
        "Access-Control-Request-Method": "PUT",
        "Access-Control-Request-Headers": "x-one",
    }
    answer = requests.options(f"{URL}/{name}/k", headers=asked, timeout=20)
    assert answer.status_code == 200, answer.text
    assert answer.headers["Access-Control-Allow-Origin"] == "http://a.example"


# -- queues and topics ---------------------------------------------------------------------


def test_sqs_messages():
    sqs = client("sqs")
    url = sqs.create_queue(QueueName="one")["QueueUrl"]
    sqs.send_message(
        QueueUrl=url,
        MessageBody="héllo",
        MessageAttributes={"a": {"DataType": "String", "StringValue": "v"}},
    )
    sqs.send_message_batch(
        QueueUrl=url, Entries=[{"Id": str(n), "MessageBody": "b" * 1000} for n in range(9)]
    )
    got = []
    while len(got) < 10:
        answer = sqs.receive_message(
            QueueUrl=url, MaxNumberOfMessages=10, MessageAttributeNames=["All"], WaitTimeSeconds=2
        )
        assert "Messages" in answer, got
        for each in answer["Messages"]:
            got.append(each["Body"])
            sqs.delete_message(QueueUrl=url, ReceiptHandle=each["ReceiptHandle"])
    assert "héllo" in got
    assert "Messages" not in sqs.receive_message(QueueUrl=url, WaitTimeSeconds=1)


def test_sqs_of_the_query_protocol_and_by_the_url_of_the_queue():
    sqs = client("sqs")
    url = sqs.create_queue(QueueName="two")["QueueUrl"]
    path = urllib.parse.urlsplit(url).path
    form = {"Action": "SendMessage", "MessageBody": "a b&c=d", "Version": "2012-11-05"}
    answer = requests.post(
        URL + path, data=form, headers={"Host": urllib.parse.urlsplit(url).netloc}, timeout=20
    )
    assert "MessageId" in answer.text, answer.text
    assert sqs.receive_message(QueueUrl=url)["Messages"][0]["Body"] == "a b&c=d"
    ask = f"{URL}{path}?Action=GetQueueAttributes&AttributeName.1=All"
    answer = requests.get(ask, headers={"Host": urllib.parse.urlsplit(url).netloc}, timeout=20)
    assert "QueueArn" in answer.text, answer.text


def test_sqs_unknown_queues():
    assert failure(client("sqs").get_queue_url, QueueName="absent").endswith("NonExistentQueue")


def test_sns_to_sqs():
    sns, sqs = client("sns"), client("sqs")
    topic = sns.create_topic(Name="topic")["TopicArn"]
    url = sqs.create_queue(QueueName="three")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"][
        "QueueArn"
    ]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    sns.publish(TopicArn=topic, Message="news", Subject="ünicode")
    (message,) = sqs.receive_message(QueueUrl=url, WaitTimeSeconds=10)["Messages"]
    assert json.loads(message["Body"])["Message"] == "news"


def test_sns_to_http():
    sns = client("sns")
    with origin() as (url, seen):
        topic = sns.create_topic(Name="web")["TopicArn"]
        subscription = sns.subscribe(
            TopicArn=topic, Protocol="http", Endpoint=url, ReturnSubscriptionArn=True
        )
        token = json.loads(seen.get(timeout=20)[3])["Token"]
        sns.confirm_subscription(TopicArn=topic, Token=token)
        sns.publish(TopicArn=topic, Message="posted")
        assert json.loads(seen.get(timeout=20)[3])["Message"] == "posted"
        sns.unsubscribe(SubscriptionArn=subscription["SubscriptionArn"])


# -- what LocalStack hands to moto ---------------------------------------------------------


def test_secretsmanager():
    secrets = client("secretsmanager")
    secrets.create_secret(Name="s", SecretString="pässword")
    assert secrets.get_secret_value(SecretId="s")["SecretString"] == "pässword"
    secrets.put_secret_value(SecretId="s", SecretBinary=b"\x00\xff")
    assert secrets.get_secret_value(SecretId="s")["SecretBinary"] == b"\x00\xff"
    assert [each["Name"] for each in secrets.list_secrets()["SecretList"]] == ["s"]
    secrets.delete_secret(SecretId="s", ForceDeleteWithoutRecovery=True)


def test_logs():
    logs = client("logs")
    logs.create_log_group(logGroupName="/g")
    logs.create_log_stream(logGroupName="/g", logStreamName="s")
    now = int(time.time() * 1000)
    logs.put_log_events(
        logGroupName="/g", logStreamName="s", logEvents=[{"timestamp": now, "message": "läne"}]
    )
    assert (
        logs.get_log_events(logGroupName="/g", logStreamName="s")["events"][0]["message"] == "läne"
    )
    assert logs.filter_log_events(logGroupName="/g", filterPattern="")["events"]


def test_cloudwatch():
    cloudwatch = client("cloudwatch")
    cloudwatch.put_metric_data(Namespace="n", MetricData=[{"MetricName": "m", "Value": 1.5}])
    cloudwatch.put_metric_alarm(
        AlarmName="a",
        MetricName="m",
        Namespace="n",
        Period=60,
        EvaluationPeriods=1,
        Statistic="Sum",
        Threshold=1,
        ComparisonOperator="GreaterThanThreshold",
    )
    assert cloudwatch.describe_alarms()["MetricAlarms"][0]["AlarmName"] == "a"


def test_ssm_kms_sts_iam():
    ssm = client("ssm")
    ssm.put_parameter(Name="/a/b", Value="v", Type="String")
    assert ssm.get_parameter(Name="/a/b")["Parameter"]["Value"] == "v"
    kms = client("kms")
    key = kms.create_key()["KeyMetadata"]["KeyId"]
    secret = kms.encrypt(KeyId=key, Plaintext=b"text")["CiphertextBlob"]
    assert kms.decrypt(CiphertextBlob=secret)["Plaintext"] == b"text"
    assert client("sts").get_caller_identity()["Account"] == "000000000000"
    iam = client("iam")
    iam.create_user(UserName="u")
    assert iam.get_user(UserName="u")["User"]["UserName"] == "u"


def test_ses_and_what_it_sent():
    ses = client("ses")
    ses.verify_email_identity(EmailAddress="a@b.example")
    body = {"Subject": {"Data": "s"}, "Body": {"Text": {"Data": "t"}}}
    ses.send_email(Source="a@b.example", Destination={"ToAddresses": ["c@d.example"]}, Message=body)
    sent = requests.get(f"{URL}/_aws/ses", timeout=20).json()
    assert sent["messages"][0]["Source"] == "a@b.example"


def test_ec2_route53_and_other_protocols():
    ec2 = client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    assert vpc in [each["VpcId"] for each in ec2.describe_vpcs()["Vpcs"]]
    route53 = client("route53")
    zone = route53.create_hosted_zone(Name="z.example", CallerReference="1")["HostedZone"]["Id"]
    assert route53.list_resource_record_sets(HostedZoneId=zone)["ResourceRecordSets"]


# -- API Gateway ---------------------------------------------------------------------------


def rest_api(integration: dict[str, t.Any], method: str = "ANY", **more: t.Any) -> str:
    """Return the id of a REST API with one proxy resource, in the stage ``dev``."""
    gateway = client("apigateway")
    api = gateway.create_rest_api(name="api")["id"]
    root = gateway.get_resources(restApiId=api)["items"][0]["id"]
    resource = gateway.create_resource(restApiId=api, parentId=root, pathPart="{proxy+}")["id"]
    where = {"restApiId": api, "resourceId": resource, "httpMethod": method}
    gateway.put_method(
        **where, authorizationType="NONE", requestParameters={"method.request.path.proxy": True}
    )
    gateway.put_integration(**where, **integration)
    if more:
        gateway.put_method_response(**where, statusCode="200")
        gateway.put_integration_response(
            **where, statusCode="200", responseTemplates=more["templates"]
        )
    gateway.create_deployment(restApiId=api, stageName="dev")
    return api


def test_apigateway_mock_integration():
    template = '{"path": "$input.params(\'proxy\')", "statusCode": 200}'
    api = rest_api(
        {"type": "MOCK", "requestTemplates": {"application/json": '{"statusCode": 200}'}},
        "GET",
        templates={"application/json": template},
    )
    gateway = client("apigateway")
    for path in (f"/restapis/{api}/dev/_user_request_/x/y", f"/_aws/execute-api/{api}/dev/x/y"):
        answer = requests.get(URL + path, timeout=20)
        assert answer.json()["path"] == "x/y", (path, answer.text)
    host = f"{api}.execute-api.localhost.localstack.cloud:{PORT}"
    assert requests.get(f"{URL}/dev/z", headers={"Host": host}, timeout=20).json()["path"] == "z"
    gateway.delete_rest_api(restApiId=api)
    assert requests.get(f"{URL}/_aws/execute-api/{api}/dev/x", timeout=20).status_code == 404


def test_apigateway_http_proxy_integration():
    with origin() as (url, seen):
        api = rest_api(
            {
                "type": "HTTP_PROXY",
                "integrationHttpMethod": "ANY",
                "uri": url + "/base/{proxy}",
                "requestParameters": {
                    "integration.request.path.proxy": "method.request.path.proxy"
                },
            }
        )
        target = f"{URL}/_aws/execute-api/{api}/dev/a/b?x=1&x=2"
        answer = requests.post(target, json={"k": "ä"}, headers={"X-One": "1"}, timeout=20)
        assert answer.json() == {"from": "origin"}, answer.text
        method, path, headers, body = seen.get(timeout=20)
        assert (method, path.partition("?")[0]) == ("POST", "/base/a/b")
        assert json.loads(body) == {"k": "ä"}
        assert headers["X-One"] == "1"
        answer = requests.get(target, timeout=20)
        assert answer.json() == {"from": "origin"}, answer.text


def test_apigateway_openapi_import():
    text = json.dumps(
        {
            "openapi": "3.0.1",
            "info": {"title": "t", "version": "1"},
            "paths": {"/p": {"get": {"responses": {"200": {"description": "d"}}}}},
        }
    )
    api = client("apigateway").import_rest_api(body=text)["id"]
    assert "/p" in [
        each["path"] for each in client("apigateway").get_resources(restApiId=api)["items"]
    ]


# -- services that call others, through the gateway or within it -----------------------------


def test_stepfunctions():
    step = client("stepfunctions", inject_host_prefix=False)
    sqs = client("sqs")
    url = sqs.create_queue(QueueName="steps")["QueueUrl"]
    state = {
        "Type": "Task",
        "Resource": "arn:aws:states:::sqs:sendMessage",
        "Parameters": {"QueueUrl": url, "MessageBody.$": "$.word"},
        "End": True,
    }
    machine = step.create_state_machine(
        name="m",
        definition=json.dumps({"StartAt": "s", "States": {"s": state}}),
        roleArn="arn:aws:iam::000000000000:role/r",
    )["stateMachineArn"]
    execution = step.start_execution(stateMachineArn=machine, input='{"word": "through"}')[
        "executionArn"
    ]
    status = eventually(
        lambda: step.describe_execution(executionArn=execution)["status"], "RUNNING"
    )
    assert status == "SUCCEEDED", status
    assert sqs.receive_message(QueueUrl=url, WaitTimeSeconds=5)["Messages"][0]["Body"] == "through"


def test_cloudformation():
    template = {
        "Resources": {
            "Q": {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": "formed"}},
            "B": {"Type": "AWS::S3::Bucket", "Properties": {"BucketName": "formed"}},
        }
    }
    formation = client("cloudformation")
    formation.create_stack(StackName="stack", TemplateBody=json.dumps(template))
    status = eventually(
        lambda: formation.describe_stacks(StackName="stack")["Stacks"][0]["StackStatus"],
        "PROGRESS",
    )
    assert status == "CREATE_COMPLETE", status
    client("s3").head_bucket(Bucket="formed")


def test_events_to_sqs():
    sqs, events = client("sqs"), client("events")
    url = sqs.create_queue(QueueName="events")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"][
        "QueueArn"
    ]
    events.put_rule(Name="r", EventPattern='{"source": ["here"]}')
    events.put_targets(Rule="r", Targets=[{"Id": "1", "Arn": arn}])
    events.put_events(Entries=[{"Source": "here", "DetailType": "d", "Detail": "{}"}])
    (message,) = sqs.receive_message(QueueUrl=url, WaitTimeSeconds=10)["Messages"]
    assert json.loads(message["Body"])["source"] == "here"


# -- LocalStack's own pages ----------------------------------------------------------------


def test_internal_pages_and_unknown_paths():
    assert requests.get(f"{URL}/_localstack/health", timeout=20).json()["services"]
    assert requests.head(f"{URL}/_localstack/health", timeout=20).status_code == 200
    assert requests.get(f"{URL}/_localstack/info", timeout=20).json()["version"]
    assert requests.get(f"{URL}/_localstack/absent", timeout=20).status_code == 404
    assert requests.get(f"{URL}/_localstack/swagger", timeout=20).status_code in (200, 404)


def test_cors_of_the_whole():
    asked = {"Origin": f"http://localhost:{PORT}", "Access-Control-Request-Method": "POST"}
    answer = requests.options(URL, headers=asked, timeout=20)
    assert answer.status_code == 204, answer.status_code
    assert answer.headers["Access-Control-Allow-Origin"] == asked["Origin"]
    asked["Origin"] = "http://evil.example"
    assert requests.get(f"{URL}/b", headers=asked, timeout=20).status_code == 403


def test_tls_on_the_same_port():
    answer = requests.get(f"https://localhost:{PORT}/_localstack/health", verify=False, timeout=20)
    assert answer.json()["services"]


def main() -> int:
    warnings.simplefilter("ignore")
    tests = {name: value for name, value in globals().items() if name.startswith("test_")}
    failed = 0
    for name, test in tests.items():
        if len(sys.argv) > 2 and sys.argv[2] not in name:
            continue
        try:
            test()
        except Exception:  # noqa: BLE001 - told, and counted
            failed += 1
            print(f"  FAILED {name.removeprefix('test_')}")
            print("    " + traceback.format_exc(-2, chain=False).strip().replace("\n", "\n    "))
        else:
            print(f"  ok     {name.removeprefix('test_')}")
        sys.stdout.flush()
    print(f"  {failed} failed")
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
