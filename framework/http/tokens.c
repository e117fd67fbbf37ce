/* tokens.c: see tokens.h. */
#include "http/tokens.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char name_characters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
static const char token_characters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~+/=";

struct assent_tokens {
        size_t count;
        struct token {
                char name[ASSENT_HTTP_NAME_SIZE_MAX + 1];
                size_t size;
                unsigned char text[ASSENT_TOKEN_SIZE_MAX + 1]; /* zeros behind it */
        } items[ASSENT_TOKENS_MAX];
};

const char *assent_tokens_name(const struct assent_tokens *tokens, struct assent_bytes token)
{
        const struct token *found = NULL;
        const unsigned char *given = token.data;
        if (token.size > ASSENT_TOKEN_SIZE_MAX)
                return NULL;
        for (size_t i = 0; i < tokens->count; i++) {
                const struct token *item = &tokens->items[i];
                volatile unsigned char differs = item->size != token.size;
                for (size_t k = 0; k < token.size; k++)
                        differs |= (unsigned char)(given[k] ^ item->text[k]);
                if (!differs)
                        found = item;
        }
        return found ? found->name : NULL;
}

/* NULL, or what is wrong with the line. */
static const char *add_line(struct assent_tokens *tokens, const char *line, size_t size)
{
        size_t name_size = strspn(line, name_characters), gap = strspn(line + name_size, " \t");
        const char *text = line + name_size + gap;
        size_t text_size = strspn(text, token_characters);
        if (name_size == 0 || name_size > ASSENT_HTTP_NAME_SIZE_MAX || gap == 0 || name_size + gap + text_size != size)
                return "is not \"NAME TOKEN\": a name of 1 to 64 and a token of 16 to 255 letters, digits and - . _ (in a "
                       "token also ~ + / =)";
        if (text_size < ASSENT_TOKEN_SIZE_MIN || text_size > ASSENT_TOKEN_SIZE_MAX)
                return "has a token that is not 16 to 255 characters long; take for instance what `openssl rand -hex 32` says";
        if (assent_tokens_name(tokens, (struct assent_bytes){.data = text, .size = text_size}))
                return "has a token that stands there already; every caller needs one of its own";
        if (tokens->count == ASSENT_TOKENS_MAX)
                return "is one too many: there may be 256 tokens";
        struct token *item = &tokens->items[tokens->count++];
        memcpy(item->name, line, name_size);
        memcpy(item->text, text, text_size);
        item->size = text_size;
        return NULL;
}

/* Cuts `text` into its lines. */
static enum assent_err add_lines(struct assent_tokens *tokens, const char *path, char *text, size_t size, char *errmsg,
                                 size_t errmsg_size)
{
        unsigned number = 0;
        for (char *line = text, *end = text + size, *next; line < end; line = next + 1) {
                next = memchr(line, '\n', (size_t)(end - line));
                if (!next)
                        next = end;
                *next = '\0';
                number++;
                if (line[0] == '#' || line == next)
                        continue;
                const char *fault = add_line(tokens, line, (size_t)(next - line));
                if (fault) {
                        snprintf(errmsg, errmsg_size, "%s:%u: the line %s", path, number, fault);
                        return ASSENT_E_CONFIG;
                }
        }
        if (tokens->count)
                return ASSENT_OK;
        snprintf(errmsg, errmsg_size, "%s: holds no token; write a line \"NAME TOKEN\" for each caller", path);
        return ASSENT_E_CONFIG;
}

/* Opens a file that its owner alone may read; -1 with a sentence. */
static int open_private(const char *path, size_t *size, char *errmsg, size_t errmsg_size)
{
        struct stat about;
        int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
        if (fd < 0 || fstat(fd, &about)) {
                snprintf(errmsg, errmsg_size, "%s: cannot be read: %s", path, strerror(errno));
        } else if (!S_ISREG(about.st_mode) || about.st_size > ASSENT_TOKENS_FILE_SIZE_MAX) {
                snprintf(errmsg, errmsg_size, "%s: is no file of at most %d bytes", path, ASSENT_TOKENS_FILE_SIZE_MAX);
        } else if (about.st_mode & (S_IRWXG | S_IRWXO)) {
                snprintf(errmsg, errmsg_size, "%s: others than its owner can read these tokens; chmod 600 it", path);
        } else {
                *size = (size_t)about.st_size;
                return fd;
        }
        if (fd >= 0)
                close(fd);
        return -1;
}

enum assent_err assent_tokens_open(const char *path, struct assent_tokens **out, char *errmsg, size_t errmsg_size)
{
        size_t size = 0, had = 0;
        ssize_t got = 0;
        *out = NULL;
        int fd = open_private(path, &size, errmsg, errmsg_size);
        if (fd < 0)
                return ASSENT_E_CONFIG;
        struct assent_tokens *tokens = calloc(1, sizeof *tokens);
        char *text = malloc(size + 1);
        enum assent_err err = tokens && text ? ASSENT_OK : ASSENT_E_MEMORY;
        while (err == ASSENT_OK && had < size && (got = read(fd, text + had, size - had)) > 0)
                had += (size_t)got;
        close(fd);
        if (err == ASSENT_OK && got < 0) {
                snprintf(errmsg, errmsg_size, "%s: cannot be read: %s", path, strerror(errno));
                err = ASSENT_E_CONFIG;
        }
        if (err == ASSENT_OK)
                err = add_lines(tokens, path, text, had, errmsg, errmsg_size);
        if (text)
                explicit_bzero(text, size);
        free(text);
        if (err == ASSENT_OK)
                *out = tokens;
        else
                assent_tokens_close(tokens);
        return err;
}

void assent_tokens_close(struct assent_tokens *tokens)
{
        if (tokens)
                explicit_bzero(tokens, sizeof *tokens);
        free(tokens);
}
