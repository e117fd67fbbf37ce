/* disk.c: the disks, behind SQLite's VFS. See sim.h.
 *
 * A file holds what its process sees, the page cache. Every change since its last sync is remembered with the bytes from
 * before, so that a power cut can take back any of them, in whole or by sectors, in any order. A kill takes back nothing, and
 * syncs nothing: what was found after it may still be lost. A sync that failed leaves its pages clean but not written, as
 * Linux does: no later sync saves them, unless they are written again. */
#include "sim.h"

#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

#include "base/panic.h"
#include "store/store.h"

#define SECTOR     512
#define PAGE       4096 /* of the page cache */
#define FULL_CALLS 8    /* a disk that is full refuses so many writes, at most */
#define OPENS_MAX  6    /* of one disk's files at a time: the database, its journals, and a reader's */

/* A write, or a truncation: what stood at [offset, offset + size) before. */
struct change {
        bool cut;
        size_t offset, size;
        size_t before, after; /* sizes of the file */
        size_t at;            /* in the file's `old` */
};

/* A page whose sync failed: clean in the cache, not on the disk. */
struct page {
        size_t offset;
        uint8_t old[PAGE];
};

struct file {
        struct file *next;
        struct sim_disk *disk; /* NULL: a temporary file */
        char *name;
        bool linked;  /* has its name now */
        bool durable; /* has it after a power cut for certain; without `linked`: its removal is not synced */
        int opens;
        const struct sim_process *user; /* who opened it last */
        uint8_t *bytes, *old; /* all 0 beyond `size` */
        size_t size, bytes_max, old_size, old_max;
        struct change *changes;
        size_t changes_count, changes_max;
        struct page *doomed;
        size_t doomed_count, doomed_max;
        /* Locks, of one process alone: nothing of them outlives it. */
        int shared;
        struct handle *writer; /* RESERVED or more */
        void **regions;        /* the shared memory */
        int regions_count, mapped;
        int shm_shared[SQLITE_SHM_NLOCK];
        bool shm_exclusive[SQLITE_SHM_NLOCK];
};

struct handle {
        sqlite3_file base;
        struct file *file;
        struct sim_process *process;
        int lock;
        bool mapped;
        bool sync_folder; /* with the next sync */
        unsigned shm_shared, shm_exclusive; /* bits */
};

struct sim_disk {
        struct sim_disk *next;
        char *folder;
        struct file *files;
        int64_t calls, kill_at; /* kill_at: −1: never */
        int full;               /* so many more writes are refused */
};

struct sim_disk_copy {
        struct file *files;
};

struct sim_disk_faults sim_disk_faults;
static struct sim_disk *disks;

/* ---- memory ---- */

/* At least `needed` bytes; what is new is 0. */
static void *reserve(void *memory, size_t *max, size_t needed)
{
        if (needed <= *max)
                return memory;
        size_t grown = *max < PAGE ? PAGE : 2 * *max;
        if (grown < needed)
                grown = needed;
        memory = realloc(memory, grown);
        ASSENT_ASSERT(memory);
        memset((uint8_t *)memory + *max, 0, grown - *max);
        *max = grown;
        return memory;
}

static void file_free(struct file *file)
{
        free(file->name);
        free(file->bytes);
        free(file->old);
        free(file->changes);
        free(file->doomed);
        free(file);
}

/* Frees files that nobody can come back to. */
static void sweep(struct sim_disk *disk)
{
        for (struct file **at = &disk->files; *at;) {
                struct file *file = *at;
                if (file->linked || file->durable || file->opens > 0) {
                        at = &file->next;
                } else {
                        *at = file->next;
                        file_free(file);
                }
        }
}

static void files_free(struct file *files)
{
        while (files) {
                struct file *next = files->next;
                ASSENT_ASSERT(files->opens == 0 || sim_violated() || sim_ignored);
                file_free(files);
                files = next;
        }
}

static void *copy_of(const void *memory, size_t size)
{
        void *copy = malloc(size ? size : 1);
        ASSENT_ASSERT(copy);
        if (size > 0)
                memcpy(copy, memory, size);
        return copy;
}

static struct file *files_copy(const struct file *files)
{
        struct file *first = NULL, **at = &first;
        for (; files; files = files->next, at = &(*at)->next) {
                ASSENT_ASSERT(files->opens == 0);
                *at = copy_of(files, sizeof *files);
                (*at)->name = copy_of(files->name, strlen(files->name) + 1);
                (*at)->bytes = copy_of(files->bytes, files->bytes_max);
                (*at)->old = copy_of(files->old, files->old_max);
                (*at)->changes = copy_of(files->changes, files->changes_max);
                (*at)->doomed = copy_of(files->doomed, files->doomed_max);
        }
        return first;
}

/* ---- names ---- */

static struct sim_disk *disk_of(const char *path)
{
        struct sim_disk *disk = disks;
        for (; disk; disk = disk->next) {
                size_t size = strlen(disk->folder);
                if (strncmp(path, disk->folder, size) == 0 && path[size] == '/')
                        break;
        }
        return disk;
}

static struct file *file_of(const struct sim_disk *disk, const char *path)
{
        struct file *file = disk ? disk->files : NULL;
        while (file && (!file->linked || strcmp(file->name, path) != 0))
                file = file->next;
        return file;
}

static struct file *file_new(struct sim_disk *disk, const char *path)
{
        struct file *file = calloc(1, sizeof *file);
        ASSENT_ASSERT(file);
        file->disk = disk;
        if (disk) {
                file->name = copy_of(path, strlen(path) + 1);
                file->linked = true;
                file->next = disk->files;
                disk->files = file;
        }
        return file;
}

static void sync_folder(struct sim_disk *disk)
{
        for (struct file *file = disk->files; file; file = file->next)
                file->durable = file->linked;
        sweep(disk);
}

/* The sync of a new file saves its name, too: Linux file systems do so without being asked. */
static void sync_name(const struct sim_disk *disk, struct file *file)
{
        if (file->durable || !file->linked)
                return;
        for (struct file *other = disk->files; other; other = other->next)
                if (!other->linked && strcmp(other->name, file->name) == 0)
                        other->durable = false;
        file->durable = true;
}

/* ---- changes, and the loss of them ---- */

/* Writes `data`, or cuts at `offset` if it is NULL. */
static void change(struct file *file, size_t offset, const void *data, size_t size)
{
        bool cut = !data && offset <= file->size;
        if (cut)
                size = file->size - offset;
        size_t end = offset + size, after = cut ? offset : end > file->size ? end : file->size;
        file->bytes = reserve(file->bytes, &file->bytes_max, end);
        if (file->disk) {
                size_t count = file->changes_count++;
                file->changes = reserve(file->changes, &file->changes_max, (count + 1) * sizeof *file->changes);
                file->changes[count] = (struct change){cut, offset, size, file->size, after, file->old_size};
                file->old = reserve(file->old, &file->old_max, file->old_size + size);
                if (size > 0)
                        memcpy(file->old + file->old_size, file->bytes + offset, size);
                file->old_size += size;
        }
        if (cut && size > 0)
                memset(file->bytes + offset, 0, size);
        else if (size > 0)
                memcpy(file->bytes + offset, data, size);
        file->size = after;
}

static void forget_changes(struct file *file)
{
        file->changes_count = 0;
        file->old_size = 0;
}

/* Takes a change back, and keeps what it had written instead; or the other way round. */
static void swap(struct file *file, const struct change *undone)
{
        uint8_t *bytes = file->bytes + undone->offset, *old = file->old + undone->at;
        for (size_t i = 0; i < undone->size; i++) {
                uint8_t byte = bytes[i];
                bytes[i] = old[i];
                old[i] = byte;
        }
}

static struct page *doomed_page(struct file *file, size_t offset)
{
        for (size_t i = 0; i < file->doomed_count; i++)
                if (file->doomed[i].offset == offset)
                        return &file->doomed[i];
        return NULL;
}

/* The pages that changes since the last sync touched: written again, they are doomed no more. */
static void save_pages(struct file *file)
{
        for (size_t i = 0; file->doomed_count > 0 && i < file->changes_count; i++) {
                const struct change *done = &file->changes[i];
                for (size_t at = done->offset - done->offset % PAGE; at < done->offset + done->size; at += PAGE) {
                        struct page *page = doomed_page(file, at);
                        if (page)
                                *page = file->doomed[--file->doomed_count];
                }
        }
}

/* A sync failed. What the disk had of the pages is kept; a page that was doomed before stays what it was then. */
static void doom_pages(struct file *file)
{
        for (size_t i = file->changes_count; i-- > 0;)
                swap(file, &file->changes[i]);
        for (size_t i = 0; i < file->changes_count; i++) {
                const struct change *done = &file->changes[i];
                for (size_t at = done->offset - done->offset % PAGE; at < done->offset + done->size; at += PAGE) {
                        if (doomed_page(file, at))
                                continue;
                        size_t count = file->doomed_count++;
                        file->doomed = reserve(file->doomed, &file->doomed_max, (count + 1) * sizeof *file->doomed);
                        file->bytes = reserve(file->bytes, &file->bytes_max, at + PAGE);
                        file->doomed[count].offset = at;
                        memcpy(file->doomed[count].old, file->bytes + at, PAGE);
                }
        }
        for (size_t i = 0; i < file->changes_count; i++)
                swap(file, &file->changes[i]);
        forget_changes(file);
}

/* What a power cut is like: the chances of a change to be there afterwards, and of a part of it. */
struct cut {
        unsigned kept, torn;
};

enum fate { LOST, TORN, KEPT };

static enum fate draw(const struct cut *cut, size_t offset, size_t size)
{
        if (sim_chance(cut->kept))
                return KEPT;
        return size > 0 && offset / SECTOR != (offset + size - 1) / SECTOR && sim_chance(cut->torn) ? TORN : LOST;
}

/* Copies all of it, or sectors at random but not all. Returns where the last one ends. */
static size_t copy_sectors(uint8_t *bytes, const uint8_t *from, size_t offset, size_t size, bool torn)
{
        size_t end = 0, next;
        size_t missing = torn ? (size_t)sim_below((offset + size - 1) / SECTOR - offset / SECTOR + 1) : SIZE_MAX;
        for (size_t at = 0, sector = 0; at < size; at = next, sector++) {
                next = at + SECTOR - (offset + at) % SECTOR;
                if (next > size)
                        next = size;
                if (torn && (sector == missing || sim_chance(500000)))
                        continue;
                memcpy(bytes + offset + at, from + at, next - at);
                end = next;
        }
        return end;
}

/* Returns what came of it. */
static enum fate redo(struct file *file, const struct change *redone, enum fate fate)
{
        if (fate == LOST || (redone->cut && file->size <= redone->after))
                return fate;
        if (redone->cut) {
                memset(file->bytes + redone->after, 0, file->size - redone->after);
                file->size = redone->after;
                return fate;
        }
        size_t end = copy_sectors(file->bytes, file->old + redone->at, redone->offset, redone->size, fate == TORN);
        if (fate == TORN && end == 0)
                return LOST;
        if (redone->offset + end > file->size)
                file->size = redone->offset + end;
        return fate;
}

/* Pages that were clean in the cache but not on the disk. */
static void lose_pages(struct file *file, const struct cut *cut)
{
        for (size_t i = 0; i < file->doomed_count; i++) {
                const struct page *page = &file->doomed[i];
                size_t size = page->offset >= file->size             ? 0
                              : file->size - page->offset < PAGE ? file->size - page->offset
                                                                     : PAGE;
                enum fate fate = draw(cut, page->offset, size);
                if (size == 0 || fate == KEPT)
                        continue;
                copy_sectors(file->bytes, page->old, page->offset, size, fate == TORN);
                sim_count(fate == TORN ? SIM_WRITE_TORN : SIM_WRITE_LOST);
        }
        file->doomed_count = 0;
}

static void lose_changes(struct file *file, const struct cut *cut)
{
        unsigned fates[3] = {0};
        for (size_t i = file->changes_count; i-- > 0;) {
                swap(file, &file->changes[i]);
                file->size = file->changes[i].before;
        }
        lose_pages(file, cut);
        for (size_t i = 0; i < file->changes_count; i++) {
                const struct change *redone = &file->changes[i];
                enum fate fate = redo(file, redone, draw(cut, redone->offset, redone->cut ? 0 : redone->size));
                if (fate != KEPT)
                        sim_count(fate == LOST ? SIM_WRITE_LOST : SIM_WRITE_TORN);
                else if (fates[LOST] > 0)
                        sim_count(SIM_WRITE_REORDERED);
                fates[fate]++;
        }
        if (file->changes_count > 0)
                sim_note("%s: of %zu un-synced writes %u are kept, %u torn", file->name, file->changes_count, fates[KEPT],
                         fates[TORN]);
        forget_changes(file);
}

/* Files that were made or removed, and that not synced. */
static void lose_names(struct sim_disk *disk, const struct cut *cut)
{
        for (struct file *file = disk->files; file; file = file->next)
                if (file->linked && !file->durable) {
                        if (draw(cut, 0, 0) == KEPT) {
                                file->durable = true;
                        } else {
                                file->linked = false;
                                sim_note("%s: never was", file->name);
                                sim_count(SIM_WRITE_LOST);
                        }
                }
        for (struct file *file = disk->files; file; file = file->next)
                if (!file->linked && file->durable) {
                        if (draw(cut, 0, 0) == KEPT || file_of(disk, file->name)) {
                                file->durable = false;
                        } else {
                                file->linked = true;
                                sim_note("%s: is back", file->name);
                                sim_count(SIM_WRITE_LOST);
                        }
                }
        sweep(disk);
}

int sim_disk_opens(const struct sim_disk *disk)
{
        int opens = 0;
        for (const struct file *file = disk->files; file; file = file->next)
                opens += file->opens;
        return opens;
}

void sim_disk_settle(struct sim_disk *disk, enum sim_death death)
{
        if (sim_disk_opens(disk) > 0) {
                if (!sim_ignored) /* a twin's, where P13 may be broken */
                        sim_violation("I17", "%s: %d files are open, and whose they were is gone", disk->folder,
                                      sim_disk_opens(disk));
                return;
        }
        disk->full = 0;
        if (death != SIM_POWER_LOST)
                return;
        struct cut cut = {.kept = 0, .torn = 0};
        switch (sim_below(4)) {
        case 0:
                break;
        case 1:
                cut.kept = 1000000;
                break;
        default:
                cut.kept = (unsigned)sim_between(100000, 900000);
                cut.torn = 500000;
        }
        for (struct file *file = disk->files; file; file = file->next)
                lose_changes(file, &cut);
        lose_names(disk, &cut);
        sim_count(SIM_POWER);
}

/* ---- faults ---- */

/* A write or sync begins: true if its process is to die in it. */
static bool call_kills(struct sim_disk *disk)
{
        int64_t call = disk->calls++;
        return sim_self() && (call == disk->kill_at || sim_chance(sim_disk_faults.kill));
}

static int die(void)
{
        sim_count(SIM_KILL_DISK);
        sim_kill(sim_self(), sim_chance(500000) ? SIM_POWER_LOST : SIM_KILLED);
        return SQLITE_IOERR;
}

static int refuse(const struct file *file, enum sim_fault fault, int code)
{
        sim_note("%s: the disk says %s", file->name, sqlite3_errstr(code));
        sim_count(fault);
        return code;
}

static void trace(const struct file *file, uint64_t offset, uint64_t size)
{
        uint64_t told[] = {offset, size, file->size};
        sim_trace(told, sizeof told);
}

/* ---- files, as SQLite sees them ---- */

static struct file *file_in(sqlite3_file *base)
{
        return ((struct handle *)base)->file;
}

static int disk_read(sqlite3_file *base, void *out, int size, sqlite3_int64 offset)
{
        const struct file *file = file_in(base);
        size_t from = (size_t)offset, wanted = (size_t)size;
        size_t there = from >= file->size ? 0 : file->size - from < wanted ? file->size - from : wanted;
        if (there > 0)
                memcpy(out, file->bytes + from, there);
        memset((uint8_t *)out + there, 0, wanted - there);
        return there == wanted ? SQLITE_OK : SQLITE_IOERR_SHORT_READ;
}

static int disk_write(sqlite3_file *base, const void *data, int size, sqlite3_int64 at)
{
        struct file *file = file_in(base);
        struct sim_disk *disk = file->disk;
        size_t offset = (size_t)at, whole = (size_t)size;
        if (sim_ghost())
                return SQLITE_IOERR;
        if (disk && call_kills(disk)) {
                change(file, offset, data, (size_t)sim_below(whole + 1));
                return die();
        }
        if (disk && offset + whole > file->size) {
                if (disk->full == 0 && sim_chance(sim_disk_faults.full))
                        disk->full = (int)sim_between(1, FULL_CALLS);
                if (disk->full > 0) {
                        disk->full--;
                        return refuse(file, SIM_DISK_FULL, SQLITE_FULL);
                }
        }
        if (disk && sim_chance(sim_disk_faults.write)) {
                change(file, offset, data, (size_t)sim_below(whole));
                return refuse(file, SIM_DISK_WRITE, SQLITE_IOERR_WRITE);
        }
        change(file, offset, data, whole);
        trace(file, offset, whole);
        return SQLITE_OK;
}

static int disk_truncate(sqlite3_file *base, sqlite3_int64 size)
{
        struct file *file = file_in(base);
        if (sim_ghost())
                return SQLITE_IOERR;
        change(file, (size_t)size, NULL, 0);
        trace(file, (uint64_t)size, 0);
        return SQLITE_OK;
}

static int disk_sync(sqlite3_file *base, int flags)
{
        struct handle *handle = (struct handle *)base;
        struct file *file = handle->file;
        (void)flags;
        if (sim_ghost())
                return SQLITE_IOERR;
        if (!file->disk)
                return SQLITE_OK;
        bool kills = call_kills(file->disk);
        if (kills && sim_chance(500000))
                return die();
        if (!kills && sim_chance(sim_disk_faults.sync)) {
                doom_pages(file);
                return refuse(file, SIM_DISK_SYNC, SQLITE_IOERR_FSYNC);
        }
        save_pages(file);
        forget_changes(file);
        sync_name(file->disk, file);
        if (handle->sync_folder)
                sync_folder(file->disk);
        handle->sync_folder = false;
        trace(file, UINT64_MAX, 0);
        return kills ? die() : SQLITE_OK;
}

static int disk_size(sqlite3_file *base, sqlite3_int64 *size)
{
        *size = (sqlite3_int64)file_in(base)->size;
        return SQLITE_OK;
}

static int disk_lock(sqlite3_file *base, int level)
{
        struct handle *handle = (struct handle *)base;
        struct file *file = handle->file;
        if (handle->lock >= level)
                return SQLITE_OK;
        if (level == SQLITE_LOCK_SHARED) {
                if (file->writer && file->writer->lock >= SQLITE_LOCK_PENDING)
                        return SQLITE_BUSY;
                file->shared++;
        } else {
                if (file->writer && file->writer != handle)
                        return SQLITE_BUSY;
                file->writer = handle;
                if (level == SQLITE_LOCK_EXCLUSIVE && file->shared > 1) {
                        handle->lock = SQLITE_LOCK_PENDING;
                        return SQLITE_BUSY;
                }
        }
        handle->lock = level;
        return SQLITE_OK;
}

static int disk_unlock(sqlite3_file *base, int level)
{
        struct handle *handle = (struct handle *)base;
        struct file *file = handle->file;
        if (handle->lock <= level)
                return SQLITE_OK;
        if (file->writer == handle)
                file->writer = NULL;
        if (level == SQLITE_LOCK_NONE)
                file->shared--;
        handle->lock = level;
        return SQLITE_OK;
}

static int disk_reserved(sqlite3_file *base, int *out)
{
        *out = file_in(base)->writer != NULL;
        return SQLITE_OK;
}

static int disk_control(sqlite3_file *base, int what, void *argument)
{
        (void)base;
        (void)what;
        (void)argument;
        return SQLITE_NOTFOUND;
}

static int disk_sector(sqlite3_file *base)
{
        (void)base;
        return PAGE; /* what SQLite's own takes */
}

/* As SQLite's own on Linux: a torn write spoils nothing beside it. */
static int disk_character(sqlite3_file *base)
{
        (void)base;
        return SQLITE_IOCAP_POWERSAFE_OVERWRITE;
}

/* ---- the shared memory of a WAL: there as long as somebody maps it ---- */

static int disk_shm_map(sqlite3_file *base, int region, int size, int extend, void volatile **out)
{
        struct handle *handle = (struct handle *)base;
        struct file *file = handle->file;
        *out = NULL;
        if (!handle->mapped) {
                handle->mapped = true;
                file->mapped++;
        }
        if (region >= file->regions_count && !extend)
                return SQLITE_OK;
        while (region >= file->regions_count) {
                file->regions = realloc(file->regions, ((size_t)file->regions_count + 1) * sizeof(void *));
                ASSENT_ASSERT(file->regions);
                file->regions[file->regions_count] = calloc(1, (size_t)size);
                ASSENT_ASSERT(file->regions[file->regions_count]);
                file->regions_count++;
        }
        *out = file->regions[region];
        return SQLITE_OK;
}

static void shm_unlock(struct handle *handle, int slot)
{
        unsigned bit = 1u << slot;
        if (handle->shm_exclusive & bit)
                handle->file->shm_exclusive[slot] = false;
        if (handle->shm_shared & bit)
                handle->file->shm_shared[slot]--;
        handle->shm_exclusive &= ~bit;
        handle->shm_shared &= ~bit;
}

static int disk_shm_lock(sqlite3_file *base, int first, int count, int flags)
{
        struct handle *handle = (struct handle *)base;
        struct file *file = handle->file;
        for (int slot = first; slot < first + count; slot++) {
                if (flags & SQLITE_SHM_UNLOCK)
                        shm_unlock(handle, slot);
                else if ((file->shm_exclusive[slot] && !(handle->shm_exclusive & 1u << slot)) ||
                         (flags & SQLITE_SHM_EXCLUSIVE &&
                          file->shm_shared[slot] > (handle->shm_shared & 1u << slot ? 1 : 0)))
                        return SQLITE_BUSY;
        }
        for (int slot = first; slot < first + count && !(flags & SQLITE_SHM_UNLOCK); slot++) {
                unsigned bit = 1u << slot;
                if (flags & SQLITE_SHM_EXCLUSIVE) {
                        file->shm_exclusive[slot] = true;
                        handle->shm_exclusive |= bit;
                } else if (!(handle->shm_shared & bit)) {
                        file->shm_shared[slot]++;
                        handle->shm_shared |= bit;
                }
        }
        return SQLITE_OK;
}

static void disk_shm_barrier(sqlite3_file *base)
{
        (void)base;
}

static int disk_shm_unmap(sqlite3_file *base, int remove)
{
        struct handle *handle = (struct handle *)base;
        struct file *file = handle->file;
        (void)remove;
        if (!handle->mapped)
                return SQLITE_OK;
        handle->mapped = false;
        for (int slot = 0; slot < SQLITE_SHM_NLOCK; slot++)
                shm_unlock(handle, slot);
        if (--file->mapped > 0)
                return SQLITE_OK;
        for (int i = 0; i < file->regions_count; i++)
                free(file->regions[i]);
        free(file->regions);
        file->regions = NULL;
        file->regions_count = 0;
        return SQLITE_OK;
}

static int disk_close(sqlite3_file *base)
{
        struct file *file = file_in(base);
        disk_shm_unmap(base, 0);
        disk_unlock(base, SQLITE_LOCK_NONE);
        sim_hold(((struct handle *)base)->process, SIM_FILE, -1);
        file->opens--;
        if (file->disk)
                sweep(file->disk);
        else
                file_free(file);
        return SQLITE_OK;
}

/* ---- the VFS ---- */

static int vfs_open(sqlite3_vfs *vfs, const char *path, sqlite3_file *base, int flags, int *flags_out)
{
        static const sqlite3_io_methods methods = {
            .iVersion = 2,
            .xClose = disk_close,
            .xRead = disk_read,
            .xWrite = disk_write,
            .xTruncate = disk_truncate,
            .xSync = disk_sync,
            .xFileSize = disk_size,
            .xLock = disk_lock,
            .xUnlock = disk_unlock,
            .xCheckReservedLock = disk_reserved,
            .xFileControl = disk_control,
            .xSectorSize = disk_sector,
            .xDeviceCharacteristics = disk_character,
            .xShmMap = disk_shm_map,
            .xShmLock = disk_shm_lock,
            .xShmBarrier = disk_shm_barrier,
            .xShmUnmap = disk_shm_unmap,
        };
        struct sim_disk *disk = path ? disk_of(path) : NULL;
        struct file *file = path ? file_of(disk, path) : NULL;
        (void)vfs;
        base->pMethods = NULL; /* nothing to close */
        if (!file) {
                if (path && (!disk || !(flags & SQLITE_OPEN_CREATE) || sim_ghost()))
                        return SQLITE_CANTOPEN;
                file = file_new(disk, path);
        }
        if (file->opens > 0 && sim_self() && file->user && file->user != sim_self())
                sim_violation("P13", "%s opens %s, which %s has open", sim_self()->name, path, file->user->name);
        file->opens++;
        if (disk && sim_disk_opens(disk) > OPENS_MAX)
                sim_violation("I17", "%s: %d files are open at a time", disk->folder, sim_disk_opens(disk));
        file->user = sim_self();
        sim_hold(sim_self(), SIM_FILE, 1);
        /* As SQLite's own: the first sync of a journal or WAL is followed by one of the folder. */
        bool journal = flags & SQLITE_OPEN_CREATE && flags & (SQLITE_OPEN_MAIN_JOURNAL | SQLITE_OPEN_WAL);
        *(struct handle *)base = (struct handle){
                .base.pMethods = &methods, .file = file, .process = sim_self(), .sync_folder = journal};
        if (flags_out)
                *flags_out = flags;
        return SQLITE_OK;
}

static int vfs_delete(sqlite3_vfs *vfs, const char *path, int folder)
{
        struct sim_disk *disk = disk_of(path);
        struct file *file = file_of(disk, path);
        (void)vfs;
        if (sim_ghost())
                return SQLITE_IOERR;
        if (!file)
                return SQLITE_IOERR_DELETE_NOENT;
        file->linked = false;
        trace(file, UINT64_MAX, 1);
        if (folder)
                sync_folder(disk);
        sweep(disk);
        return SQLITE_OK;
}

static int vfs_access(sqlite3_vfs *vfs, const char *path, int flags, int *out)
{
        (void)vfs;
        (void)flags;
        *out = file_of(disk_of(path), path) != NULL;
        return SQLITE_OK;
}

static int vfs_path(sqlite3_vfs *vfs, const char *path, int size, char *out)
{
        (void)vfs;
        sqlite3_snprintf(size, out, "%s", path);
        return SQLITE_OK;
}

static int vfs_random(sqlite3_vfs *vfs, int size, char *out)
{
        (void)vfs;
        for (int i = 0; i < size; i++)
                out[i] = (char)sim_random();
        return size;
}

static int vfs_sleep(sqlite3_vfs *vfs, int us)
{
        (void)vfs;
        sim_wait(sim_now_us() + us, NULL, NULL);
        return us;
}

static int vfs_time_ms(sqlite3_vfs *vfs, sqlite3_int64 *ms)
{
        (void)vfs;
        *ms = INT64_C(210866760000000) + SIM_EPOCH_MS + sim_now_ms(); /* since noon, 24 November 4714 BC */
        return SQLITE_OK;
}

void sim_disks_open(void)
{
        static sqlite3_vfs vfs = {
            .iVersion = 2,
            .szOsFile = sizeof(struct handle),
            .mxPathname = 512,
            .zName = "sim",
            .xOpen = vfs_open,
            .xDelete = vfs_delete,
            .xAccess = vfs_access,
            .xFullPathname = vfs_path,
            .xRandomness = vfs_random,
            .xSleep = vfs_sleep,
            .xCurrentTimeInt64 = vfs_time_ms,
        };
        static bool registered;
        if (!registered) {
                assent_store_process();
                registered = sqlite3_vfs_register(&vfs, 1) == SQLITE_OK;
                ASSENT_ASSERT(registered);
        }
        sqlite3_randomness(0, NULL); /* or the world before would show in this one */
        sim_disk_faults = (struct sim_disk_faults){0};
}

/* ---- disks ---- */

struct sim_disk *sim_disk_new(const char *folder)
{
        struct sim_disk *disk = calloc(1, sizeof *disk);
        ASSENT_ASSERT(disk);
        disk->folder = realpath(folder, NULL); /* the store resolves its path, too */
        ASSENT_ASSERT(disk->folder);
        disk->kill_at = -1;
        disk->next = disks;
        disks = disk;
        return disk;
}

void sim_disk_free(struct sim_disk *disk)
{
        struct sim_disk **at = &disks;
        while (*at != disk)
                at = &(*at)->next;
        *at = disk->next;
        files_free(disk->files);
        free(disk->folder);
        free(disk);
}

struct sim_disk_copy *sim_disk_save(const struct sim_disk *disk)
{
        return copy_of(&(struct sim_disk_copy){files_copy(disk->files)}, sizeof(struct sim_disk_copy));
}

void sim_disk_restore(struct sim_disk *disk, const struct sim_disk_copy *copy)
{
        files_free(disk->files);
        disk->files = files_copy(copy->files);
        for (struct file *file = disk->files; file; file = file->next)
                file->disk = disk;
}

void sim_disk_copy_free(struct sim_disk_copy *copy)
{
        if (!copy)
                return;
        files_free(copy->files);
        free(copy);
}

void sim_disk_kill_after(struct sim_disk *disk, int64_t calls)
{
        disk->kill_at = calls < 0 ? -1 : disk->calls + calls;
}

int64_t sim_disk_calls(const struct sim_disk *disk)
{
        return disk->calls;
}
