"""Lines of the docs of which it is said that a test holds them: which one it is."""

import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).parents[1]

I = "tests/integration/"  # noqa: E741
S = "tests/serving/"

#: By page and heading: what stands first in a line, and the tests that hold it.
HELD = {
    ("servers.md", "What each supports"): {
        "install": ["tests/serving/test_choose.py::test_a_missing_server_names_its_extra"],
        "interface": [f"{S}test_choose.py::test_auto_takes_only_what_carries_the_application"],
        "HTTP/1.1 keep-alive, pipelining": [
            f"{I}test_fidelity_reuse.py::test_pipelined_requests_are_answered_in_order"
        ],
        "HTTP/2 (TLS / prior knowledge)": [
            f"{S}test_tls.py::test_http2_answers",
            f"{S}test_tls.py::test_http2_is_accepted_by_prior_knowledge_but_only_at_the_start",
            f"{S}test_choose.py::test_auto_takes_only_what_can_do_what_is_needed",
        ],
        "websockets": [f"{S}test_serve.py::test_a_websocket_echoes_text_and_bytes"],
        "TLS": [f"{S}test_tls.py::test_https_is_served_and_the_scope_says_so"],
        "any request method": [f"{I}test_fidelity_heads.py::test_any_method_passes"],
        "field names keep their case": [
            f"{S}test_serve.py::test_field_case_is_what_the_capabilities_say",
            f"{I}test_fidelity_heads.py::test_fields_of_an_answer_keep_order_repeats_case_and_bytes",
        ],
        "reason phrase of the application": [
            f"{I}test_fidelity_heads.py::test_status_and_reason_phrase_pass"
        ],
        "`100 Continue` sent when the body is asked for": [
            f"{S}test_serve.py::test_continue_is_sent_when_the_application_asks_for_the_body",
            f"{I}test_fidelity_interim.py::test_the_body_is_asked_for_when_the_origin_asks_for_it",
        ],
        "other 1xx answers": [
            f"{I}test_fidelity_interim.py::"
            "test_interim_answers_pass_or_are_dropped_and_are_never_the_answer"
        ],
        "trailers of the answer (to clients with `TE: trailers`)": [
            f"{I}test_fidelity_bodies.py::test_trailers_of_an_answer_pass_or_are_dropped"
        ],
        "trailers of the request": [
            f"{I}test_fidelity_bodies.py::test_trailers_of_a_request_pass_or_are_dropped",
            f"{S}test_wsgi_input.py::test_trailers_are_there_after_the_end",
        ],
        "adds `Date`, `Server` of its own": [
            f"{I}test_fidelity_heads.py::test_a_bare_answer_arrives_bare",
            f"{I}test_fidelity_heads.py::test_date_and_server_of_the_origin_pass_alone",
        ],
        "answer broken off after the head": [
            f"{S}test_serve.py::test_an_answer_broken_off_after_the_head_cannot_be_taken_for_whole",
            f"{S}test_tls.py::test_http2_failing_after_the_head_resets_the_stream_and_nothing_else",
        ],
        "the same to an HTTP/1.0 client": [
            f"{I}test_fidelity_failure.py::"
            "test_a_chunked_answer_that_dies_is_no_clean_end_for_an_old_client"
        ],
        "absolute-form target": [
            f"{I}test_fidelity_heads.py::"
            "test_the_absolute_form_becomes_a_path_and_its_authority_the_host"
        ],
        "an empty query (`/?`)": [f"{I}test_fidelity_heads.py::test_an_empty_query_passes"],
        "`Content-Length` with `Transfer-Encoding`": [
            f"{I}test_fidelity_smuggling.py::"
            "test_what_is_malformed_is_refused_or_forwarded_as_the_one_request_that_the_docs_say"
        ],
        "`Upgrade: h2c`": [f"{S}test_serve.py::test_an_upgrade_to_h2c_is_not_accepted"],
        "websocket: permessage-deflate of clients": [
            f"{S}test_strangers.py::test_what_a_client_can_have_inflated_is_bounded"
        ],
        "websocket: handshake refused with status, fields, body": [
            f"{S}test_serve.py::test_a_handshake_can_be_refused"
        ],
        "websocket: fields with the acceptance": [
            f"{I}test_relay_handshake.py::test_fields_of_the_origins_101_reach_the_client"
        ],
        "websocket: close code of the client": [
            f"{I}test_relay_close.py::test_the_clients_close_travels_with_code_and_reason"
        ],
        "websocket: close reason of the client": [
            f"{I}test_relay_close.py::test_the_clients_close_travels_with_code_and_reason"
        ],
        "websocket: lost connection is told from a close": [
            f"{I}test_bridge_websocket.py::test_a_lost_connection_ends_the_handler"
        ],
        "websocket: close without a code can be sent": [
            f"{I}test_relay_close.py::test_the_origins_close_without_a_code_stays_one"
        ],
        "silent connections, half heads end after": [
            f"{S}test_strangers.py::test_the_docs_tell_the_bounds_on_silence_as_they_are",
            f"{S}test_strangers.py::test_silent_connections_and_half_heads_end",
            f"{S}test_strangers.py::test_granian_ends_half_heads_by_itself",
            "tests/native/test_native_connection.py::"
            "test_a_head_has_its_time_from_its_first_byte_on",
        ],
        "HTTP/2: a client that resets stream after stream": [
            f"{S}test_strangers.py::test_a_client_that_resets_stream_after_stream_is_sent_away"
        ],
        "[faults](faults.md) that want the connection itself": [
            "tests/faults/test_on_every_server.py::"
            "test_what_wants_the_connection_is_an_error_that_says_where_it_goes",
            "tests/faults/test_on_every_server.py::test_a_connection_is_reset_or_closed_in_order",
        ],
        "websockets at shutdown": [
            f"{I}test_relay_close.py::test_shutdown_closes_both_legs_with_1001"
        ],
    },
    ("limits-and-timeouts.md", "Timeouts"): {
        "to connect, all addresses and TLS included": [
            f"{I}test_fidelity_failure.py::test_an_origin_that_does_not_take_connections_is_a_504"
        ],
        "from the end of the request to the head of the answer": [
            f"{I}test_fidelity_failure.py::test_a_silent_origin_is_a_504_in_time",
            "tests/upstream/test_transport_bounds.py::"
            "test_the_answer_has_its_time_from_the_end_of_the_request",
        ],
        "without a byte moving in a body": [
            f"{I}test_fidelity_failure.py::test_a_client_that_stalls_within_its_body_is_told_so",
            f"{I}test_fidelity_failure.py::test_an_origin_that_takes_nothing_of_a_body_is_a_504",
            f"{I}test_fidelity_failure.py::"
            "test_a_stalled_body_is_cut_and_a_slow_but_steady_one_never",
        ],
        "for the client to take anything of a streamed answer": [
            f"{I}test_fidelity_failure.py::test_a_client_that_takes_nothing_of_its_answer_is_cut"
        ],
        "for the whole exchange": [
            "tests/upstream/test_transport_failures.py::test_the_whole_exchange_has_its_time",
            "tests/upstream/test_blocking_transport.py::test_whole_exchange_has_its_own_limit",
        ],
    },
    ("limits-and-timeouts.md", "Limits"): {
        "bytes of a request head": [
            f"{I}test_fidelity_limits.py::test_a_head_of_too_many_bytes_is_431"
        ],
        "header fields of a request": [
            f"{I}test_fidelity_limits.py::test_a_head_with_too_many_fields_is_431"
        ],
        "bytes of a request target": [
            f"{I}test_fidelity_limits.py::test_a_target_that_is_too_long_is_414"
        ],
        "bytes of a request body": [
            f"{I}test_fidelity_limits.py::"
            "test_a_body_of_a_declared_length_over_the_limit_is_413_and_not_forwarded",
            f"{I}test_fidelity_limits.py::test_a_chunked_body_over_the_limit_is_cut_off",
        ],
        "HTTP exchanges at once": [
            f"{I}test_fidelity_limits.py::"
            "test_one_exchange_too_many_is_503_and_a_place_that_is_free_again_is_used"
        ],
        "requests that wait for a thread, in `threads` mode": [
            f"{I}test_thread_places.py::test_requests_wait_for_a_thread_in_a_bounded_queue"
        ],
        "bytes held of a body, see below": [
            f"{I}test_fidelity_pressure.py::test_what_is_held_for_a_slow_side_is_bounded",
            f"{I}test_fidelity_pressure.py::test_what_is_held_is_a_setting",
        ],
        "connections to an origin": [
            f"{I}test_fidelity_reuse.py::test_connections_are_bounded_in_number"
        ],
        "idle connections kept per origin, and how long": [
            "tests/upstream/test_pool.py::"
            "test_as_many_are_kept_idle_as_the_limit_says_and_those_used_last"
        ],
        "bytes of a websocket message": [
            f"{I}test_relay_command.py::test_a_message_of_sixteen_mebibytes_by_default_and_not_more",
            f"{I}test_relay_messages.py::"
            "test_an_origin_message_over_the_limit_is_1009_for_it_and_1011_for_the_client",
        ],
        "bytes that all websockets hold, see [websockets]"
        "(websockets.md#memory-and-sides-that-do-not-read)": [
            "tests/net/test_websocket_peer.py::test_the_end_that_holds_most_is_closed_with_1013",
            f"{I}test_relay_pressure.py::test_a_client_that_holds_most_is_closed_with_1013",
        ],
        "how far a websocket message expands, beyond its first MiB": [
            "tests/wire/test_websocket_frames.py::"
            "test_a_message_may_expand_250_times_beyond_its_first_mebibyte"
        ],
        "bytes of a response head, and its fields": [
            "tests/upstream/test_transport_bounds.py::"
            "test_a_head_without_an_end_may_be_as_long_as_allowed",
            "tests/upstream/test_transport_bounds.py::"
            "test_an_answer_may_have_as_many_fields_as_allowed",
        ],
    },
    ("websockets.md", "Close"): {
        "a code that may be sent: 1000-1003, 1007-1014, 3000-4999": [
            f"{I}test_relay_close.py::test_the_clients_close_travels_with_code_and_reason",
            f"{I}test_relay_close.py::test_the_origins_close_travels_with_code_and_reason",
        ],
        "a close frame without a code": [
            f"{I}test_relay_close.py::test_a_close_without_a_code_stays_one",
            f"{I}test_relay_close.py::test_the_origins_close_without_a_code_stays_one",
        ],
        "no close frame: lost, reset, killed; also in the middle of a message": [
            f"{I}test_relay_close.py::test_a_lost_origin_is_1011_for_the_client",
            f"{I}test_relay_close.py::test_a_lost_client_is_1001_for_the_origin",
        ],
        "a violation by the origin": [
            f"{I}test_relay_messages.py::"
            "test_an_origin_that_breaks_the_protocol_is_told_so_and_the_client_gets_1011"
        ],
        "a violation by the client": [
            f"{I}test_relay_messages.py::test_a_client_that_breaks_the_protocol_is_told_so"
        ],
        "a handler or hook that raises": [
            f"{I}test_relay_places.py::test_a_function_that_raises_closes_both_legs_with_1011"
        ],
        "too much held by all, and most by this leg": [
            f"{I}test_relay_pressure.py::test_a_client_that_holds_most_is_closed_with_1013",
            f"{I}test_relay_pressure.py::"
            "test_an_origin_whose_messages_are_held_longest_is_closed_and_no_other",
        ],
        "our shutdown": [f"{I}test_relay_close.py::test_shutdown_closes_both_legs_with_1001"],
        "`idle_timeout`": [
            f"{I}test_relay_messages.py::test_an_idle_websocket_is_closed_on_both_legs"
        ],
    },
}


def first_cells(page, heading):
    """What stands first in each line of the table under ``heading``."""
    text = (ROOT / "docs" / page).read_text()
    section = re.split(rf"^## {heading}$", text, flags=re.MULTILINE)[1].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [line[1:].partition(" |")[0].strip() for line in lines[2:]]


@pytest.mark.parametrize("place", HELD, ids=" ".join)
def test_each_line_has_a_test_and_each_test_is_there(place):
    assert first_cells(*place) == list(HELD[place])
    for tests in HELD[place].values():
        for test in tests:
            path, _, name = test.partition("::")
            assert re.search(
                rf"^(?:async )?def {name}\(", (ROOT / path).read_text(), re.MULTILINE
            ), test
