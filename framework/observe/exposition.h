/* exposition.h: a page of metrics while it is written, and its labels. */
#ifndef ASSENT_OBSERVE_EXPOSITION_H
#define ASSENT_OBSERVE_EXPOSITION_H

#include <assent/observe.h>

#include "base/buffer.h"

#define ASSENT_FAMILIES_MAX   256
#define ASSENT_PAGE_BYTES_MAX ((size_t)16 << 20)

/* NULL: no memory. */
struct assent_exposition *assent_exposition_open(void);
/* What was exposed, in Prometheus' text format, appended. ASSENT_OK, ASSENT_E_LIMIT (more families, or bytes, than a page
 * may have), ASSENT_E_MEMORY; then the page is of no use. */
enum assent_err assent_exposition_page(const struct assent_exposition *exposition, struct assent_buffer *page);
void assent_exposition_close(struct assent_exposition *exposition); /* NULL is fine */

#define ASSENT_LABELS_SIZE_MAX 1024

/* `labels`, and after them a name="value" for each pair of texts up to a NULL, the values escaped. Returns `memory`, which must
 * be large enough (asserted: labels never hold what strangers send). */
__attribute__((sentinel)) const char *assent_labels(char memory[ASSENT_LABELS_SIZE_MAX], const char *labels, ...);
/* A family of one sample. */
void assent_expose_one(struct assent_exposition *out, const char *name, enum assent_metric type, const char *help,
                       const char *labels, double value);

#endif
