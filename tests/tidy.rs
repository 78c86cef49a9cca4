//! The rules of the house that no compiler knows: layers, sizes, names.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

#[path = "tidy/layers.rs"]
mod layers;
#[path = "tidy/names.rs"]
mod names;
#[path = "tidy/text.rs"]
mod text;

/// A file of the project: its path from the project's folder, and what is in it.
struct Source {
    path: String,
    text: String,
}

impl Source {
    fn has_extension(&self, extensions: &[&str]) -> bool {
        let extension = Path::new(&self.path).extension().and_then(|e| e.to_str()).unwrap_or_default();
        extensions.contains(&extension)
    }

    /// The lines with their numbers, without comments and what is in string literals on one line.
    fn code(&self) -> impl Iterator<Item = (usize, String)> {
        self.text.lines().enumerate().map(|(index, line)| (index + 1, without_strings_and_comments(line)))
    }
}

/// Good enough for formatted Rust: literals over several lines are seen as code, which only asks for too much.
fn without_strings_and_comments(line: &str) -> String {
    let (mut code, mut chars, mut quoted) = (String::new(), line.chars().peekable(), false);
    while let Some(c) = chars.next() {
        match c {
            '\\' if quoted => {
                chars.next();
            }
            '\'' if !quoted && chars.peek() == Some(&'"') => {
                chars.next();
            }
            '"' => quoted = !quoted,
            '/' if !quoted && chars.peek() == Some(&'/') => break,
            c if !quoted => code.push(c),
            _ => {}
        }
    }
    code
}

/// Every text file in these folders and files of the project.
fn sources(places: &[&str]) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    for place in places {
        collect(root, &root.join(place), &mut found);
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(!found.is_empty(), "there is nothing in {places:?}");
    found
}

fn collect(root: &Path, path: &Path, found: &mut Vec<Source>) {
    if path.is_dir() {
        let entries = std::fs::read_dir(path).expect("a folder can be listed");
        let paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry can be read").path()).collect();
        for path in paths {
            collect(root, &path, found);
        }
    } else if let Ok(text) = std::fs::read_to_string(path) {
        let path = path.strip_prefix(root).expect("it is in the project").display().to_string();
        found.push(Source { path, text });
    }
}

/// Fails with all that is wrong at once.
#[track_caller]
fn none(wrong: &[String], rule: &str) {
    let mut list = String::new();
    for line in wrong {
        let _ = write!(list, "\n  {line}");
    }
    assert!(wrong.is_empty(), "{rule}{list}");
}
