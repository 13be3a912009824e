"""MQTT 3.1.1 (OASIS Standard, 29 October 2014)."""

from __future__ import annotations

from tests.protocols.mqtt.conformance.statements import both, client, server

CHAPTERS_1_AND_2 = (
    both(
        "1.5.3-1",
        "Text is well-formed UTF-8 without surrogates; else the connection is closed.",
        "chapter_1:text_that_is_no_utf_8_ends_the_connection",
    ),
    both(
        "1.5.3-2",
        "Text has no NUL; else the connection is closed.",
        "chapter_1:text_that_is_no_utf_8_ends_the_connection",
    ),
    both(
        "1.5.3-3",
        "EF BB BF is the character U+FEFF and is never taken away.",
        "chapter_1:a_byte_order_mark_is_a_character_like_others",
    ),
    both(
        "2.2.2-1",
        "Reserved flags have the values of the table.",
        "chapter_2:reserved_flags_end_the_connection",
        "chapter_2:flags_of_the_servers_packets_are_those_of_the_table",
    ),
    both(
        "2.2.2-2",
        "Wrong flags close the connection.",
        "chapter_2:reserved_flags_end_the_connection",
    ),
    both(
        "2.3.1-1",
        "SUBSCRIBE, UNSUBSCRIBE and PUBLISH above QoS 0 have an identifier, and it is not 0.",
        "chapter_2:an_identifier_of_zero_ends_the_connection",
        "outbox:identifiers_go_round_without_zero",
    ),
    client("2.3.1-2", "A new packet of these has an identifier that is not in use."),
    client(
        "2.3.1-3",
        "What is sent again has its old identifier, which is free after its acknowledgement.",
        "exactly_once:a_message_that_comes_again_is_acknowledged_and_not_told_again",
    ),
    server(
        "2.3.1-4",
        "The same holds for a server's PUBLISH above QoS 0.",
        "outbox:an_identifier_that_is_never_acknowledged_is_never_used_again",
        "durable:what_was_not_acknowledged_comes_again_as_a_duplicate",
        "exact_out:no_identifier_is_used_twice_and_everything_comes_in_order",
    ),
    both(
        "2.3.1-5",
        "A PUBLISH of QoS 0 has no identifier.",
        "chapter_2:a_message_of_qos_0_has_no_identifier",
    ),
    both(
        "2.3.1-6",
        "PUBACK, PUBREC and PUBREL have the identifier of their PUBLISH.",
        "chapter_2:answers_have_the_identifier_of_what_they_answer",
        "exact_out:a_message_goes_through_all_four_steps",
    ),
    server(
        "2.3.1-7",
        "SUBACK and UNSUBACK have the identifier of what they answer.",
        "chapter_2:answers_have_the_identifier_of_what_they_answer",
    ),
)

CONNECT = (
    client(
        "3.1.0-1",
        "A client's first packet is CONNECT.",
        "connect:what_comes_before_a_connect_closes_the_connection",
    ),
    server(
        "3.1.0-2",
        "A second CONNECT is a violation and disconnects.",
        "connect:a_second_connect_is_a_protocol_error",
    ),
    server(
        "3.1.2-1",
        "With another protocol name the CONNECT is not processed by this standard.",
        "connect:a_3_1_1_connect_is_refused_in_its_own_words",
        "version_3_1:a_client_of_3_1_subscribes_and_is_told",
    ),
    server(
        "3.1.2-2",
        "An unknown protocol level is answered with return code 1, then disconnected.",
        "connect:a_3_1_1_connect_is_refused_in_its_own_words",
    ),
    server(
        "3.1.2-3",
        "The reserved Connect Flag is 0; else the client is disconnected.",
        "connect:a_3_1_1_connect_is_refused_in_its_own_words",
    ),
    both(
        "3.1.2-4",
        "Clean Session 0 goes on with the session, or begins one, which outlives the connection.",
        "chapter_3_connect:a_session_is_taken_up_where_it_was_or_begun",
        note="Kept for `mqtt.maxSessionExpiry` (30 days) at most.",
    ),
    server(
        "3.1.2-5",
        "Messages of QoS 1 and 2 that come meanwhile are kept for it.",
        "chapter_3_connect:a_session_is_taken_up_where_it_was_or_begun",
        "durable:what_came_while_it_slept_comes_once_and_in_order",
    ),
    both(
        "3.1.2-6",
        "Clean Session 1 discards what was there, and leaves nothing.",
        "chapter_3_connect:a_clean_start_forgets_and_leaves_nothing",
    ),
    server(
        "3.1.2-7",
        "Retained messages are not of the session and do not end with it.",
        "chapter_3_publish:a_retained_message_outlives_its_session",
    ),
    server(
        "3.1.2-8",
        "A will is kept, and published at the end unless a DISCONNECT took it back.",
        "life:a_will_is_published_when_the_network_breaks",
        "life:a_disconnect_discards_the_will_unless_it_asks_for_it",
        "life:a_will_is_published_once_after_a_violation_and_a_timeout",
    ),
    both(
        "3.1.2-9",
        "With the Will Flag topic and message are there, and QoS and RETAIN are used.",
        "chapter_3_connect:fields_of_a_connect_are_there_as_its_flags_say",
        "life:a_will_with_qos_2_goes_out_with_it_and_with_what_readers_were_granted",
    ),
    server(
        "3.1.2-10",
        "The will is gone once it is published or a DISCONNECT came.",
        "wills:a_will_is_published_once_by_a_stop_and_the_end_of_its_connection",
        "life:a_disconnect_discards_the_will_unless_it_asks_for_it",
    ),
    client(
        "3.1.2-11",
        "Without the Will Flag there is no QoS, RETAIN, topic or message of a will.",
        "chapter_3_connect:fields_of_a_connect_are_there_as_its_flags_say",
        "chapter_3_connect:connect_flags_that_contradict_each_other_are_refused",
    ),
    server(
        "3.1.2-12",
        "Without the Will Flag no will is published.",
        "chapter_3_connect:without_a_will_nothing_is_published",
    ),
    client(
        "3.1.2-13",
        "Without the Will Flag the Will QoS is 0.",
        "chapter_3_connect:connect_flags_that_contradict_each_other_are_refused",
    ),
    client(
        "3.1.2-14",
        "A Will QoS is not 3.",
        "chapter_3_connect:connect_flags_that_contradict_each_other_are_refused",
    ),
    client(
        "3.1.2-15",
        "Without the Will Flag Will Retain is 0.",
        "chapter_3_connect:connect_flags_that_contradict_each_other_are_refused",
    ),
    server(
        "3.1.2-16",
        "A will without Will Retain is not retained.",
        "chapter_3_connect:a_will_is_retained_if_it_asks_for_it",
    ),
    server(
        "3.1.2-17",
        "A will with Will Retain is retained.",
        "chapter_3_connect:a_will_is_retained_if_it_asks_for_it",
        "life:a_retained_will_is_a_write_of_its_record_by_the_clients_user",
    ),
    client(
        "3.1.2-18",
        "Without its flag there is no user name.",
        "chapter_3_connect:fields_of_a_connect_are_there_as_its_flags_say",
    ),
    client(
        "3.1.2-19",
        "With its flag there is a user name.",
        "chapter_3_connect:fields_of_a_connect_are_there_as_its_flags_say",
    ),
    client(
        "3.1.2-20",
        "Without its flag there is no password.",
        "chapter_3_connect:fields_of_a_connect_are_there_as_its_flags_say",
    ),
    client(
        "3.1.2-21",
        "With its flag there is a password.",
        "chapter_3_connect:fields_of_a_connect_are_there_as_its_flags_say",
    ),
    client(
        "3.1.2-22",
        "There is no password without a user name.",
        "connect:a_3_1_1_connect_is_refused_in_its_own_words",
    ),
    client("3.1.2-23", "A client with nothing to send sends PINGREQ in time."),
    server(
        "3.1.2-24",
        "Who is silent for one and a half Keep Alives is disconnected.",
        "life:a_silent_client_is_ended_after_one_and_a_half_keep_alives",
    ),
    client(
        "3.1.3-1",
        "The fields of the payload have their order.",
        "decode:connect_comes_back_as_it_was",
    ),
    both(
        "3.1.3-2",
        "The client identifier names the session.",
        "chapter_3_connect:a_session_is_taken_up_where_it_was_or_begun",
    ),
    client(
        "3.1.3-3",
        "The client identifier is there, as the first field.",
        "chapter_3_connect:fields_of_a_connect_are_there_as_its_flags_say",
    ),
    client(
        "3.1.3-4",
        "It is UTF-8.",
        "chapter_1:text_that_is_no_utf_8_ends_the_connection",
    ),
    server(
        "3.1.3-5",
        "1 to 23 letters and digits are taken.",
        "chapter_3_connect:identifiers_of_letters_and_digits_are_taken",
    ),
    server(
        "3.1.3-6",
        "A client without one gets a unique one, and is served as if it were its own.",
        "connect:a_3_1_1_client_without_an_identifier_needs_a_clean_session",
        "chapter_3_connect:clients_without_an_identifier_get_one_each",
    ),
    client(
        "3.1.3-7",
        "A client without one asks for a clean session.",
        "connect:a_3_1_1_client_without_an_identifier_needs_a_clean_session",
    ),
    server(
        "3.1.3-8",
        "Else it gets return code 2 and is disconnected.",
        "connect:a_3_1_1_client_without_an_identifier_needs_a_clean_session",
    ),
    server(
        "3.1.3-9",
        "A refused identifier gets return code 2 and is disconnected.",
        "chapter_3_connect:a_refused_identifier_has_the_code_of_its_version",
    ),
    client(
        "3.1.3-10",
        "The Will Topic is UTF-8.",
        "chapter_1:text_that_is_no_utf_8_ends_the_connection",
    ),
    client(
        "3.1.3-11",
        "The user name is UTF-8.",
        "chapter_1:text_that_is_no_utf_8_ends_the_connection",
    ),
    server(
        "3.1.4-1",
        "A CONNECT that is wrong closes the connection without a CONNACK.",
        "connect:a_3_1_1_connect_is_refused_in_its_own_words",
        "chapter_3_connect:connect_flags_that_contradict_each_other_are_refused",
    ),
    server(
        "3.1.4-2",
        "An identifier that is connected loses its old connection.",
        "connect:a_take_over_ends_the_old_connection_first",
        "workers:a_client_that_comes_to_another_worker_ends_the_old_connection",
    ),
    server(
        "3.1.4-3",
        "Clean Session is processed.",
        "chapter_3_connect:a_clean_start_forgets_and_leaves_nothing",
    ),
    server(
        "3.1.4-4",
        "A CONNECT that is accepted gets return code 0.",
        "chapter_3_connect:the_first_packet_is_a_connack_and_there_is_one",
    ),
    server(
        "3.1.4-5",
        "What follows a refused CONNECT has no effect.",
        "chapter_3_connect:what_follows_a_refused_connect_has_no_effect",
    ),
    server(
        "3.2.0-1",
        "The server's first packet is CONNACK.",
        "chapter_3_connect:the_first_packet_is_a_connack_and_there_is_one",
    ),
    server(
        "3.2.2-1",
        "Clean Session 1 gets Session Present 0.",
        "chapter_3_connect:a_clean_start_forgets_and_leaves_nothing",
    ),
    server(
        "3.2.2-2",
        "A session that was there gets Session Present 1.",
        "chapter_3_connect:a_session_is_taken_up_where_it_was_or_begun",
    ),
    server(
        "3.2.2-3",
        "A new session gets Session Present 0.",
        "chapter_3_connect:a_session_is_taken_up_where_it_was_or_begun",
    ),
    server(
        "3.2.2-4",
        "So does a refusal.",
        "chapter_3_connect:a_refusal_tells_of_no_session",
    ),
    server(
        "3.2.2-5",
        "A refusal closes the connection.",
        "chapter_3_connect:a_refused_identifier_has_the_code_of_its_version",
        "connect:a_wrong_password_has_the_code_of_its_version",
    ),
    server(
        "3.2.2-6",
        "Where no return code applies it is closed without a CONNACK.",
        "connect:a_3_1_1_connect_is_refused_in_its_own_words",
    ),
)

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
        "QoS 3 closes the connection.",
        "chapter_3_publish:a_message_of_qos_3_ends_the_connection",
    ),
    server(
        "3.3.1-5",
        "A retained message is kept with its QoS.",
        "chapter_3_publish:new_subscribers_get_what_was_retained_last",
        "e2e/mqtt_clients:current_state_comes_with_the_lower_of_both_qualities",
    ),
    server(
        "3.3.1-6",
        "A new subscription gets the last one of each topic that matches.",
        "chapter_3_publish:new_subscribers_get_what_was_retained_last",
    ),
    server(
        "3.3.1-7",
        "One of QoS 0 takes the place of what was there.",
        "chapter_3_publish:new_subscribers_get_what_was_retained_last",
    ),
    server(
        "3.3.1-8",
        "What a new subscription brings has RETAIN set.",
        "chapter_3_publish:new_subscribers_get_what_was_retained_last",
        "subscribe:the_suback_comes_before_the_current_state_which_is_retained",
    ),
    server(
        "3.3.1-9",
        "What comes to one that was there has RETAIN 0.",
        "chapter_3_publish:retain_is_told_if_the_subscription_asks_for_it",
    ),
    server(
        "3.3.1-10",
        "An empty retained message goes to subscribers, and removes what was kept.",
        "chapter_3_publish:an_empty_retained_message_is_told_and_removes",
        note="The deletion of a record of a table is told as `null`, unless "
        "`mqtt.deletePayload` is `empty`; of an open topic as an empty message.",
    ),
    server(
        "3.3.1-11",
        "It is not kept itself.",
        "chapter_3_publish:an_empty_retained_message_is_told_and_removes",
    ),
    server(
        "3.3.1-12",
        "A message without RETAIN keeps and removes nothing.",
        "chapter_3_publish:a_message_without_retain_changes_nothing_that_is_kept",
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
    both(
        "3.3.4-1",
        "QoS 0 has no answer, QoS 1 a PUBACK, QoS 2 a PUBREC.",
        "chapter_3_publish:each_qos_has_its_answer",
    ),
    server(
        "3.3.5-1",
        "Where subscriptions overlap, the highest of their QoS counts.",
        "chapter_3_publish:where_subscriptions_overlap_the_highest_qos_counts",
    ),
    server(
        "3.3.5-2",
        "A message that may not be published is acknowledged as usual, or the connection closed.",
        "publish:a_3_1_1_refusal_that_lasts_is_acknowledged_without_effect",
        "publish:a_3_1_1_message_that_may_succeed_later_is_not_acknowledged",
    ),
    server(
        "3.6.1-1",
        "PUBREL with other flags closes the connection.",
        "chapter_2:reserved_flags_end_the_connection",
    ),
)

SUBSCRIBE = (
    server(
        "3.8.1-1",
        "SUBSCRIBE with other flags closes the connection.",
        "chapter_2:reserved_flags_end_the_connection",
    ),
    client(
        "3.8.3-1",
        "Topic filters are UTF-8.",
        "chapter_1:text_that_is_no_utf_8_ends_the_connection",
    ),
    server(
        "3.8.3-2",
        "A server without wildcards refuses filters that have them.",
        "chapter_4:a_filter_brings_the_topics_that_it_matches",
        note="Does not arise: wildcards are understood.",
    ),
    client(
        "3.8.3-3",
        "There is at least one filter.",
        "chapter_3_subscribe:a_list_of_filters_without_any_ends_the_connection",
    ),
    server(
        "3.8.3-4",
        "Reserved bits or QoS 3 close the connection.",
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
        "A filter that is there is replaced; retained messages come again, and none is lost.",
        "subscribe:subscribing_again_replaces_and_sends_the_current_state_again",
        "subscribe:a_subscription_that_is_replaced_goes_on_until_the_new_one_starts",
        "durable:to_subscribe_again_after_sleep_brings_current_state_beside_what_was_missed",
    ),
    server(
        "3.8.4-4",
        "Several filters are as several packets, with one answer.",
        "subscribe:each_refused_filter_has_its_code_and_the_others_stand",
        "subscribe:one_filter_twice_in_a_packet_is_one_subscription",
    ),
    server(
        "3.8.4-5",
        "There is a code for each: the granted QoS or a failure.",
        "subscribe:each_refused_filter_has_its_code_and_the_others_stand",
        "subscribe:the_suback_comes_before_the_current_state_which_is_retained",
    ),
    server(
        "3.8.4-6",
        "A message has the lower QoS of its own and the granted one.",
        "chapter_3_subscribe:a_message_has_the_lower_qos",
    ),
    server(
        "3.9.3-1",
        "The codes have the order of the filters.",
        "subscribe:each_refused_filter_has_its_code_and_the_others_stand",
    ),
    server(
        "3.9.3-2",
        "They are 0, 1, 2 or 0x80.",
        "subscribe:each_refused_filter_has_its_code_and_the_others_stand",
        "decode:answers_of_3_1_1_have_no_codes_beyond_the_standard",
    ),
    server(
        "3.10.1-1",
        "UNSUBSCRIBE with other flags closes the connection.",
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
        "UNSUBSCRIBE is answered with UNSUBACK of the same identifier.",
        "chapter_2:answers_have_the_identifier_of_what_they_answer",
    ),
    server(
        "3.10.4-5",
        "Also where there was no such subscription.",
        "chapter_3_subscribe:an_unsubscribe_of_nothing_is_answered",
    ),
    server(
        "3.10.4-6",
        "Several filters are as several packets, with one answer.",
        "chapter_3_subscribe:unsubscribe_ends_the_filters_that_are_equal",
    ),
)

OTHERS = (
    server(
        "3.12.4-1",
        "PINGREQ is answered with PINGRESP.",
        "chapter_3_subscribe:a_ping_is_answered",
    ),
    server(
        "3.14.1-1",
        "DISCONNECT with other flags disconnects.",
        "chapter_2:reserved_flags_end_the_connection",
    ),
    client("3.14.4-1", "Who sends DISCONNECT closes the connection."),
    client(
        "3.14.4-2",
        "Who sends DISCONNECT sends nothing more.",
        "life:what_follows_a_disconnect_is_not_looked_at",
    ),
    server(
        "3.14.4-3",
        "DISCONNECT takes the will back.",
        "life:a_disconnect_discards_the_will_unless_it_asks_for_it",
    ),
)

CHAPTER_4 = (
    both(
        "4.1.0-1",
        "State is kept as long as the session lasts.",
        "sessions/session_machine:a_session_neither_loses_nor_doubles_nor_disorders",
        "sessions/expiry:a_session_is_removed_with_its_rows_when_its_time_is_over",
    ),
    both(
        "4.1.0-2",
        "A session lasts at least as long as its connection.",
        "sessions/expiry:a_session_that_lost_its_connection_ends_in_time",
    ),
    both(
        "4.3.1-1",
        "QoS 0 is sent with DUP 0.",
        "chapter_2:a_message_of_qos_0_has_no_identifier",
    ),
    both(
        "4.3.2-1",
        "A sender of QoS 1 uses a free identifier and DUP 0, and waits for the PUBACK.",
        "outbox:an_identifier_that_is_never_acknowledged_is_never_used_again",
        "chapter_4:a_first_try_has_no_dup_and_an_identifier_of_its_own",
    ),
    both(
        "4.3.2-2",
        "A receiver answers with PUBACK; after it the identifier means a new message.",
        "chapter_4:after_its_puback_an_identifier_means_a_new_message",
    ),
    both(
        "4.3.3-1",
        "A sender of QoS 2 goes through PUBLISH, PUBREC, PUBREL, PUBCOMP, each until answered.",
        "exact_out:a_message_goes_through_all_four_steps",
        "chapter_4:a_first_try_has_no_dup_and_an_identifier_of_its_own",
        "durable:a_received_message_is_released_again_and_not_sent_again",
    ),
    both(
        "4.3.3-2",
        "A receiver answers PUBREC and PUBCOMP, and passes the message on once until PUBREL.",
        "exactly_once:a_message_that_comes_again_is_acknowledged_and_not_told_again",
        "exactly_once:each_message_is_told_once_through_commits_failures_and_reconnects",
    ),
    both(
        "4.4.0-1",
        "After a reconnect what has no answer is sent again with its identifier; never else.",
        "durable:what_was_not_acknowledged_comes_again_as_a_duplicate",
        "durable:a_received_message_is_released_again_and_not_sent_again",
        "chapter_4:nothing_is_sent_again_on_the_same_connection",
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
        "Every topic is ordered by default.",
        "publish:messages_reach_readers_of_both_versions_in_order",
    ),
    server(
        "4.6.0-6",
        "Consumers get the messages of a client to a topic in their order.",
        "logged_publish:order_per_topic_holds_through_the_log_and_beside_it",
        "e2e/workers_mqtt:messages_and_retained_ones_of_one_client_keep_their_order",
        "sessions/session_machine:a_session_neither_loses_nor_doubles_nor_disorders",
    ),
    both(
        "4.7.1-1",
        "Topics have no wildcards.",
        "chapter_3_publish:a_topic_with_a_wildcard_ends_the_connection",
    ),
    client(
        "4.7.1-2",
        "`#` is a level of its own, and the last.",
        "chapter_4:a_filter_that_breaks_the_rules_is_refused",
    ),
    client(
        "4.7.1-3",
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
    both(
        "4.8.0-1",
        "A violation closes the connection.",
        "e2e/bad_input_mqtt:wrong_packet_ends_its_311_connection_without_a_word",
    ),
    both(
        "4.8.0-2",
        "So does a transient error.",
        "publish:a_3_1_1_message_that_may_succeed_later_is_not_acknowledged",
        "logged_publish:a_3_1_1_client_whose_messages_fail_is_closed_without_acknowledgements",
    ),
)

CHAPTERS_6_AND_7 = (
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
    both(
        "7.0.0-1",
        "A server that connects to others conforms as a client too.",
        "e2e/bridge:messages_go_both_ways_and_not_in_circles",
        note="Bridges are clients by way of Eclipse Paho.",
    ),
    both(
        "7.0.0-2",
        "No extension is needed to work together.",
        "e2e/mqtt_clients:mosquitto_pub_and_sub_see_the_record",
        "e2e/mqtt_clients:messages_of_qos_2_come_once_and_in_order",
    ),
    server(
        "7.1.1-1",
        "A server has a transport that is ordered and loses nothing.",
        "plugin:a_client_over_tcp_subscribes_and_hears_itself",
        "e2e/tls:the_mosquitto_clients_publish_and_hear_over_tls",
    ),
    client("7.1.2-1", "A client has a transport that is ordered and loses nothing."),
)

STATEMENTS = (
    *CHAPTERS_1_AND_2,
    *CONNECT,
    *PUBLISH,
    *SUBSCRIBE,
    *OTHERS,
    *CHAPTER_4,
    *CHAPTERS_6_AND_7,
)
