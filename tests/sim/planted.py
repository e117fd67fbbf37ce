#!/usr/bin/env python3
"""Mistakes planted in the framework, one at a time, in a copy of the tree: the simulator must find each within 1,000 seeds.

  tests/sim/planted.py                all of them
  tests/sim/planted.py WORD…          those with one of these words in their names, or these numbers
  tests/sim/planted.py --table FILE   also writes what was found as a table
  tests/sim/planted.py --list         names only

Before any search the tree as it stands must pass the first hundred. Prints TAP; ends with 1 if a mistake is not caught, or by
another invariant than may notice it, no longer fits the source, or does not compile; and if one that is harmless is caught.
"""
import argparse
import collections
import concurrent.futures
import os
import re
import shutil
import subprocess
import sys
import tempfile
import textwrap
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
COPIED = ["Makefile", "framework", "schemas", "tests/sim", "tests/fuzz/fuzz.h", "tests/fuzz/lane_model.c",
          "tests/fuzz/lane_model.h", "build/gen",
          "build/sim/flags", "build/sim/objects", "build/sim/obj/framework", "build/sim/obj/tests"]
SIMULATOR = "build/sim/tests/simulator"
SEEDS = 1000
LIMIT_S = 1800  # of one search; a world that hangs ends sooner

# What it is called, the rule that it breaks, the file under framework/, what stands there (once; blanks and ends of lines do
# not matter), what the mistake makes of it, and which of the invariants may notice first; or the story, for what no seed brings
# about. ("ended": a process refuses to go on. "crash": an assertion.) Then other changes that belong to it, and the invariant
# that is not looked at, because it would notice what comes before.
Mistake = collections.namedtuple("Mistake", "name rule path old new by also ignored", defaults=((), None))
MISTAKES = [Mistake(*fields) for fields in (

    # ---- the coordinator's core ----

    ("the last vote counts", "R4", "core/coordinator.c",
     "if (*branch & ASSENT_BRANCH_VOTE) return",
     "if (*branch & ASSENT_BRANCH_VOTE && !(txn->flags & (ASSENT_TXN_DECIDED | ASSENT_TXN_PRE_COMMIT)))"
     " *branch = (uint8_t)((*branch & ~ASSENT_BRANCH_VOTE) | answer); else if (*branch & ASSENT_BRANCH_VOTE) return",
     "I3 I6 I2"),
    ("votes by strangers", "R4", "core/coordinator.c",
     "if (service.size != reply->body.reply.service.size ||", "if (false && service.size != reply->body.reply.service.size &&",
     "I3 I6"),
    ("log time steps back with the broker's clock", "R1", "core/coordinator.c",
     "timestamp_ms <= TIME_MAX && timestamp_ms > core->tau_ms)", "timestamp_ms <= TIME_MAX)", "I3 I6"),
    ("what expires is settled after the message", "R1, R8", "core/coordinator.c",
     "expire(core); core->told = false; *verdict = apply(core, message);",
     "core->told = false; *verdict = apply(core, message); expire(core);", "I3 I6"),
    ("no floor", "R2, R13", "core/coordinator.c", "|| birth_ms <= core->floor_ms) /* R13's floor */", ")", "ended I1"),
    ("a begin may be born twice", "R2", "core/coordinator.c",
     "birth_ms = assent_txn_id_birth_ms(&begin->txn_id);", "birth_ms = core->tau_ms;", "I3 I6 I1 ended"),
    ("a begin from the future is taken", "R2", "core/coordinator.c",
     "if (birth_ms > core->tau_ms + core->settings.skew_ms)", "if (birth_ms == INT64_MAX)", "I3 I6"),
    ("a begin with other contents is a duplicate", "R2", "core/coordinator.c",
     "*known)->begin_digest == digest ?", "*known)->begin_digest != 0 || digest ?", "I16 I18"),
    ("the deadline counts from the client's clock", "R2", "core/coordinator.c",
     "digest, core->tau_ms + timeout_ms, timeout_ms);",
     "digest, assent_txn_id_birth_ms(&begin->txn_id) + timeout_ms, timeout_ms);", "I3 I6"),
    ("a NO counts only as the last vote", "R5", "core/coordinator.c",
     "if (answer == ASSENT_NO) {", "if (answer == ASSENT_NO && txn->missing == 0) {", "I3 I6 I2"),
    ("abort goes to YES voters only", "R5", "core/coordinator.c",
     "return vote != ASSENT_NO && vote != ASSENT_READ_ONLY;", "return vote == ASSENT_YES;", "I3 I6 liveness"),
    ("pre-commit times out to abort", "R6, R8", "core/coordinator.c",
     'decide(core, handle, commit, assent_bytes_of(commit ? NULL : "TIMEOUT"));',
     'decide(core, handle, false, assent_bytes_of("TIMEOUT"));', "I3 I6 I1"),
    ("PRE_COMMIT also to READ_ONLY voters", "R6", "core/coordinator.c",
     "ASSENT_BRANCH_VOTE) != ASSENT_YES) continue;", "ASSENT_BRANCH_VOTE) == ASSENT_NO) continue;", "I3 I6"),
    ("a cancel after PRE_COMMIT", "R7", "core/coordinator.c",
     "if (txn->flags & (ASSENT_TXN_DECIDED | ASSENT_TXN_PRE_COMMIT)) return ASSENT_V_LATE;",
     "if (txn->flags & ASSENT_TXN_DECIDED) return ASSENT_V_LATE;", "I3 I6 I1"),
    ("timeout at the deadline, not after it", "R8", "core/coordinator.c",
     "if (core->tau_ms <= assent_txn_due_ms(txn))", "if (core->tau_ms < assent_txn_due_ms(txn))", "I3 I6"),
    ("a repeated ack is counted", "R9", "core/coordinator.c", "if (*branch & ASSENT_BRANCH_ACK)", "if (false)", "crash"),
    ("the unknown is answered ABORTED", "R10", "core/coordinator.c",
     "uint32_t handle = assent_table_find(&core->table, &control->txn_id);",
     "uint32_t handle = assent_table_find(&core->table, &control->txn_id);"
     " const struct assent_txn nobody = {.id = control->txn_id};"
     " if (!handle && kind == ASSENT_INQUIRE) emit_outcome(core, &nobody, ASSENT_ABORTED, 2, (struct assent_bytes){0});",
     "I3 I6 I16"),
    ("forgetting before the end of the step", "R11", "core/coordinator.c",
     "*verdict = apply(core, message); if (!core->told) tell_verdict(core, *verdict); forget(core);",
     "forget(core); *verdict = apply(core, message); if (!core->told) tell_verdict(core, *verdict);", "I3 I6"),
    ("the hold passes undecided transactions", "R12", "core/coordinator.c",
     "if (assent_table_overdue(&core->table, &birth_ms)) {", "if (false && assent_table_overdue(&core->table, &birth_ms)) {",
     "R12"),
    ("the hold without the skew", "R12", "core/coordinator.c", "hold_ms -= core->settings.skew_ms;", "", "R12"),
    ("Lamport times recomputed when a decision is told again", "R-LAMPORT", "core/coordinator.c",
     "phase, txn->at.decided.lamport, NULL);", "phase, lamport_after(txn->lamport), NULL);", "I3 I6"),
    ("ids are not checked", "R-ID", "core/coordinator.c", "if (!assent_message_id_holds(message))", "if (false)", "I3 I6 I18"),
    ("rejections share the outcome's id", "R-ID", "core/ids.c",
     "if (message->type == ASSENT_OUTCOME && message->body.outcome.outcome == ASSENT_REJECTED) {",
     "if (message->type == ASSENT_OUTCOME && name[size - 1] == 3) name[size - 1] = 1; if (false) {", "I3 I6"),

    # ---- the coordinator's loop ----

    ("log time is the owner's clock when the record arrives", "R1", "runtime/coordinator.c",
     "? record->timestamp_ms : ASSENT_TIME_NONE; /* R1 */",
     "? record->timestamp_ms : ASSENT_TIME_NONE; if (assent_core_tau(lane->core) > 0)"
     " timestamp_ms = assent_core_tau(lane->core) + assent_bus_monotonic_ms(c->bus) - lane->last_record_ms;", "I3 I6 I1"),
    ("malformed records are passed over", "R1, R15", "runtime/coordinator.c",
     "lane->stepping = record->offset;",
     "lane->stepping = record->offset; if (fault) { lane->next = record->offset + 1; return ASSENT_OK; }", "I3 I6"),
    ("checkpoint before acknowledgement", "R12", "runtime/coordinator.c",
     "if (assent_tracker_low(&lane->sent, lane->candidate.next) < lane->candidate.next) return;", "", "I16"),
    ("L of the read position, N of the candidate", "R12", "runtime/coordinator.c",
     "size_t size = assent_checkpoint_format(&lane->candidate, text);",
     "lane->candidate.start = replay_start(lane)->offset; lane->candidate.tau_ms = replay_start(lane)->tau_ms;"
     " size_t size = assent_checkpoint_format(&lane->candidate, text);", "R12"),
    ("L one sample too late", "R12", "runtime/coordinator.c",
     "lane->samples[best + 1].tau_ms < hold)", "lane->samples[best].tau_ms < hold)", "R12"),
    ("L behind the sampled record", "R12", "runtime/coordinator.c",
     "(struct sample){.offset = offset, .tau_ms = tau};", "(struct sample){.offset = offset + 1, .tau_ms = tau};", "R12"),
    ("tau(L-1) <= h - S", "R12", "runtime/coordinator.c",
     "lane->samples[best + 1].tau_ms < hold)", "lane->samples[best + 1].tau_ms <= hold)", "R12"),
    ("the floor without the skew", "R13", "runtime/coordinator.c",
     "ASSENT_TIME_NONE : tau_ms + c->settings.skew_ms,", "ASSENT_TIME_NONE : tau_ms,", "ended"),
    ("a lane is taken up one record too late", "R13", "runtime/coordinator.c",
     "*start = lane->next; return err;", "*start = lane->next + 1; return err;", "I7"),
    ("the state of a lane is not given back when it is replayed", "R13", "runtime/coordinator.c",
     "assent_core_close(lane->core); const struct assent_core_options options", "const struct assent_core_options options", "I17"),
    ("a replay that was not proved is resumed", "R13", "runtime/coordinator.c",
     "if (!lane->core || lane->proving ||", "if (!lane->core ||", "story unproved-replay"),
    ("retention while a lane waits for its end", "R13", "runtime/coordinator.c",
     "check_log(lane, lane->next, lane->next)", "check_log(lane, low, lane->next)", "story lane-returns"),
    ("a standby drops what it kept when it begins to act", "R19", "runtime/coordinator.c",
     "ASSENT_ASSERT(decoded); /* we wrote it */ publish(lane, item.source, &message);", "ASSENT_ASSERT(decoded);",
     "I16 liveness I3"),
    ("a standby forgets what was refused while it stood by", "R15, R19", "runtime/coordinator.c",
     "if (!keep(lane, &item)) tell(lane, record, type, verdict, why);", "(void)item;", "I18"),
    ("a record that is no message is not copied to the dead letters", "R15", "runtime/coordinator.c",
     "if (copied) {", "if (copied && !record) {", "I18"),
    ("a command that is no message is not copied to the dead letters", "P4b", "runtime/participant.c",
     "if (!redelivered) {", "if (!redelivered && verdict == ASSENT_PV_FOREIGN) {", "I18"),
    ("nobody is told of a begin that is too old", "R15", "runtime/coordinator.c",
     "verdict == ASSENT_V_MISROUTED || verdict == ASSENT_V_STALE ||", "verdict == ASSENT_V_MISROUTED ||", "I18"),
    ("a standby commits while it stands by", "R19", "runtime/coordinator.c",
     "if (c->failed || stands_by(lane))", "if (c->failed)", "R12 I16 liveness"),
    ("nothing is shed", "R16", "runtime/coordinator.c",
     'cancel_later(c, lane->number, &t->txn_id, "OVERLOAD", &c->watch.overload);', ";", "I17"),
    ("a refused decision is not sent again", "R18", "runtime/coordinator.c",
     "resend_later(c, report, source);", "(void)source;", "I16 liveness"),
    ("the checkpoint does not wait for a refused decision", "R18", "runtime/coordinator.c",
     "if (!refusal->done && refusal->lane == lane->number && refusal->source < lane->candidate.next)", "if (false)", "I16"),
    ("a lagging owner times out by its own clock", "R8, R14", "runtime/coordinator.c",
     "if (err || (high > lane->next && asked_ms - lane->last_record_ms < SILENCE_MS)) {",
     "enum assent_verdict verdict; lane->stepping = lane->next - 1;"
     " if (!err && lane->next > 0) assent_core_step(lane->core, lane->stepping, assent_core_tau(lane->core) + asked_ms -"
     " lane->last_record_ms, NULL, &verdict); if (err) {", "I3 I6 I2",
     (("core/coordinator.c", "ASSENT_ASSERT(offset > core->offset && !core->exhausted);",
       "ASSENT_ASSERT(offset >= core->offset && !core->exhausted);"),)),
    ("a replay emits from L", "R13", "runtime/coordinator.c",
     "lane->emit_from = lane->committed_next = checkpoint->next;", "lane->committed_next = checkpoint->next;", "ended"),
    ("the first record from N on is silent", "R13", "runtime/coordinator.c",
     "if (lane->stepping < lane->emit_from || c->failed)", "if (lane->stepping <= lane->emit_from || c->failed)",
     "I16 liveness"),
    ("a full queue loses the record", "R12, P2", "runtime/outbound.c",
     "err = assent_bus_poll(bus, 10);", "return assent_bus_poll(bus, 10);", "liveness"),
    ("the tracker acknowledges too early", "R12, P2", "runtime/outbound.c",
     "none : t->ring[t->head & (t->capacity - 1)] / 2;", "none : t->ring[t->head & (t->capacity - 1)] / 2 + 1;",
     "I16 P2 liveness"),

    # ---- the participant's core ----

    ("the digest of a repeated command is not compared", "P3", "core/participant.c",
     "|| (slot->digest && slot->digest != digest)) return skip", ") return skip", "I18"),
    ("Lamport times recomputed when an answer is sent again", "R-LAMPORT", "core/participant.c",
     ".lamport = stored->lamport};", ".lamport = clamp_lamport((uint64_t)row->lamport + 1)};", "I3 I6"),
    ("answers of parked messages are not marked", "P2, P9", "core/participant.c",
     "slot->unpublished = source != ASSENT_FROM_LANE;", "slot->unpublished = false;", "I12 liveness"),
    ("later messages overtake a parked one", "P9", "core/participant.c",
     "if (row->parked > 0 && source != ASSENT_FROM_PARKING)", "if (row->parked > ASSENT_PARKED_MAX)", "crash"),
    ("a late PREPARE is run", "P4", "core/states.c",
     "[ASSENT_EVENT_PREPARE_EXPIRED] = REFUSE(EXPIRED, REFUSED, TOO_LATE), /* P4 */",
     "[ASSENT_EVENT_PREPARE_EXPIRED] = RUN(PREPARE, NONE),", "P4"),
    ("no tombstone", "P6", "core/states.c",
     "STORE(TOMBSTONE, TOMBSTONE, DONE)", "MOVE(ANSWER, TOMBSTONE, NONE, 0, NULL)", "P4 I18 I15 I5"),
    ("a PREPARE after its ABORT is told that it is too late", "P6", "core/states.c",
     "[ASSENT_EVENT_PREPARE] = REFUSE(TOMBSTONE, TOMBSTONE, UNWANTED),",
     "[ASSENT_EVENT_PREPARE] = REFUSE(TOMBSTONE, TOMBSTONE, TOO_LATE),", "P4"),
    ("a contradiction is answered as if applied", "P8", "core/states.c",
     "[ASSENT_EVENT_COMMIT] = FREEZE(NONE),", "[ASSENT_EVENT_COMMIT] = MOVE(ANSWER, APPLIED, NONE, 0, NULL),", "I18"),

    # ---- the participant's loop ----

    ("the effect in a transaction of its own", "P1", "runtime/participant.c",
     "h->judgement = assent_branch_settle(&h->row, m, said,",
     "if (assent_store_commit(p->store) || assent_store_begin(p->store)) return store_failed(p, ASSENT_E_STORE);"
     " h->judgement = assent_branch_settle(&h->row, m, said,", "I4 I5"),
    ("what a NO wrote stays", "P1", "runtime/participant.c",
     "said != ASSENT_SAID_NO && said != ASSENT_SAID_RETRY;", "said != ASSENT_SAID_RETRY;", "I13 I5"),
    ("publish before commit", "P2", "runtime/intake.c",
     "err = assent_store_commit(store); if",
     "err = publish(in); if (!err) err = assent_store_commit(store); if", "P2 I5 I15"),
    ("offset before commit", "P2", "runtime/intake.c",
     "lane->read_next = record->offset + 1;",
     "lane->read_next = record->offset + 1; assent_bus_commit(in->options.bus, in->consumer, lane->number, lane->read_next,"
     " assent_bytes_of(in->options.incarnation), false);", "P2 I5"),
    ("offset before acknowledgement", "P2", "runtime/intake.c",
     "lane->cursor = assent_tracker_low(&lane->sent, lane->read_next);", "lane->cursor = lane->read_next;", "P2 liveness"),
    ("the stored cursor leads", "P2", "runtime/intake.c",
     "lane->position.acked = lane->cursor;", "lane->position.acked = lane->position.next;", "I12 P2 liveness"),
    ("nothing is answered again after a crash", "P2", "runtime/intake.c",
     "int64_t cursor = committed->offset > lane->position.acked ?", "int64_t cursor = known ? lane->position.next :"
     " committed->offset > lane->position.acked ?", "P2 I12 liveness"),
    ("answers of parked messages are lost in a crash", "P2, P9", "runtime/participant.c",
     "if (row->slots[slot].unpublished) answer(p, row, slot, -1);", ";", "I13 liveness"),
    ("open_from passes open branches", "P2", "runtime/participant.c",
     "memcmp(&entry->txn_id, &lane->position.open_from, sizeof entry->txn_id) < 0)",
     "memcmp(&entry->txn_id, &lane->position.open_from, sizeof entry->txn_id) > 0)", "I13 P10 liveness I18"),
    ("a duplicate is not answered", "P3", "runtime/participant.c",
     "(action == ASSENT_STORE || action == ASSENT_RESEND))", "action == ASSENT_STORE)", "P2 liveness"),
    ("deadlines by the record's own timestamp", "P4", "runtime/participant.c",
     "return handle(p, &h, lane->position.tau_ms); } /* ---- the work of others ---- */",
     "return handle(p, &h, record->timestamp_ms); }", "P4"),
    ("in doubt past its deadline it aborts by itself", "P7", "runtime/participant.c",
     "return inquire(p, entry);",
     "struct assent_message alone = {.type = ASSENT_COMMAND, .txn_id = entry->txn_id, .lamport = 1};"
     " alone.body.command.branch = entry->branch; alone.body.command.branches_count = ASSENT_BRANCHES_MAX;"
     " alone.body.command.service = p->service; alone.body.command.phase = ASSENT_ABORT;"
     " alone.body.command.deadline_ms = entry->deadline_ms; assent_message_seal(&alone);"
     " const struct assent_decisions decisions = {.commands = &alone, .count = 1};"
     " return apply_decisions(p, &decisions, entry->lane);", "I18 I9 I3 I1"),
    ("the textbook's timers", "P7", "runtime/participant.c",
     "return inquire(p, entry);",
     "struct assent_branch_row row; enum assent_err found = assent_store_branch(p->store, &entry->txn_id, entry->branch, &row);"
     " if (found) return found;"
     " struct assent_message alone = {.type = ASSENT_COMMAND, .txn_id = entry->txn_id, .lamport = 1};"
     " alone.body.command.branch = entry->branch; alone.body.command.branches_count = ASSENT_BRANCHES_MAX;"
     " alone.body.command.service = p->service;"
     " alone.body.command.phase = row.state == ASSENT_BRANCH_PRE_COMMITTED ? ASSENT_COMMIT : ASSENT_ABORT;"
     " alone.body.command.deadline_ms = entry->deadline_ms; assent_message_seal(&alone);"
     " const struct assent_decisions decisions = {.commands = &alone, .count = 1};"
     " return apply_decisions(p, &decisions, entry->lane);", "story textbook-3pc"),
    ("cut off in PRE_COMMITTED it commits unasked", "P7", "runtime/participant.c",
     "return doubt->cut_off && p->cut_off_commits ?", "return doubt->cut_off ?", "I9"),
    ("decisions by the state at the end", "P10", "runtime/terminate.c",
     "if (!err && story.cut) {",
     "for (size_t i = 0; i < out->count;)"
     " if (assent_txn_id_birth_ms(&out->commands[i].txn_id) < story.tau_ms - settings->window_ms)"
     " out->commands[i] = out->commands[--out->count]; else i++; if (!err && story.cut) {", "P10 liveness I13"),
    ("a story is believed about the elder", "P10", "runtime/terminate.c",
     "entry->lane == search->lane && assent_txn_id_birth_ms(&entry->txn_id) >= search->birth_ms;",
     "entry->lane == search->lane;", "I18 I1 I3 I9"),
    ("a story starts at the birth", "P10", "runtime/lanes.c",
     "from_ms = assent_txn_id_birth_ms(&story->txn_id) - story->settings->skew_ms;",
     "from_ms = assent_txn_id_birth_ms(&story->txn_id);", "I1 I18 liveness P10"),
    ("two processes may open a database", "P13", "store/sqlite.c", "LOCK_EX | LOCK_NB", "LOCK_SH | LOCK_NB", "P13"),
    ("records behind a gap are passed over", "P11", "runtime/intake.c",
     "bool redelivered = record->offset < lane->position.next;",
     "bool redelivered = record->offset < lane->position.next; if (lane->read_next > 0 && record->offset > lane->read_next) {"
     " lane->read_next = record->offset + 1; return ASSENT_OK; }", "I7"),
    ("whoever looks at the group's offsets does not close its reader", "P11", "runtime/intake.c",
     "assent_bus_consumer_close(in->options.bus, reader); /* NULL after a failed open, or whatever it left */", "", "I17"),
    ("redelivered records are taken for new", "P11", "runtime/intake.c",
     "bool redelivered = record->offset < lane->position.next;", "bool redelivered = record->offset < 0;", "I7 I5"),
    ("pruned too early", "P12", "runtime/participant.c",
     "if (assent_txn_id_birth_ms(&row->txn_id) > f->newest_ms - p->horizon_ms) {"
     " f->young = true; /* keys are in time order: nothing after it is old enough */ return false; }"
     " if (lane && assent_branch_forgettable(row, lane->cursor, tau, p->horizon_ms, p->settings.timeout_max_ms)) {",
     "if (lane && assent_branch_forgettable(row, lane->cursor, tau, 0, 0)) {", "I15 I18"),

    ("half the horizon is enough", "P12", "runtime/participant.c",
     "if (assent_txn_id_birth_ms(&row->txn_id) > f->newest_ms - p->horizon_ms) {"
     " f->young = true; /* keys are in time order: nothing after it is old enough */ return false; }"
     " if (lane && assent_branch_forgettable(row, lane->cursor, tau, p->horizon_ms, p->settings.timeout_max_ms)) {",
     "if (lane && assent_branch_forgettable(row, lane->cursor, tau, p->horizon_ms / 2, p->settings.timeout_max_ms)) {",
     "I15 I18"),
    ("no time for a PRE_COMMIT that may come", "P12", "core/participant.c",
     "horizon_ms + (pre_commit_may_come ? timeout_max_ms : 0));", "horizon_ms + (pre_commit_may_come ? 0 * timeout_max_ms : 0));",
     "I15 I18"),
    ("retries without a greatest pause", "P9", "runtime/participant.c",
     "if (entry->wait_ms > p->retry_max_ms)", "if (entry->wait_ms > 1000 * p->retry_max_ms)", "story backs-off"),
    ("an empty lane is believed at once", "R17", "runtime/participant.c",
     "#define ELECTION_TRIES 10", "#define ELECTION_TRIES 1", "story first-start"),

    # ---- the outbox, and work ----

    ("a row goes before its acknowledgement", "P2", "runtime/outbox.c",
     "if (flight->state != ACKNOWLEDGED && flight->state != REFUSED) continue;",
     "if (flight->state != ACKNOWLEDGED && flight->state != REFUSED) {"
     " assent_store_outbox_delete(outbox->options.store, flight->sequence); continue; }", "event outbox"),
    ("an event for which there is no room is passed over", "P2", "runtime/outbox.c",
     "if (err == ASSENT_AGAIN) { sending->stopped = true; return false; }",
     "if (err == ASSENT_AGAIN) { if (row->sequence < route->back) route->back = row->sequence;"
     " route->after = row->sequence; sending->count++; return true; }", "event"),
    ("the others go on while one comes back", "P2", "runtime/outbox.c",
     "if (route->waiting || route->settling) return ASSENT_OK; route->after = route->back - 1;",
     "if (route->waiting) return ASSENT_OK; route->after = route->tail > route->head ?"
     " flight_at(route, route->tail - 1)->sequence : route->after;", "event outbox liveness"),
    ("events are sent before the commit", "P1", "runtime/intake.c",
     "enum assent_err err = assent_outbox_settle(in->outbox);",
     "assent_outbox_relay(in->outbox); enum assent_err err = assent_outbox_settle(in->outbox);", "event"),
    ("the id of an event counts what was sent", "P2", "runtime/outbox.c",
     "format_id(outbox, row->sequence, id);", "format_id(outbox, (int64_t)outbox->counts.sent, id);", "event"),
    ("numbers of events are used again", "P2", "store/sqlite.c",
     "if (store->outbox_deleted <= store->outbox_noted) return ASSENT_OK;", "if (store) return ASSENT_OK;", "event"),
    ("a refused event is sent for ever", "P2", "runtime/outbox.c",
     "} else if (flight->alone) {", "} else if (false) {", "outbox liveness"),
    ("work is told before it is durable", "P1", "runtime/intake.c",
     "err = assent_store_commit(store); if (err) return store_failed(in, err);",
     "if (in->options.durable) in->options.durable(in->options.context);"
     " err = assent_store_commit(store); if (err) return store_failed(in, err);", "event liveness"),
    ("work that rolls itself back is kept", "P1", "runtime/participant.c",
     "err = *undone ? assent_store_undo(p->store) : assent_store_release(p->store);",
     "err = assent_store_release(p->store);", "event"),

    # ---- the store ----

    ("synchronous=NORMAL", "P1", "store/sqlite.c",
     'err = expect(store, "PRAGMA synchronous", "2");',
     'err = execute(store, "PRAGMA synchronous=NORMAL", "cannot configure the connection");', "I7 I15 ended I5"),
    ("the database is not closed", "P13", "store/sqlite.c", "sqlite3_close_v2(store->db);", "", "I17"),
)]

# Those that change nothing that anybody relies on, and why: no world may show them.
NO_COMPARE = ("store/sqlite.h", "AND lane = ?2 AND next = ?8", "AND lane = ?2 AND ?8 >= 0")
NO_LOCK = ("store/sqlite.c", "LOCK_EX | LOCK_NB", "LOCK_SH | LOCK_NB")
MISTAKES += [Mistake(*fields) for fields in (
    ("a second owner, and only the compare-and-set", "P11, P13") + NO_LOCK + ("ended", (), "P13"),
    ("neither a lock nor the compare-and-set", "P11, P13") + NO_LOCK + ("I7 I5 I3", (NO_COMPARE,), "P13"),
)]
HARMLESS = [Mistake(*fields) for fields in (
    ("the position is set without the compare", "P11") + NO_COMPARE +
    ("the compare is the second lock. One process has the database (P13), so nobody else can have moved its position. With the"
     " lock gone too it is all there is: *a second owner, and only the compare-and-set* is stopped by it, *neither a lock nor the"
     " compare-and-set* consumes records twice. By itself it has a unit test: `runtime_order_participant`,"
     " `another_owner_of_the_position_row_stops_it`.",),
    ("timeout while lagging", "R14", "runtime/coordinator.c",
     "if (err || (high > lane->next && asked_ms - lane->last_record_ms < SILENCE_MS)) {", "if (err) {",
     "a TICK decides nothing. It is appended to the lane like any record, behind every vote that its sender has not read yet, and"
     " what is decided there is decided by the time that the broker stamps on it (R1, R8), for every reader alike. Waiting for"
     " the high watermark spares useless records. Who decides by a clock of its own instead is found: *a lagging owner times out"
     " by its own clock*, *log time is the owner's clock when the record arrives*.",),
)]


HEAD = """\
# Planted mistakes

Each was put into a copy of the framework, alone; the simulator (or a story) had a thousand worlds to find it, and the invariant
that noticed first must be one of those that the entry names. `tests/sim/planted.py --table FILE` makes this text again.
*crash*: an assertion of the framework; *ended*: a process refuses to go on; *story*: told by one, for no seed brings it about;
the other words are the invariants that `check*.c` and the simulated disk name. I15 also says that a database does not know what
it has answered, which after a crash means that it never did.

"""


class Failed(Exception):
    """A sentence for the line of the mistake."""


def run(command, folder, limit_s=LIMIT_S):
    return subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace",
                          timeout=limit_s, check=False)


def copy(source, target):
    """With times, so that make has nothing to do but what a mistake changes."""
    for path in COPIED:
        if os.path.exists(os.path.join(source, path)):
            os.makedirs(os.path.dirname(os.path.join(target, path)), exist_ok=True)
            subprocess.run(["cp", "-a", os.path.join(source, path), os.path.join(target, path)], check=True)


def change(tree, name, old, new):
    path = os.path.join(tree, "framework", name)
    with open(path, encoding="utf-8") as file:
        text = file.read()
    pattern = r"\s+".join(re.escape(word) for word in old.split())
    found = len(re.findall(pattern, text))
    if found != 1:
        raise Failed("%s has what it replaces %d times, not once" % (name, found))
    with open(path, "w", encoding="utf-8") as file:
        file.write(re.sub(pattern, lambda match: new, text))


def make(tree, target):
    made = run(["make", "--no-print-directory", "FLAVOUR=sim", "WERROR=0", target], tree)
    if made.returncode:
        raise Failed("it does not compile: " + " ".join((made.stderr or made.stdout).split())[-300:])


def search(tree, first, count, ignored=None):
    """(seed, invariant, what it said) of the first violation from `first` on; None: there is none."""
    command = [SIMULATOR, "--seeds", str(count), "--from", str(first), "--bugs", "--jobs", "1"]
    command += ["--ignore", ignored] if ignored else []
    try:
        ran = run([os.path.join(tree, command[0])] + command[1:], tree)
    except subprocess.TimeoutExpired:
        raise Failed("the search did not end within %d s" % LIMIT_S) from None
    if ran.returncode == 0:
        return None
    for line in ran.stdout.split("\n"):
        match = re.match(r"(\d+) (\S+?):? (.*)", line)
        if match:
            return int(match.group(1)), match.group(2), match.group(3)
    said = (ran.stdout + ran.stderr).strip()[-300:]
    raise Failed("the simulator ended with %d and named no seed: %s" % (ran.returncode, said))


def tell(tree, story):
    """What no seed brings about, because it needs another mistake first, is told as a story."""
    told = run([os.path.join(tree, SIMULATOR), "stories", story.split()[1]], tree)
    return ("–", story, told.stdout) if told.returncode == 1 else None


def search_one(base, number, mistake):
    tree = tempfile.mkdtemp(prefix="%02d." % number, dir=os.path.dirname(base))
    try:
        copy(base, tree)
        for path, old, new in ((mistake.path, mistake.old, mistake.new),) + mistake.also:
            change(tree, path, old, new)
        make(tree, SIMULATOR)
        story = mistake.by.startswith("story ")
        caught = tell(tree, mistake.by) if story else search(tree, 1, SEEDS, mistake.ignored)
        if mistake in HARMLESS:
            return None, "it is not harmless: seed %s: %s %s" % caught if caught else None
        if not caught:
            raise Failed("not caught within %d seeds; %s should" % (SEEDS, mistake.by))
        if not story and caught[1] not in mistake.by.split():
            return caught, "caught at seed %s by %s, not %s: %s" % (caught[0], caught[1], mistake.by, caught[2])
        return caught, None
    except Failed as failed:
        return None, str(failed)
    finally:
        shutil.rmtree(tree)


def unplanted(base):
    """The tree as it stands. The simulator's own stage searches longer."""
    caught = search(base, 1, SEEDS // 10)
    if caught:
        raise Failed("seed %d: %s %s" % caught)


def write_table(path, found):
    with open(path, "w", encoding="utf-8") as file:
        file.write(HEAD + "| mistake | rule | worlds needed | caught by |\n|---|---|---|---|\n")
        for mistake, caught in found:
            if mistake not in HARMLESS:
                file.write("| %s | %s | %s | %s |\n" % ((mistake.name, mistake.rule) + (caught[:2] if caught else ("—", "—"))))
        file.write("\n## Mistakes that are harmless, and why\n\nNone of %d worlds shows these; the run fails if one does.\n\n"
                   % SEEDS)
        for mistake, _ in found:
            if mistake in HARMLESS:
                file.write(textwrap.fill("- *%s* (%s): %s" % (mistake.name, mistake.rule, mistake.by), 128,
                                         subsequent_indent="  ", break_on_hyphens=False, break_long_words=False) + "\n")


def chosen(words):
    for number, mistake in enumerate(MISTAKES + HARMLESS, 1):
        if not words or any(str(number) == word or word in mistake.name for word in words):
            yield number, mistake


def main():
    parser = argparse.ArgumentParser(usage="planted.py [--table FILE] [--list] [WORD…]")
    parser.add_argument("words", nargs="*")
    parser.add_argument("--table", metavar="FILE")
    parser.add_argument("--list", action="store_true")
    options = parser.parse_args()
    mistakes = list(chosen(options.words))
    if options.list:
        for number, mistake in mistakes:
            print("%2d  %-12s %s" % (number, mistake.rule, mistake.name))
        return 0
    scratch = tempfile.mkdtemp(prefix="assent-planted.")
    base = os.path.join(scratch, "base")
    found, failed = [], 0

    def report(number, name, why_not, seconds):
        nonlocal failed
        failed += bool(why_not)
        print("%s %d - %s (%.1f s)" % ("not ok" if why_not else "ok", number, name, seconds), flush=True)
        if why_not:
            print("  # " + why_not, flush=True)

    try:
        started = time.monotonic()
        copy(ROOT, base)
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            try:
                make(base, SIMULATOR)
                unplanted(base)
                report(1, "nothing planted: nothing caught", None, time.monotonic() - started)
            except Failed as why:
                report(1, "nothing planted: nothing caught", str(why), time.monotonic() - started)
                print("1..1", flush=True)
                return 1
            searches = [(number, mistake, pool.submit(search_one, base, number, mistake)) for number, mistake in mistakes]
            for at, (number, mistake, future) in enumerate(searches, 2):
                started = time.monotonic()
                caught, why_not = future.result()
                found.append((mistake, caught))
                name = "%s (%s)" % (mistake.name, mistake.rule)
                if caught:
                    name += ": caught at seed %s by %s" % caught[:2]
                elif mistake in HARMLESS:
                    name += ": harmless"
                report(at, name, why_not, time.monotonic() - started)
    finally:
        shutil.rmtree(scratch)
    print("1..%d" % (1 + len(mistakes)), flush=True)
    if options.table:
        write_table(options.table, found)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
