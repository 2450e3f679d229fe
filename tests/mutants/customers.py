"""Mutants of what a customer meets: what his order says to the participants, the mail, his returns and cancels."""

from tests.mutants.mutant import Mutant

FULFIL = "saga/fulfilment/fulfil_order.py"
SMTP, MAILBOX = "saga/fulfilment/smtp.py", "saga/fulfilment/mailbox.py"
RETURNING, AWAITING = "saga/surfaces/returning.py", "saga/surfaces/awaiting.py"

RULES = "tests/e2e/test_rules_reached.py::"
SAID = "tests/integration/mail/test_smtp.py::"
MAILS, DISKS = "tests/unit/fulfilment/test_mailbox.py::", "tests/unit/fulfilment/test_mailbox_disks.py::"
UNREADABLE = "tests/integration/returns/test_unreadable_orders.py::"
ENDS = "tests/integration/returns/test_unreadable_ends.py::"
DESK = "tests/integration/api/test_returning.py::"
HOMES, GIFTS = "tests/cases/test_shop_addresses.py::", "tests/cases/test_given_away.py::"
IDS, FLIGHT = "tests/cases/test_shop_ids.py::", "tests/migrations/test_orders_in_flight.py::"
UNSEEN = "tests/cases/test_unseen_names.py::"
WHOLE = "tests/cases/test_whole_numbers.py::"
MODELS = "tests/unit/fulfilment/test_models.py::"

CUSTOMERS = [
    Mutant(
        "fraud-sees-who-pays",
        FULFIL,
        "            payment_country=order.payment_country,\n            customer_id=order.customer_id,\n",
        "",
        "no order can meet the rules about customers: a thief who pays ten times from abroad is let through",
        (
            f"{RULES}test_a_payment_from_another_country_is_noticed",
            f"{RULES}test_who_pays_often_and_from_abroad_is_stopped",
        ),
    ),
    Mutant(
        "fraud-sees-the-goods",
        FULFIL,
        "            skus=tuple(order.stock),\n",
        "",
        "goods that are screened are sold unscreened",
        (f"{RULES}test_what_the_screen_stops_is_rolled_back_before_anything_is_held",),
    ),
    Mutant(
        "relay-denied-is-about-us",
        SMTP,
        "is_ours = code in OF_OURS or (",
        "is_ours = code in OF_OURS or False and (",
        "a mail server that takes nothing from us is taken for customers who cannot be told: orders complete, nobody is told",
        (f"{SAID}test_every_word_of_the_server_has_one_meaning",),
    ),
    Mutant(
        "closed-group-is-the-recipient-s",
        SMTP,
        'return enhanced in ABOUT_US or (enhanced == b"5.7.1" and b"relay" in said.lower())',
        'return enhanced.startswith(b"5.7.") and bool(said)',
        "one customer whose mailbox takes no mail from outside halts his order in front of a person",
        (f"{SAID}test_every_word_of_the_server_has_one_meaning",),
    ),
    Mutant(
        "mail-broken-off-is-unknown",
        SMTP,
        'raise Unknown(f"mail server: {type(error).__name__} after the mail was sent") from error',
        'raise Rejected("broken off") from error',
        "an answer that was lost is taken for a no: the journal says that nobody was told, and he was",
        (f"{SAID}test_every_word_of_the_server_has_one_meaning",),
    ),
    Mutant(
        "mail-of-another-stays",
        MAILBOX,
        "        os.link(draft, target)\n    except FileExistsError:\n",
        "        os.replace(draft, target)\n    except FileExistsError:\n",
        "of two processes that send one mail the later one replaces what a reader may hold already",
        (f"{MAILS}test_of_two_processes_the_first_mail_stays",),
    ),
    Mutant(
        "mail-is-flushed-before-it-is-named",
        MAILBOX,
        "        os.fsync(file.fileno())\n",
        "",
        "a power cut leaves an empty mail under its name, and the repeat says that it is there",
        (f"{DISKS}test_a_mail_is_on_the_disk_before_it_has_its_name",),
    ),
    Mutant(
        "mail-is-not-written-into",
        MAILBOX,
        "    draft.unlink(missing_ok=True)  # what a crash left",
        "    # what a crash left",
        "the draft that a crash left is the mail itself, and is written over while it is read",
        (f"{DISKS}test_a_draft_that_is_a_second_name_of_a_mail_is_not_written_into",),
    ),
    Mutant(
        "unreadable-return-hinders-no-other",
        RETURNING,
        "            except SagaError as error:\n                self._refuse(wanted, error)\n            self._wanted",
        "            except KeyReused as error:\n                self._refuse(wanted, error)\n            self._wanted",
        "one damaged journal ends the returns of all other customers, at each repeat",
        (f"{UNREADABLE}test_an_order_that_cannot_be_read_hinders_no_other",),
    ),
    Mutant(
        "lost-race-is-no-refusal",
        RETURNING,
        "            except (StoreUnavailable, ConcurrencyError):\n                raise\n            except SagaError",
        "            except StoreUnavailable:\n                raise\n            except SagaError",
        "a return that met a crowd is counted as refused, and a customer waits for his money",
        (f"{ENDS}test_what_failed_for_now_is_no_refusal_and_goes_on[0-lost-race-database]",),
    ),
    Mutant(
        "unreadable-order-ends-no-wait",
        AWAITING,
        "    except UNREADABLE:\n        _give_up(tally, saga_id)\n        return True\n",
        "    except IllegalTransition:\n        _give_up(tally, saga_id)\n        return True\n",
        "one damaged journal sends away who waits for ten thousand orders",
        (f"{ENDS}test_an_order_that_cannot_be_read_ends_no_wait[under-way-api]",),
    ),
    Mutant(
        "unreadable-order-is-not-waited-for",
        AWAITING,
        "if len(still) == len(head) and monotonic() - moved_at >= STILL_S:",
        "if False:",
        "who waits in the database waits for ever for an order that nobody can move",
        (f"{ENDS}test_an_order_that_cannot_be_read_ends_no_wait[under-way-database]",),
    ),
    Mutant(
        "what-was-settled-is-not-settled-again",
        RETURNING,
        "            self._wanted.popleft()\n        self._pool",
        "        self._wanted.clear()\n        self._pool",
        "a database that was away for a moment makes two returns of one in the count, and for ever three of the first",
        (f"{ENDS}test_what_failed_for_now_is_no_refusal_and_goes_on[3-away-database]",),
    ),
    Mutant(
        "a-cancel-that-failed-is-asked-again",
        RETURNING,
        "            self._ask(wanted)\n            raise",
        "            raise",
        "a cancel that met a database that was away fails at every further try",
        (f"{ENDS}test_what_failed_for_now_is_no_refusal_and_goes_on[0-away-database]",),
    ),
    Mutant(
        "a-sleeper-gets-no-number-that-was-rolled-back",
        "saga/surfaces/taking_back.py",
        "asked=asked, is_once=True)",
        "asked=asked)",
        "who decided before another return took pieces starts a rolled-back number again and refunds them twice",
        (f"{DESK}test_a_number_that_was_rolled_back_is_not_taken_by_a_sleeper[sqlite]",),
    ),
    Mutant(
        "an-encoded-word-is-no-address",
        "saga/fulfilment/texts.py",
        'if "=?" in address:',
        'if "=?=?" in address:',
        "a customer's address holds a line break for a mail program, and his order halts after it was paid",
        (f"{MODELS}test_each_broken_bound_is_named",),
    ),
    Mutant(
        "a-mail-names-one-address",
        MAILBOX,
        "    if not is_one:\n",
        "    if False:\n",
        "a mail of an order that was accepted by an earlier release names a stranger too",
        (f"{MAILS}test_an_address_that_would_be_read_as_another_gets_no_mail",),
    ),
    Mutant(
        "addresses-share-the-time",
        SMTP,
        "left_s = min(CONNECT_S, ends_at - monotonic())",
        "left_s = CONNECT_S",
        "a mail server with many addresses that do not answer holds a step beyond its deadline",
        (f"{SAID}test_addresses_that_do_not_answer_share_the_time",),
    ),
    Mutant(
        "an-integral-number-is-an-integer",
        "saga/fulfilment/fields.py",
        "if isinstance(value, float) and value.is_integer() and abs(value) < FLOAT_EXACT:",
        "if False and isinstance(value, float):",
        "a bank that writes 1250.0 has taken the money, and its answer halts the order",
        (
            f"{WHOLE}test_an_integral_number_is_the_integer[saga]",
            f"{WHOLE}test_a_capture_that_answers_1250_0_has_succeeded",
        ),
    ),
    Mutant(
        "one-request-either-way",
        "services/skeleton/desk.py",
        "json.loads(body, parse_float=_number)",
        "json.loads(body)",
        "a repeat that writes 1250 as 1250.0 is refused as another request under the key",
        (f"{WHOLE}test_a_service_takes_both_for_one_request",),
    ),
    Mutant(
        "a-name-is-seen",
        "saga/fulfilment/texts.py",
        "return unicodedata.category(letter)[0] in SEEN and not is_blank(letter)",
        'return unicodedata.category(letter) != "Zs"',
        "a parcel goes out to a name and a street that nobody can read",
        (f"{UNSEEN}test_what_nobody_sees_is_no_name", f"{UNSEEN}test_every_text_is_seen_or_not_by_category"),
    ),
    Mutant(
        "no-text-is-turned-round",
        "saga/fulfilment/texts.py",
        "    if not TURNING.isdisjoint(text) and not is_kept(info.context):",
        "    if False and info:",
        "a street reads otherwise on the label than it was checked",
        (f"{UNSEEN}test_what_turns_the_text_round_is_refused",),
    ),
    Mutant(
        "a-kept-order-is-read",
        "saga/runtime/readback.py",
        "return model.model_validate_json(text, context=KEPT)",
        "return model.model_validate_json(text)",
        "an order on its way halts at a deploy, by a rule that it was not asked for when it was taken",
        (f"{UNSEEN}test_an_order_that_was_taken_before_the_rule_goes_on",),
    ),
    Mutant(
        "an-id-is-one-segment",
        "saga/segments.py",
        'return unquote(sent).replace("%", "%25").replace("/", "%2F")',
        "return unquote(sent)",
        "an order called A/B is accepted and cannot be shown, cancelled or returned",
        (f"{IDS}test_a_path_brings_the_id_back",),
    ),
    Mutant(
        "ids-that-look-alike",
        "saga/fulfilment/texts.py",
        'if not unicodedata.is_normalized("NFC", text):',
        "if False:",
        "one order is sent twice under two ids that a person cannot tell apart, and charged twice",
        (f"{IDS}test_what_is_no_id[not NFC]",),
    ),
    Mutant(
        "a-key-of-any-id",
        "saga/surfaces/request_keys.py",
        "key = prefix + quote(name, safe=VISIBLE)",
        "key = prefix + name",
        "a file with an id that is not ASCII cannot be handed over to the API",
        (f"{IDS}test_a_key_is_visible_and_its_own",),
    ),
    Mutant(
        "a-subject-reads-back",
        "saga/fulfilment/mail_policy.py",
        'return name == "Subject" and not str(value).isascii()',
        'return name == "Subject" and not value',
        "the mail of an order with an id of blanks and accents is about another order, and the audit is red",
        (f"{IDS}test_a_mail_names_the_order_and_the_return",),
    ),
    Mutant(
        "orders-of-the-version-before-run-on",
        "saga/runtime/engine.py",
        "for one in (named, *named.earlier)",
        "for one in (named,)",
        "what was accepted before a deploy waits for ever",
        (f"{FLIGHT}test_what_was_on_its_way_ends",),
    ),
    Mutant(
        "a-domain-is-sent-in-ascii",
        MAILBOX,
        '        message["To"] = sent_to(to)\n',
        '        message["To"] = to\n',
        "a customer with an umlaut in his domain is told nothing: his order completes with a warning",
        (f"{HOMES}test_a_domain_of_any_script",),
    ),
    Mutant(
        "the-whole-address-is-on-the-label",
        "services/shipping/addresses.py",
        "return NormalisedAddress(**written, **beside, country_code=code)",
        "return NormalisedAddress(**written, country_code=code)",
        "a parcel goes to a tower without the flat",
        (f"{HOMES}test_all_of_an_address_reaches_the_label",),
    ),
    Mutant(
        "nothing-is-no-posting",
        "services/payment/money.py",
        "    if amount == 0:\n        return\n",
        "",
        "an order of free samples cannot be paid: the ledger refuses a posting of 0, and the order halts",
        (f"{GIFTS}test_nothing_is_authorised_and_captured",),
    ),
]
