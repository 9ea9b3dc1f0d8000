/* A disk that fails on demand, for the process that loads this with LD_PRELOAD: the calls that
 * change files under DISK_DIR obey and count in the file DISK_CONTROL (see disk.rs). */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum mode { OK, FULL, READ_ONLY, SYNC_FAILS, HOLD };

struct control {
    _Atomic uint64_t mode;
    /* Calls so far. */
    _Atomic uint64_t writes, syncs;
    /* Calls that were refused, and those that are held now. */
    _Atomic uint64_t refused, held;
};

#define DESCRIPTORS 65536
static _Atomic char ours[DESCRIPTORS];
static struct control *control;
static const char *dir;

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

__attribute__((constructor)) static void start(void) {
    const char *path = getenv("DISK_CONTROL");
    dir = getenv("DISK_DIR");
    int fd = path && dir ? REAL(open)(path, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0)
        return;
    void *map = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (map != MAP_FAILED)
        control = map;
    REAL(close)(fd);
}

static int under(const char *path) {
    return control && strncmp(path, dir, strlen(dir)) == 0;
}

static int is_ours(int fd) {
    return control && fd >= 0 && fd < DESCRIPTORS && ours[fd];
}

static int refuse(int error) {
    control->refused++;
    errno = error;
    return -1;
}

/* What changes something on the disk comes through here: 0, or -1 with errno. */
static int change(int fd) {
    if (!is_ours(fd))
        return 0;
    control->writes++;
    switch (control->mode) {
    case FULL: return refuse(ENOSPC);
    case READ_ONLY: return refuse(EROFS);
    default: return 0;
    }
}

static int sync_of(int fd) {
    if (!is_ours(fd))
        return 0;
    control->syncs++;
    if (control->mode == HOLD) {
        control->held++;
        while (control->mode == HOLD)
            usleep(500);
        control->held--;
    }
    return control->mode == SYNC_FAILS ? refuse(EIO) : 0;
}

static int opened(const char *path, int fd) {
    if (fd >= 0 && fd < DESCRIPTORS)
        ours[fd] = under(path);
    return fd;
}

static int may_open(const char *path, int flags) {
    int writes = (flags & O_ACCMODE) != O_RDONLY || flags & (O_CREAT | O_TRUNC);
    return under(path) && writes && control->mode == READ_ONLY ? refuse(EROFS) : 0;
}

#define OPEN(name)                                                                                 \
    int name(const char *path, int flags, ...) {                                                   \
        va_list rest;                                                                              \
        va_start(rest, flags);                                                                     \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0;                    \
        va_end(rest);                                                                              \
        return may_open(path, flags) ? -1 : opened(path, REAL(name)(path, flags, mode));           \
    }
OPEN(open)
OPEN(open64)

int close(int fd) {
    if (fd >= 0 && fd < DESCRIPTORS)
        ours[fd] = 0;
    return REAL(close)(fd);
}

ssize_t write(int fd, const void *bytes, size_t count) {
    return change(fd) ? -1 : REAL(write)(fd, bytes, count);
}

ssize_t pwrite(int fd, const void *bytes, size_t count, off_t offset) {
    return change(fd) ? -1 : REAL(pwrite)(fd, bytes, count, offset);
}

ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t offset) {
    return change(fd) ? -1 : REAL(pwrite64)(fd, bytes, count, offset);
}

ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t offset) {
    return change(fd) ? -1 : REAL(pwritev)(fd, parts, count, offset);
}

ssize_t pwritev64(int fd, const struct iovec *parts, int count, off64_t offset) {
    return change(fd) ? -1 : REAL(pwritev64)(fd, parts, count, offset);
}

int ftruncate(int fd, off_t length) {
    return change(fd) ? -1 : REAL(ftruncate)(fd, length);
}

int ftruncate64(int fd, off64_t length) {
    return change(fd) ? -1 : REAL(ftruncate64)(fd, length);
}

int unlink(const char *path) {
    return under(path) && control->mode == READ_ONLY ? refuse(EROFS) : REAL(unlink)(path);
}

int fsync(int fd) {
    return sync_of(fd) ? -1 : REAL(fsync)(fd);
}

int fdatasync(int fd) {
    return sync_of(fd) ? -1 : REAL(fdatasync)(fd);
}
