//! Two bare repositories, served as static files.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::process::Command;

use warp::Filter;

/// Serves `course.git` and `other.git` with its tag `v1` until the test ends; tells where, and their first commit.
pub async fn serve(data: &Path, address: IpAddr) -> (SocketAddr, String) {
    let work = data.join("work");
    git(data, &["init", "--quiet", "--initial-branch=main", "work"]);
    std::fs::write(work.join("lesson.txt"), "one\n").expect("a lesson");
    git(&work, &["add", "."]);
    git(&work, &["-c", "user.name=T", "-c", "user.email=t@example.org", "commit", "--quiet", "-m", "one"]);
    git(&work, &["tag", "v1"]);
    let commit = git(&work, &["rev-parse", "HEAD"]);
    std::fs::create_dir(data.join("served")).expect("a folder");
    git(data, &["clone", "--quiet", "--bare", "work", "served/course.git"]);
    // The tag stays behind the branch.
    std::fs::write(work.join("lesson.txt"), "two\n").expect("a lesson");
    git(&work, &["-c", "user.name=T", "-c", "user.email=t@example.org", "commit", "--quiet", "-am", "two"]);
    git(data, &["clone", "--quiet", "--bare", "work", "served/other.git"]);
    for repository in ["course.git", "other.git"] {
        git(&data.join("served").join(repository), &["update-server-info"]);
    }
    let listener = tokio::net::TcpListener::bind((address, 0)).await.expect("a port");
    let address = listener.local_addr().expect("its address");
    let files = warp::fs::dir(data.join("served")).with(warp::log::custom(|_| ()));
    tokio::spawn(warp::serve(files).incoming(listener).run());
    (address, commit)
}

fn git(directory: &Path, arguments: &[&str]) -> String {
    let output = Command::new("git").args(arguments).current_dir(directory).output().expect("git runs");
    assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}
