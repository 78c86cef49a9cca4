//! What runs on this machine and belongs to a test.

use std::path::{Path, PathBuf};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Processes whose command line, environment or working folder names the path, with their command lines.
pub fn of(path: &Path) -> Vec<(i32, String)> {
    let mark = path.as_os_str().as_encoded_bytes();
    let names = |text: &[u8]| text.windows(mark.len()).any(|window| window == mark);
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").expect("/proc").flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse::<i32>() else { continue };
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let environment = std::fs::read(entry.path().join("environ")).unwrap_or_default();
        let folder = std::fs::read_link(entry.path().join("cwd")).unwrap_or_default();
        // What has ended and was not yet waited for has none of the three.
        if names(&line) || names(&environment) || folder.starts_with(path) {
            found.push((pid, String::from_utf8_lossy(&line).replace('\0', " ")));
        }
    }
    found.retain(|(pid, _)| *pid != std::process::id().cast_signed());
    found
}

/// Ends all of them, and those that they start meanwhile.
pub fn kill_all(path: &Path) {
    for _ in 0..50 {
        let left = of(path);
        if left.is_empty() {
            return;
        }
        for (pid, _) in left {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        std::thread::yield_now();
    }
}

/// A new folder with a short path, as sockets want it.
pub fn folder(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("slw-{}-{name}", std::process::id()));
    std::fs::create_dir_all(&path).expect("a folder for the test");
    path
}

/// Where logs and pictures are left.
pub fn left_behind() -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("target").join("e2e");
    std::fs::create_dir_all(&path).expect("a folder for logs");
    path
}

/// A port that was free just now.
pub fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("its address").port()
}
