/* A file system layer that fails, delays or kills at chosen calls. See faulty_files.py, which compiles and describes it. */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define MOST_RULES 64

enum operation { OPEN, READ, WRITE, FSYNC, CLOSE, RENAME, UNLINK, MKDIR, RMDIR, STAT, LIST, TRUNCATE, LINK, OPERATIONS };
static const char *const names[OPERATIONS] = {"open",  "read", "write", "fsync",    "close", "rename", "unlink",
                                              "mkdir", "rmdir", "stat", "list", "truncate", "link"};

struct rule {
    unsigned operations; /* bits */
    long first, last;    /* of the matching calls, from 1 on */
    int number;          /* errno; 0: none */
    int signal;          /* sent to this process; 0: none */
    double seconds;      /* to sleep before the call */
    char pattern[PATH_MAX];
};

static struct rule rules[MOST_RULES];
static int count;
static unsigned wanted; /* operations that any rule is about */
static _Atomic long own_calls[MOST_RULES];
static _Atomic long *calls = own_calls;
static const char *log_path;

__attribute__((constructor)) static void start(void) {
    const char *text = getenv("FAULTY_FILES");
    const char *state = getenv("FAULTY_FILES_STATE");
    if (text == NULL) return;
    log_path = getenv("FAULTY_FILES_LOG");
    if (state != NULL) { /* one count for all processes */
        int fd = syscall(SYS_openat, AT_FDCWD, state, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
        if (fd >= 0 && syscall(SYS_ftruncate, fd, sizeof own_calls) == 0) {
            void *shared = mmap(NULL, sizeof own_calls, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
            if (shared != MAP_FAILED) calls = shared;
        }
        if (fd >= 0) syscall(SYS_close, fd);
    }
    /* one rule a line: operation bits, first, last, errno, signal, seconds, pattern */
    while (*text && count < MOST_RULES) {
        struct rule *rule = &rules[count];
        int used = 0;
        if (sscanf(text, "%u %ld %ld %d %d %lf %n", &rule->operations, &rule->first, &rule->last, &rule->number,
                   &rule->signal, &rule->seconds, &used) == 6) {
            size_t length = strcspn(text + used, "\n");
            if (length < sizeof rule->pattern) {
                memcpy(rule->pattern, text + used, length);
                wanted |= rule->operations;
                count++;
            }
        }
        text += strcspn(text, "\n");
        if (*text) text++;
    }
}

/* The absolute path of a file descriptor, or of a path relative to one. */
static const char *resolve(int folder, const char *path, char *room) {
    char link[64];
    ssize_t length = 0;
    if (path != NULL && path[0] == '/') return path;
    if (folder == AT_FDCWD)
        strcpy(link, "/proc/self/cwd");
    else
        snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
    length = syscall(SYS_readlinkat, AT_FDCWD, link, room, PATH_MAX - 1);
    if (length < 0) return path ? path : "";
    room[length] = 0;
    if (path != NULL && path[0] != 0)
        snprintf(room + length, PATH_MAX - length, "/%s", path);
    return room;
}

static void note(const struct rule *rule, enum operation operation, const char *path) {
    char line[PATH_MAX + 100];
    if (log_path == NULL) return;
    int length = snprintf(line, sizeof line, "%d %s %d %d %g %s\n", getpid(), names[operation], rule->number,
                          rule->signal, rule->seconds, path);
    int fd = syscall(SYS_openat, AT_FDCWD, log_path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0) return;
    syscall(SYS_write, fd, line, length < (int)sizeof line ? (size_t)length : sizeof line);
    syscall(SYS_close, fd);
}

/* Whether the call is to fail; errno is then set. */
static int fails(enum operation operation, int folder, const char *path) {
    char room[PATH_MAX];
    int before = errno;
    const char *whole = NULL;
    if (!(wanted & 1u << operation)) return 0;
    for (int i = 0; i < count; i++) {
        const struct rule *rule = &rules[i];
        if (!(rule->operations & 1u << operation)) continue;
        if (whole == NULL) whole = resolve(folder, path, room);
        if (fnmatch(rule->pattern, whole, 0) != 0) continue;
        long call = atomic_fetch_add(&calls[i], 1) + 1;
        if (call < rule->first || call > rule->last) continue;
        note(rule, operation, whole);
        if (rule->seconds > 0) {
            struct timespec pause = {(time_t)rule->seconds, (long)((rule->seconds - (time_t)rule->seconds) * 1e9)};
            while (nanosleep(&pause, &pause) != 0 && errno == EINTR) {}
        }
        if (rule->signal) syscall(SYS_kill, getpid(), rule->signal);
        if (rule->number) {
            errno = rule->number;
            return 1;
        }
    }
    errno = before;
    return 0;
}

#define REAL(name) \
    static __typeof__(&name) real; \
    if (real == NULL) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

#define OPENING(name) \
    int name(const char *path, int flags, ...) { \
        va_list more; \
        va_start(more, flags); \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0; \
        va_end(more); \
        REAL(name); \
        return fails(OPEN, AT_FDCWD, path) ? -1 : real(path, flags, mode); \
    }
OPENING(open)
OPENING(open64)

#define OPENING_AT(name) \
    int name(int folder, const char *path, int flags, ...) { \
        va_list more; \
        va_start(more, flags); \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0; \
        va_end(more); \
        REAL(name); \
        return fails(OPEN, folder, path) ? -1 : real(folder, path, flags, mode); \
    }
OPENING_AT(openat)
OPENING_AT(openat64)

#define STREAM(name) \
    FILE *name(const char *restrict path, const char *restrict mode) { \
        REAL(name); \
        return fails(OPEN, AT_FDCWD, path) ? NULL : real(path, mode); \
    }
STREAM(fopen)
STREAM(fopen64)

#define CALL(result, name, operation, folder, path, signature, arguments) \
    result name signature { \
        REAL(name); \
        return fails(operation, folder, path) ? (result)-1 : real arguments; \
    }
CALL(ssize_t, read, READ, fd, NULL, (int fd, void *to, size_t size), (fd, to, size))
CALL(ssize_t, pread, READ, fd, NULL, (int fd, void *to, size_t size, off_t at), (fd, to, size, at))
CALL(ssize_t, pread64, READ, fd, NULL, (int fd, void *to, size_t size, off64_t at), (fd, to, size, at))
CALL(ssize_t, readv, READ, fd, NULL, (int fd, const struct iovec *to, int n), (fd, to, n))
CALL(ssize_t, write, WRITE, fd, NULL, (int fd, const void *from, size_t size), (fd, from, size))
CALL(ssize_t, pwrite, WRITE, fd, NULL, (int fd, const void *from, size_t size, off_t at), (fd, from, size, at))
CALL(ssize_t, pwrite64, WRITE, fd, NULL, (int fd, const void *from, size_t size, off64_t at), (fd, from, size, at))
CALL(ssize_t, writev, WRITE, fd, NULL, (int fd, const struct iovec *from, int n), (fd, from, n))
CALL(int, fsync, FSYNC, fd, NULL, (int fd), (fd))
CALL(int, fdatasync, FSYNC, fd, NULL, (int fd), (fd))
CALL(int, rename, RENAME, AT_FDCWD, from, (const char *from, const char *to), (from, to))
CALL(int, renameat, RENAME, a, from, (int a, const char *from, int b, const char *to), (a, from, b, to))
CALL(int, unlink, UNLINK, AT_FDCWD, path, (const char *path), (path))
CALL(int, unlinkat, flags & AT_REMOVEDIR ? RMDIR : UNLINK, folder, path, (int folder, const char *path, int flags),
     (folder, path, flags))
CALL(int, mkdir, MKDIR, AT_FDCWD, path, (const char *path, mode_t mode), (path, mode))
CALL(int, mkdirat, MKDIR, folder, path, (int folder, const char *path, mode_t mode), (folder, path, mode))
CALL(int, rmdir, RMDIR, AT_FDCWD, path, (const char *path), (path))
CALL(int, stat, STAT, AT_FDCWD, path, (const char *restrict path, struct stat *restrict to), (path, to))
CALL(int, stat64, STAT, AT_FDCWD, path, (const char *restrict path, struct stat64 *restrict to), (path, to))
CALL(int, lstat, STAT, AT_FDCWD, path, (const char *restrict path, struct stat *restrict to), (path, to))
CALL(int, lstat64, STAT, AT_FDCWD, path, (const char *restrict path, struct stat64 *restrict to), (path, to))
CALL(int, fstatat, STAT, folder, path, (int folder, const char *restrict path, struct stat *restrict to, int flags),
     (folder, path, to, flags))
CALL(int, fstatat64, STAT, folder, path, (int folder, const char *restrict path, struct stat64 *restrict to, int flags),
     (folder, path, to, flags))
CALL(int, access, STAT, AT_FDCWD, path, (const char *path, int mode), (path, mode))
CALL(int, faccessat, STAT, folder, path, (int folder, const char *path, int mode, int flags), (folder, path, mode, flags))
CALL(int, truncate, TRUNCATE, AT_FDCWD, path, (const char *path, off_t size), (path, size))
CALL(int, ftruncate, TRUNCATE, fd, NULL, (int fd, off_t size), (fd, size))
CALL(int, ftruncate64, TRUNCATE, fd, NULL, (int fd, off64_t size), (fd, size))
CALL(int, link, LINK, AT_FDCWD, to, (const char *from, const char *to), (from, to))
CALL(int, symlink, LINK, AT_FDCWD, to, (const char *from, const char *to), (from, to))
CALL(int, symlinkat, LINK, folder, to, (const char *from, int folder, const char *to), (from, folder, to))

int close(int fd) { /* closes in any case, as the kernel does */
    REAL(close);
    int failed = fails(CLOSE, fd, NULL), number = errno;
    int result = real(fd);
    if (!failed) return result;
    errno = number;
    return -1;
}

DIR *opendir(const char *path) {
    REAL(opendir);
    return fails(LIST, AT_FDCWD, path) ? NULL : real(path);
}

DIR *fdopendir(int fd) {
    REAL(fdopendir);
    return fails(LIST, fd, NULL) ? NULL : real(fd);
}
