"""MQTT 5.0: PUBLISH and its answers, SUBSCRIBE to AUTH."""

from __future__ import annotations

from typing import Final

from tests.protocols.mqtt.conformance.statements import both, client, server

NO_USER_PROPERTIES: Final = "The server's has no user properties."
NO_AUTH: Final = "The server sends no AUTH: it knows no Authentication Method."

PUBLISH = (
    both(
        "3.3.1-1",
        "DUP is set in what is sent again.",
        "durable:what_was_not_acknowledged_comes_again_as_a_duplicate",
        "durable:what_may_have_been_sent_before_a_crash_comes_as_a_duplicate",
        note="Where a server process died, DUP is set in all of QoS 1 that it may have sent: "
        "which of it was, and under which identifier, only a commit before each message could "
        "tell, as there is for QoS 2. DUP says no more than that either (§3.3.1.1: that it "
        "might be a re-delivery).",
    ),
    both(
        "3.3.1-2",
        "DUP is 0 with QoS 0.",
        "chapter_2:a_message_of_qos_0_has_no_identifier",
        "decode:each_wrong_field_of_publish_has_its_reason",
    ),
    server(
        "3.3.1-3",
        "DUP of a publisher is not passed on.",
        "publish:a_duplicate_goes_on_without_its_flag",
    ),
    both(
        "3.3.1-4",
        "A QoS is not 3.",
        "chapter_3_publish:a_message_of_qos_3_ends_the_connection",
    ),
    server(
        "3.3.1-5",
        "A retained message takes the place of what was kept for its topic.",
        "chapter_3_publish:new_subscribers_get_what_was_retained_last",
    ),
    server(
        "3.3.1-6",
        "An empty one goes to subscribers and removes what was kept.",
        "chapter_3_publish:an_empty_retained_message_is_told_and_removes",
        note="The deletion of a record of a table is told as `null`, unless "
        "`mqtt.deletePayload` is `empty`; of an open topic as an empty message.",
    ),
    server(
        "3.3.1-7",
        "It is not kept itself.",
        "chapter_3_publish:an_empty_retained_message_is_told_and_removes",
    ),
    server(
        "3.3.1-8",
        "A message without RETAIN keeps, replaces and removes nothing.",
        "chapter_3_publish:a_message_without_retain_changes_nothing_that_is_kept",
    ),
    server(
        "3.3.1-9",
        "Retain Handling 0 brings what is retained.",
        "subscribe:retain_handling_decides_about_current_state",
    ),
    server(
        "3.3.1-10",
        "Retain Handling 1 brings it to new subscriptions only.",
        "subscribe:retain_handling_decides_about_current_state",
    ),
    server(
        "3.3.1-11",
        "Retain Handling 2 brings none of it.",
        "subscribe:retain_handling_decides_about_current_state",
    ),
    server(
        "3.3.1-12",
        "Without Retain As Published RETAIN is 0.",
        "chapter_3_publish:retain_is_told_if_the_subscription_asks_for_it",
    ),
    server(
        "3.3.1-13",
        "With it RETAIN is that of the publisher.",
        "chapter_3_publish:retain_is_told_if_the_subscription_asks_for_it",
    ),
    both(
        "3.3.2-1",
        "The topic comes first and is UTF-8.",
        "chapter_1:text_that_is_no_utf_8_ends_the_connection",
    ),
    both(
        "3.3.2-2",
        "It has no wildcards.",
        "chapter_3_publish:a_topic_with_a_wildcard_ends_the_connection",
    ),
    server(
        "3.3.2-3",
        "A subscriber's topic matches its filter.",
        "chapter_4:a_filter_brings_the_topics_that_it_matches",
    ),
    server(
        "3.3.2-4",
        "The Payload Format Indicator goes on as it came.",
        "chapter_3_publish:properties_go_on_as_they_came",
    ),
    server(
        "3.3.2-5",
        "A message that has expired is not sent any more.",
        "durable:expired_messages_are_not_sent_to_whoever_wakes",
    ),
    server(
        "3.3.2-6",
        "Else it is told what is left of its interval.",
        "publish:what_is_left_of_the_expiry_goes_on",
        "durable:expired_messages_are_not_sent_to_whoever_wakes",
    ),
    both(
        "3.3.2-7",
        "Topic aliases end with their connection.",
        "aliases:aliases_end_with_their_connection",
    ),
    both(
        "3.3.2-8",
        "A topic alias is not 0.",
        "aliases:a_wrong_alias_ends_the_connection",
        "chapter_3_publish:no_alias_is_above_the_clients_maximum",
    ),
    client(
        "3.3.2-9",
        "A client's topic alias is not above the server's maximum.",
        "aliases:a_wrong_alias_ends_the_connection",
    ),
    client("3.3.2-10", "A client takes every topic alias up to its own maximum."),
    server(
        "3.3.2-11",
        "A server's topic alias is not above the client's maximum.",
        "chapter_3_publish:no_alias_is_above_the_clients_maximum",
    ),
    server(
        "3.3.2-12",
        "It takes every topic alias up to its own maximum.",
        "chapter_3_publish:every_alias_up_to_the_maximum_is_taken",
    ),
    both(
        "3.3.2-13",
        "The Response Topic is UTF-8.",
        "chapter_1:text_that_is_no_utf_8_ends_the_connection",
    ),
    both(
        "3.3.2-14",
        "It has no wildcards.",
        "chapter_3_publish:a_response_topic_with_a_wildcard_ends_the_connection",
    ),
    server(
        "3.3.2-15",
        "It goes on as it came.",
        "chapter_3_publish:properties_go_on_as_they_came",
    ),
    server(
        "3.3.2-16",
        "So does Correlation Data.",
        "chapter_3_publish:properties_go_on_as_they_came",
    ),
    server(
        "3.3.2-17",
        "So do user properties.",
        "chapter_3_publish:properties_go_on_as_they_came",
    ),
    server(
        "3.3.2-18",
        "Those keep their order.",
        "chapter_3_publish:properties_go_on_as_they_came",
    ),
    both(
        "3.3.2-19",
        "The Content Type is UTF-8.",
        "chapter_1:text_that_is_no_utf_8_ends_the_connection",
    ),
    server(
        "3.3.2-20",
        "It goes on as it came.",
        "chapter_3_publish:properties_go_on_as_they_came",
        "publish:each_reader_gets_its_own_format",
        note="A deviation: a structured value whose format is not the reader's (CBOR to a reader "
        "of JSON) is told in the reader's, with the Content Type of that. All others go on as "
        "they came.",
    ),
    both(
        "3.3.4-1",
        "QoS 0 has no answer, QoS 1 a PUBACK, QoS 2 a PUBREC.",
        "chapter_3_publish:each_qos_has_its_answer",
    ),
    server(
        "3.3.4-2",
        "Where subscriptions overlap, the highest of their QoS counts.",
        "chapter_3_publish:where_subscriptions_overlap_the_highest_qos_counts",
        note="Of a clean session while another of its filters still reads current state: a "
        "message may come with the QoS, RETAIN and identifier of the filter that is live alone, "
        "and then once more with those of the other.",
    ),
    server(
        "3.3.4-3",
        "A message has the identifiers of the subscriptions that brought it.",
        "subscribe:messages_have_the_identifier_of_each_subscription_that_they_match",
    ),
    server(
        "3.3.4-4",
        "Of all of them where there is one copy.",
        "subscribe:messages_have_the_identifier_of_each_subscription_that_they_match",
    ),
    server(
        "3.3.4-5",
        "Of its own where there are several.",
        "subscribe:messages_have_the_identifier_of_each_subscription_that_they_match",
        note="Does not arise for ordinary subscriptions: there is one copy. Shared ones have a "
        "copy of their own.",
    ),
    client(
        "3.3.4-6",
        "A client's PUBLISH has no Subscription Identifier.",
        "chapter_3_publish:a_subscription_identifier_of_a_client_ends_the_connection",
    ),
    client(
        "3.3.4-7",
        "A client keeps to the server's Receive Maximum.",
        "publish:a_v5_client_beyond_the_receive_maximum_is_disconnected",
    ),
    client("3.3.4-8", "It delays nothing but PUBLISH for it."),
    server(
        "3.3.4-9",
        "The server keeps to the client's Receive Maximum.",
        "outbox:no_more_than_the_window_is_in_flight_and_an_ack_makes_room",
        "exact_out:the_window_is_free_after_the_pubcomp_and_not_before",
        "durable:a_window_smaller_than_before_holds_for_what_is_sent_again",
    ),
    server(
        "3.3.4-10",
        "It delays nothing but PUBLISH for it.",
        "chapter_4:a_full_window_holds_messages_up_and_nothing_else",
    ),
)

ANSWERS = (
    both(
        "3.4.2-1",
        "A PUBACK's reason is one of its table.",
        "errors:each_code_may_stand_in_its_packet",
        "chapter_3_publish:reasons_that_there_are_not_end_the_connection",
    ),
    both(
        "3.4.2-2",
        "A reason string does not make it too large for its receiver.",
        "chapter_3_publish:an_acknowledgement_is_no_larger_than_the_client_takes",
    ),
    both("3.4.2-3", "Nor do user properties.", note=NO_USER_PROPERTIES),
    both(
        "3.5.2-1",
        "A PUBREC's reason is one of its table.",
        "errors:each_code_may_stand_in_its_packet",
        "chapter_3_publish:reasons_that_there_are_not_end_the_connection",
    ),
    both(
        "3.5.2-2",
        "A reason string does not make it too large for its receiver.",
        "chapter_3_publish:an_acknowledgement_is_no_larger_than_the_client_takes",
    ),
    both("3.5.2-3", "Nor do user properties.", note=NO_USER_PROPERTIES),
    both(
        "3.6.1-1",
        "PUBREL has the flags 2; else the connection is closed.",
        "chapter_2:reserved_flags_end_the_connection",
        "exact_out:a_message_goes_through_all_four_steps",
    ),
    both(
        "3.6.2-1",
        "A PUBREL's reason is one of its table.",
        "exact_out:a_pubrec_of_nothing_is_released_all_the_same",
        "chapter_3_publish:reasons_that_there_are_not_end_the_connection",
    ),
    both(
        "3.6.2-2",
        "A reason string does not make it too large.",
        note="The server's has no reason string.",
    ),
    both("3.6.2-3", "Nor do user properties.", note=NO_USER_PROPERTIES),
    both(
        "3.7.2-1",
        "A PUBCOMP's reason is one of its table.",
        "exactly_once:a_pubrel_of_nothing_is_answered",
        "chapter_3_publish:reasons_that_there_are_not_end_the_connection",
    ),
    both(
        "3.7.2-2",
        "A reason string does not make it too large.",
        note="The server's has no reason string.",
    ),
    both("3.7.2-3", "Nor do user properties.", note=NO_USER_PROPERTIES),
)

SUBSCRIBE = (
    both(
        "3.8.1-1",
        "SUBSCRIBE has the flags 2; else the connection is closed.",
        "chapter_2:reserved_flags_end_the_connection",
    ),
    client(
        "3.8.3-1",
        "Topic filters are UTF-8.",
        "chapter_1:text_that_is_no_utf_8_ends_the_connection",
    ),
    client(
        "3.8.3-2",
        "There is at least one filter.",
        "chapter_3_subscribe:a_list_of_filters_without_any_ends_the_connection",
    ),
    server(
        "3.8.3-3",
        "With No Local a client does not get its own messages.",
        "subscribe:no_local_leaves_out_the_own_messages",
        "e2e/workers_mqtt:no_local_leaves_out_the_own_messages_only",
    ),
    client(
        "3.8.3-4",
        "A shared subscription has no No Local.",
        "shared:no_local_ends_the_connection",
    ),
    server(
        "3.8.3-5",
        "Reserved bits of the options make the packet malformed.",
        "chapter_3_subscribe:options_that_there_are_not_end_the_connection",
    ),
    server(
        "3.8.4-1",
        "SUBSCRIBE is answered with SUBACK.",
        "chapter_2:answers_have_the_identifier_of_what_they_answer",
    ),
    server(
        "3.8.4-2",
        "It has the same identifier.",
        "chapter_2:answers_have_the_identifier_of_what_they_answer",
    ),
    server(
        "3.8.4-3",
        "A filter that is there is replaced.",
        "subscribe:subscribing_again_replaces_and_sends_the_current_state_again",
        "subscribe:subscribing_again_without_an_identifier_takes_it_away",
    ),
    server(
        "3.8.4-4",
        "With Retain Handling 0 what is retained comes again, and no message is lost.",
        "subscribe:subscribing_again_replaces_and_sends_the_current_state_again",
        "subscribe:a_subscription_that_is_replaced_goes_on_until_the_new_one_starts",
        "durable:to_subscribe_again_after_sleep_brings_current_state_beside_what_was_missed",
    ),
    server(
        "3.8.4-5",
        "Several filters are as several packets, with one answer.",
        "subscribe:each_refused_filter_has_its_code_and_the_others_stand",
        "subscribe:one_filter_twice_in_a_packet_is_one_subscription",
    ),
    server(
        "3.8.4-6",
        "There is a reason for each.",
        "subscribe:each_refused_filter_has_its_code_and_the_others_stand",
    ),
    server(
        "3.8.4-7",
        "It is the granted QoS, or says why not.",
        "subscribe:each_refused_filter_has_its_code_and_the_others_stand",
        "subscribe:the_suback_comes_before_the_current_state_which_is_retained",
    ),
    server(
        "3.8.4-8",
        "A message has the lower QoS of its own and the granted one.",
        "chapter_3_subscribe:a_message_has_the_lower_qos",
    ),
    server(
        "3.9.2-1",
        "A reason string does not make the SUBACK too large for the client.",
        "chapter_3_subscribe:a_suback_is_no_larger_than_the_client_takes",
    ),
    server("3.9.2-2", "Nor do user properties.", note=NO_USER_PROPERTIES),
    server(
        "3.9.3-1",
        "The reasons have the order of the filters.",
        "subscribe:each_refused_filter_has_its_code_and_the_others_stand",
    ),
    server(
        "3.9.3-2",
        "They are those of the table.",
        "errors:each_code_may_stand_in_its_packet",
    ),
    both(
        "3.10.1-1",
        "UNSUBSCRIBE has the flags 2; else the connection is closed.",
        "chapter_2:reserved_flags_end_the_connection",
    ),
    client(
        "3.10.3-1",
        "Its filters are UTF-8.",
        "chapter_1:text_that_is_no_utf_8_ends_the_connection",
    ),
    client(
        "3.10.3-2",
        "There is at least one.",
        "chapter_3_subscribe:a_list_of_filters_without_any_ends_the_connection",
    ),
    server(
        "3.10.4-1",
        "Filters are compared character by character, and an equal one is deleted.",
        "chapter_3_subscribe:unsubscribe_ends_the_filters_that_are_equal",
    ),
    server(
        "3.10.4-2",
        "Nothing new is added for it.",
        "chapter_3_subscribe:unsubscribe_ends_the_filters_that_are_equal",
    ),
    server(
        "3.10.4-3",
        "What is in flight is completed.",
        "chapter_3_subscribe:what_is_in_flight_is_completed_after_an_unsubscribe",
    ),
    server(
        "3.10.4-4",
        "UNSUBSCRIBE is answered with UNSUBACK.",
        "chapter_2:answers_have_the_identifier_of_what_they_answer",
    ),
    server(
        "3.10.4-5",
        "It has the same identifier, also where there was no such subscription.",
        "chapter_3_subscribe:an_unsubscribe_of_nothing_is_answered",
    ),
    server(
        "3.10.4-6",
        "Several filters are as several packets, with one answer.",
        "chapter_3_subscribe:unsubscribe_ends_the_filters_that_are_equal",
    ),
    server(
        "3.11.2-1",
        "A reason string does not make the UNSUBACK too large.",
        note="The server's has no reason string.",
    ),
    server("3.11.2-2", "Nor do user properties.", note=NO_USER_PROPERTIES),
    server(
        "3.11.3-1",
        "The reasons have the order of the filters.",
        "chapter_3_subscribe:unsubscribe_ends_the_filters_that_are_equal",
    ),
    server(
        "3.11.3-2",
        "They are those of the table.",
        "subscribe:unsubscribe_says_what_there_was_and_ends_it",
    ),
)

OTHERS = (
    server(
        "3.12.4-1",
        "PINGREQ is answered with PINGRESP.",
        "chapter_3_subscribe:a_ping_is_answered",
    ),
    server(
        "3.14.0-1",
        "There is no DISCONNECT before a CONNACK that accepts.",
        "chapter_3_connect:a_connack_is_no_larger_than_the_client_takes",
        "connect:a_v5_connect_is_refused_with_its_reason_and_a_sentence",
    ),
    both(
        "3.14.1-1",
        "DISCONNECT with flags is malformed (0x81).",
        "chapter_2:reserved_flags_end_the_connection",
    ),
    both(
        "3.14.2-1",
        "Its reason is one of the table.",
        "chapter_3_connect:reasons_of_a_connack_are_those_of_the_table",
        "chapter_3_publish:reasons_that_there_are_not_end_the_connection",
    ),
    server(
        "3.14.2-2",
        "The server's has no Session Expiry Interval.",
        "chapter_3_connect:a_goodbye_of_the_server_has_a_reason_string_at_most",
    ),
    both(
        "3.14.2-3",
        "A reason string does not make it too large for its receiver.",
        "chapter_3_connect:a_goodbye_is_no_larger_than_the_client_takes",
    ),
    both("3.14.2-4", "Nor do user properties.", note=NO_USER_PROPERTIES),
    both(
        "3.14.4-1",
        "Nothing is sent after it.",
        "chapter_3_connect:a_goodbye_of_the_server_has_a_reason_string_at_most",
        "life:what_follows_a_disconnect_is_not_looked_at",
    ),
    both(
        "3.14.4-2",
        "Its sender closes the connection.",
        "chapter_3_connect:a_goodbye_of_the_server_has_a_reason_string_at_most",
    ),
    server(
        "3.14.4-3",
        "One with reason 0 takes the will back.",
        "life:a_disconnect_discards_the_will_unless_it_asks_for_it",
    ),
    both(
        "3.15.1-1",
        "AUTH with flags is malformed and closes the connection.",
        "chapter_2:reserved_flags_end_the_connection",
    ),
    both("3.15.2-1", "An AUTH's reason is one of its table.", note=NO_AUTH),
    both("3.15.2-2", "A reason string does not make it too large.", note=NO_AUTH),
    both("3.15.2-3", "Nor do user properties.", note=NO_AUTH),
)

STATEMENTS = (*PUBLISH, *ANSWERS, *SUBSCRIBE, *OTHERS)
