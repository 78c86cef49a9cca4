//! Reading what the parts of a cluster have said.

use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::folder::Folder;
use super::part::Part;
use crate::domain::ClusterId;

/// How much of the end of a log is looked at: lines before that are not found.
const MOST: u64 = 1 << 20;

/// The logs of one cluster, running or ended.
#[derive(Debug, Clone)]
pub struct Logs {
    directory: PathBuf,
}

impl Logs {
    /// The logs of a cluster whose folder is in `root`.
    pub fn of(root: &Path, id: ClusterId) -> Self {
        Self { directory: Folder::new(root, id).logs() }
    }

    /// The parts that have said anything, the notebook first.
    ///
    /// # Errors
    /// When the folder cannot be read; `NotFound` when there is no such cluster.
    pub fn parts(&self) -> io::Result<Vec<Part>> {
        let mut parts = Vec::new();
        for entry in std::fs::read_dir(&self.directory)? {
            let name = entry?.file_name();
            parts.extend(name.to_str().and_then(|name| name.strip_suffix(".log")?.parse::<Part>().ok()));
        }
        parts.sort_unstable();
        Ok(parts)
    }

    /// The last lines of one part.
    ///
    /// # Errors
    /// When the log cannot be read; `NotFound` when there is none.
    pub fn tail(&self, part: Part, lines: usize) -> io::Result<Vec<String>> {
        tail(&self.path(part), lines)
    }

    /// A reader that starts where the log ends now, for `slipway logs --follow`.
    ///
    /// # Errors
    /// When the log cannot be opened; `NotFound` when there is none.
    pub fn follow(&self, part: Part) -> io::Result<Follow> {
        let mut file = std::fs::File::open(self.path(part))?;
        file.seek(SeekFrom::End(0))?;
        Ok(Follow { file, unfinished: Vec::new() })
    }

    fn path(&self, part: Part) -> PathBuf {
        self.directory.join(format!("{part}.log"))
    }
}

/// Lines of one log as they are added.
#[derive(Debug)]
pub struct Follow {
    file: std::fs::File,
    unfinished: Vec<u8>,
}

impl Follow {
    /// The whole lines added since the last call; ask again after a while.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn more(&mut self) -> io::Result<Vec<String>> {
        self.file.by_ref().take(MOST).read_to_end(&mut self.unfinished)?;
        let Some(end) = self.unfinished.iter().rposition(|byte| *byte == b'\n') else { return Ok(vec![]) };
        let rest = self.unfinished.split_off(end + 1);
        let whole = std::mem::replace(&mut self.unfinished, rest);
        Ok(String::from_utf8_lossy(&whole).lines().map(str::to_owned).collect())
    }
}

pub(super) fn tail(path: &Path, lines: usize) -> io::Result<Vec<String>> {
    let mut file = std::fs::File::open(path)?;
    let start = file.metadata()?.len().saturating_sub(MOST);
    file.seek(SeekFrom::Start(start))?;
    let mut content = Vec::new();
    file.take(MOST).read_to_end(&mut content)?;
    let text = String::from_utf8_lossy(&content);
    let all: Vec<&str> = text.lines().collect();
    Ok(all[all.len().saturating_sub(lines)..].iter().map(|line| (*line).to_owned()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn the_last_lines_are_told_and_those_that_are_added() {
        let root = std::env::temp_dir().join(format!("slipway-logs-{}", std::process::id()));
        let id = "cluster-678343".parse().expect("a valid id");
        let folder = Folder::new(&root, id);
        std::fs::create_dir_all(folder.logs()).expect("a folder");
        std::fs::write(folder.log(Part::Worker(10)), "one\ntwo\nthree\n").expect("a log");
        std::fs::write(folder.log(Part::Worker(2)), "").expect("a log");
        std::fs::write(folder.log(Part::Notebook), "").expect("a log");
        let logs = Logs::of(&root, id);
        assert_eq!(logs.parts().expect("a list"), [Part::Notebook, Part::Worker(2), Part::Worker(10)]);
        assert_eq!(logs.tail(Part::Worker(10), 2).expect("lines"), ["two", "three"]);
        assert_eq!(logs.tail(Part::Scheduler, 2).expect_err("there is none").kind(), io::ErrorKind::NotFound);

        let mut follow = logs.follow(Part::Worker(10)).expect("it opens");
        let mut log = std::fs::File::options().append(true).open(folder.log(Part::Worker(10))).expect("it opens");
        log.write_all(b"four\nfi").expect("it can be written");
        assert_eq!(follow.more().expect("lines"), ["four"]);
        assert_eq!(follow.more().expect("lines"), Vec::<String>::new());
        log.write_all(b"ve\n").expect("it can be written");
        assert_eq!(follow.more().expect("lines"), ["five"]);
        std::fs::remove_dir_all(root).expect("it can be removed");
    }
}
