/* craft.c: writes one protocol message's bytes on stdout, as well-formed or as wrong as asked, for tests to send with rawsend.
 *
 *   craft txn | craft lane TXN LANES
 *   craft begin TXN [service=S] [kind=K] [payload=P] [branches=N] [protocol=2PC] [timeout=MS] [id=bad]
 *   craft reply TXN branch=N service=S phase=PREPARE answer=YES [reason=R] [lamport=N] [id=bad]
 *   craft command TXN branch=N branches=N service=S phase=PREPARE deadline=MS [kind=K] [payload=P] [id=bad]
 *   craft cancel|inquire TXN [branch=N] [reason=R] [attempt=N]
 *   craft settings TEXT */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "codec/codec.h"
#include "core/ids.h"

static char **words;

static const char *word(const char *name, const char *otherwise)
{
        size_t size = strlen(name);
        for (char **w = words; *w; w++)
                if (strncmp(*w, name, size) == 0 && (*w)[size] == '=')
                        return *w + size + 1;
        return otherwise;
}

static struct assent_bytes text(const char *name, const char *otherwise)
{
        return assent_bytes_of(word(name, otherwise));
}

static long long number(const char *name, const char *otherwise)
{
        return strtoll(word(name, otherwise), NULL, 10);
}

static void make_begin(struct assent_message *m)
{
        static struct assent_branch_request branches[ASSENT_BRANCHES_MAX + 1];
        m->type = ASSENT_BEGIN;
        assent_protocol_from(text("protocol", "2PC"), &m->body.begin.protocol);
        m->body.begin.timeout_ms = (uint32_t)number("timeout", "1000");
        m->body.begin.branches_count = (uint32_t)number("branches", "1");
        m->body.begin.branches = branches;
        for (size_t i = 0; i <= ASSENT_BRANCHES_MAX; i++)
                branches[i] = (struct assent_branch_request){
                        .service = text("service", "payment"),
                        .kind = text("kind", "charge"),
                        .payload = text("payload", "{}")};
}

static void make_reply(struct assent_message *m)
{
        m->type = ASSENT_REPLY;
        m->body.reply.branch = (uint16_t)number("branch", "0");
        m->body.reply.service = text("service", "payment");
        assent_phase_from(text("phase", "PREPARE"), &m->body.reply.phase);
        assent_answer_from(text("answer", "YES"), &m->body.reply.answer);
        m->body.reply.reason = text("reason", "");
}

static void make_command(struct assent_message *m)
{
        m->type = ASSENT_COMMAND;
        m->body.command.branch = (uint16_t)number("branch", "0");
        m->body.command.branches_count = (uint16_t)number("branches", "1");
        m->body.command.service = text("service", "payment");
        assent_phase_from(text("phase", "PREPARE"), &m->body.command.phase);
        m->body.command.deadline_ms = number("deadline", "0");
        m->body.command.kind = text("kind", "");
        m->body.command.payload = text("payload", "");
}

static void make_control(struct assent_message *m, enum assent_control_kind kind)
{
        m->type = ASSENT_CONTROL;
        m->body.control.kind = kind;
        m->body.control.branch = (int32_t)number("branch", "-1");
        m->body.control.attempt = (uint32_t)number("attempt", "0");
        m->body.control.reason = text("reason", "");
}

static int write_out(struct assent_message *m)
{
        m->lamport = (uint64_t)number("lamport", "1");
        assent_message_seal(m);
        if (strcmp(word("id", ""), "bad") == 0)
                m->message_id.bytes[0] ^= 1;
        struct assent_codec *codec = assent_codec_open(8 << 20);
        struct assent_bytes bytes;
        int status = !codec || assent_codec_encode(codec, m, &bytes) ||
                     fwrite(bytes.data, 1, bytes.size, stdout) != bytes.size;
        assent_codec_close(codec);
        return status;
}

int main(int argc, char **argv)
{
        struct assent_message m = {0};
        char id[ASSENT_UUID_TEXT_SIZE];
        if (argc == 2 && strcmp(argv[1], "txn") == 0) {
                assent_txn_id_new(&m.txn_id);
                assent_uuid_format(&m.txn_id, id);
                return puts(id) < 0;
        }
        if (argc < 3)
                return 2;
        words = argv + 3;
        if (strcmp(argv[1], "settings") == 0) {
                make_control(&m, ASSENT_SETTINGS);
                m.body.control.settings = assent_bytes_of(argv[2]);
                return write_out(&m);
        }
        if (assent_uuid_parse(argv[2], strlen(argv[2]), &m.txn_id))
                return 2;
        if (strcmp(argv[1], "lane") == 0 && argc == 4)
                return printf("%" PRId32 "\n", assent_lane_of(&m.txn_id, (uint32_t)strtoul(argv[3], NULL, 10))) < 0;
        if (strcmp(argv[1], "begin") == 0)
                make_begin(&m);
        else if (strcmp(argv[1], "reply") == 0)
                make_reply(&m);
        else if (strcmp(argv[1], "command") == 0)
                make_command(&m);
        else if (strcmp(argv[1], "cancel") == 0)
                make_control(&m, ASSENT_CANCEL);
        else if (strcmp(argv[1], "inquire") == 0)
                make_control(&m, ASSENT_INQUIRE);
        else
                return 2;
        return write_out(&m);
}
