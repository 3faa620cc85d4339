"""Faults put into a copy of the engine on purpose, one at a time: for each, tests must go red.

Run it by ``./run mutants``, with words of their names to try only some. A mutation is a short piece of text that
occurs exactly once in its place, a file or a folder of funnel/; when that code is written anew, adjust the text.
tests/test_mutants.py sees to it that none goes stale.
"""

from __future__ import annotations

import os
import queue
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

TOP = Path(__file__).resolve().parents[1]
#: What the tests need of the checkout.
PARTS = ("funnel", "tests", "benchmarks", "emails", "guide", "funnel.toml", "pyproject.toml", "cli.py")
#: A mutation that makes a test hang for so long is found, too.
PATIENCE = 90.0
WORKERS = 2

RUN = "tests/sender/test_run.py"
NEGATIVE = "tests/sender/test_negative.py"
MANY = "tests/transport/test_many.py"
CONTRACT = "tests/transport/test_contract.py"
JOURNAL = "tests/sender/test_journal.py"


@dataclass(frozen=True, slots=True)
class Mutation:
    """One fault: where, what stands there, what to put in its place, and which tests must notice."""

    name: str
    place: str  #: below funnel/
    old: str
    new: str
    tests: tuple[str, ...]

    def file(self, top: Path) -> Path:
        """Return the one file that has the old text once; raises LookupError when it is not exactly one."""
        place = top / "funnel" / self.place
        files = [place] if place.is_file() else sorted(place.rglob("*.py"))
        counts = {file: file.read_text("utf-8").count(self.old) for file in files}
        if sum(counts.values()) != 1:
            raise LookupError(f"{self.name}: occurs {sum(counts.values())} times in funnel/{self.place}: {self.old!r}")
        return max(counts, key=lambda file: counts[file])

    def source(self, top: Path) -> str:
        """Return the text of that file with the fault in it."""
        return self.file(top).read_text("utf-8").replace(self.old, self.new)


MUTATIONS = (
    # --- who has it, and who says so
    Mutation(
        "sent as soon as it is claimed", "store",
        "?4, 'sending', ?5", "?4, 'sent', ?5",
        (f"{RUN}::test_a_refusal_for_now_is_tried_again_with_the_same_bytes",),
    ),
    Mutation(
        "taken before the wire", "sender",
        "STARTED = int(Stage.STARTED)", "STARTED = int(Stage.ACCEPTED)",
        (f"{RUN}::test_a_run_killed_before_the_answer_leaves_a_doubt_that_policy_treats",),
    ),
    Mutation(
        "nobody notes that it started", "sender",
        "self._map[self._place[mailing_id]] = STARTED", "pass",
        (f"{RUN}::test_a_run_killed_before_the_answer_leaves_a_doubt_that_policy_treats",),
    ),
    Mutation(
        "started is noted after the message", "transport",
        "self.starting(mail.mailing_id)\n        try:\n            line.deliver(following)",
        "try:\n            line.deliver(following)\n            self.starting(mail.mailing_id)",
        (f"{CONTRACT}::test_what_cannot_be_noted_does_not_go",),
    ),
    Mutation(
        "no claim", "store",
        '"""INSERT INTO mailing (id,', '"""INSERT OR REPLACE INTO mailing (id,',
        (f"{NEGATIVE}::test_what_was_claimed_is_not_claimed_again",),
    ),
    Mutation(
        "a step is recorded twice", "store",
        "ON CONFLICT (enrollment_id, step) DO NOTHING RETURNING id",
        "ON CONFLICT (enrollment_id, step) DO UPDATE SET run_id = excluded.run_id RETURNING id",
        ("tests/store/test_functions.py::test_a_step_is_claimed_once",),
    ),
    Mutation(
        "the lock is ignored", "store/lock.py", "raise refusal or RunActiveError() from None", "pass",
        (f"{RUN}::test_two_runs_at_once_do_not_both_send",),
    ),
    Mutation(
        "a commit need not reach the disk", "store/database.py",
        'PRAGMA synchronous = FULL"', 'PRAGMA synchronous = NORMAL"',
        ("tests/store/test_opening.py::test_every_connection_is_strict",),
    ),
    Mutation(
        "tables change under a run", "store/database.py",
        "with alone(path, busy) if lock_of(path).exists() else nullcontext():", "with nullcontext():",
        ("tests/store/test_opening.py::test_nothing_is_brought_up_to_date_under_a_run_of_the_version_before",),
    ),
    # --- what a dead run left
    Mutation(
        "what was started goes again without a word", "sender",
        "            if stage is Stage.STARTED:", "            if False:",
        (f"{RUN}::test_a_run_killed_before_the_answer_leaves_a_doubt_that_policy_treats",),
    ),
    Mutation(
        "what was taken goes again", "sender",
        "elif stage is Stage.ACCEPTED:", "elif False:",
        (f"{RUN}::test_a_run_killed_before_it_wrote_the_answer_down_leaves_no_doubt",),
    ),
    Mutation(
        "what never started counts as a try", "sender",
        "attempted=stage is Stage.REFUSED", "attempted=True",
        (f"{RUN}::test_a_run_killed_before_anything_left_costs_nobody_an_attempt",),
    ),
    Mutation(
        "the journal is believed after a power cut", "sender",
        "(magic, boot, run) != (MAGIC, known, run_id)", "(magic, run) != (MAGIC, run_id)",
        (f"{JOURNAL}::test_after_another_start_of_the_machine_it_counts_for_nothing",),
    ),
    Mutation(
        "a batch begins with the notes of the last", "sender",
        "self._map[states:] = bytes(self._room)", "pass",
        (f"{JOURNAL}::test_nothing_of_the_batch_before_is_left",),
    ),
    Mutation(
        "a doubt is repeated without end", "policy.py",
        '(word == "retry" and doubts <= 1)', '(word == "retry")',
        (f"{NEGATIVE}::test_after_two_doubts_a_mail_never_goes_a_third_time",),
    ),
    Mutation(
        "the bytes of the first try are ignored", "sender",
        "        if kept:", "        if False:",
        (f"{NEGATIVE}::test_a_second_try_sends_the_words_of_the_first_also_when_they_were_changed",),
    ),
    # --- a run that breaks off
    Mutation(
        "given back while the transport may still send", "sender",
        "with contextlib.closing(self._answers(", "with contextlib.nullcontext(self._answers(",
        (f"{RUN}::test_what_leaves_while_a_run_breaks_off_is_uncertain_and_not_given_back",),
    ),
    Mutation(
        "what was started is given back", "sender",
        "if stages is None or stages.get(claim.mailing_id) is Stage.STARTED:", "if stages is None:",
        (f"{RUN}::test_what_leaves_while_a_run_breaks_off_is_uncertain_and_not_given_back",),
    ),
    Mutation(
        "a journal that knows of mail counts as new", "store/ledger.py",
        "(record.epoch, record.batch, record.acts) == (1, 0, 0)", "True",
        ("tests/keeping/test_guard.py::test_an_unsealed_copy_beside_the_rest_of_a_journal_is_noticed",),
    ),
    # --- whom nothing may reach
    Mutation(
        "other keys will do", "keeping/keys.py", "elif known != mark:", "elif False:",
        ("tests/keeping/test_keys.py::test_with_other_keys_nothing_is_written",),
    ),
    Mutation(
        "no last look before the wire", "sender",
        "            if stopped:", "            if False:",
        (f"{RUN}::test_an_unsubscribe_between_claim_and_wire_stops_the_mail",),
    ),
    Mutation(
        "what others write is not looked at before the wire", "sender",
        "        if self.db.still(self.seen):", "        if True:",
        (f"{RUN}::test_an_unsubscribe_between_claim_and_wire_stops_the_mail",),
    ),
    Mutation(
        "who is taken off is told before a sender can know", "store/database.py",
        "time.sleep(2 * LOOK_SECONDS)", "pass",
        ("tests/store/test_looking.py::test_nothing_starts_once_somebody_was_told_that_it_stops",),
    ),
    Mutation(
        "a look holds for ever", "store/database.py",
        "if seen != version or time.monotonic() >= until:", "if seen != version:",
        ("tests/store/test_looking.py::test_what_was_seen_holds_for_a_moment",),
    ),
    Mutation(
        "among many a suppression does not count", "sender",
        "goes = cohort.goes and not off and", "goes = cohort.goes and",
        ("tests/sender/test_cohorts.py::test_claims_of_many_are_those_of_each",),
    ),
    Mutation(
        "among many the gap after the last mail does not count", "sender",
        "way.mailed_at <= rested", "way.mailed_at <= seconds(now)",
        ("tests/sender/test_cohorts.py::test_claims_of_many_are_those_of_each",),
    ),
    Mutation(
        "people are alike whatever their zone", "store/queue.py",
        "ALIKE = 7", "ALIKE = 3",
        ("tests/sender/test_cohorts.py::test_claims_of_many_are_those_of_each",),
    ),
    Mutation(
        "a quarter of an hour is all alike", "schedule.py",
        "elif last - first == QUARTER - 1:", "else:",
        ("tests/test_schedule.py::test_what_is_known_of_a_quarter_of_an_hour_opens_when_each_moment_does",),
    ),
    Mutation(
        "one gets the next one's mail", "compose/letters.py",
        "filled(filling.rows[place])", "filled(filling.rows[place - 1])",
        ("tests/compose/test_stencil.py::test_mails_merged_for_many_are_those_of_each",),
    ),
    Mutation(
        "one copy's headers speak for all, whatever is in the others", "compose/letters.py",
        "read_again=not speaks_for_all", "read_again=False",
        ("tests/compose/test_stencil.py::test_among_many_the_last_gate_holds_when_a_cleaner_is_broken",),
    ),
    Mutation(
        "what is in doubt goes again after a restore", "keeping/guard.py",
        "SENT_OR_UNKNOWN = (MailingStatus.SENT, MailingStatus.UNCERTAIN)", "SENT_OR_UNKNOWN = (MailingStatus.SENT,)",
        (f"{NEGATIVE}::test_the_send_journal_knows_how_a_mail_ended_only_where_that_is_known",),
    ),
    Mutation(
        "after an update nobody knows how far the last run came", "sender",
        "self._left: bytes | None = os.pread(handle, os.fstat(handle).st_size, 0)", "self._left: bytes | None = b''",
        (f"{JOURNAL}::test_what_a_run_with_another_room_left_is_known",),
    ),
    Mutation(
        "a suppression counts at the first try only", "sender",
        "suppressed=due.suppressed,", "suppressed=due.suppressed and due.mailing_id is None,",
        (f"{NEGATIVE}::test_an_address_blocked_after_the_first_try_gets_no_second_one",),
    ),
    Mutation(
        "who leaves ends the series only", "store",
        "ended = ? WHERE subscriber_id = ? AND next_at IS NOT NULL",
        "ended = ? WHERE subscriber_id = ? AND sequence = 'series' AND next_at IS NOT NULL",
        (f"{NEGATIVE}::test_who_leaves_before_the_confirmation_went_out_is_not_asked",),
    ),
    Mutation(
        "who leaves gets what was put off", "feedback.py",
        "mailings.end_open_of(db, person.id, reason or str(after), now)", "pass",
        ("tests/test_feedback.py::test_stopping_settles_what_waits_for_another_try",),
    ),
    Mutation(
        "a refusal for now suppresses", "policy.py",
        "    if fault is Fault.SENDER or delivery is Delivery.TRANSIENT:",
        "    if delivery is Delivery.TRANSIENT and stage == 'rcpt':\n"
        "        return Settled(MailingStatus.FAILED, 'no such address', suppress=True)\n"
        "    if fault is Fault.SENDER or delivery is Delivery.TRANSIENT:",
        (f"{RUN}::test_a_refusal_for_now_is_tried_again_with_the_same_bytes",),
    ),
    Mutation(
        "our fault suppresses the person", "policy.py",
        "suspect=ours and not halt)", "suspect=ours and not halt, suppress=ours)",
        (f"{RUN}::test_when_we_are_refused_the_run_halts_and_nobody_is_suppressed",),
    ),
    Mutation(
        "no rest after we were refused", "sender",
        "                self._break()", "                pass",
        (f"{RUN}::test_when_we_are_refused_the_run_halts_and_nobody_is_suppressed",),
    ),
    # --- when
    Mutation(
        "a clock without a time zone", "schedule.py",
        "    instant = wall.astimezone(UTC)", "    instant = wall.replace(tzinfo=UTC)",
        ("tests/test_schedule.py::test_next_open_is_the_first_open_minute_of_the_wall_clock",),
    ),
    Mutation(
        "everybody lives where the server stands", "sender",
        "earliest_go(step, now, zone(person.zone),", 'earliest_go(step, now, zone("UTC"),',
        (f"{NEGATIVE}::test_a_late_mail_goes_by_the_readers_own_clock",),
    ),
    Mutation(
        "no gap between two mails when one is late", "sender",
        "if first_try else None\n        at, reason = earliest_go(",
        "if False else None\n        at, reason = earliest_go(",
        (f"{NEGATIVE}::test_a_mail_that_was_put_off_keeps_its_distance_to_one_of_another_way",),
    ),
    # --- what is said on the line, and what an answer means
    Mutation(
        "the message does not wait for its 354", "transport",
        "        if code == 354 and not self._refusal:", "        if not self._refusal:",
        (f"{MANY}::test_a_mail_is_announced_after_its_354_and_before_its_message",),
    ),
    Mutation(
        "dots are not doubled", "transport",
        r'message.replace(b"\r\n.", b"\r\n..")', "message",
        (f"{CONTRACT}::test_dots_and_length_do_not_change_a_message",),
    ),
    Mutation(
        "bare line ends go out", "transport",
        r'_line_ends(mail.message) not in {"\r\n", None}', "False",
        ("tests/transport/test_smtp.py::test_a_line_that_does_not_end_in_crlf_is_never_sent",),
    ),
    Mutation(
        "a connection is shared after garbage", "transport",
        "            self._unclean = self.coming is None\n            if not _refuses(code):",
        "            self._unclean = self.coming is None\n            if False:",
        ("tests/transport/test_smtp.py::test_the_next_mail_goes_whatever_became_of_the_last",),
    ),
    Mutation(
        "no reset after a refusal", "transport",
        'self._todo.append(("rset", RSET))', "pass",
        ("tests/transport/test_smtp.py::test_the_next_mail_goes_whatever_became_of_the_last",),
    ),
    Mutation(
        "garbage after the dot is a yes", "transport",
        "            return Reply(Delivery.UNKNOWN, code, text, stage)",
        "            return Reply(Delivery.ACCEPTED, code, text, stage)",
        (f"{RUN}::test_an_unreadable_answer_after_the_dot_is_never_called_sent",),
    ),
    Mutation(
        "a lost answer is a no", "transport",
        'Reply(Delivery.UNKNOWN, 0, why, "dot")', 'Reply(Delivery.TRANSIENT, 0, why, "dot")',
        (f"{RUN}::test_a_lost_answer_to_a_drip_is_uncertain_and_never_repeated",),
    ),
    Mutation(
        "a lost answer is a yes", "policy.py",
        "    if delivery is Delivery.ACCEPTED:", "    if delivery in {Delivery.ACCEPTED, Delivery.UNKNOWN}:",
        (f"{RUN}::test_a_lost_answer_to_a_drip_is_uncertain_and_never_repeated",),
    ),
    Mutation(
        "cron forgets what was put off", "store/tick.py",
        "EXISTS (SELECT 1 FROM mailing WHERE status = 'deferred' AND retry_at <= :now)", "0",
        ("tests/store/test_tick.py::test_what_a_dead_run_left_and_retries_are_due",),
    ),
    Mutation(
        "cron forgets what a dead run left", "store/tick.py",
        "EXISTS (SELECT 1 FROM mailing WHERE status = 'sending' AND {OPEN})", "0",
        ("tests/store/test_tick.py::test_what_a_dead_run_left_and_retries_are_due",),
    ),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the tests said to one mutation: red, SURVIVED, or why nothing was learnt."""

    mutation: Mutation
    word: str
    detail: str = ""


def copied(folder: Path, top: Path = TOP) -> Path:
    """Return ``folder`` with a copy of what the tests need."""
    ignore = shutil.ignore_patterns("__pycache__", ".funnel")
    for name in PARTS:
        if (top / name).is_dir():
            shutil.copytree(top / name, folder / name, ignore=ignore)
        elif (top / name).exists():
            shutil.copy(top / name, folder / name)
    return folder


def tested(top: Path, tests: tuple[str, ...]) -> tuple[int, str]:
    """Return the exit code of pytest there, and its last words; a run that hangs counts as failed."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-p", "no:xdist", *tests]
    # No bytecode: two mutations of one second and one size would look the same. CI: the same examples each time.
    env = os.environ | {"PYTHONPATH": str(top), "PYTHONDONTWRITEBYTECODE": "1", "CI": "true"}
    try:
        done = subprocess.run(command, cwd=top, env=env, capture_output=True, text=True, timeout=PATIENCE, check=False)
    except subprocess.TimeoutExpired:
        return 1, "it hangs"
    return done.returncode, done.stdout + done.stderr


def tried(mutation: Mutation, top: Path) -> Verdict:
    """Put a mutation into a copy, run its tests, and take it out again."""
    try:
        file, source = mutation.file(top), mutation.source(top)
    except LookupError as error:
        return Verdict(mutation, "GONE", str(error))
    whole = file.read_text("utf-8")
    file.write_text(source, "utf-8")
    try:
        code, said = tested(top, mutation.tests)
    finally:
        file.write_text(whole, "utf-8")
    if code == 1:
        failed = re.search(r"^FAILED \S*::(\w+)", said, re.MULTILINE)
        return Verdict(mutation, "red", failed[1] if failed else said.strip()[-80:])
    if code == 0:
        return Verdict(mutation, "SURVIVED", ", ".join(mutation.tests))
    return Verdict(mutation, "NO TEST RAN", said.strip()[-400:])


def all_tried(mutations: tuple[Mutation, ...], folder: Path, top: Path = TOP) -> list[Verdict]:
    """Return the verdict on each mutation; raises SystemExit when the tests are red without any."""
    copies: queue.Queue[Path] = queue.Queue()
    for number in range(WORKERS):
        place = folder / str(number)
        place.mkdir(parents=True)
        copies.put(copied(place, top))
    code, said = tested(folder / "0", tuple(sorted({test for mutation in mutations for test in mutation.tests})))
    if code != 0:
        raise SystemExit(f"{said}\nmutants: these tests are red without a mutation")

    def in_a_copy(mutation: Mutation) -> Verdict:
        place = copies.get()
        try:
            return tried(mutation, place)
        finally:
            copies.put(place)

    with ThreadPoolExecutor(WORKERS) as pool:
        return list(pool.map(in_a_copy, mutations))


def main(words: list[str]) -> int:
    """Print a table of the mutations whose name has one of the words, or of all; return 1 when one was not found."""
    wanted = tuple(m for m in MUTATIONS if not words or any(word in m.name for word in words))
    if not wanted:
        print("no mutation has that in its name")
        return 1
    with tempfile.TemporaryDirectory() as folder:
        verdicts = all_tried(wanted, Path(folder))
    for verdict in verdicts:
        print(f"{verdict.word:<12} {verdict.mutation.name:<48} {verdict.detail}")
    missed = sum(verdict.word != "red" for verdict in verdicts)
    print(f"\n{len(verdicts) - missed} of {len(verdicts)} found")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
