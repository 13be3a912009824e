/* Watches, and on demand fails, the system calls that a process makes on data.mdb.
 *
 * Preloaded before LMDB's library. Every call on the data file is written as one line to
 * the file that SHIM_LOG names, after it has returned: its name, "sync" when the
 * descriptor is O_DSYNC and "plain" otherwise, and the result. The program writes "b" to
 * descriptor SHIM_ACK when it begins a group and "a" for each acknowledgement; these
 * appear in the same file as "begin" and "ack", before the call, so that the order in the
 * file is the order that matters: an acknowledgement may only follow the return of the
 * write that made its commit.
 *
 * With SHIM_SOCKETS=1 a server is watched instead: bytes read from a socket that begin a
 * write (REST's PUT, PATCH, DELETE, POST, MQTT's PUBLISH with QoS 1) are "begin", bytes
 * sent that begin with a success (HTTP's 20x, a PUBACK) are "ack".
 *
 * shim_arm(n, error) lets the n-th call from now on fail with an errno, and every write
 * after it too when error is ENOSPC; shim_arm(0, 0) ends that. shim_calls() counts.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static int armed_at, armed_error, calls;
static int log_descriptor = -2;

static ssize_t raw_write(int descriptor, const void *data, size_t size)
{
    static ssize_t (*real)(int, const void *, size_t);
    if (!real)
        real = dlsym(RTLD_NEXT, "write");
    return real(descriptor, data, size);
}

static void note(const char *call, int descriptor, long result)
{
    char line[128];
    if (log_descriptor == -2) {
        const char *path = getenv("SHIM_LOG");
        log_descriptor = path ? open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600) : -1;
    }
    if (log_descriptor < 0)
        return;
    const char *mode = descriptor >= 0 && (fcntl(descriptor, F_GETFL) & O_DSYNC) ? "sync" : "plain";
    int size = snprintf(line, sizeof line, "%s %s %ld\n", call, mode, result);
    raw_write(log_descriptor, line, size);
}

static int is_data(int descriptor)
{
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t size = readlink(link, path, sizeof path - 1);
    if (size < 9)
        return 0;
    path[size] = 0;
    return strcmp(path + size - 9, "/data.mdb") == 0;
}

static int watches_sockets(void)
{
    static int watches = -1;
    if (watches < 0)
        watches = getenv("SHIM_SOCKETS") != NULL;
    return watches;
}

static int is_socket(int descriptor)
{
    struct stat status;
    return fstat(descriptor, &status) == 0 && S_ISSOCK(status.st_mode);
}

static void note_received(int descriptor, const char *data, ssize_t size)
{
    if (!watches_sockets() || size < 4 || !is_socket(descriptor))
        return;
    if (!memcmp(data, "PUT ", 4) || !memcmp(data, "PATC", 4) || !memcmp(data, "DELE", 4)
        || !memcmp(data, "POST", 4) || (data[0] & 0xf6) == 0x32)
        note("begin", -1, 0);
}

static void note_sent(int descriptor, const char *data, size_t size)
{
    if (!watches_sockets() || size < 4 || !is_socket(descriptor))
        return;
    if ((size > 12 && !memcmp(data, "HTTP/1.1 20", 11)) || (data[0] == 0x40 && data[1] <= 4))
        note("ack", -1, 0);
}

static int must_fail(int allocates)
{
    calls++;
    if (!armed_at || calls < armed_at)
        return 0;
    if (calls > armed_at && !(armed_error == ENOSPC && allocates))
        return 0;
    errno = armed_error;
    return 1;
}

void shim_arm(int n, int error)
{
    calls = 0;
    armed_at = n;
    armed_error = error;
}

int shim_calls(void)
{
    return calls;
}

#define WATCHED(type, name, parameters, arguments, descriptor, allocates)  \
    type name parameters                                                   \
    {                                                                      \
        static type(*real) parameters;                                     \
        if (!real)                                                         \
            real = dlsym(RTLD_NEXT, #name);                                \
        if (!is_data(descriptor))                                          \
            return real arguments;                                         \
        type result = must_fail(allocates) ? -1 : real arguments;          \
        int error = errno;                                                 \
        note(#name, descriptor, (long)result);                             \
        errno = error;                                                     \
        return result;                                                     \
    }

WATCHED(ssize_t, pwrite, (int fd, const void *data, size_t size, off_t at), (fd, data, size, at), fd, 1)
WATCHED(ssize_t, pwrite64, (int fd, const void *data, size_t size, off64_t at), (fd, data, size, at), fd, 1)
WATCHED(ssize_t, pwritev, (int fd, const struct iovec *parts, int count, off_t at), (fd, parts, count, at), fd, 1)
WATCHED(int, fdatasync, (int fd), (fd), fd, 0)
WATCHED(int, fsync, (int fd), (fd), fd, 0)
WATCHED(int, ftruncate, (int fd, off_t size), (fd, size), fd, 1)
WATCHED(int, ftruncate64, (int fd, off64_t size), (fd, size), fd, 1)

ssize_t write(int fd, const void *data, size_t size)
{
    const char *ack = getenv("SHIM_ACK");
    if (ack && fd == atoi(ack)) {
        note(size && *(const char *)data == 'b' ? "begin" : "ack", -1, 0);
        return raw_write(fd, data, size);
    }
    if (!is_data(fd)) {
        note_sent(fd, data, size);
        return raw_write(fd, data, size);
    }
    ssize_t result = must_fail(1) ? -1 : raw_write(fd, data, size);
    int error = errno;
    note("write", fd, (long)result);
    errno = error;
    return result;
}

ssize_t writev(int fd, const struct iovec *parts, int count)
{
    static ssize_t (*real)(int, const struct iovec *, int);
    if (!real)
        real = dlsym(RTLD_NEXT, "writev");
    if (!is_data(fd)) {
        if (count > 0)
            note_sent(fd, parts[0].iov_base, parts[0].iov_len);
        return real(fd, parts, count);
    }
    ssize_t result = must_fail(1) ? -1 : real(fd, parts, count);
    int error = errno;
    note("writev", fd, (long)result);
    errno = error;
    return result;
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
    static ssize_t (*real)(int, const struct msghdr *, int);
    if (!real)
        real = dlsym(RTLD_NEXT, "sendmsg");
    if (message->msg_iovlen > 0)
        note_sent(fd, message->msg_iov[0].iov_base, message->msg_iov[0].iov_len);
    return real(fd, message, flags);
}

ssize_t send(int fd, const void *data, size_t size, int flags)
{
    static ssize_t (*real)(int, const void *, size_t, int);
    if (!real)
        real = dlsym(RTLD_NEXT, "send");
    note_sent(fd, data, size);
    return real(fd, data, size, flags);
}

ssize_t read(int fd, void *data, size_t size)
{
    static ssize_t (*real)(int, void *, size_t);
    if (!real)
        real = dlsym(RTLD_NEXT, "read");
    ssize_t result = real(fd, data, size);
    int error = errno;
    note_received(fd, data, result);
    errno = error;
    return result;
}

ssize_t recv(int fd, void *data, size_t size, int flags)
{
    static ssize_t (*real)(int, void *, size_t, int);
    if (!real)
        real = dlsym(RTLD_NEXT, "recv");
    ssize_t result = real(fd, data, size, flags);
    int error = errno;
    note_received(fd, data, result);
    errno = error;
    return result;
}
