/* What a service manager hears. */
#include <criterion/criterion.h>

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <assent/observe.h>

static char folder[] = "/tmp/observe-notify.XXXXXX";

static int manager_open(const char *path)
{
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        memcpy(address.sun_path, path, strlen(path));
        if (*path == '@')
                address.sun_path[0] = '\0';
        int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
        socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path));
        cr_assert_eq(bind(fd, (struct sockaddr *)&address, size), 0);
        setenv("NOTIFY_SOCKET", path, 1);
        return fd;
}

static const char *heard(int fd)
{
        static char line[4096];
        ssize_t size = recv(fd, line, sizeof line - 1, 0);
        line[size > 0 ? size : 0] = '\0';
        return line;
}

Test(notify, a_socket_by_path)
{
        char path[64];
        cr_assert_not_null(mkdtemp(folder));
        snprintf(path, sizeof path, "%s/notify", folder);
        int fd = manager_open(path);
        assent_notify("READY=1\nSTATUS=%d lanes", 4);
        cr_expect_str_eq(heard(fd), "READY=1\nSTATUS=4 lanes");
        assent_notify("STOPPING=1");
        cr_expect_str_eq(heard(fd), "STOPPING=1");
        cr_expect_str_eq(heard(fd), "");
        close(fd);
        assent_notify("STOPPING=1"); /* nobody listens: a warning, no more */
        unlink(path);
        assent_notify("STOPPING=1");
        rmdir(folder);
}

Test(notify, an_abstract_socket)
{
        char name[64];
        snprintf(name, sizeof name, "@assent-test-%d", (int)getpid());
        int fd = manager_open(name);
        assent_notify("READY=1");
        cr_expect_str_eq(heard(fd), "READY=1");
        close(fd);
}

Test(notify, a_path_as_long_as_an_address_takes_and_one_byte_longer)
{
        struct sockaddr_un address;
        char name[sizeof address.sun_path + 1];
        memset(name, 'x', sizeof name);
        snprintf(name, sizeof name, "@assent-test-%d", (int)getpid());
        name[strlen(name)] = '-';
        name[sizeof address.sun_path - 1] = '\0';
        int fd = manager_open(name);
        assent_notify("READY=1");
        cr_expect_str_eq(heard(fd), "READY=1");
        name[sizeof address.sun_path - 1] = 'x';
        name[sizeof address.sun_path] = '\0';
        setenv("NOTIFY_SOCKET", name, 1);
        assent_notify("READY=1");
        cr_expect_str_eq(heard(fd), "");
        close(fd);
}

Test(notify, a_status_is_cut_to_its_limit)
{
        char name[64], text[1000];
        snprintf(name, sizeof name, "@assent-test-cut-%d", (int)getpid());
        int fd = manager_open(name);
        memset(text, 'x', sizeof text);
        text[sizeof text - 1] = '\0';
        assent_notify("STATUS=%s", text);
        cr_expect_eq(strlen(heard(fd)), 511);
        close(fd);
}

Test(notify, nobody_to_be_told)
{
        unsetenv("NOTIFY_SOCKET");
        assent_notify("READY=1");
        setenv("NOTIFY_SOCKET", "", 1);
        assent_notify("READY=1");
        setenv("NOTIFY_SOCKET", "vsock:2:1", 1); /* not one we speak */
        assent_notify("READY=1");
}

/* ---- a file ---- */

static void file_is(const char *path, const char *wanted)
{
        char text[64] = "";
        FILE *file = fopen(path, "re");
        cr_assert(file);
        text[fread(text, 1, sizeof text - 1, file)] = '\0';
        fclose(file);
        cr_assert_str_eq(text, wanted);
}

Test(notify, a_file_is_written_whole_and_replaces_what_stood_there)
{
        char path[64], other[64];
        cr_assert_not_null(mkdtemp(folder));
        snprintf(path, sizeof path, "%s/port", folder);
        snprintf(other, sizeof other, "%s/other", folder);
        cr_assert(assent_notify_file(path, "%u\n", 65535U));
        file_is(path, "65535\n");
        cr_assert(assent_notify_file(path, "%u\n", 80U));
        file_is(path, "80\n");
        cr_assert(assent_notify_file(other, "stays\n"));
        cr_assert(unlink(path) == 0 && symlink(other, path) == 0);
        cr_assert(assent_notify_file(path, "%u\n", 81U));
        file_is(path, "81\n");
        file_is(other, "stays\n");
        cr_assert(unlink(path) == 0 && unlink(other) == 0);
        cr_assert_eq(rmdir(folder), 0, "something was left beside");
}

Test(notify, a_file_that_cannot_be_written_is_told_and_leaves_nothing)
{
        char path[5000], beside[64];
        cr_assert_not_null(mkdtemp(folder));
        errno = 0;
        cr_assert(!assent_notify_file("/nowhere/at/all", "x") && errno == ENOENT);
        snprintf(path, sizeof path, "%s/port", folder);
        snprintf(beside, sizeof beside, "%s/port.new", folder);
        cr_assert_eq(mkdir(path, 0700), 0);
        cr_assert(!assent_notify_file(path, "x") && errno == EISDIR, "%s", strerror(errno));
        cr_assert(symlink("elsewhere", beside) == 0 && !assent_notify_file(path, "x") && errno == ELOOP, "a link was followed");
        cr_assert(unlink(beside) == 0 && rmdir(path) == 0);
        cr_assert_eq(rmdir(folder), 0, "something was left beside");
        memset(path, 'x', sizeof path - 1);
        memcpy(path, "/tmp/", 5);
        path[4096 - 1 - 4] = '\0'; /* as long as a path may be, with ".new" and its NUL; but no name may be */
        cr_assert(!assent_notify_file(path, "x") && errno == ENAMETOOLONG);
        path[4096 - 1 - 4] = 'x';
        path[4096 - 4] = '\0';
        cr_assert(!assent_notify_file(path, "x") && errno == ENAMETOOLONG);
}
