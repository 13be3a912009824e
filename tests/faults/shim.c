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
WATCHED(ssize_t, writev, (int fd, const struct iovec *parts, int count), (fd, parts, count), fd, 1)
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
    if (!is_data(fd))
        return raw_write(fd, data, size);
    ssize_t result = must_fail(1) ? -1 : raw_write(fd, data, size);
    int error = errno;
    note("write", fd, (long)result);
    errno = error;
    return result;
}
