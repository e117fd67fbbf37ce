#include "order.h"

#include <curl/curl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

#include "load.h"

#define ANSWER_SIZE_MAX    65536
#define WAIT_S_MAX         30   /* as long as the service holds an answer back */
#define TRY_MORE_MS        5000 /* beyond that: then the request is lost, and sent again */
#define PAUSE_MIN_MS       50   /* before it is sent again, unless the service says when; doubled each time */
#define PAUSE_MAX_MS       1000
#define RETRY_AFTER_MS_MAX 10000
#define DESCRIPTORS_MORE   64 /* beside the connections */
#define EVENTS_MAX         256

struct answer {
        long status;
        bool replayed;
        size_t size, room;
        char *body;
        char etag[32], location[ORDER_PATH_SIZE_MAX + 1];
};

/* One order, until all of its requests have their last answer. */
struct placing {
        struct assent_uuid id; /* by which the load knows it */
        struct curl_slist *headers;
        char *body;
        size_t body_size;
        int16_t account;
        int64_t cents;
        bool measured, refuse, later; /* `later`: the second copy goes out when the first is answered */
        unsigned open;                /* requests without a last answer */
        bool settled, refused;
        struct answer first;                   /* that settled it */
        char interim[ORDER_PATH_SIZE_MAX + 1]; /* where it can be seen meanwhile */
        char why[ASSENT_REASON_SIZE_MAX + 1];  /* it is not settled */
};

/* One request of an order, sent as often as it takes. Kept for the next when it has its answer. */
struct call {
        struct call *before; /* of all there are */
        struct call *next;   /* idle or paused */
        CURL *easy;
        struct placing *placing;
        int64_t until_us, again_us;
        int64_t pause_ms;
        struct answer answer;
        char error[CURL_ERROR_SIZE];
};

void order_fault(struct order_faults *faults, const char *format, ...)
{
        va_list arguments;

        va_start(arguments, format);
        if (faults->count < ORDER_FAULTS_SHOWN_MAX)
                vsnprintf(faults->shown[faults->count], sizeof faults->shown[0], format, arguments);
        va_end(arguments);
        faults->count++;
}

int64_t order_version(const char *etag)
{
        const size_t digits = etag[0] == '"' ? strspn(etag + 1, "0123456789") : 0;
        const bool whole = digits > 0 && digits < 19 && strcmp(etag + 1 + digits, "\"") == 0 && (etag[1] != '0' || digits == 1);

        return whole ? strtoll(etag + 1, NULL, 10) : -1;
}

/* ---- open, close ---- */

__attribute__((format(printf, 3, 4))) static enum assent_err fail(struct order *order, enum assent_err err,
                                                                  const char *format, ...)
{
        va_list arguments;

        va_start(arguments, format);
        vsnprintf(order->errmsg, sizeof order->errmsg, format, arguments);
        va_end(arguments);
        return err;
}

/* Each request has a connection of its own while its answer is waited for. */
static enum assent_err allow_descriptors(struct order *order)
{
        struct rlimit limit;
        const rlim_t wanted = (rlim_t)order->calls_max + DESCRIPTORS_MORE;

        if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= wanted)
                return ASSENT_OK;
        if (limit.rlim_max < wanted)
                return fail(order, ASSENT_E_ARGUMENT,
                            "--in-flight %" PRId64 " needs %ju open files, and %ju are allowed: lower it, or raise ulimit -n",
                            order->load->settings->in_flight, (uintmax_t)wanted, (uintmax_t)limit.rlim_max);
        limit.rlim_cur = wanted;
        return setrlimit(RLIMIT_NOFILE, &limit) == 0 ? ASSENT_OK : fail(order, ASSENT_E_MEMORY, "no more open files");
}

/* Asks for one order: whether anybody is there, and takes the token, is known before anything is sent. */
static enum assent_err ask(struct order *order)
{
        char url[sizeof order->url + 16];
        struct assent_fetched answer;

        snprintf(url, sizeof url, "%s?limit=1", order->url);
        const enum assent_err err = assent_fetch_get(order->fetch, url, NULL, &answer);
        if (err != ASSENT_OK)
                return fail(order, err == ASSENT_TIMED_OUT ? ASSENT_E_BROKER : err, "%s", assent_fetch_errmsg(order->fetch));
        if (answer.status == 401 || answer.status == 403)
                return fail(order, ASSENT_E_ARGUMENT, "%s answers %u: give a token that it takes with --token-file", order->url,
                            answer.status);
        if (answer.status != 200)
                return fail(order, ASSENT_E_ARGUMENT, "%s answers %u: --url is that of no order service", order->url,
                            answer.status);
        return ASSENT_OK;
}

static int on_socket(CURL *easy, curl_socket_t socket, int what, void *context, void *known)
{
        const struct order *order = context;
        struct epoll_event event = {.events = (what & CURL_POLL_IN ? EPOLLIN : 0u) | (what & CURL_POLL_OUT ? EPOLLOUT : 0u),
                                    .data.fd = socket};
        (void)easy;
        (void)known;

        if (what == CURL_POLL_REMOVE)
                epoll_ctl(order->epoll, EPOLL_CTL_DEL, socket, &event);
        else if (epoll_ctl(order->epoll, EPOLL_CTL_MOD, socket, &event) != 0)
                return epoll_ctl(order->epoll, EPOLL_CTL_ADD, socket, &event);
        return 0;
}

static int on_timer(CURLM *multi, long ms, void *context)
{
        struct order *order = context;
        (void)multi;

        order->timer_us = ms < 0 ? INT64_MAX : now_us() + (int64_t)ms * 1000;
        return 0;
}

static bool open_multi(struct order *order)
{
        order->epoll = epoll_create1(EPOLL_CLOEXEC);
        order->timer_us = INT64_MAX;
        if (order->epoll < 0)
                return false;
        order->multi = curl_multi_init();
        if (!order->multi)
                close(order->epoll);
        return order->multi && curl_multi_setopt(order->multi, CURLMOPT_MAXCONNECTS, (long)order->calls_max) == CURLM_OK &&
               curl_multi_setopt(order->multi, CURLMOPT_SOCKETFUNCTION, on_socket) == CURLM_OK &&
               curl_multi_setopt(order->multi, CURLMOPT_SOCKETDATA, order) == CURLM_OK &&
               curl_multi_setopt(order->multi, CURLMOPT_TIMERFUNCTION, on_timer) == CURLM_OK &&
               curl_multi_setopt(order->multi, CURLMOPT_TIMERDATA, order) == CURLM_OK;
}

enum assent_err order_open(struct order *order, struct load *load)
{
        const struct settings *settings = load->settings;
        struct assent_fetch_options options = ASSENT_FETCH_OPTIONS_INIT;
        size_t size = strlen(settings->url);

        order->load = load;
        order->calls_max = 2 * (size_t)settings->in_flight;
        while (size > 0 && settings->url[size - 1] == '/')
                size--;
        snprintf(order->url, sizeof order->url, "%.*s/v1/orders", (int)size, settings->url);
        options.token = *settings->token ? settings->token : NULL;
        options.entities_max = 16384;
        if (assent_fetch_open(&options, &order->fetch) != ASSENT_OK)
                return fail(order, ASSENT_E_MEMORY, "no memory for a connection, or a token that is not printable");
        const enum assent_err err = allow_descriptors(order);
        if (err != ASSENT_OK)
                return err;
        return open_multi(order) ? ask(order) : fail(order, ASSENT_E_MEMORY, "no memory for connections");
}

static void placing_free(struct placing *placing)
{
        curl_slist_free_all(placing->headers);
        free(placing->first.body);
        free(placing->body);
        free(placing);
}

void order_close(struct order *order)
{
        while (order->all) {
                struct call *call = order->all;
                order->all = call->before;
                curl_multi_remove_handle(order->multi, call->easy); /* also of one that is not under way */
                curl_easy_cleanup(call->easy);
                if (call->placing && --call->placing->open == call->placing->later)
                        placing_free(call->placing);
                free(call->answer.body);
                free(call);
        }
        if (order->multi) {
                curl_multi_cleanup(order->multi);
                close(order->epoll);
        }
        assent_fetch_close(order->fetch);
        free(order->records);
}

/* ---- requests ---- */

static size_t take_body(char *data, size_t one, size_t size, void *context)
{
        struct answer *answer = &((struct call *)context)->answer;

        size *= one;
        if (size > ANSWER_SIZE_MAX - answer->size)
                return 0; /* ends the transfer with an error */
        if (answer->size + size > answer->room) {
                const size_t room = answer->size + size < 1024 ? 1024 : ANSWER_SIZE_MAX;
                char *body = realloc(answer->body, room);
                if (!body)
                        return 0;
                answer->body = body;
                answer->room = room;
        }
        memcpy(answer->body + answer->size, data, size);
        answer->size += size;
        return size;
}

/* One that is not in use, or a new one: never more of them than order->calls_max. */
static struct call *call_take(struct order *order)
{
        struct call *call = order->idle;

        if (call) {
                order->idle = call->next;
                return call;
        }
        call = calloc(1, sizeof *call);
        CURL *easy = call ? curl_easy_init() : NULL;
        const bool set = easy && curl_easy_setopt(easy, CURLOPT_URL, order->url) == CURLE_OK &&
                         curl_easy_setopt(easy, CURLOPT_USERAGENT, "assent-load/" ASSENT_VERSION) == CURLE_OK &&
                         curl_easy_setopt(easy, CURLOPT_PROXY, "") == CURLE_OK && /* not even one from the environment */
                         curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L) == CURLE_OK &&
                         curl_easy_setopt(easy, CURLOPT_POST, 1L) == CURLE_OK &&
                         curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, call->error) == CURLE_OK &&
                         curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, take_body) == CURLE_OK &&
                         curl_easy_setopt(easy, CURLOPT_WRITEDATA, call) == CURLE_OK &&
                         curl_easy_setopt(easy, CURLOPT_PRIVATE, call) == CURLE_OK;
        if (!set) {
                curl_easy_cleanup(easy);
                free(call);
                return NULL;
        }
        call->easy = easy;
        call->before = order->all;
        order->all = call;
        return call;
}

static enum assent_err call_send(struct order *order, struct call *call)
{
        const struct placing *placing = call->placing;
        const long left_ms = (long)((call->until_us - now_us()) / 1000 + 1), most_ms = WAIT_S_MAX * 1000 + TRY_MORE_MS;
        const long try_ms = left_ms < most_ms ? left_ms : most_ms;

        call->answer.size = 0;
        call->error[0] = '\0';
        const bool set = curl_easy_setopt(call->easy, CURLOPT_HTTPHEADER, placing->headers) == CURLE_OK &&
                         curl_easy_setopt(call->easy, CURLOPT_POSTFIELDS, placing->body) == CURLE_OK &&
                         curl_easy_setopt(call->easy, CURLOPT_POSTFIELDSIZE, (long)placing->body_size) == CURLE_OK &&
                         curl_easy_setopt(call->easy, CURLOPT_TIMEOUT_MS, try_ms) == CURLE_OK;
        return set && curl_multi_add_handle(order->multi, call->easy) == CURLM_OK ? ASSENT_OK : ASSENT_E_MEMORY;
}

static enum assent_err call_begin(struct order *order, struct placing *placing)
{
        struct call *call = call_take(order);

        if (!call)
                return ASSENT_E_MEMORY;
        call->placing = placing;
        call->pause_ms = PAUSE_MIN_MS;
        call->until_us = now_us() + order->load->settings->timeout_ms * 1000;
        return call_send(order, call);
}

__attribute__((format(printf, 2, 3))) static bool add_header(struct placing *placing, const char *format, ...)
{
        char line[600];
        va_list arguments;

        va_start(arguments, format);
        vsnprintf(line, sizeof line, format, arguments);
        va_end(arguments);
        struct curl_slist *longer = curl_slist_append(placing->headers, line);
        placing->headers = longer ? longer : placing->headers;
        return longer != NULL;
}

static struct placing *placing_new(const struct settings *settings, const struct draft *draft)
{
        const struct assent_bytes body = draft->branches[0].payload;
        const int64_t wait_s = settings->timeout_ms / 1000;
        struct placing *placing = calloc(1, sizeof *placing);

        if (!placing)
                return NULL;
        placing->id = draft->begin.txn_id;
        placing->account = (int16_t)draft->account;
        placing->cents = draft->cents;
        placing->refuse = draft->refuse;
        placing->later = draft->twice && draft->later;
        placing->open = draft->twice ? 2 : 1;
        placing->body = malloc(body.size);
        placing->body_size = body.size;
        if (placing->body && add_header(placing, "Idempotency-Key: %s-%" PRIu64, settings->run_id, draft->number) &&
            add_header(placing, "Content-Type: application/json") && add_header(placing, "Expect:") &&
            add_header(placing, "Prefer: wait=%" PRId64, wait_s < WAIT_S_MAX ? wait_s : WAIT_S_MAX) &&
            (!*settings->token || add_header(placing, "Authorization: Bearer %s", settings->token))) {
                memcpy(placing->body, body.data, body.size);
                return placing;
        }
        placing_free(placing);
        return NULL;
}

enum assent_err order_send(struct order *order, const struct draft *draft)
{
        const size_t copies = draft->twice ? 2 : 1;

        if (order->calls + copies > order->calls_max)
                return ASSENT_AGAIN;
        struct placing *placing = placing_new(order->load->settings, draft);
        if (!placing)
                return ASSENT_E_MEMORY;
        placing->measured = order->load->results.measuring;
        order->calls += copies;
        enum assent_err err = call_begin(order, placing);
        if (err == ASSENT_OK && draft->twice && !placing->later)
                err = call_begin(order, placing);
        return err;
}

/* ---- answers ---- */

static const char *field(const struct call *call, const char *name)
{
        struct curl_header *header;
        const bool there = curl_easy_header(call->easy, name, 0, CURLH_HEADER, -1, &header) == CURLHE_OK;

        return there ? header->value : "";
}

static void read_fields(struct call *call)
{
        struct answer *answer = &call->answer;

        curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &answer->status);
        snprintf(answer->etag, sizeof answer->etag, "%s", field(call, "ETag"));
        snprintf(answer->location, sizeof answer->location, "%s", field(call, "Location"));
        answer->replayed = strcmp(field(call, "Idempotent-Replayed"), "true") == 0;
}

/* How long to wait before it is sent again; -1: not at all. */
static int64_t pause_ms(struct call *call, bool arrived)
{
        curl_off_t after_s = 0;
        const long status = call->answer.status;

        if (arrived && status != 202 && status != 409 && status != 429 && status < 500)
                return -1;
        if (arrived && curl_easy_getinfo(call->easy, CURLINFO_RETRY_AFTER, &after_s) == CURLE_OK && after_s > 0)
                return after_s < RETRY_AFTER_MS_MAX / 1000 ? after_s * 1000 : RETRY_AFTER_MS_MAX;
        const int64_t pause = call->pause_ms;
        call->pause_ms = 2 * pause < PAUSE_MAX_MS ? 2 * pause : PAUSE_MAX_MS;
        return pause;
}

static void remember(struct order *order, const struct placing *placing, const char *path, bool known)
{
        if (order->records_count == order->records_max) {
                const size_t more = order->records_max ? 2 * order->records_max : 1024;
                struct order_record *records = realloc(order->records, more * sizeof *records);
                if (!records) {
                        order->err = ASSENT_E_MEMORY;
                        return;
                }
                order->records = records;
                order->records_max = more;
        }
        struct order_record *record = &order->records[order->records_count++];
        *record = (struct order_record){.known = known,
                                        .committed = known && placing->first.status == 201,
                                        .account = placing->account,
                                        .version = known ? order_version(placing->first.etag) : 0,
                                        .cents = placing->cents};
        memcpy(record->path, path, strlen(path) + 1);
}

/* What may be the first answer that settles an order. */
static void settle(struct order *order, struct placing *placing, struct call *call)
{
        struct answer *answer = &call->answer;
        json_t *body = json_loadb(answer->body ? answer->body : "", answer->size, 0, NULL);
        const char *outcome = json_string_value(json_object_get(body, "outcome"));
        const char *reason = json_string_value(json_object_get(body, "reason"));
        const bool committed = answer->status == 201;
        const bool good = outcome && strcmp(outcome, committed ? "committed" : "aborted") == 0 &&
                          strncmp(answer->location, "/v1/orders/", 11) == 0 && order_version(answer->etag) > 0;

        if (good) {
                placing->first = *answer;
                *answer = (struct answer){0};
                placing->settled = true;
                remember(order, placing, placing->first.location, true);
                if (placing->refused)
                        order_fault(&order->faults, "%s: one Idempotency-Key, two answers: %ld and %s", placing->first.location,
                                    placing->first.status, placing->why);
                if (committed && placing->refuse)
                        order_fault(&order->faults, "%s: committed, and it could not be paid or delivered",
                                    placing->first.location);
                load_ended(order->load, &placing->id, committed,
                           (struct assent_bytes){reason ? reason : "", reason ? strlen(reason) : 0});
        } else {
                order_fault(&order->faults, "%s: answer %ld without its outcome, ETag or Location", answer->location,
                            answer->status);
                snprintf(placing->why, sizeof placing->why, "an answer that is none");
        }
        json_decref(body);
}

/* Another answer to the same order says the same, down to the byte. */
static void compare(struct order *order, const struct placing *placing, const struct answer *answer)
{
        const struct answer *first = &placing->first;

        if (answer->status == first->status && answer->size == first->size && strcmp(answer->etag, first->etag) == 0 &&
            strcmp(answer->location, first->location) == 0 && memcmp(answer->body, first->body, first->size) == 0)
                load_absorbed(order->load, placing->measured);
        else
                order_fault(&order->faults, "%s: one Idempotency-Key, two answers: %ld and %ld", first->location, first->status,
                            answer->status);
}

/* What the service says is wrong with it. */
static void refuse(struct order *order, struct placing *placing, const struct answer *answer)
{
        json_t *problem = json_loadb(answer->body ? answer->body : "", answer->size, 0, NULL);
        const char *detail = json_string_value(json_object_get(problem, "detail"));

        snprintf(placing->why, sizeof placing->why, "%ld %.150s", answer->status, detail ? detail : "");
        placing->refused = true;
        if (placing->settled)
                order_fault(&order->faults, "%s: one Idempotency-Key, two answers: %ld and %s", placing->first.location,
                            placing->first.status, placing->why);
        json_decref(problem);
}

/* No request of it is under way any more. */
static void placing_end(struct order *order, struct placing *placing)
{
        const struct assent_bytes why = {placing->why, strlen(placing->why)};

        if (!placing->settled && *placing->interim)
                remember(order, placing, placing->interim, false);
        if (!placing->settled && placing->refused && !*placing->interim)
                load_copy_rejected(order->load, &placing->id, why);
        else if (!placing->settled)
                load_lost(order->load, &placing->id, why);
        placing_free(placing);
}

static void call_end(struct order *order, struct call *call)
{
        struct placing *placing = call->placing;

        call->placing = NULL;
        call->next = order->idle;
        order->idle = call;
        order->calls--;
        load_copy_answered(order->load);
        if (--placing->open == 0) {
                placing_end(order, placing);
        } else if (placing->later) {
                placing->later = false;
                order->err = call_begin(order, placing);
        }
}

/* It is not known whether it arrived: the same request again. */
static void call_pause(struct order *order, struct call *call, int64_t ms)
{
        call->again_us = now_us() + ms * 1000;
        if (call->again_us >= call->until_us) {
                call_end(order, call);
                return;
        }
        order->retries++;
        call->next = order->paused;
        order->paused = call;
}

static void answered(struct order *order, struct call *call, CURLcode code)
{
        struct placing *placing = call->placing;
        struct answer *answer = &call->answer;

        if (code == CURLE_OK)
                read_fields(call);
        const int64_t pause = pause_ms(call, code == CURLE_OK);
        if (code == CURLE_OK && (answer->status == 202 || answer->status == 409) &&
            strncmp(answer->location, "/v1/", 4) == 0)
                memcpy(placing->interim, answer->location, sizeof placing->interim);
        if (code != CURLE_OK)
                snprintf(placing->why, sizeof placing->why, "%.150s", *call->error ? call->error : curl_easy_strerror(code));
        else if (pause >= 0)
                snprintf(placing->why, sizeof placing->why, "no result in time: the last answer was %ld", answer->status);
        curl_multi_remove_handle(order->multi, call->easy);
        if (pause >= 0) {
                call_pause(order, call, pause);
                return;
        }
        order->replays += answer->replayed;
        if (answer->status != 200 && answer->status != 201)
                refuse(order, placing, answer);
        else if (placing->settled)
                compare(order, placing, answer);
        else
                settle(order, placing, call);
        call_end(order, call);
}

/* ---- the step ---- */

/* Sends again what is due; how long to wait at most for the next. */
static int resume(struct order *order, int timeout_ms)
{
        const int64_t now = now_us();

        for (struct call **at = &order->paused; *at && order->err == ASSENT_OK;) {
                struct call *call = *at;
                const int64_t left_ms = (call->again_us - now + 999) / 1000;
                if (left_ms <= 0) {
                        *at = call->next;
                        order->err = call_send(order, call);
                        continue;
                }
                timeout_ms = left_ms < timeout_ms ? (int)left_ms : timeout_ms;
                at = &call->next;
        }
        return timeout_ms;
}

static void take_answers(struct order *order)
{
        int left;
        CURLMsg *message;

        while ((message = curl_multi_info_read(order->multi, &left))) {
                const CURLcode code = message->data.result;
                char *call = NULL;
                if (curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &call) == CURLE_OK)
                        answered(order, (struct call *)(void *)call, code);
        }
}

enum assent_err order_step(struct order *order, int timeout_ms)
{
        struct epoll_event events[EVENTS_MAX];
        int running;

        timeout_ms = resume(order, timeout_ms);
        const int64_t left_us = order->timer_us == INT64_MAX ? INT64_MAX : order->timer_us - now_us();
        if (left_us < timeout_ms * INT64_C(1000))
                timeout_ms = left_us > 0 ? (int)((left_us + 999) / 1000) : 0;
        const int count = epoll_wait(order->epoll, events, EVENTS_MAX, timeout_ms);
        for (int i = 0; i < count; i++) {
                const uint32_t told = events[i].events;
                const int mask = (told & EPOLLIN ? CURL_CSELECT_IN : 0) | (told & EPOLLOUT ? CURL_CSELECT_OUT : 0) |
                                 (told & (EPOLLERR | EPOLLHUP) ? CURL_CSELECT_ERR : 0);
                curl_multi_socket_action(order->multi, events[i].data.fd, mask, &running);
        }
        if (now_us() >= order->timer_us) {
                order->timer_us = INT64_MAX; /* unless it is set anew in there */
                curl_multi_socket_action(order->multi, CURL_SOCKET_TIMEOUT, 0, &running);
        }
        take_answers(order);
        if (order->err != ASSENT_OK)
                fail(order, order->err, "no memory for another request");
        return order->err;
}
