//! What the kernel's files say.

use std::{fs, path::PathBuf, time::Duration};

use super::{
    account::{Reading, listed, machine, v1_quota, v2_quota, v2_used},
    source::Source,
};

const SECOND: Duration = Duration::from_secs(1);

/// A directory of this test's own, removed at the end.
struct Directory(PathBuf);

impl Directory {
    fn with(name: &str, files: &[(&str, &str)]) -> Self {
        let path = std::env::temp_dir().join(format!("mainstay-cpu-{}-{name}", std::process::id()));
        for (file, text) in files {
            let file = path.join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        }
        Self(path)
    }

    fn source(&self) -> Source {
        Source::find(Some(self.0.clone())).unwrap()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}

#[test]
fn a_share_is_of_the_quota() {
    let at = |used_ms, cpus| Reading::Group { used: Duration::from_millis(used_ms), cpus };
    for (used_ms, cpus, elapsed, share) in [
        (1000, 2.0, SECOND, Some(0.5)),
        (1000, 1.0, SECOND, Some(1.0)),
        (250, 0.5, SECOND, Some(0.5)),
        (1100, 1.0, SECOND, Some(1.0)), // a burst
        (0, 1.0, SECOND, Some(0.0)),
        (100, 1.0, Duration::ZERO, None),
    ] {
        // What the whole is now counts, so that a pod that was resized is not measured by what it was.
        assert_eq!(at(5000 + used_ms, cpus).share_since(&at(5000, 8.0), elapsed), share, "{used_ms} {cpus}");
    }
    assert_eq!(at(10, 1.0).share_since(&at(5000, 1.0), SECOND), Some(0.0), "a counter that went back");
}

#[test]
fn the_machine_is_busy_with_all_but_idle_and_waiting() {
    let before = machine("cpu  100 10 50 800 40 0 0 0 7 7\ncpu0 1 1 1 1\ncpu1 1 1 1 1\nintr 5\n").unwrap();
    let after = machine("cpu  150 10 70 900 60 2 3 5 99 99\ncpu0 1 1 1 1\ncpu1 1 1 1 1\nintr 5\n").unwrap();
    assert_eq!(before, Reading::Machine { busy: 160, total: 1000, cpus: 2 });
    // 80 of 200 ticks; guest time is in user already.
    assert_eq!(after.share_since(&before, SECOND), Some(0.4));
    assert_eq!(after.share_since(&after, SECOND), None, "no tick between them");
    let of_a_group = Reading::Group { used: SECOND, cpus: 1.0 };
    assert_eq!(after.share_since(&of_a_group, SECOND), None);
    for text in ["", "intr 5", "cpu  1 2", "cpu  1 2 3 x", "cpu0 1 2 3 4"] {
        assert_eq!(machine(text), None, "{text}");
    }
}

#[test]
fn the_files_of_control_groups_are_read() {
    assert_eq!(v2_used("usage_usec 1500\nuser_usec 1000\n"), Some(Duration::from_micros(1500)));
    assert_eq!(v2_used("nr_periods 5\n"), None, "cpu.stat of cgroup v1");
    for (max, quota) in [
        ("max 100000\n", None),
        ("150000 100000\n", Some(1.5)),
        ("50000 200000", Some(0.25)),
        ("0 100000", None),
        ("100000 0", None),
        ("", None),
    ] {
        assert_eq!(v2_quota(max), quota, "{max}");
    }
    assert_eq!(v1_quota("-1\n", "100000\n"), None);
    assert_eq!(v1_quota("200000\n", "100000\n"), Some(2.0));
    for (list, count) in [
        ("0-1\n", Some(2)),
        ("0-3,8", Some(5)),
        ("7", Some(1)),
        ("", None),
        ("3-1", None),
        ("0-4294967295", None),
        ("a", None),
    ] {
        assert_eq!(listed(list), count, "{list}");
    }
}

#[test]
fn a_group_of_either_version_is_found() {
    let v2 = Directory::with(
        "v2",
        &[("cpu.stat", "usage_usec 2000000\n"), ("cpu.max", "150000 100000\n"), ("cpuset.cpus.effective", "0-3\n")],
    );
    assert_eq!(v2.source().to_string(), format!("cgroup v2 at {}", v2.0.display()));
    assert_eq!(v2.source().read().unwrap(), Reading::Group { used: 2 * SECOND, cpus: 1.5 });

    let pinned = Directory::with(
        "pinned",
        &[("cpu.stat", "usage_usec 0\n"), ("cpu.max", "800000 100000\n"), ("cpuset.cpus.effective", "2\n")],
    );
    let read = pinned.source().read().unwrap();
    assert_eq!(read, Reading::Group { used: Duration::ZERO, cpus: 1.0 }, "a quota of eight on one CPU is one");

    let v1 = Directory::with(
        "v1",
        &[
            ("cpuacct/cpuacct.usage", "3000000000\n"),
            ("cpu/cpu.stat", "nr_periods 0\n"),
            ("cpu/cpu.cfs_quota_us", "50000\n"),
            ("cpu/cpu.cfs_period_us", "100000\n"),
        ],
    );
    assert_eq!(v1.source().read().unwrap(), Reading::Group { used: 3 * SECOND, cpus: 0.5 });

    let joined = Directory::with(
        "joined",
        &[
            ("cpu,cpuacct/cpuacct.usage", "1000000000\n"),
            ("cpu,cpuacct/cpu.cfs_quota_us", "-1\n"),
            ("cpu,cpuacct/cpu.cfs_period_us", "100000\n"),
            ("cpuset/cpuset.cpus", "0-1\n"),
        ],
    );
    assert_eq!(joined.source().read().unwrap(), Reading::Group { used: SECOND, cpus: 2.0 });
}

#[test]
fn a_root_that_is_named_and_has_no_account_is_an_error_and_no_other_is_taken() {
    let empty = Directory::with("empty", &[("unrelated", "")]);
    let error = Source::find(Some(empty.0.clone())).unwrap_err();
    assert_eq!(error.root, empty.0);
    assert!(error.to_string().contains("has no CPU account"), "{error}");
}

#[test]
fn this_machine_can_be_read() {
    let found = Source::find(None).unwrap();
    assert!(found.read().unwrap().cpus() > 0.0, "{found}");
}
