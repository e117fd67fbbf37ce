/* crash.h: named crash points. Each stands on a durable line, beside the note that says what a crash there means; a test build
 * (ASSENT_TEST_SEAMS) dies there by SIGKILL when ASSENT_CRASH_POINT=name[:count] is set, at the count-th passing; the simulator
 * decides for itself who dies there. In other builds they are nothing. A name is used once: tests list them from the source. */
#ifndef ASSENT_BASE_CRASH_H
#define ASSENT_BASE_CRASH_H

#ifdef ASSENT_TEST_SEAMS
void assent_crash_point(const char *name);
#define ASSENT_CRASH_POINT(name) assent_crash_point(#name)
#else
#define ASSENT_CRASH_POINT(name) ((void)0)
#endif

#endif
