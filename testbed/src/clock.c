/* A clock that is wrong on demand, for the process that loads this with LD_PRELOAD: what is added to
 * its clocks lies in the file CLOCK_CONTROL (see clock.rs). Timers are left alone. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

struct control {
    /* Seconds that the wall clock is wrong by, and seconds that have passed in no time. */
    _Atomic int64_t wrong, passed;
};

static struct control *control;
static int (*real)(clockid_t, struct timespec *);

__attribute__((constructor)) static void start(void) {
    real = (__typeof__(real))dlsym(RTLD_NEXT, "clock_gettime");
    const char *path = getenv("CLOCK_CONTROL");
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0)
        return;
    void *map = mmap(NULL, sizeof *control, PROT_READ, MAP_SHARED, fd, 0);
    if (map != MAP_FAILED)
        control = map;
    close(fd);
}

int clock_gettime(clockid_t clock, struct timespec *time) {
    if (!real)
        start();
    int result = real(clock, time);
    if (result || !control)
        return result;
    switch (clock) {
    case CLOCK_REALTIME:
    case CLOCK_REALTIME_COARSE:
        time->tv_sec += control->wrong;
        /* fall through */
    case CLOCK_BOOTTIME:
        time->tv_sec += control->passed;
    }
    /* No clock of Linux's is before 1970. */
    if (time->tv_sec < 0)
        time->tv_sec = 0;
    return 0;
}

/* What programs of old ask, openssl among them. */
time_t time(time_t *result) {
    struct timespec now;
    if (clock_gettime(CLOCK_REALTIME, &now))
        return -1;
    if (result)
        *result = now.tv_sec;
    return now.tv_sec;
}
