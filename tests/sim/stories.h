/* stories.h: named worlds. See stories.c. */
#ifndef SIM_STORIES_H
#define SIM_STORIES_H

/* Runs all, or tells the one of that name; TAP on standard output. 0: every one came out as it must. */
int sim_stories(const char *name);

#endif
