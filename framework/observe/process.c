#include "observe/process.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

/* A file of /proc, NUL-terminated; "" when it cannot be read. */
static const char *proc_read(const char *path, char *text, size_t size)
{
        FILE *file = fopen(path, "re");
        size_t got = file ? fread(text, 1, size - 1, file) : 0;
        if (file)
                fclose(file);
        text[got] = '\0';
        return text;
}

static double seconds_of(clockid_t clock)
{
        struct timespec time = {0};
        clock_gettime(clock, &time);
        return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

/* Of proc(5): the start in ticks after the boot is field 22. The name before the third field may hold anything, but ends at the
 * last parenthesis. */
double assent_process_started(void)
{
        char text[1024];
        int64_t ticks = 0;
        proc_read("/proc/self/stat", text, sizeof text);
        const char *field = strrchr(text, ')');
        for (int i = 2; field && i < 22; i++)
                field = strchr(field + 1, ' ');
        if (field)
                sscanf(field, "%" SCNd64, &ticks);
        return seconds_of(CLOCK_REALTIME) - seconds_of(CLOCK_BOOTTIME) + (double)ticks / (double)sysconf(_SC_CLK_TCK);
}

static double resident_bytes(void)
{
        char text[256];
        int64_t pages = 0;
        sscanf(proc_read("/proc/self/statm", text, sizeof text), "%*d %" SCNd64, &pages);
        return (double)pages * (double)sysconf(_SC_PAGESIZE);
}

static double open_files(void)
{
        DIR *folder = opendir("/proc/self/fd");
        int count = 0;
        while (folder && readdir(folder))
                count++;
        if (folder)
                closedir(folder);
        return count > 3 ? count - 3 : 0; /* but for ".", ".." and the folder itself */
}

void assent_process_expose(struct assent_exposition *out, double started)
{
        struct rlimit files = {0};
        getrlimit(RLIMIT_NOFILE, &files);
        assent_expose_one(out, "process_cpu_seconds_total", ASSENT_COUNTER, "Processor time of all threads.", NULL,
                          seconds_of(CLOCK_PROCESS_CPUTIME_ID));
        assent_expose_one(out, "process_resident_memory_bytes", ASSENT_GAUGE, "Memory in use.", NULL, resident_bytes());
        assent_expose_one(out, "process_open_fds", ASSENT_GAUGE, "Open file descriptors.", NULL, open_files());
        assent_expose_one(out, "process_max_fds", ASSENT_GAUGE, "File descriptors that may be open.", NULL,
                          files.rlim_cur == RLIM_INFINITY ? 1.0 / 0.0 : (double)files.rlim_cur);
        assent_expose_one(out, "process_start_time_seconds", ASSENT_GAUGE, "When it began, in seconds since the Unix epoch.",
                          NULL, started);
}
