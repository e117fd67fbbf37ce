/* Small files for the tests of the configuration. */
#ifndef ASSENT_TESTS_CONFIG_FILES_H
#define ASSENT_TESTS_CONFIG_FILES_H

#include <criterion/criterion.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <assent/config.h>

static char file_path[64];

/* Writes `size` bytes into a new file with these permissions; its name is in file_path. */
static inline void file_write(const char *bytes, size_t size, mode_t mode)
{
        snprintf(file_path, sizeof file_path, "/tmp/assent-config-XXXXXX");
        int fd = mkstemp(file_path);
        cr_assert_geq(fd, 0);
        cr_assert_eq(write(fd, bytes, size), (ssize_t)size);
        cr_assert_eq(fchmod(fd, mode), 0);
        close(fd);
}

static inline void file_remove(void)
{
        if (file_path[0] != '\0')
                unlink(file_path);
}

static inline struct assent_config *config_new(void)
{
        struct assent_config *config;
        cr_assert_eq(assent_config_open(&config), ASSENT_OK);
        return config;
}

static inline enum assent_err load_text(struct assent_config *config, const char *text)
{
        file_write(text, strlen(text), 0600);
        enum assent_err err = assent_config_load(config, file_path);
        file_remove();
        return err;
}

#define check_errmsg(config, part)                                                                 \
        cr_assert_not_null(strstr(assent_config_errmsg(config), part), "\"%s\" is not in: %s",     \
                           part, assent_config_errmsg(config))

#endif
