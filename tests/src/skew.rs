//! A wall clock of a process's own, that a test puts forward and back while it runs: a small library that is preloaded into it.

use std::{fs, os::unix::fs::FileExt, path::PathBuf, process::Command};

use crate::{postgres::give_away, proxy::TempDir};

/// Adds what stands in a file to whatever says what time it is; time that passes is left as it is.
const SOURCE: &str = r#"
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile int64_t *offset_ms;

__attribute__((constructor)) static void begin(void) {
    const char *name = getenv("SKEW_FILE");
    int file = name ? open(name, O_RDONLY) : -1;
    if (file < 0) return;
    void *mapped = mmap(NULL, sizeof(int64_t), PROT_READ, MAP_SHARED, file, 0);
    close(file);
    if (mapped != MAP_FAILED) offset_ms = mapped;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    int failed = (int)syscall(SYS_clock_gettime, clock, now);
    if (failed || !offset_ms || (clock != CLOCK_REALTIME && clock != CLOCK_REALTIME_COARSE)) return failed;
    int64_t nanos = now->tv_nsec + (*offset_ms % 1000) * 1000000;
    now->tv_sec += *offset_ms / 1000;
    if (nanos < 0) { nanos += 1000000000; now->tv_sec -= 1; }
    if (nanos >= 1000000000) { nanos -= 1000000000; now->tv_sec += 1; }
    now->tv_nsec = nanos;
    return 0;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec fine;
    (void)zone;
    if (clock_gettime(CLOCK_REALTIME, &fine)) return -1;
    now->tv_sec = fine.tv_sec;
    now->tv_usec = fine.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *told) {
    struct timespec fine;
    if (clock_gettime(CLOCK_REALTIME, &fine)) return (time_t)-1;
    if (told) *told = fine.tv_sec;
    return fine.tv_sec;
}
"#;

/// A wall clock that is off by as much as a test says.
pub struct Skew {
    _dir: TempDir,
    library: PathBuf,
    file: PathBuf,
}

impl Skew {
    /// One that is off by `ms`.
    pub fn of(ms: i64) -> Self {
        let dir = TempDir::new();
        let (source, library, file) = (dir.join("skew.c"), dir.join("skew.so"), dir.join("offset"));
        fs::write(&source, SOURCE).expect("write the library's source");
        let built = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"])
            .args([&library, &source])
            .output()
            .expect("run cc");
        assert!(built.status.success(), "cc: {}", String::from_utf8_lossy(&built.stderr));
        fs::write(&file, ms.to_ne_bytes()).expect("write how far it is off");
        give_away(&dir.join(""));
        Self { _dir: dir, library, file }
    }

    /// From now on it is off by `ms`.
    pub fn set(&self, ms: i64) {
        let file = fs::OpenOptions::new().write(true).open(&self.file).expect("it is there");
        // In place: it is mapped.
        file.write_all_at(&ms.to_ne_bytes(), 0).expect("write how far it is off");
    }

    /// What a process is started with that is to go by it.
    pub fn variables(&self) -> Vec<(String, String)> {
        let text = |path: &PathBuf| path.to_string_lossy().into_owned();
        vec![("LD_PRELOAD".to_owned(), text(&self.library)), ("SKEW_FILE".to_owned(), text(&self.file))]
    }
}
