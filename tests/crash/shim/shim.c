/* A disk with a memory, and with faults: preloaded into the proxy.
 *
 * Everything that the process does to the files of one directory (CRASH_DIR) is done as asked and, if CRASH_LOG is set,
 * written to that log in the order in which it happened, so that the directory can be rebuilt as a power loss at any moment
 * would have left it. CRASH_CONTROL is a file of three 64-bit numbers that the test changes while the process runs:
 *   0  nanoseconds added to the wall clock
 *   1  fail the n-th sync from now with EIO (0: none)
 *   2  bytes by which files may still grow, plus one (0: no bound); then ENOSPC
 *
 * A log record is: kind (1 byte), inode (8), number (8: an offset or a length), length (4), that many bytes. Numbers are
 * little-endian. `-shm` files (shared memory, rebuilt by SQLite) and the lock file hold nothing that must survive.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { CREATED = 1, FOUND, WRITE, TRUNCATE, SYNC, SYNC_FAILED, SYNC_DIR, RENAME, UNLINK };
enum { FDS = 4096 };
static const uint64_t DIRECTORY = 1; /* no file's inode */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char dir[4096];
static size_t dir_len;
static int log_fd = -1;
static volatile int64_t *control;
static uint64_t tracked[FDS];

static int (*real_open)(const char *, int, ...);
static int (*real_close)(int);
static ssize_t (*real_write)(int, const void *, size_t);
static ssize_t (*real_pwrite)(int, const void *, size_t, off_t);
static int (*real_ftruncate)(int, off_t);
static int (*real_fsync)(int);
static int (*real_fdatasync)(int);
static int (*real_rename)(const char *, const char *);
static int (*real_unlink)(const char *);
static int (*real_clock_gettime)(clockid_t, struct timespec *);

__attribute__((constructor)) static void begin(void) {
    real_open = dlsym(RTLD_NEXT, "open64");
    real_close = dlsym(RTLD_NEXT, "close");
    real_write = dlsym(RTLD_NEXT, "write");
    real_pwrite = dlsym(RTLD_NEXT, "pwrite64");
    real_ftruncate = dlsym(RTLD_NEXT, "ftruncate64");
    real_fsync = dlsym(RTLD_NEXT, "fsync");
    real_fdatasync = dlsym(RTLD_NEXT, "fdatasync");
    real_rename = dlsym(RTLD_NEXT, "rename");
    real_unlink = dlsym(RTLD_NEXT, "unlink");
    real_clock_gettime = dlsym(RTLD_NEXT, "clock_gettime");
    const char *wanted = getenv("CRASH_DIR");
    if (wanted && strlen(wanted) < sizeof dir) {
        strcpy(dir, wanted);
        dir_len = strlen(dir);
    }
    const char *log = getenv("CRASH_LOG");
    if (log) {
        log_fd = real_open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        if (log_fd < 0) _exit(99);
    }
    const char *path = getenv("CRASH_CONTROL");
    if (path) {
        int fd = real_open(path, O_RDWR | O_CLOEXEC);
        void *page = fd < 0 ? MAP_FAILED : mmap(NULL, 24, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (page == MAP_FAILED) _exit(98);
        control = page;
        real_close(fd);
    }
}

/* One write, so that a kill leaves whole records. */
static void record(uint8_t kind, uint64_t inode, uint64_t number, const void *bytes, uint32_t length) {
    if (log_fd < 0) return;
    uint8_t head[21];
    head[0] = kind;
    memcpy(head + 1, &inode, 8);
    memcpy(head + 9, &number, 8);
    memcpy(head + 17, &length, 4);
    struct iovec parts[2] = {{head, sizeof head}, {(void *)bytes, length}};
    if (syscall(SYS_writev, log_fd, parts, length ? 2 : 1) != (long)(sizeof head + length)) _exit(97);
}

/* The name inside the directory; NULL if it is elsewhere or does not matter. */
static const char *name_of(const char *path) {
    if (!dir_len || strncmp(path, dir, dir_len) != 0 || path[dir_len] != '/') return NULL;
    const char *name = path + dir_len + 1;
    size_t length = strlen(name);
    if (length >= 4 && strcmp(name + length - 4, "-shm") == 0) return NULL;
    if (length >= 5 && strcmp(name + length - 5, ".lock") == 0) return NULL;
    return length ? name : NULL;
}

static uint64_t inode_of(int fd) { return fd >= 0 && fd < FDS ? tracked[fd] : 0; }

static int opened(const char *path, int flags, mode_t mode) {
    const char *name = name_of(path);
    if (!name && (!dir_len || strcmp(path, dir) != 0)) return real_open(path, flags, mode);
    pthread_mutex_lock(&lock);
    struct stat before, after;
    int existed = lstat(path, &before) == 0;
    int fd = real_open(path, flags, mode);
    if (fd >= 0 && fd < FDS && fstat(fd, &after) == 0) {
        if (S_ISDIR(after.st_mode)) {
            tracked[fd] = DIRECTORY;
        } else if (name) {
            tracked[fd] = after.st_ino;
            record(existed ? FOUND : CREATED, after.st_ino, 0, name, strlen(name));
            if (existed && (flags & O_TRUNC)) record(TRUNCATE, after.st_ino, 0, NULL, 0);
        }
    }
    pthread_mutex_unlock(&lock);
    return fd;
}

#define MODE(flags)                                            \
    mode_t mode = 0;                                           \
    if ((flags) & (O_CREAT | O_TMPFILE)) {                     \
        va_list rest;                                          \
        va_start(rest, flags);                                 \
        mode = va_arg(rest, mode_t);                           \
        va_end(rest);                                          \
    }

int open(const char *path, int flags, ...) { MODE(flags) return opened(path, flags, mode); }
int open64(const char *path, int flags, ...) { MODE(flags) return opened(path, flags, mode); }
int openat(int at, const char *path, int flags, ...) {
    MODE(flags)
    if (path[0] == '/') return opened(path, flags, mode);
    return syscall(SYS_openat, at, path, flags, mode);
}
int openat64(int at, const char *path, int flags, ...) {
    MODE(flags)
    if (path[0] == '/') return opened(path, flags, mode);
    return syscall(SYS_openat, at, path, flags, mode);
}

int close(int fd) {
    if (inode_of(fd)) {
        pthread_mutex_lock(&lock);
        tracked[fd] = 0;
        pthread_mutex_unlock(&lock);
    }
    return real_close(fd);
}

/* Whether the files may grow so that this write fits. */
static int has_room(int fd, off_t at, size_t length) {
    struct stat file;
    if (!control || !control[2] || fstat(fd, &file) != 0) return 1;
    int64_t growth = at + (int64_t)length - file.st_size;
    if (growth <= 0) return 1;
    if (growth > control[2] - 1) return 0;
    control[2] -= growth;
    return 1;
}

static ssize_t written(int fd, const void *bytes, size_t length, off_t at, int positioned) {
    pthread_mutex_lock(&lock);
    if (!positioned) at = lseek(fd, 0, SEEK_CUR);
    ssize_t done;
    if (!has_room(fd, at, length)) {
        errno = ENOSPC;
        done = -1;
    } else {
        done = positioned ? real_pwrite(fd, bytes, length, at) : real_write(fd, bytes, length);
    }
    int error = errno;
    if (done > 0) record(WRITE, inode_of(fd), at, bytes, done);
    pthread_mutex_unlock(&lock);
    errno = error;
    return done;
}

ssize_t write(int fd, const void *bytes, size_t length) {
    return inode_of(fd) ? written(fd, bytes, length, 0, 0) : real_write(fd, bytes, length);
}
ssize_t pwrite64(int fd, const void *bytes, size_t length, off_t at) {
    return inode_of(fd) ? written(fd, bytes, length, at, 1) : real_pwrite(fd, bytes, length, at);
}
ssize_t pwrite(int fd, const void *bytes, size_t length, off_t at) { return pwrite64(fd, bytes, length, at); }

int ftruncate64(int fd, off_t length) {
    if (!inode_of(fd)) return real_ftruncate(fd, length);
    pthread_mutex_lock(&lock);
    int done = real_ftruncate(fd, length);
    if (done == 0) record(TRUNCATE, inode_of(fd), length, NULL, 0);
    pthread_mutex_unlock(&lock);
    return done;
}
int ftruncate(int fd, off_t length) { return ftruncate64(fd, length); }

static int synced(int fd, int (*sync)(int)) {
    uint64_t inode = inode_of(fd);
    if (!inode) return sync(fd);
    pthread_mutex_lock(&lock);
    int done;
    if (control && control[1] > 0 && --control[1] == 0) {
        record(SYNC_FAILED, inode, 0, NULL, 0);
        errno = EIO;
        done = -1;
    } else {
        done = sync(fd);
        if (done == 0) record(inode == DIRECTORY ? SYNC_DIR : SYNC, inode, 0, NULL, 0);
    }
    int error = errno;
    pthread_mutex_unlock(&lock);
    errno = error;
    return done;
}

int fsync(int fd) { return synced(fd, real_fsync); }
int fdatasync(int fd) { return synced(fd, real_fdatasync); }

int rename(const char *from, const char *to) {
    const char *old = name_of(from), *new = name_of(to);
    if (!old || !new) return real_rename(from, to);
    char both[512];
    int length = snprintf(both, sizeof both, "%s/%s", old, new);
    pthread_mutex_lock(&lock);
    int done = real_rename(from, to);
    if (done == 0) record(RENAME, 0, 0, both, length);
    pthread_mutex_unlock(&lock);
    return done;
}

int unlink(const char *path) {
    const char *name = name_of(path);
    if (!name) return real_unlink(path);
    pthread_mutex_lock(&lock);
    int done = real_unlink(path);
    if (done == 0) record(UNLINK, 0, 0, name, strlen(name));
    pthread_mutex_unlock(&lock);
    return done;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    int done = real_clock_gettime(clock, now);
    if (done == 0 && control && control[0] && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) {
        int64_t moved = now->tv_sec * 1000000000LL + now->tv_nsec + control[0];
        now->tv_sec = moved / 1000000000LL;
        now->tv_nsec = moved % 1000000000LL;
    }
    return done;
}
