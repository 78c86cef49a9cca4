//! The Python environment that every cluster of this machine runs in, made once.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

const REQUIREMENTS: &str = include_str!("../../../ops/image/requirements.txt");

/// What the pinned versions support.
const OLDEST: (u32, u32) = (3, 11);

/// Why there is no environment.
#[derive(Debug, thiserror::Error)]
pub enum StackError {
    #[error("found no Python of at least {}.{}; install one, on Debian and Ubuntu with: apt install python3 python3-venv", OLDEST.0, OLDEST.1)]
    NoPython,
    #[error("this Python cannot make environments; on Debian and Ubuntu: apt install python3-venv")]
    NoVenv,
    #[error("could not {doing}: {said}")]
    Failed { doing: String, said: String },
    #[error("could not {doing}")]
    Io {
        doing: String,
        #[source]
        source: io::Error,
    },
}

fn io_error(doing: impl Into<String>) -> impl FnOnce(io::Error) -> StackError {
    let doing = doing.into();
    |source| StackError::Io { doing, source }
}

/// The environment to run clusters in: `existing` once it has been tried out, else one made under `<data>/stack`
/// from the pinned requirements, which takes minutes the first time. `progress` is told what goes on.
///
/// # Errors
/// Each says what to do about it.
pub async fn prepare(
    data: &Path,
    existing: Option<&Path>,
    progress: impl Fn(&str),
) -> Result<PathBuf, StackError> {
    if let Some(stack) = existing {
        try_out(stack).await?;
        return Ok(stack.to_owned());
    }
    let python = find_python().await?;
    let stacks = std::path::absolute(data.join("stack")).map_err(io_error("find the data folder"))?;
    let stack = stacks.join(name(&python));
    // Built where it stays, as its scripts hold its path; complete only once this file is there.
    let complete = stack.join("complete");
    if complete.exists() {
        return Ok(stack);
    }
    std::fs::create_dir_all(&stacks).map_err(io_error(format!("make the folder {}", stacks.display())))?;
    let _lock = lock(&stacks.join(".lock"), &progress).await?;
    if complete.exists() {
        return Ok(stack);
    }
    build(&python.path, &stack, &progress).await?;
    try_out(&stack).await?;
    std::fs::write(&complete, REQUIREMENTS).map_err(io_error("mark the Python environment as complete"))?;
    progress("the Python environment is ready");
    Ok(stack)
}

/// Other requirements or another Python make another environment; clusters that run keep theirs.
fn name(python: &Python) -> String {
    let digest = Sha256::digest(format!("{}\n{}\n{REQUIREMENTS}", python.version, python.path.display()));
    format!("python{}-{}", python.version, &hex::encode(digest)[..12])
}

/// An interpreter to make environments with.
struct Python {
    path: PathBuf,
    version: String,
    makes_environments: bool,
    /// Whether other users can run it: not one in root's own folder, for one.
    is_public: bool,
}

async fn find_python() -> Result<Python, StackError> {
    let mut found = Vec::new();
    for name in ["python3", "/usr/bin/python3", "python3.14", "python3.13", "python3.12", "python3.11"] {
        found.extend(ask_python(name).await);
    }
    // The first of the best, as equals keep their order.
    found.sort_by_key(|python| (!python.makes_environments, !python.is_public));
    let best = found.into_iter().next().ok_or(StackError::NoPython)?;
    if best.makes_environments { Ok(best) } else { Err(StackError::NoVenv) }
}

/// `None` if there is none by that name, or it is too old.
async fn ask_python(name: &str) -> Option<Python> {
    const QUESTION: &str = "\
import importlib.util as u, os, sys
print(*sys.version_info[:2], os.path.realpath(sys.executable), all(map(u.find_spec, ['venv', 'ensurepip'])), sep='\\n')";
    let output = Command::new(name).args(["-c", QUESTION]).stdin(Stdio::null()).output().await.ok()?;
    let answer = String::from_utf8_lossy(&output.stdout);
    let mut lines = answer.lines();
    let (major, minor): (u32, u32) = (lines.next()?.parse().ok()?, lines.next()?.parse().ok()?);
    let path = PathBuf::from(lines.next()?);
    let open = |place: &Path| std::fs::metadata(place).is_ok_and(|metadata| metadata.mode() & 0o001 != 0);
    ((major, minor) >= OLDEST).then(|| Python {
        version: format!("{major}.{minor}"),
        makes_environments: lines.next() == Some("True"),
        is_public: path.ancestors().all(open),
        path,
    })
}

/// Two at once would build into each other; the system lets go of it however its holder ends.
async fn lock(path: &Path, progress: &impl Fn(&str)) -> Result<File, StackError> {
    let file = File::create(path).map_err(io_error("lock the folder of Python environments"))?;
    let mut told = false;
    while file.try_lock().is_err() {
        if !told {
            progress("another slipway is making the Python environment; waiting for it");
            told = true;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    Ok(file)
}

async fn build(python: &Path, stack: &Path, progress: &impl Fn(&str)) -> Result<(), StackError> {
    match tokio::fs::remove_dir_all(stack).await {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(io_error("remove a half-made Python environment")(error));
        }
        Err(_) => {}
        Ok(()) => progress("removed a Python environment whose making was interrupted"),
    }
    progress(&format!("making a Python environment in {}", stack.display()));
    let output = Command::new(python)
        .args(["-m", "venv"])
        .arg(stack)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .map_err(io_error("run python -m venv"))?;
    if !output.status.success() {
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        if said.contains("ensurepip") || said.contains("No module named venv") {
            return Err(StackError::NoVenv);
        }
        return Err(StackError::Failed { doing: "make a Python environment".to_owned(), said: last_lines(&said) });
    }
    let list = stack.join("requirements.txt");
    std::fs::write(&list, REQUIREMENTS).map_err(io_error("write the list of requirements"))?;
    install(stack, &list, progress).await
}

async fn install(stack: &Path, list: &Path, progress: &impl Fn(&str)) -> Result<(), StackError> {
    let total = requirements().count();
    progress(&format!("fetching {total} packages"));
    let errors = stack.join("pip-errors.log");
    let stderr = File::create(&errors).map_err(io_error("write pip's errors"))?;
    let mut pip = Command::new(stack.join("bin/python"))
        .args(["-m", "pip", "install", "--no-deps", "--disable-pip-version-check", "--no-input"])
        // Nothing is compiled here, and no package's own code runs with what slipway knows.
        .args(["--only-binary", ":all:", "--progress-bar", "off", "-r"])
        .arg(list)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(stderr)
        .kill_on_drop(true)
        .spawn()
        .map_err(io_error("run pip"))?;
    let mut fetched = 0;
    if let Some(stdout) = pip.stdout.take() {
        let mut lines = BufReader::new(stdout).lines();
        while let Some(line) = lines.next_line().await.map_err(io_error("read what pip says"))? {
            if let Some(package) = line.strip_prefix("Collecting ") {
                fetched += 1;
                let package = package.split(['=', ' ']).next().unwrap_or(package);
                progress(&format!("fetching {package} ({fetched} of {total})"));
            } else if line.starts_with("Installing collected packages") {
                progress(&format!("installing jupyterlab, dask and {} more packages", total.saturating_sub(2)));
            }
        }
    }
    let status = pip.wait().await.map_err(io_error("wait for pip"))?;
    if status.success() {
        return Ok(());
    }
    let said = std::fs::read_to_string(&errors).unwrap_or_default();
    Err(StackError::Failed { doing: "install the Python packages".to_owned(), said: last_lines(&said) })
}

/// The packages with their versions, without comments.
fn requirements() -> impl Iterator<Item = &'static str> {
    REQUIREMENTS.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'))
}

/// Imports what clusters need.
async fn try_out(stack: &Path) -> Result<(), StackError> {
    let doing = format!("use the Python environment {}", stack.display());
    let output = Command::new(stack.join("bin/python"))
        .args([
            "-c",
            "import jupyterlab.labapp, ipykernel, distributed.cli, bokeh, dask_labextension, ipyparallel",
        ])
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .map_err(io_error(doing.clone()))?;
    if output.status.success() {
        return Ok(());
    }
    Err(StackError::Failed { doing, said: last_lines(&String::from_utf8_lossy(&output.stderr)) })
}

/// pip may list every version there ever was in one line.
fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let short = |line: &&str| line.chars().take(200).collect::<String>();
    lines[lines.len().saturating_sub(3)..].iter().map(short).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_requirement_is_pinned_and_named_once() {
        let mut seen = std::collections::BTreeSet::new();
        for line in requirements() {
            let (name, version) = line.split_once("==").expect("a name, == and a version");
            assert!(!version.is_empty() && !version.contains(['*', '<', '>', ',']), "{line} is not one version");
            assert!(seen.insert(name.to_lowercase().replace('_', "-")), "{name} is there twice");
        }
        for direct in ["jupyterlab", "dask", "distributed", "dask-labextension", "bokeh", "ipyparallel"] {
            assert!(seen.contains(direct), "{direct} is missing");
        }
        assert!(!seen.contains("rfc3987-syntax"), "it slows down every start of a notebook server");
    }

    #[tokio::test]
    async fn what_is_no_environment_is_refused() {
        let error = prepare(Path::new("/nowhere"), Some(Path::new("/nowhere/venv")), |_| ()).await;
        assert!(matches!(error, Err(StackError::Io { .. })), "{error:?}");
    }
}
