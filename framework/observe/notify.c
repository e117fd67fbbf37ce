/* notify.c: sd_notify(3) without its library: a datagram to the socket that the service manager names. */
#include <assent/observe.h>

#include <errno.h>
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
