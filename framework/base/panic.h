/* panic.h: assertions that stay on in release. For our own bugs only; what comes from outside is judged, never
 * asserted. */
#ifndef ASSENT_BASE_PANIC_H
#define ASSENT_BASE_PANIC_H

_Noreturn void assent_panic(const char *file, int line, const char *condition);

/* Memory that there is no way on without: the process says so and ends, for replay is the way back. */
#define ASSENT_NEED(pointer) ((pointer) ? (void)0 : assent_panic(__FILE__, __LINE__, "out of memory"))
#define ASSENT_ASSERT(condition) ((condition) ? (void)0 : assent_panic(__FILE__, __LINE__, #condition))

#endif
