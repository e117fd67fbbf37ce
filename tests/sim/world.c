/* world.c: the clock, the random numbers, the events, the fibers, and what the linker wraps. See sim.h. */
#include "sim.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <ucontext.h>

#include "base/hash.h"
#include "base/panic.h"

#define STACK_SIZE       (512 * 1024)
#define GHOST_CALLS_MAX  1000000 /* a ghost that blocks so often does not unwind */
#define NEVER            INT64_MAX

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/common_interface_defs.h>
#else
#define __sanitizer_start_switch_fiber(save, bottom, size) ((void)(save), (void)(bottom), (void)(size))
#define __sanitizer_finish_switch_fiber(save, bottom, size) ((void)(save), (void)(bottom), (void)(size))
#endif

struct event {
        int64_t time_us;
        uint64_t sequence;
        void (*act)(void *argument);
        void *argument;
};

struct sim_fiber {
        struct sim_fiber *next; /* in the list of free ones */
        ucontext_t context;
        struct sim_process *process;
        void *stack, *fake_stack;
        int64_t run_at_us; /* the event that has it run; others of it are stale */
        bool blocked, done;
};

struct sim_options sim_options;
void (*sim_at_point)(struct sim_process *process, const char *name);
void (*sim_logged)(const struct sim_process *process, enum assent_log_level level, const char *event,
                   const struct assent_field *fields, size_t count);

static struct {
        uint64_t random[4], sequence, hash;
        int64_t now_us;
        struct event *events;
        size_t events_count, events_max;
        struct sim_process *self;
        struct sim_process **processes; /* with a fiber */
        size_t processes_count;
        ucontext_t home;
        void *home_fake_stack;
        const void *home_bottom;
        size_t home_size;
        uint64_t ghost_calls;
        bool closing;
        char verdict[1024];
} world;

const char *sim_ignored;
static struct sim_fiber *free_fibers; /* outlive the world: a stack is dear */
static size_t stacks_count;
static const struct {
        const char *name;
        int most; /* at a time, of one process */
} handle_limits[SIM_HANDLE_COUNT] = {[SIM_BUS] = {"buses", 1}, [SIM_CONSUMER] = {"consumers", 3}, [SIM_FILE] = {"files", 4}};

/* ---- random numbers: xoshiro256** ---- */

static uint64_t rotate(uint64_t value, int by)
{
        return value << by | value >> (64 - by);
}

uint64_t sim_random(void)
{
        uint64_t *s = world.random, result = rotate(s[1] * 5, 7) * 9, t = s[1] << 17;
        s[2] ^= s[0];
        s[3] ^= s[1];
        s[1] ^= s[2];
        s[0] ^= s[3];
        s[2] ^= t;
        s[3] = rotate(s[3], 45);
        return result;
}

uint64_t sim_below(uint64_t limit)
{
        ASSENT_ASSERT(limit > 0);
        return sim_random() % limit;
}

int64_t sim_between(int64_t least, int64_t greatest)
{
        ASSENT_ASSERT(least <= greatest);
        return least + (int64_t)sim_below((uint64_t)(greatest - least) + 1);
}

bool sim_chance(unsigned parts_per_million)
{
        return parts_per_million > 0 && sim_below(1000000) < parts_per_million;
}

static void seed_random(uint64_t seed)
{
        for (int i = 0; i < 4; i++) { /* splitmix64 */
                uint64_t z = seed += UINT64_C(0x9e3779b97f4a7c15);
                z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
                z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
                world.random[i] = z ^ z >> 31;
        }
}

/* ---- what was found ---- */

void sim_violation(const char *invariant, const char *format, ...)
{
        char text[900];
        va_list arguments;
        va_start(arguments, format);
        vsnprintf(text, sizeof text, format, arguments);
        va_end(arguments);
        if (sim_ignored && strcmp(sim_ignored, invariant) == 0)
                return;
        sim_note("VIOLATION of %s: %s", invariant, text);
        if (!world.verdict[0])
                snprintf(world.verdict, sizeof world.verdict, "%s: %s", invariant, text);
}

bool sim_violated(void)
{
        return world.verdict[0] != '\0';
}

const char *sim_verdict(void)
{
        return sim_violated() ? world.verdict : NULL;
}

bool sim_narrates(void)
{
        return sim_options.narrate;
}

void sim_note(const char *format, ...)
{
        if (!sim_options.narrate)
                return;
        printf("%10.3f ms  %-16s ", (double)world.now_us / 1000, world.self ? world.self->name : "");
        va_list arguments;
        va_start(arguments, format);
        vprintf(format, arguments);
        va_end(arguments);
        putchar('\n');
}

void sim_trace(const void *data, size_t size)
{
        world.hash = assent_hash64_chain(world.hash, data, size);
}

uint64_t sim_hash(void)
{
        return world.hash;
}

/* ---- events ---- */

int64_t sim_now_us(void)
{
        return world.now_us;
}

static bool earlier(const struct event *a, const struct event *b)
{
        return a->time_us != b->time_us ? a->time_us < b->time_us : a->sequence < b->sequence;
}

void sim_at(int64_t time_us, void (*act)(void *argument), void *argument)
{
        if (world.events_count == world.events_max) {
                world.events_max = world.events_max ? 2 * world.events_max : 1024;
                world.events = realloc(world.events, world.events_max * sizeof *world.events);
                ASSENT_ASSERT(world.events);
        }
        struct event event = {time_us > world.now_us ? time_us : world.now_us, world.sequence++, act, argument};
        size_t at = world.events_count++;
        for (; at > 0 && earlier(&event, &world.events[(at - 1) / 2]); at = (at - 1) / 2)
                world.events[at] = world.events[(at - 1) / 2];
        world.events[at] = event;
}

static struct event take_event(void)
{
        struct event first = world.events[0], last = world.events[--world.events_count];
        size_t at = 0;
        for (;;) {
                size_t child = 2 * at + 1;
                if (child >= world.events_count)
                        break;
                if (child + 1 < world.events_count && earlier(&world.events[child + 1], &world.events[child]))
                        child++;
                if (!earlier(&world.events[child], &last))
                        break;
                world.events[at] = world.events[child];
                at = child;
        }
        world.events[at] = last;
        return first;
}

static void run_event(void)
{
        struct event event = take_event();
        if (event.time_us > world.now_us)
                world.now_us = event.time_us;
        event.act(event.argument);
}

void sim_run(int64_t until_us, bool (*done)(void))
{
        while (!sim_violated() && world.events_count > 0 && world.events[0].time_us <= until_us) {
                run_event();
                if (done && done())
                        return;
        }
        if (!sim_violated() && world.now_us < until_us && !done)
                world.now_us = until_us;
}

/* ---- fibers ---- */

struct sim_process *sim_self(void)
{
        return world.self;
}

bool sim_ghost(void)
{
        return world.self && world.self->ghost;
}

static void leave(struct sim_fiber *fiber)
{
        __sanitizer_start_switch_fiber(fiber->done ? NULL : &fiber->fake_stack, world.home_bottom, world.home_size);
        swapcontext(&fiber->context, &world.home);
        __sanitizer_finish_switch_fiber(fiber->fake_stack, &world.home_bottom, &world.home_size);
}

static void fiber_main(void)
{
        __sanitizer_finish_switch_fiber(NULL, &world.home_bottom, &world.home_size);
        struct sim_process *process = world.self;
        process->main(process);
        process->fiber->done = true;
        leave(process->fiber);
}

/* I17. SQLite's files are a database, its log and what a sorter or a savepoint spills. */
void sim_hold(struct sim_process *process, enum sim_handle kind, int by)
{
        if (process && (process->handles[kind] += by) > handle_limits[kind].most)
                sim_violation("I17", "%s has %d %s open", process->name, process->handles[kind], handle_limits[kind].name);
}

static void check_handles(struct sim_process *process)
{
        for (int kind = 0; kind < SIM_HANDLE_COUNT; kind++) {
                if (process->handles[kind] != 0)
                        sim_violation("I17", "%s has ended, and %d %s of its are open", process->name, process->handles[kind],
                                      handle_limits[kind].name);
                process->handles[kind] = 0;
        }
}

size_t sim_stacks_size(void)
{
        return stacks_count * STACK_SIZE;
}

static void process_over(struct sim_process *process)
{
        struct sim_fiber *fiber = process->fiber;
        process->fiber = NULL;
        process->running = false;
        fiber->next = free_fibers;
        free_fibers = fiber;
        for (size_t i = 0; i < world.processes_count; i++)
                if (world.processes[i] == process)
                        world.processes[i] = world.processes[--world.processes_count];
        check_handles(process);
        if (process->disk)
                sim_disk_settle(process->disk, process->ghost ? process->death : SIM_KILLED);
        if (process->ended && !world.closing)
                process->ended(process);
}

static void resume(struct sim_process *process)
{
        struct sim_fiber *fiber = process->fiber;
        fiber->blocked = false;
        fiber->run_at_us = NEVER;
        world.self = process;
        __sanitizer_start_switch_fiber(&world.home_fake_stack, fiber->stack, STACK_SIZE);
        swapcontext(&world.home, &fiber->context);
        __sanitizer_finish_switch_fiber(world.home_fake_stack, NULL, NULL);
        world.self = NULL;
        if (fiber->done)
                process_over(process);
}

static void run_process(void *argument)
{
        struct sim_process *process = argument;
        struct sim_fiber *fiber = process->fiber;
        if (!fiber || !fiber->blocked || fiber->run_at_us > world.now_us)
                return; /* stale: it ran meanwhile, or waits for something else */
        if (process->paused_until_us > world.now_us && !process->ghost) {
                fiber->run_at_us = process->paused_until_us;
                sim_at(fiber->run_at_us, run_process, process);
                return;
        }
        resume(process);
}

static void run_at(struct sim_process *process, int64_t time_us)
{
        struct sim_fiber *fiber = process->fiber;
        if (fiber->run_at_us <= time_us)
                return;
        fiber->run_at_us = time_us;
        if (time_us != NEVER)
                sim_at(time_us, run_process, process);
}

void sim_wake(struct sim_process *process)
{
        if (process->fiber && process->fiber->blocked)
                run_at(process, world.now_us);
}

void sim_start(struct sim_process *process)
{
        ASSENT_ASSERT(!process->running);
        struct sim_fiber *fiber = free_fibers;
        if (fiber) {
                free_fibers = fiber->next;
        } else {
                fiber = calloc(1, sizeof *fiber);
                ASSENT_ASSERT(fiber);
                fiber->stack = mmap(NULL, STACK_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
                ASSENT_ASSERT(fiber->stack != MAP_FAILED);
                stacks_count++;
        }
        fiber->process = process;
        fiber->done = false;
        fiber->blocked = true;
        fiber->run_at_us = NEVER;
        fiber->fake_stack = NULL;
        getcontext(&fiber->context);
        fiber->context.uc_stack = (stack_t){.ss_sp = fiber->stack, .ss_size = STACK_SIZE};
        fiber->context.uc_link = NULL;
        makecontext(&fiber->context, fiber_main, 0);
        process->fiber = fiber;
        process->running = true;
        process->ghost = false;
        process->lives++;
        process->started_us = world.now_us;
        process->paused_until_us = 0;
        world.processes = realloc(world.processes, (world.processes_count + 1) * sizeof(struct sim_process *));
        ASSENT_ASSERT(world.processes);
        world.processes[world.processes_count++] = process;
        sim_note("%s starts", process->name);
        run_at(process, world.now_us);
}

void sim_kill(struct sim_process *process, enum sim_death death)
{
        if (!process->running || process->ghost)
                return;
        sim_note("%s %s", process->name, death == SIM_POWER_LOST ? "loses power" : "is killed");
        process->ghost = true;
        process->death = death;
        world.ghost_calls = 0;
        if (process != world.self && process->fiber->blocked) {
                process->fiber->run_at_us = world.now_us;
                sim_at(world.now_us, run_process, process);
        }
}

void sim_pause(struct sim_process *process, int64_t until_us)
{
        if (until_us > process->paused_until_us)
                process->paused_until_us = until_us;
        if (process == world.self)
                sim_wait(until_us, NULL, NULL);
}

static bool wait_alone(int64_t deadline_us, bool (*ready)(void *argument), void *argument)
{
        for (;;) {
                if (ready && ready(argument))
                        return true;
                if (world.events_count == 0 || world.events[0].time_us > deadline_us)
                        break;
                run_event();
        }
        if (world.now_us < deadline_us)
                world.now_us = deadline_us;
        return false;
}

bool sim_wait(int64_t deadline_us, bool (*ready)(void *argument), void *argument)
{
        struct sim_process *process = world.self;
        if (!process)
                return wait_alone(deadline_us, ready, argument);
        for (;;) {
                if (process->ghost) {
                        if (++world.ghost_calls > GHOST_CALLS_MAX) {
                                fprintf(stderr, "seed %" PRIu64 ": the ghost of %s does not unwind\n", sim_options.seed,
                                        process->name);
                                abort();
                        }
                        return false;
                }
                if (ready && ready(argument))
                        return true;
                if (world.now_us >= deadline_us && process->paused_until_us <= world.now_us)
                        return false;
                process->fiber->blocked = true;
                run_at(process, deadline_us);
                leave(process->fiber);
        }
}

/* ---- a world's life ---- */

void sim_world_open(const struct sim_options *options)
{
        memset(&world, 0, sizeof world);
        sim_options = *options;
        seed_random(options->seed);
}

void sim_end_all(void)
{
        world.closing = true;
        while (world.processes_count > 0) {
                struct sim_process *process = world.processes[0];
                sim_kill(process, SIM_KILLED);
                resume(process);
        }
}

void sim_world_close(void)
{
        free(world.processes);
        free(world.events);
        world.processes = NULL;
        world.events = NULL;
        world.events_count = world.events_max = 0;
}

/* ---- what the linker wraps ---- */

void __wrap_assent_crash_point(const char *name);
void __wrap_assent_log_write(enum assent_log_level level, const char *event, const struct assent_field *fields,
                             size_t count);
bool __wrap_assent_log_enabled(enum assent_log_level level);
int __wrap_usleep(useconds_t us);
ssize_t __wrap_getrandom(void *out, size_t size, unsigned flags);

void __wrap_assent_crash_point(const char *name)
{
        if (world.self && !world.self->ghost && sim_at_point)
                sim_at_point(world.self, name);
}

bool __wrap_assent_log_enabled(enum assent_log_level level)
{
        return !sim_ghost() && (level <= ASSENT_LOG_WARN || (level <= ASSENT_LOG_INFO && sim_options.narrate));
}

static void narrate_fields(const struct assent_field *fields, size_t count)
{
        char text[ASSENT_UUID_TEXT_SIZE];
        for (size_t i = 0; i < count; i++) {
                printf(" %s=", fields[i].name);
                switch (fields[i].type) {
                case ASSENT_FIELD_TEXT:
                        printf("%s", fields[i].value.text ? fields[i].value.text : "");
                        break;
                case ASSENT_FIELD_INT:
                        printf("%" PRId64, fields[i].value.integer);
                        break;
                case ASSENT_FIELD_REAL:
                        printf("%g", fields[i].value.real);
                        break;
                case ASSENT_FIELD_BYTES:
                        printf("%.*s", (int)fields[i].value.bytes.size, (const char *)fields[i].value.bytes.data);
                        break;
                case ASSENT_FIELD_UUID:
                        assent_uuid_format(fields[i].value.uuid, text);
                        printf("%s", text + 24);
                        break;
                }
        }
        putchar('\n');
}

void __wrap_assent_log_write(enum assent_log_level level, const char *event, const struct assent_field *fields,
                             size_t count)
{
        static const char words[] = "EWID";
        if (sim_ghost())
                return;
        if (sim_options.narrate) {
                printf("%10.3f ms  %-16s %c %s", (double)world.now_us / 1000, world.self ? world.self->name : "", words[level],
                       event);
                narrate_fields(fields, count);
        }
        if (sim_logged && world.self)
                sim_logged(world.self, level, event, fields, count);
}

int __wrap_usleep(useconds_t us)
{
        sim_wait(world.now_us + us, NULL, NULL);
        return 0;
}

ssize_t __wrap_getrandom(void *out, size_t size, unsigned flags)
{
        (void)flags;
        for (size_t i = 0; i < size; i++)
                ((uint8_t *)out)[i] = (uint8_t)sim_random();
        return (ssize_t)size;
}
