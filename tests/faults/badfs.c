/* A disk that fails: preloaded into a process, it lets calls on files below one directory fail, by a seeded draw.

   badfs_on("/dir", share, seed, allowed)   begin; `allowed` is a bit for each of KINDS
   badfs_off()                              stop
   badfs_met(kind), badfs_calls(kind)       how often a kind of error was given since the process began; how often a kind of call failed

   Reads fail with EIO only, what needs no room never with ENOSPC. Writes of more than a slot of the intents may also be short:
   POSIX allows that for any write, Linux does it only where the disk is full, at the end of a block, and no slot crosses one. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum { NOSPC, IO, MFILE, ROFS, DQUOT, SHORT, KINDS };
enum { OPEN, READ, WRITE, RENAME, UNLINK, MKDIR, TRUNCATE, SYNC, CHMOD, CALLS };

#define BIT(kind) (1u << (kind))
#define CHANGES (BIT(IO) | BIT(ROFS))
#define GROWS (BIT(NOSPC) | BIT(IO) | BIT(DQUOT))
#define SLOT 512

static const int NUMBERS[KINDS] = {ENOSPC, EIO, EMFILE, EROFS, EDQUOT, 0};
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static volatile int on;
static char below[PATH_MAX];
static double share;
static uint64_t state;
static unsigned allowed;
static unsigned long met[KINDS], calls[CALLS];

void badfs_on(const char *directory, double part, uint64_t seed, unsigned kinds) {
    pthread_mutex_lock(&lock);
    snprintf(below, sizeof below, "%s", directory);
    share = part, state = seed * 2862933555777941757u + 3037000493u, allowed = kinds, on = 1;
    pthread_mutex_unlock(&lock);
}

void badfs_off(void) { on = 0; }
unsigned long badfs_met(int kind) { return met[kind]; }
unsigned long badfs_calls(int call) { return calls[call]; }

static uint64_t draw(void) {
    uint64_t mixed = state += 0x9e3779b97f4a7c15u; /* splitmix64 */
    mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9u;
    mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111ebu;
    return mixed ^ (mixed >> 31);
}

static int is_below(const char *path) {
    size_t length = strlen(below);
    return !strncmp(path, below, length) && (!path[length] || path[length] == '/');
}

static int at(int folder, const char *path) {
    char link[64], found[PATH_MAX];
    if (folder == AT_FDCWD || path[0] == '/') return is_below(path);
    snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
    ssize_t count = readlink(link, found, sizeof found - 1);
    if (count < 0) return 0;
    found[count] = 0;
    return is_below(found);
}

/* The kind of error that this call meets, or -1. */
static int meets(int call, int folder, const char *path, unsigned possible) {
    int saved = errno, kind = -1;
    possible &= allowed;
    if (on && possible && at(folder, path)) {
        pthread_mutex_lock(&lock);
        if ((double)(draw() >> 11) / 9007199254740992.0 < share) {
            do kind = (int)(draw() % KINDS);
            while (!(possible & BIT(kind)));
            met[kind]++, calls[call]++;
        }
        pthread_mutex_unlock(&lock);
    }
    errno = saved;
    return kind;
}

#define REAL(name) static __typeof__(&name) real; if (!real) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)
#define FAIL(call, folder, path, possible) \
    do { int kind = meets(call, folder, path, possible); if (kind >= 0) { errno = NUMBERS[kind]; return -1; } } while (0)

static unsigned opening(int flags) {
    if (flags & O_CREAT) return GROWS | BIT(MFILE) | BIT(ROFS);
    return BIT(IO) | BIT(MFILE) | ((flags & O_ACCMODE) == O_RDONLY ? 0 : BIT(ROFS));
}

#define MODE int mode = 0; \
    if (flags & (O_CREAT | O_TMPFILE)) { va_list rest; va_start(rest, flags); mode = va_arg(rest, int); va_end(rest); }
#define OPENS(name) int name(const char *path, int flags, ...) { \
    REAL(name); MODE FAIL(OPEN, AT_FDCWD, path, opening(flags)); return real(path, flags, mode); }
#define OPENS_AT(name) int name(int folder, const char *path, int flags, ...) { \
    REAL(name); MODE FAIL(OPEN, folder, path, opening(flags)); return real(folder, path, flags, mode); }
OPENS(open)
OPENS(open64)
OPENS_AT(openat)
OPENS_AT(openat64)

#define READS(name, offset) ssize_t name(int file, void *to, size_t size offset(PARAMETER)) { \
    REAL(name); FAIL(READ, file, "", BIT(IO)); return real(file, to, size offset(ARGUMENT)); }
#define WRITES(name, offset) ssize_t name(int file, const void *from, size_t size offset(PARAMETER)) { \
    REAL(name); int kind = meets(WRITE, file, "", GROWS | (size > SLOT ? BIT(SHORT) : 0)); \
    if (kind == SHORT) size /= 2; \
    else if (kind >= 0) { errno = NUMBERS[kind]; return -1; } \
    return real(file, from, size offset(ARGUMENT)); }
#define PARAMETER , off_t offset
#define ARGUMENT , offset
#define NO_OFFSET(what)
#define OFFSET(what) what
READS(read, NO_OFFSET)
READS(pread, OFFSET)
READS(pread64, OFFSET)
WRITES(write, NO_OFFSET)
WRITES(pwrite, OFFSET)
WRITES(pwrite64, OFFSET)

#define VECTORS(name, call, possible) ssize_t name(int file, const struct iovec *parts, int count, off_t offset) { \
    REAL(name); FAIL(call, file, "", possible); return real(file, parts, count, offset); }
VECTORS(preadv, READ, BIT(IO))
VECTORS(preadv64, READ, BIT(IO))
VECTORS(pwritev, WRITE, GROWS)
VECTORS(pwritev64, WRITE, GROWS)

#define ON_PATH(name, call, possible) int name(const char *path) { \
    REAL(name); FAIL(call, AT_FDCWD, path, possible); return real(path); }
ON_PATH(unlink, UNLINK, CHANGES)
ON_PATH(rmdir, UNLINK, CHANGES)

#define ON_FILE(name, call, possible) int name(int file) { REAL(name); FAIL(call, file, "", possible); return real(file); }
ON_FILE(fsync, SYNC, GROWS)
ON_FILE(fdatasync, SYNC, GROWS)

#define TRUNCATES(name) int name(int file, off_t size) { REAL(name); FAIL(TRUNCATE, file, "", GROWS); return real(file, size); }
TRUNCATES(ftruncate)
TRUNCATES(ftruncate64)

#define ALLOCATES(name) int name(int file, off_t from, off_t size) { REAL(name); \
    int kind = meets(TRUNCATE, file, "", GROWS); return kind >= 0 ? NUMBERS[kind] : real(file, from, size); }
ALLOCATES(posix_fallocate)
ALLOCATES(posix_fallocate64)

int unlinkat(int folder, const char *path, int flags) { REAL(unlinkat); FAIL(UNLINK, folder, path, CHANGES); return real(folder, path, flags); }
int rename(const char *from, const char *to) { REAL(rename); FAIL(RENAME, AT_FDCWD, to, CHANGES | GROWS); return real(from, to); }
int link(const char *from, const char *to) { REAL(link); FAIL(RENAME, AT_FDCWD, to, CHANGES | GROWS); return real(from, to); }
int mkdir(const char *path, mode_t mode) { REAL(mkdir); FAIL(MKDIR, AT_FDCWD, path, CHANGES | GROWS); return real(path, mode); }
int fchmod(int file, mode_t mode) { REAL(fchmod); FAIL(CHMOD, file, "", CHANGES); return real(file, mode); }
int chmod(const char *path, mode_t mode) { REAL(chmod); FAIL(CHMOD, AT_FDCWD, path, CHANGES); return real(path, mode); }
