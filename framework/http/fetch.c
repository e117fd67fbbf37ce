/* fetch.c: one easy handle of libcurl, which keeps the connections, and the entities it may ask about again. */
#include <assent/fetch.h>

#include <curl/curl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/buffer.h"
#include "base/escape.h"
#include "base/lru.h"

#define ETAG_SIZE_MAX     256
#define METHOD_SIZE_MAX   16
#define RETRY_AFTER_S_MAX 86400
#define ERROR_SIZE_MAX    768

/* The URL stands at `url`, the other three behind it, each with a NUL. */
struct entity {
        struct assent_lru_link link;
        const char *etag, *content_type, *body;
        size_t body_size;
        char url[];
};

struct assent_fetch {
        CURL *curl;
        uint32_t timeout_ms;
        struct assent_lru entities;
        size_t entities_max;
        char *authorization; /* the header field; NULL: none */
        struct assent_buffer body;
        size_t head_size; /* of the answer so far */
        bool too_large;
        char reason[CURL_ERROR_SIZE];
        char error[ERROR_SIZE_MAX];
};

/* One exchange. */
struct question {
        const char *method, *url;
        const char *const *headers;
        const char *content_type;
        struct assent_bytes body;
        struct curl_slist *fields;
        bool own_condition, repeatable; /* what the caller's headers say */
};

__attribute__((format(printf, 4, 5))) static enum assent_err fail(struct assent_fetch *fetch, const struct question *question,
                                                                  enum assent_err err, const char *format, ...)
{
        char url[200], why[400];
        va_list arguments;
        va_start(arguments, format);
        vsnprintf(why, sizeof why, format, arguments);
        va_end(arguments);
        assent_escape_text(question->url, strlen(question->url), url, sizeof url);
        snprintf(fetch->error, sizeof fetch->error, "%.*s %s: %s", METHOD_SIZE_MAX, question->method, url, why);
        return err;
}

/* ---- open and close ---- */

/* libcurl's own is thread-safe only where it was built so. Nobody ever undoes it: others in the process use the library too. */
static CURLcode global;

static void global_init(void)
{
        global = curl_global_init(CURL_GLOBAL_DEFAULT);
}

static bool printable(const char *text, size_t size_max)
{
        size_t size = strnlen(text, size_max + 1);
        for (size_t i = 0; i < size; i++)
                if ((unsigned char)text[i] < ' ' || text[i] == 0x7f)
                        return false;
        return size <= size_max;
}

enum assent_err assent_fetch_open(const struct assent_fetch_options *options, struct assent_fetch **out)
{
        static pthread_once_t once = PTHREAD_ONCE_INIT;

        *out = NULL;
        if (options->struct_size != sizeof *options || options->timeout_ms == 0 || options->timeout_ms > INT32_MAX ||
            options->body_bytes_max >= SIZE_MAX / 2 || options->entities_max > ASSENT_LRU_ENTRIES_MAX ||
            (options->token && !printable(options->token, ASSENT_FETCH_HEADER_SIZE_MAX)))
                return ASSENT_E_ARGUMENT;
        pthread_once(&once, global_init);
        struct assent_fetch *fetch = global == CURLE_OK ? calloc(1, sizeof *fetch) : NULL;
        if (!fetch)
                return ASSENT_E_MEMORY;
        fetch->timeout_ms = options->timeout_ms;
        fetch->entities_max = options->entities_max;
        assent_buffer_init(&fetch->body, options->body_bytes_max);
        fetch->curl = curl_easy_init();
        if (!fetch->curl || !assent_lru_open(&fetch->entities, options->entities_max) ||
            (options->token && asprintf(&fetch->authorization, "Authorization: Bearer %s", options->token) < 0)) {
                fetch->authorization = NULL; /* asprintf leaves it undefined */
                assent_fetch_close(fetch);
                return ASSENT_E_MEMORY;
        }
        *out = fetch;
        return ASSENT_OK;
}

static void forget(struct assent_fetch *fetch, struct assent_lru_link *entity)
{
        if (!entity)
                return;
        assent_lru_remove(&fetch->entities, entity);
        free(entity);
}

void assent_fetch_close(struct assent_fetch *fetch)
{
        if (!fetch)
                return;
        while (fetch->entities.oldest)
                forget(fetch, fetch->entities.oldest);
        assent_lru_close(&fetch->entities);
        assent_buffer_close(&fetch->body);
        curl_easy_cleanup(fetch->curl);
        free(fetch->authorization);
        free(fetch);
}

const char *assent_fetch_errmsg(const struct assent_fetch *fetch)
{
        return fetch->error;
}

/* ---- the question ---- */

static bool named(const char *header, const char *name)
{
        size_t size = strlen(name);
        return strncasecmp(header, name, size) == 0 && header[size] == ':';
}

/* A line break in a header would make two of it, so each is judged. */
static enum assent_err check_headers(struct assent_fetch *fetch, struct question *question)
{
        size_t count = 0;

        for (const char *const *header = question->headers; header && *header; header++, count++) {
                size_t name = strcspn(*header, ": \t");
                bool whole = name > 0 && (*header)[name] == ':' && (*header)[name + 1 + strspn(*header + name + 1, " ")];
                if (!whole || !printable(*header, ASSENT_FETCH_HEADER_SIZE_MAX) || count == ASSENT_FETCH_HEADERS_MAX)
                        return fail(fetch, question, ASSENT_E_ARGUMENT,
                                    "header %zu is no \"Name: value\" of at most %d printable bytes, or one of more than %d",
                                    count + 1, ASSENT_FETCH_HEADER_SIZE_MAX, ASSENT_FETCH_HEADERS_MAX);
                question->own_condition |= named(*header, "If-None-Match");
                question->repeatable |= named(*header, "Idempotency-Key");
        }
        return ASSENT_OK;
}

static enum assent_err check_url(struct assent_fetch *fetch, const struct question *question)
{
        const char *wrong = "it is longer than 2,048 bytes";
        char *scheme = NULL, *user = NULL;
        CURLU *url = strnlen(question->url, ASSENT_FETCH_URL_SIZE_MAX + 1) <= ASSENT_FETCH_URL_SIZE_MAX ? curl_url() : NULL;

        if (url) {
                CURLUcode code = curl_url_set(url, CURLUPART_URL, question->url, CURLU_NON_SUPPORT_SCHEME);
                if (code != CURLUE_OK)
                        wrong = curl_url_strerror(code);
                else if (curl_url_get(url, CURLUPART_SCHEME, &scheme, 0) != CURLUE_OK ||
                         (strcmp(scheme, "http") != 0 && strcmp(scheme, "https") != 0))
                        wrong = "only http: and https: are fetched";
                else if (curl_url_get(url, CURLUPART_USER, &user, 0) == CURLUE_OK)
                        wrong = "credentials do not belong into a URL; use a token";
                else
                        wrong = NULL;
                curl_free(scheme);
                curl_free(user);
                curl_url_cleanup(url);
        }
        return wrong ? fail(fetch, question, ASSENT_E_ARGUMENT, "the URL cannot be used: %s", wrong) : ASSENT_OK;
}

static bool add_field(struct question *question, const char *line)
{
        struct curl_slist *longer = curl_slist_append(question->fields, line);
        if (longer)
                question->fields = longer;
        return longer;
}

static bool add_named(struct question *question, const char *name, const char *value)
{
        char line[ASSENT_FETCH_HEADER_SIZE_MAX + 1];
        return (size_t)snprintf(line, sizeof line, "%s: %s", name, value) < sizeof line && add_field(question, line);
}

static bool add_fields(const struct assent_fetch *fetch, struct question *question, const struct entity *entity)
{
        bool added = (!fetch->authorization || add_field(question, fetch->authorization)) &&
                     (!entity || add_named(question, "If-None-Match", entity->etag));

        for (const char *const *header = question->headers; added && header && *header; header++)
                added = add_field(question, *header);
        /* A name without a value keeps libcurl from sending one of its own: a form's type, and the question whether the server
         * would like to have the body. */
        if (question->body.size)
                return added && add_named(question, "Content-Type", question->content_type) && add_field(question, "Expect:");
        return added && add_field(question, "Content-Type:");
}

static size_t take_head(char *data, size_t size, size_t count, void *context)
{
        struct assent_fetch *fetch = context;
        (void)data;
        fetch->head_size += size * count;
        fetch->too_large = fetch->head_size > ASSENT_FETCH_ANSWER_HEAD_MAX;
        return fetch->too_large ? 0 : size * count;
}

static size_t take_body(char *data, size_t size, size_t count, void *context)
{
        struct assent_fetch *fetch = context;
        enum assent_err err = assent_buffer_append(&fetch->body, data, size * count);
        fetch->too_large = err == ASSENT_E_LIMIT;
        return err == ASSENT_OK ? size * count : 0;
}

/* Everything is set anew, so that no question inherits from the one before; connections stay. */
static bool set_up(struct assent_fetch *fetch, const struct question *question)
{
        CURL *curl = fetch->curl;
        bool get = strcmp(question->method, "GET") == 0, head = strcmp(question->method, "HEAD") == 0;
        bool once = (strcmp(question->method, "POST") == 0 || strcmp(question->method, "PATCH") == 0) && !question->repeatable;

        curl_easy_reset(curl);
        assent_buffer_clear(&fetch->body);
        fetch->head_size = 0;
        fetch->too_large = false;
        fetch->reason[0] = '\0';
        bool set = curl_easy_setopt(curl, CURLOPT_URL, question->url) == CURLE_OK &&
                   curl_easy_setopt(curl, CURLOPT_USERAGENT, "assent/" ASSENT_VERSION) == CURLE_OK &&
                   curl_easy_setopt(curl, CURLOPT_PROXY, "") == CURLE_OK && /* not even one from the environment */
                   curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L) == CURLE_OK &&
                   curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)fetch->timeout_ms) == CURLE_OK &&
                   curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, fetch->reason) == CURLE_OK &&
                   curl_easy_setopt(curl, CURLOPT_HTTPHEADER, question->fields) == CURLE_OK &&
                   curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, take_head) == CURLE_OK &&
                   curl_easy_setopt(curl, CURLOPT_HEADERDATA, fetch) == CURLE_OK &&
                   curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_body) == CURLE_OK &&
                   curl_easy_setopt(curl, CURLOPT_WRITEDATA, fetch) == CURLE_OK;
        /* On a kept connection that turns out to be dead libcurl asks again, although the first question may have arrived. */
        if (set && once)
                set = curl_easy_setopt(curl, CURLOPT_FRESH_CONNECT, 1L) == CURLE_OK;
        if (set && head)
                return curl_easy_setopt(curl, CURLOPT_NOBODY, 1L) == CURLE_OK;
        if (set && !get && (question->body.size || strcmp(question->method, "DELETE") != 0))
                set = curl_easy_setopt(curl, CURLOPT_POSTFIELDS, question->body.size ? question->body.data : "") == CURLE_OK &&
                      curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)question->body.size) == CURLE_OK;
        return set && (get || curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, question->method) == CURLE_OK);
}

static enum assent_err perform(struct assent_fetch *fetch, const struct question *question)
{
        CURLcode code = set_up(fetch, question) ? curl_easy_perform(fetch->curl) : CURLE_OUT_OF_MEMORY;
        const char *reason = fetch->reason[0] ? fetch->reason : curl_easy_strerror(code);

        if (code == CURLE_OK)
                return ASSENT_OK;
        if (fetch->too_large)
                return fail(fetch, question, ASSENT_E_TOO_LARGE, "the answer is larger than %zu bytes (or %d of header fields)",
                            fetch->body.size_max, ASSENT_FETCH_ANSWER_HEAD_MAX);
        if (code == CURLE_OPERATION_TIMEDOUT)
                return fail(fetch, question, ASSENT_TIMED_OUT, "no whole answer within %u ms", fetch->timeout_ms);
        if (code == CURLE_OUT_OF_MEMORY || fetch->body.err == ASSENT_E_MEMORY)
                return fail(fetch, question, ASSENT_E_MEMORY, "out of memory");
        return fail(fetch, question, ASSENT_E_BROKER, "%s; is the service up, and the URL right?", reason);
}

/* ---- the answer ---- */

/* The last field of that name in the head of the answer; "" for none. Valid until the next question. */
static const char *field(struct assent_fetch *fetch, const char *name)
{
        struct curl_header *header;
        bool there = curl_easy_header(fetch->curl, name, 0, CURLH_HEADER, -1, &header) == CURLHE_OK;
        return there ? header->value : "";
}

/* RFC 9110 section 8.8.3 */
static bool is_etag(const char *text)
{
        size_t size = strnlen(text, ETAG_SIZE_MAX + 1), start = strncmp(text, "W/", 2) == 0 ? 3 : 1;

        if (size > ETAG_SIZE_MAX || size <= start || text[start - 1] != '"' || text[size - 1] != '"')
                return false;
        for (size_t i = start; i < size - 1; i++)
                if ((unsigned char)text[i] <= ' ' || text[i] == '"' || text[i] == 0x7f)
                        return false;
        return true;
}

/* If-None-Match compares weakly: the mark of a weak tag does not count. */
static bool same_etag(const char *one, const char *other)
{
        return strcmp(one + 2 * (*one == 'W'), other + 2 * (*other == 'W')) == 0;
}

static void read_answer(struct assent_fetch *fetch, struct assent_fetched *out)
{
        long status = 0;
        curl_off_t retry_after_s = 0;

        curl_easy_getinfo(fetch->curl, CURLINFO_RESPONSE_CODE, &status);
        curl_easy_getinfo(fetch->curl, CURLINFO_RETRY_AFTER, &retry_after_s);
        if (retry_after_s < 0) /* a date that has passed */
                retry_after_s = 0;
        *out = (struct assent_fetched){
                .status = (unsigned)status,
                .etag = field(fetch, "ETag"),
                .content_type = field(fetch, "Content-Type"),
                .location = field(fetch, "Location"),
                .retry_after_ms = (retry_after_s < RETRY_AFTER_S_MAX ? retry_after_s : RETRY_AFTER_S_MAX) * 1000,
                .replayed = strcasecmp(field(fetch, "Idempotent-Replayed"), "true") == 0,
                .body = {assent_buffer_string(&fetch->body), fetch->body.size},
        };
        if (!is_etag(out->etag))
                out->etag = "";
}

/* One that does not fit into memory is not remembered. */
static void remember(struct assent_fetch *fetch, const char *url, const struct assent_fetched *answer)
{
        size_t url_size = strlen(url) + 1, etag_size = strlen(answer->etag) + 1, type_size = strlen(answer->content_type) + 1;
        struct entity *entity = malloc(sizeof *entity + url_size + etag_size + type_size + answer->body.size + 1);

        if (!entity)
                return;
        char *etag = entity->url + url_size, *type = etag + etag_size, *body = type + type_size;
        *entity = (struct entity){.link.key = entity->url, .etag = etag, .content_type = type, .body = body,
                                  .body_size = answer->body.size};
        memcpy(entity->url, url, url_size);
        memcpy(etag, answer->etag, etag_size);
        memcpy(type, answer->content_type, type_size);
        memcpy(body, answer->body.data, answer->body.size + 1); /* a buffer always ends in a NUL */
        assent_lru_add(&fetch->entities, &entity->link);
        if (fetch->entities.count > fetch->entities_max)
                forget(fetch, fetch->entities.oldest);
}

/* The answer to a GET by what is remembered, and what is remembered by the answer. `entity` was asked about, or is NULL. */
static void settle(struct assent_fetch *fetch, const struct question *question, struct entity *entity,
                   struct assent_fetched *out)
{
        if (out->status == 304 && entity && (!*out->etag || same_etag(out->etag, entity->etag))) {
                assent_lru_use(&fetch->entities, &entity->link);
                out->status = 200;
                out->not_modified = true;
                out->etag = entity->etag;
                out->content_type = entity->content_type;
                out->body = (struct assent_bytes){entity->body, entity->body_size};
                return;
        }
        if (out->status == 304 && question->own_condition)
                return;
        if (out->status < 500) /* a server in trouble says nothing about the entity */
                forget(fetch, assent_lru_find(&fetch->entities, question->url));
        if (out->status == 200 && *out->etag && fetch->entities_max && !strcasestr(field(fetch, "Cache-Control"), "no-store"))
                remember(fetch, question->url, out);
}

static enum assent_err exchange(struct assent_fetch *fetch, struct question *question, struct entity *entity,
                                struct assent_fetched *out)
{
        enum assent_err err = add_fields(fetch, question, entity)
                                      ? perform(fetch, question)
                                      : fail(fetch, question, ASSENT_E_MEMORY, "out of memory for the header fields");
        if (err == ASSENT_OK)
                read_answer(fetch, out);
        /* libcurl still points at them, until the handle is reset. */
        curl_easy_setopt(fetch->curl, CURLOPT_HTTPHEADER, NULL);
        curl_slist_free_all(question->fields);
        return err;
}

enum assent_err assent_fetch_get(struct assent_fetch *fetch, const char *url, const char *const *headers,
                                 struct assent_fetched *out)
{
        struct question question = {.method = "GET", .url = url, .headers = headers};
        struct entity *entity = NULL;
        enum assent_err err = check_url(fetch, &question);

        *out = (struct assent_fetched){.etag = "", .content_type = "", .location = ""};
        if (err == ASSENT_OK)
                err = check_headers(fetch, &question);
        if (err != ASSENT_OK)
                return err;
        if (!question.own_condition)
                entity = (struct entity *)assent_lru_find(&fetch->entities, url);
        err = exchange(fetch, &question, entity, out);
        if (err == ASSENT_OK)
                settle(fetch, &question, entity, out);
        return err;
}

enum assent_err assent_fetch_send(struct assent_fetch *fetch, const char *method, const char *url,
                                  const char *const *headers, const char *content_type, struct assent_bytes body,
                                  struct assent_fetched *out)
{
        struct question question = {.method = method, .url = url, .headers = headers,
                                    .content_type = content_type, .body = body};
        size_t size = strspn(method, "ABCDEFGHIJKLMNOPQRSTUVWXYZ");
        enum assent_err err = check_url(fetch, &question);

        *out = (struct assent_fetched){.etag = "", .content_type = "", .location = ""};
        if (size == 0 || size > METHOD_SIZE_MAX || method[size]) {
                question.method = "?";
                return fail(fetch, &question, ASSENT_E_ARGUMENT, "a method has 1 to %d capital letters", METHOD_SIZE_MAX);
        }
        if (body.size && (!content_type || !*content_type || !printable(content_type, 200)))
                return fail(fetch, &question, ASSENT_E_ARGUMENT, "a body needs a content type");
        if (err == ASSENT_OK)
                err = check_headers(fetch, &question);
        if (err != ASSENT_OK)
                return err;
        forget(fetch, assent_lru_find(&fetch->entities, url));
        return exchange(fetch, &question, NULL, out);
}
