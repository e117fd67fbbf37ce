/* notify.c: those who wait for a daemon are told: the service manager by a datagram to the socket it names, as sd_notify(3) has
 * it; others by a file. */
#include <assent/observe.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <assent/log.h>

#define LINE_SIZE_MAX 512

static bool notify_send(const char *path, const char *line, size_t size)
{
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        size_t path_size = strlen(path);
        if ((path[0] != '/' && path[0] != '@') || path_size >= sizeof address.sun_path) {
                errno = EAFNOSUPPORT;
                return false;
        }
        memcpy(address.sun_path, path, path_size);
        if (path[0] == '@') /* an abstract one: its name begins with NUL and ends with the address */
                address.sun_path[0] = '\0';
        socklen_t address_size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + path_size);
        int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        if (fd < 0)
                return false;
        ssize_t sent;
        do
                sent = sendto(fd, line, size, MSG_NOSIGNAL, (const struct sockaddr *)&address, address_size);
        while (sent < 0 && errno == EINTR);
        int reason = errno;
        close(fd);
        errno = reason;
        return sent >= 0;
}

void assent_notify(const char *format, ...)
{
        const char *path = getenv("NOTIFY_SOCKET");
        char line[LINE_SIZE_MAX];
        va_list arguments;
        if (!path || !*path)
                return;
        va_start(arguments, format);
        vsnprintf(line, sizeof line, format, arguments);
        va_end(arguments);
        if (!notify_send(path, line, strlen(line)))
                assent_log(ASSENT_LOG_WARN, "the service manager cannot be told", ASSENT_TEXT("notify_socket", path),
                           ASSENT_TEXT("what", line), ASSENT_TEXT("why", strerror(errno)));
}

bool assent_notify_file(const char *path, const char *format, ...)
{
        char beside[PATH_MAX];
        int size = snprintf(beside, sizeof beside, "%s.new", path);
        if (size < 0 || (size_t)size >= sizeof beside) {
                errno = ENAMETOOLONG;
                return false;
        }
        int fd = open(beside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
        if (fd < 0)
                return false;
        va_list arguments;
        va_start(arguments, format);
        bool written = vdprintf(fd, format, arguments) >= 0;
        va_end(arguments);
        written = close(fd) == 0 && written;
        if (written && rename(beside, path) == 0)
                return true;
        int reason = errno;
        unlink(beside);
        errno = reason;
        return false;
}
