"""MQTT 5.0: chapters 4 and 6."""

from __future__ import annotations

from typing import Final

from tests.protocols.mqtt.conformance.statements import both, client, server

NO_METHOD: Final = "Does not arise: the server knows no Authentication Method."

SESSIONS = (
    both(
        "4.1.0-1",
        "State is kept while the connection is open.",
        "sessions/expiry:a_session_that_lost_its_connection_ends_in_time",
    ),
    server(
        "4.1.0-2",
        "It is discarded when the Session Expiry Interval has passed after it.",
        "sessions/expiry:a_session_is_removed_with_its_rows_when_its_time_is_over",
        "sessions/store:an_expired_session_is_absent_and_its_rows_go",
    ),
    both(
        "4.2-1",
        "There is a transport that is ordered and loses nothing.",
        "plugin:a_client_over_tcp_subscribes_and_hears_itself",
        "e2e/tls:the_mosquitto_clients_publish_and_hear_over_tls",
    ),
)

DELIVERY = (
    both(
        "4.3.1-1",
        "QoS 0 is sent with DUP 0.",
        "chapter_2:a_message_of_qos_0_has_no_identifier",
    ),
    both(
        "4.3.2-1",
        "QoS 1: a new message has a free identifier.",
        "outbox:an_identifier_that_is_never_acknowledged_is_never_used_again",
    ),
    both(
        "4.3.2-2",
        "It is sent with that and DUP 0.",
        "chapter_4:a_first_try_has_no_dup_and_an_identifier_of_its_own",
    ),
    both(
        "4.3.2-3",
        "It is unacknowledged until its PUBACK.",
        "durable:what_was_not_acknowledged_comes_again_as_a_duplicate",
        "outbox:no_more_than_the_window_is_in_flight_and_an_ack_makes_room",
    ),
    both(
        "4.3.2-4",
        "The receiver answers with a PUBACK once it owns the message.",
        "publish:a_retained_message_is_acknowledged_after_its_commit_and_in_order",
        "logged_publish:what_comes_in_one_read_is_logged_at_once_and_acknowledged_after_it",
    ),
    both(
        "4.3.2-5",
        "After that the identifier means a new message, whatever DUP says.",
        "chapter_4:after_its_puback_an_identifier_means_a_new_message",
    ),
    both(
        "4.3.3-1",
        "QoS 2: a new message has a free identifier.",
        "exact_out:no_identifier_is_used_twice_and_everything_comes_in_order",
    ),
    both(
        "4.3.3-2",
        "It is sent with that and DUP 0.",
        "chapter_4:a_first_try_has_no_dup_and_an_identifier_of_its_own",
    ),
    both(
        "4.3.3-3",
        "It is unacknowledged until its PUBREC.",
        "durable:what_was_not_acknowledged_comes_again_as_a_duplicate",
    ),
    both(
        "4.3.3-4",
        "A PUBREC that takes it is answered with PUBREL of the same identifier.",
        "exact_out:a_message_goes_through_all_four_steps",
        "exact_out:a_pubrec_that_says_no_is_the_end_of_its_message",
    ),
    both(
        "4.3.3-5",
        "The PUBREL is unacknowledged until its PUBCOMP.",
        "durable:a_received_message_is_released_again_and_not_sent_again",
    ),
    both(
        "4.3.3-6",
        "After the PUBREL the PUBLISH is not sent again.",
        "durable:a_received_message_is_released_again_and_not_sent_again",
    ),
    both(
        "4.3.3-7",
        "What was sent does not expire.",
        "chapter_4:what_was_sent_does_not_expire",
    ),
    both(
        "4.3.3-8",
        "The receiver answers with a PUBREC once it owns the message.",
        "exactly_once:a_message_and_its_identifier_commit_together_before_the_pubrec",
        "chapter_3_publish:each_qos_has_its_answer",
    ),
    both(
        "4.3.3-9",
        "After a PUBREC that refuses, the identifier means a new message.",
        "exactly_once:a_refused_message_of_qos_2_is_over_with_its_pubrec",
    ),
    both(
        "4.3.3-10",
        "Until the PUBREL it is acknowledged again, and not passed on again.",
        "exactly_once:a_message_that_comes_again_is_acknowledged_and_not_told_again",
        "exactly_once:each_message_is_told_once_through_commits_failures_and_reconnects",
    ),
    both(
        "4.3.3-11",
        "A PUBREL is answered with PUBCOMP.",
        "exactly_once:a_pubrel_of_nothing_is_answered",
        "chapter_2:answers_have_the_identifier_of_what_they_answer",
    ),
    both(
        "4.3.3-12",
        "After the PUBCOMP the identifier means a new message.",
        "exactly_once:a_message_that_comes_again_is_acknowledged_and_not_told_again",
    ),
    both(
        "4.3.3-13",
        "The steps go on for a message that has expired.",
        "chapter_4:a_message_that_has_expired_goes_through_its_steps",
    ),
    both(
        "4.4.0-1",
        "After a reconnect what has no answer is sent again with its identifier; never else.",
        "durable:what_was_not_acknowledged_comes_again_as_a_duplicate",
        "durable:a_received_message_is_released_again_and_not_sent_again",
        "chapter_4:nothing_is_sent_again_on_the_same_connection",
    ),
    both(
        "4.4.0-2",
        "What was answered with a refusal is not sent again.",
        "chapter_4:what_a_client_refuses_does_not_come_again",
    ),
    server(
        "4.5.0-1",
        "A message that is taken is added to the sessions of those who subscribed.",
        "durable:what_came_while_it_slept_comes_once_and_in_order",
        "e2e/workers_logged:what_either_worker_takes_is_there_when_the_session_comes_back",
    ),
    client("4.5.0-2", "A client acknowledges what comes, whatever it does with it."),
    client("4.6.0-1", "What is sent again keeps its order."),
    client("4.6.0-2", "PUBACKs have the order of their messages."),
    client("4.6.0-3", "PUBRECs have the order of their messages."),
    client("4.6.0-4", "PUBRELs have the order of their PUBRECs."),
    server(
        "4.6.0-5",
        "Consumers get the messages of a client to an ordered topic in their order.",
        "logged_publish:order_per_topic_holds_through_the_log_and_beside_it",
        "e2e/workers_mqtt:messages_and_retained_ones_of_one_client_keep_their_order",
        "sessions/session_machine:a_session_neither_loses_nor_doubles_nor_disorders",
    ),
    server(
        "4.6.0-6",
        "Every topic is ordered for subscriptions that are not shared.",
        "publish:messages_reach_readers_of_both_versions_in_order",
    ),
)

TOPICS = (
    both(
        "4.7.0-1",
        "Topics have no wildcards.",
        "chapter_3_publish:a_topic_with_a_wildcard_ends_the_connection",
    ),
    client(
        "4.7.1-1",
        "`#` is a level of its own, and the last.",
        "chapter_4:a_filter_that_breaks_the_rules_is_refused",
    ),
    client(
        "4.7.1-2",
        "`+` is a level of its own.",
        "chapter_4:a_filter_that_breaks_the_rules_is_refused",
    ),
    server(
        "4.7.2-1",
        "Filters that begin with a wildcard do not match topics that begin with `$`.",
        "delivery/filters:dollar_topics_are_matched_by_their_own_filters_only",
    ),
    both(
        "4.7.3-1",
        "Topics and filters have a character at least.",
        "chapter_4:a_filter_that_breaks_the_rules_is_refused",
        "chapter_3_publish:an_empty_topic_ends_the_connection",
    ),
    both(
        "4.7.3-2",
        "They have no NUL.",
        "chapter_1:text_that_is_no_utf_8_ends_the_connection",
    ),
    both(
        "4.7.3-3",
        "They have 65,535 bytes at most.",
        "subscribe:a_topic_filter_has_a_length",
        "publish:a_topic_has_a_length_and_a_long_one_is_no_reason_to_disconnect",
        note="The server takes `mqtt.maxTopicLength` (4,096) bytes.",
    ),
    server(
        "4.7.3-4",
        "Nothing is normalised for matching.",
        "chapter_4:topics_are_compared_byte_by_byte",
    ),
)

SHARED = (
    client(
        "4.8.2-1",
        "A shared filter begins with `$share/` and a name of a character at least.",
        "shared:a_filter_that_names_no_group_is_refused",
    ),
    client(
        "4.8.2-2",
        "The name has no `/`, `+` or `#`; a `/` and a filter follow.",
        "shared:a_share_name_has_no_wildcards",
        "shared:a_filter_that_names_no_group_is_refused",
    ),
    server(
        "4.8.2-3",
        "Each member's granted QoS counts for what it gets.",
        "chapter_4:each_member_gets_the_qos_that_it_was_granted",
    ),
    server(
        "4.8.2-4",
        "A message of QoS 2 in flight is completed with its member when that is back.",
        "shared_durable:a_message_of_qos_2_is_completed_with_its_member_when_that_is_back",
        "shared_durable:after_its_pubrec_it_is_released_when_the_member_is_back",
        "shared_durable:it_is_completed_after_a_crash_of_the_server_too",
        note="The session of the member has it from before it is sent. The session of a member "
        "that ends with its connection does not: it is given up then.",
    ),
    server(
        "4.8.2-5",
        "It goes to nobody else if that member's session ends.",
        "shared:a_message_of_qos_2_that_was_sent_goes_to_nobody_else",
        "shared_durable:it_goes_to_nobody_else_when_the_session_of_its_member_ends",
    ),
    server(
        "4.8.2-6",
        "What a member refuses goes to nobody else.",
        "chapter_4:what_a_member_refuses_goes_to_nobody_else",
    ),
)

FLOW = (
    both(
        "4.9.0-1",
        "The quota begins with the Receive Maximum at most, and is not 0.",
        "chapter_4:a_full_window_holds_messages_up_and_nothing_else",
        "decode:each_wrong_field_of_connect_has_its_reason",
    ),
    both(
        "4.9.0-2",
        "When it is used up no PUBLISH above QoS 0 is sent.",
        "chapter_4:a_full_window_holds_messages_up_and_nothing_else",
        "exact_out:the_window_is_free_after_the_pubcomp_and_not_before",
    ),
    both(
        "4.9.0-3",
        "Other packets are processed and answered.",
        "chapter_4:a_full_window_holds_messages_up_and_nothing_else",
    ),
)

AUTHENTICATION = (
    server(
        "4.12.0-1",
        "A method that is not known closes the connection (0x8C).",
        "connect:a_v5_connect_is_refused_with_its_reason_and_a_sentence",
    ),
    server("4.12.0-2", "A server's AUTH has reason 0x18.", note=NO_METHOD),
    client("4.12.0-3", "A client's answer has reason 0x18."),
    server(
        "4.12.0-4",
        "A refusal closes the connection.",
        "connect:a_v5_connect_is_refused_with_its_reason_and_a_sentence",
    ),
    both("4.12.0-5", "AUTH and CONNACK have the method of the CONNECT.", note=NO_METHOD),
    server(
        "4.12.0-6",
        "Without a method there is no AUTH, and none in the CONNACK.",
        "connect:connack_of_v5_says_what_is_not_available",
    ),
    client(
        "4.12.0-7",
        "Without a method a client sends no AUTH.",
        "life:auth_without_an_authentication_method_is_a_protocol_error",
    ),
    client("4.12.1-1", "A re-authentication has the method of the first."),
    both("4.12.1-2", "One that fails closes the connection.", note=NO_METHOD),
)

ERRORS = (
    server(
        "4.13.1-1",
        "A malformed packet or a Protocol Error closes the connection.",
        "e2e/bad_input_mqtt:wrong_packet_ends_its_v5_connection_with_a_sentence",
        "decode:each_wrong_field_of_the_other_packets_has_its_reason",
    ),
    both(
        "4.13.2-1",
        "After CONNACK or DISCONNECT with 0x80 or more the connection is closed.",
        "connect:a_v5_connect_is_refused_with_its_reason_and_a_sentence",
        "chapter_3_connect:a_goodbye_of_the_server_has_a_reason_string_at_most",
    ),
)

WEBSOCKET = (
    both(
        "6.0.0-1",
        "Packets come in binary frames; others close the connection.",
        "http/upgrade:text_frames_close_with_1003",
        "chapter_6:packets_go_in_binary_frames",
    ),
    both(
        "6.0.0-2",
        "Packets and frames have no common borders.",
        "chapter_6:packets_and_frames_have_no_common_borders",
        "robustness:a_stream_has_the_same_answers_at_every_split_point",
    ),
    client("6.0.0-3", "A client offers the sub-protocol `mqtt`."),
    server(
        "6.0.0-4",
        "The server selects `mqtt`.",
        "e2e/mqtt_over_websocket:protocol_mqtt_is_selected_only_when_it_is_offered",
    ),
)

STATEMENTS = (
    *SESSIONS,
    *DELIVERY,
    *TOPICS,
    *SHARED,
    *FLOW,
    *AUTHENTICATION,
    *ERRORS,
    *WEBSOCKET,
)
