/* tokens.h: the callers' tokens, from a file of lines "NAME TOKEN". */
#ifndef ASSENT_HTTP_TOKENS_H
#define ASSENT_HTTP_TOKENS_H

#include <assent/http.h>

#define ASSENT_TOKENS_MAX           256
#define ASSENT_TOKEN_SIZE_MIN       16
#define ASSENT_TOKEN_SIZE_MAX       255
#define ASSENT_TOKENS_FILE_SIZE_MAX 98304

struct assent_tokens;

/* Reads the file. A name may stand there more than once, so that its token can be changed without a gap; lines that are empty
 * or begin with # are passed over. ASSENT_OK, ASSENT_E_CONFIG with a sentence in errmsg, ASSENT_E_MEMORY. */
enum assent_err assent_tokens_open(const char *path, struct assent_tokens **out, char *errmsg, size_t errmsg_size);
/* The name that belongs to the token, or NULL. Takes as long for a wrong one as for a right one of the same length. */
const char *assent_tokens_name(const struct assent_tokens *tokens, struct assent_bytes token);
void assent_tokens_close(struct assent_tokens *tokens); /* NULL is fine */

#endif
