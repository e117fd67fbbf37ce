/* panic.h: assertions that stay on in release. For our own bugs only; what comes from outside is judged, never
 * asserted. */
#ifndef ASSENT_BASE_PANIC_H
#define ASSENT_BASE_PANIC_H

_Noreturn void assent_panic(const char *file, int line, const char *condition);

#define ASSENT_ASSERT(condition) ((condition) ? (void)0 : assent_panic(__FILE__, __LINE__, #condition))

#endif
