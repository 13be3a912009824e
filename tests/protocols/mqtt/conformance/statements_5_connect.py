"""MQTT 5.0 (OASIS Standard, 7 March 2019): chapters 1 and 2, CONNECT and CONNACK."""

from __future__ import annotations

from tests.protocols.mqtt.conformance.statements import both, client, server

CHAPTERS_1_AND_2 = (
    both(
        "1.5.4-1",
        "Text is well-formed UTF-8 without surrogates.",
        "chapter_1:text_that_is_no_utf_8_ends_the_connection",
    ),
    both(
        "1.5.4-2",
        "Text has no NUL.",
        "chapter_1:text_that_is_no_utf_8_ends_the_connection",
    ),
    both(
        "1.5.4-3",
        "EF BB BF is the character U+FEFF and is never taken away.",
        "chapter_1:a_byte_order_mark_is_a_character_like_others",
    ),
    both(
        "1.5.5-1",
        "A Variable Byte Integer has as few bytes as possible.",
        "decode:a_variable_byte_integer_comes_back_as_it_was",
        "chapter_1:lengths_have_as_few_bytes_as_possible",
    ),
    both(
        "1.5.7-1",
        "Both texts of a pair are UTF-8 strings.",
        "chapter_1:text_that_is_no_utf_8_ends_the_connection",
    ),
    both(
        "2.1.3-1",
        "Reserved flags have the values of the table.",
        "chapter_2:reserved_flags_end_the_connection",
        "chapter_2:flags_of_the_servers_packets_are_those_of_the_table",
    ),
    both(
        "2.2.1-2",
        "A PUBLISH of QoS 0 has no identifier.",
        "chapter_2:a_message_of_qos_0_has_no_identifier",
    ),
    client(
        "2.2.1-3",
        "SUBSCRIBE, UNSUBSCRIBE and PUBLISH above QoS 0 have a free identifier that is not 0.",
        "chapter_2:an_identifier_of_zero_ends_the_connection",
    ),
    server(
        "2.2.1-4",
        "So has a server's PUBLISH above QoS 0.",
        "outbox:an_identifier_that_is_never_acknowledged_is_never_used_again",
        "outbox:identifiers_go_round_without_zero",
        "exact_out:no_identifier_is_used_twice_and_everything_comes_in_order",
    ),
    both(
        "2.2.1-5",
        "PUBACK, PUBREC, PUBREL and PUBCOMP have the identifier of their PUBLISH.",
        "chapter_2:answers_have_the_identifier_of_what_they_answer",
        "exact_out:a_message_goes_through_all_four_steps",
    ),
    server(
        "2.2.1-6",
        "SUBACK and UNSUBACK have the identifier of what they answer.",
        "chapter_2:answers_have_the_identifier_of_what_they_answer",
    ),
    both(
        "2.2.2-1",
        "Where there are no properties, a length of 0 says so.",
        "chapter_2:packets_without_properties_say_so",
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
        "A second CONNECT is a Protocol Error and closes the connection.",
        "connect:a_second_connect_is_a_protocol_error",
    ),
    both(
        "3.1.2-1",
        "The protocol name is `MQTT`; else the connection is closed.",
        "connect:a_3_1_1_connect_is_refused_in_its_own_words",
        "version_3_1:a_client_of_3_1_subscribes_and_is_told",
    ),
    server(
        "3.1.2-2",
        "A version that is not spoken is refused (0x84) and closed.",
        "connect:a_v5_connect_is_refused_with_its_reason_and_a_sentence",
    ),
    server(
        "3.1.2-3",
        "The reserved Connect Flag has to be 0.",
        "connect:a_v5_connect_is_refused_with_its_reason_and_a_sentence",
    ),
    both(
        "3.1.2-4",
        "Clean Start 1 discards the session and begins a new one.",
        "chapter_3_connect:a_clean_start_forgets_and_leaves_nothing",
        "durable:clean_start_forgets_the_session",
    ),
    server(
        "3.1.2-5",
        "Clean Start 0 goes on with the session.",
        "chapter_3_connect:a_session_is_taken_up_where_it_was_or_begun",
    ),
    server(
        "3.1.2-6",
        "Clean Start 0 begins one where there is none.",
        "chapter_3_connect:a_session_is_taken_up_where_it_was_or_begun",
    ),
    server(
        "3.1.2-7",
        "A will is kept with the session.",
        "wills:a_will_with_a_delay_waits_at_the_directory_and_not_at_the_worker",
        "wills:a_will_is_on_disk_before_the_connect_is_answered",
    ),
    server(
        "3.1.2-8",
        "It is published after its delay or the session's end, unless the client left properly "
        "or is back.",
        "life:a_will_is_published_when_the_network_breaks",
        "life:a_disconnect_discards_the_will_unless_it_asks_for_it",
        "wills:a_will_waits_no_longer_than_its_session_lasts",
        "sessions/claims:a_will_with_a_delay_is_due_when_it_has_passed",
    ),
    client(
        "3.1.2-9",
        "With the Will Flag properties, topic and payload are there.",
        "chapter_3_connect:fields_of_a_connect_are_there_as_its_flags_say",
    ),
    server(
        "3.1.2-10",
        "The will is gone once it is published or the client left properly.",
        "wills:a_will_is_published_once_by_a_stop_and_the_end_of_its_connection",
        "wills:a_normal_disconnect_discards_a_will_with_a_delay",
    ),
    client(
        "3.1.2-11",
        "Without the Will Flag the Will QoS is 0.",
        "chapter_3_connect:connect_flags_that_contradict_each_other_are_refused",
    ),
    client(
        "3.1.2-12",
        "A Will QoS is 0, 1 or 2.",
        "chapter_3_connect:connect_flags_that_contradict_each_other_are_refused",
        "life:a_will_with_qos_2_goes_out_with_it_and_with_what_readers_were_granted",
    ),
    client(
        "3.1.2-13",
        "Without the Will Flag Will Retain is 0.",
        "chapter_3_connect:connect_flags_that_contradict_each_other_are_refused",
    ),
    server(
        "3.1.2-14",
        "A will without Will Retain is not retained.",
        "chapter_3_connect:a_will_is_retained_if_it_asks_for_it",
    ),
    server(
        "3.1.2-15",
        "A will with Will Retain is retained.",
        "chapter_3_connect:a_will_is_retained_if_it_asks_for_it",
        "life:a_retained_will_is_a_write_of_its_record_by_the_clients_user",
    ),
    client(
        "3.1.2-16",
        "Without its flag there is no user name.",
        "chapter_3_connect:fields_of_a_connect_are_there_as_its_flags_say",
    ),
    client(
        "3.1.2-17",
        "With its flag there is a user name.",
        "chapter_3_connect:fields_of_a_connect_are_there_as_its_flags_say",
    ),
    client(
        "3.1.2-18",
        "Without its flag there is no password.",
        "chapter_3_connect:fields_of_a_connect_are_there_as_its_flags_say",
    ),
    client(
        "3.1.2-19",
        "With its flag there is a password.",
        "chapter_3_connect:fields_of_a_connect_are_there_as_its_flags_say",
    ),
    client("3.1.2-20", "A client with nothing to send sends PINGREQ in time."),
    client(
        "3.1.2-21",
        "A client keeps to the Server Keep Alive.",
        "connect:a_keep_alive_above_the_cap_is_answered_with_the_cap",
    ),
    server(
        "3.1.2-22",
        "Who is silent for one and a half Keep Alives is disconnected.",
        "life:a_silent_client_is_ended_after_one_and_a_half_keep_alives",
    ),
    both(
        "3.1.2-23",
        "With a Session Expiry Interval the session outlives the connection.",
        "chapter_3_connect:a_session_is_taken_up_where_it_was_or_begun",
        "sessions/store:a_session_is_there_again_with_its_subscriptions_and_number",
        note="For `mqtt.maxSessionExpiry` (30 days) at most, of which the CONNACK tells.",
    ),
    server(
        "3.1.2-24",
        "No packet is larger than the client's Maximum Packet Size.",
        "life:nothing_is_sent_that_the_client_cannot_take",
        "outbox:frames_above_the_readers_maximum_packet_size_are_left_out",
        "chapter_3_connect:a_connack_is_no_larger_than_the_client_takes",
    ),
    server(
        "3.1.2-25",
        "A message that is too large is dropped as if it had been sent.",
        "outbox:frames_above_the_readers_maximum_packet_size_are_left_out",
    ),
    server(
        "3.1.2-26",
        "No topic alias is above the client's Topic Alias Maximum.",
        "chapter_3_publish:no_alias_is_above_the_clients_maximum",
    ),
    server(
        "3.1.2-27",
        "A client without one gets no topic aliases.",
        "aliases_out:no_number_is_used_where_the_client_or_the_setting_has_none",
    ),
    server(
        "3.1.2-28",
        "Response Information comes only where it was asked for.",
        "chapter_3_connect:there_is_no_response_information",
        note="It never comes.",
    ),
    server(
        "3.1.2-29",
        "With Request Problem Information 0 no acknowledgement has a reason string.",
        "publish:a_client_that_wants_no_sentences_gets_none",
        "chapter_3_subscribe:a_client_that_wants_no_sentences_gets_none_in_a_suback",
    ),
    client("3.1.2-30", "With an Authentication Method a client sends AUTH and DISCONNECT only."),
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
        "A client without one gets a unique one.",
        "connect:a_v5_client_without_an_identifier_is_told_the_assigned_one",
        "chapter_3_connect:clients_without_an_identifier_get_one_each",
    ),
    server(
        "3.1.3-7",
        "It is served as if it were its own, and told in the CONNACK.",
        "connect:a_v5_client_without_an_identifier_is_told_the_assigned_one",
    ),
    server(
        "3.1.3-8",
        "A refused identifier may get 0x85, and is closed.",
        "chapter_3_connect:a_refused_identifier_has_the_code_of_its_version",
    ),
    server(
        "3.1.3-9",
        "The will is not sent if the session goes on before its delay is over.",
        "sessions/claims:whoever_goes_on_with_the_session_takes_the_will_back",
        "wills:a_will_with_a_delay_waits_at_the_directory_and_not_at_the_worker",
    ),
    server(
        "3.1.3-10",
        "User properties of a will keep their order.",
        "chapter_3_connect:properties_of_a_will_go_on_in_their_order",
    ),
    client(
        "3.1.3-11",
        "The Will Topic is UTF-8.",
        "chapter_1:text_that_is_no_utf_8_ends_the_connection",
    ),
    client(
        "3.1.3-12",
        "The user name is UTF-8.",
        "chapter_1:text_that_is_no_utf_8_ends_the_connection",
    ),
    server(
        "3.1.4-1",
        "A CONNECT that is wrong closes the connection.",
        "connect:a_v5_connect_is_refused_with_its_reason_and_a_sentence",
        "chapter_3_connect:connect_flags_that_contradict_each_other_are_refused",
        "decode:each_wrong_field_of_connect_has_its_reason",
    ),
    server(
        "3.1.4-2",
        "So does one that fails further checks.",
        "connect:a_wrong_password_has_the_code_of_its_version",
        "wills:a_will_that_may_not_be_published_is_refused_with_the_connect",
        "flapping:a_client_that_is_banned_is_told_so",
    ),
    server(
        "3.1.4-3",
        "An identifier that is connected loses its old connection, which hears 0x8E.",
        "connect:a_take_over_ends_the_old_connection_first",
        "workers:a_client_that_comes_to_another_worker_ends_the_old_connection",
    ),
    server(
        "3.1.4-4",
        "Clean Start is processed.",
        "chapter_3_connect:a_clean_start_forgets_and_leaves_nothing",
    ),
    server(
        "3.1.4-5",
        "A CONNECT that is accepted gets reason 0.",
        "chapter_3_connect:the_first_packet_is_a_connack_and_there_is_one",
    ),
    server(
        "3.1.4-6",
        "What follows a refused CONNECT has no effect.",
        "chapter_3_connect:what_follows_a_refused_connect_has_no_effect",
    ),
)

CONNACK = (
    server(
        "3.2.0-1",
        "A CONNACK with reason 0 comes before everything but AUTH.",
        "chapter_3_connect:the_first_packet_is_a_connack_and_there_is_one",
    ),
    server(
        "3.2.0-2",
        "There is one.",
        "chapter_3_connect:the_first_packet_is_a_connack_and_there_is_one",
    ),
    server(
        "3.2.2-1",
        "Bits 7 to 1 of its flags are 0.",
        "chapter_3_connect:the_first_packet_is_a_connack_and_there_is_one",
        "chapter_3_connect:a_session_is_taken_up_where_it_was_or_begun",
    ),
    server(
        "3.2.2-2",
        "Clean Start 1 gets Session Present 0.",
        "chapter_3_connect:a_clean_start_forgets_and_leaves_nothing",
    ),
    server(
        "3.2.2-3",
        "Else Session Present says whether there was one.",
        "chapter_3_connect:a_session_is_taken_up_where_it_was_or_begun",
    ),
    client("3.2.2-4", "A client without a session closes when Session Present is 1."),
    client("3.2.2-5", "A client forgets its session when Session Present is 0."),
    server(
        "3.2.2-6",
        "A refusal has Session Present 0.",
        "chapter_3_connect:a_refusal_tells_of_no_session",
    ),
    server(
        "3.2.2-7",
        "A refusal closes the connection.",
        "connect:a_v5_connect_is_refused_with_its_reason_and_a_sentence",
    ),
    server(
        "3.2.2-8",
        "Its reason is one of the table.",
        "chapter_3_connect:reasons_of_a_connack_are_those_of_the_table",
    ),
    server(
        "3.2.2-9",
        "A server that lacks QoS 1 or 2 tells its Maximum QoS.",
        "connect:connack_of_v5_says_what_is_not_available",
        note="Does not arise: QoS 0, 1 and 2 are taken.",
    ),
    server(
        "3.2.2-10",
        "It still takes every QoS in SUBSCRIBE.",
        "subscribe:the_suback_comes_before_the_current_state_which_is_retained",
        note="Does not arise: all are granted.",
    ),
    client("3.2.2-11", "A client keeps to the Maximum QoS."),
    server(
        "3.2.2-12",
        "A Will QoS that the server cannot do is refused.",
        "life:a_will_with_qos_2_goes_out_with_it_and_with_what_readers_were_granted",
        note="Does not arise: wills of QoS 2 are taken.",
    ),
    server(
        "3.2.2-13",
        "So is a retained will where nothing is retained.",
        "life:a_retained_will_is_a_write_of_its_record_by_the_clients_user",
        note="Does not arise: messages are retained.",
    ),
    client("3.2.2-14", "A client sets no RETAIN where Retain Available is 0."),
    client(
        "3.2.2-15",
        "A client sends no packet above the server's Maximum Packet Size.",
        "life:a_packet_that_is_too_large_is_refused_before_it_is_read",
    ),
    server(
        "3.2.2-16",
        "A client without an identifier is told a new one that no other session has.",
        "connect:a_v5_client_without_an_identifier_is_told_the_assigned_one",
        "chapter_3_connect:clients_without_an_identifier_get_one_each",
    ),
    client(
        "3.2.2-17",
        "A client's topic aliases are not above the server's maximum.",
        "aliases:a_wrong_alias_ends_the_connection",
    ),
    client("3.2.2-18", "Without a maximum of the server it sends none."),
    server(
        "3.2.2-19",
        "A reason string does not make the CONNACK too large for the client.",
        "chapter_3_connect:a_connack_is_no_larger_than_the_client_takes",
    ),
    server(
        "3.2.2-20",
        "Nor do user properties.",
        "chapter_3_connect:user_properties_do_not_make_a_connack_too_large",
    ),
    client("3.2.2-21", "A client keeps to the Server Keep Alive."),
    server(
        "3.2.2-22",
        "Without a Server Keep Alive that of the client is in force.",
        "life:a_silent_client_is_ended_after_one_and_a_half_keep_alives",
    ),
)

STATEMENTS = (*CHAPTERS_1_AND_2, *CONNECT, *CONNACK)
