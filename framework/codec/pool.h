/* pool.h: the memory that avro-c works in: free lists by size class and a cap, so that decoding
 * needs no malloc once warm and nothing on the wire can make it grow. avro-c knows one allocator
 * per process: it is installed once, and takes from a pool only inside enter/leave on the same
 * thread; elsewhere it is plain realloc and free, so that a program's own use of avro-c is not
 * touched. Whatever is allocated inside a pool must be freed inside the same pool. */
#ifndef ASSENT_CODEC_POOL_H
#define ASSENT_CODEC_POOL_H

#include <stddef.h>
#include <stdint.h>

enum { ASSENT_POOL_CLASSES = 40 }; /* 16 bytes, 32, … */

struct assent_pool {
        size_t size_max;                 /* of live and of idle blocks, each */
        size_t live_size, idle_size;     /* sums of block sizes */
        uint64_t system_allocations;     /* calls to malloc so far */
        void *idle[ASSENT_POOL_CLASSES]; /* lists through the blocks' first word */
};

/* Makes avro-c use our allocator; safe to call often and from any thread, before avro-c is used. */
void assent_pool_install(void);

void assent_pool_init(struct assent_pool *pool, size_t size_max);
void assent_pool_enter(struct assent_pool *pool);
void assent_pool_leave(struct assent_pool *pool);
/* Frees the idle blocks; every live one must have been freed. */
void assent_pool_done(struct assent_pool *pool);

#endif
