//! How long files are, and what may not stand in them.

use super::{none, sources};

const MOST_LINES: usize = 400;
const MOST_LINES_OF_MAIN: usize = 60;

/// Written by tools.
fn is_generated(path: &str) -> bool {
    ["requirements.txt", ".lock", "package-lock.json", ".ipynb"].iter().any(|end| path.ends_with(end))
}

#[test]
fn no_file_is_longer_than_400_lines() {
    let all = sources(&["src", "bin", "tests", "ops", "migrations", "build.rs"]);
    let long = all.iter().filter(|source| !is_generated(&source.path));
    let long = long.map(|source| (source.text.lines().count(), &source.path));
    let long: Vec<_> =
        long.filter(|(lines, _)| *lines > MOST_LINES).map(|(n, path)| format!("{path}: {n}")).collect();
    none(&long, "one concept per file, 400 lines at most");
}

#[test]
fn a_main_is_a_list_of_60_lines() {
    let all = sources(&["bin"]);
    let long = all.iter().map(|source| (source.text.lines().count(), &source.path));
    let long: Vec<_> =
        long.filter(|(lines, _)| *lines > MOST_LINES_OF_MAIN).map(|(n, path)| format!("{path}: {n}")).collect();
    none(&long, "parse, connect, build, run until told to stop");
}

#[test]
fn every_rust_file_says_first_what_it_holds() {
    let all = sources(&["src", "bin", "tests", "ops", "build.rs"]);
    let silent = all.iter().filter(|source| source.has_extension(&["rs"]) && !source.text.starts_with("//! "));
    let silent: Vec<_> = silent.map(|source| source.path.clone()).collect();
    none(&silent, "the first line of a file is a //! sentence");
}

#[test]
fn no_line_ends_in_white_space_and_no_tab_indents() {
    let mut wrong = Vec::new();
    for source in sources(&["src", "bin", "tests", "ops", "migrations", "build.rs", "Cargo.toml", "clippy.toml"]) {
        if is_generated(&source.path) {
            continue;
        }
        for (index, line) in source.text.lines().enumerate() {
            // gofmt wants tabs.
            let tab = line.contains('\t') && !source.has_extension(&["go", "mod"]);
            if line.ends_with([' ', '\t', '\r']) || tab {
                wrong.push(format!("{}:{}", source.path, index + 1));
            }
        }
        if !source.text.is_empty() && !source.text.ends_with('\n') {
            wrong.push(format!("{} does not end in a newline", source.path));
        }
    }
    none(&wrong, "no white space at the end of a line, no tabs");
}

#[test]
fn the_domain_matches_every_variant_by_its_name() {
    let mut wrong = Vec::new();
    for source in sources(&["src/domain"]) {
        let mut indents: Vec<usize> = Vec::new();
        let mut watched: Vec<bool> = Vec::new();
        for (number, line) in source.code() {
            let text = line.trim();
            let indent = line.len() - line.trim_start().len();
            while indents.last().is_some_and(|start| !text.is_empty() && indent <= *start) {
                indents.pop();
                watched.pop();
            }
            let catches_all = ["_ =>", "(_, _) =>", "_ if "].iter().any(|arm| text.starts_with(arm));
            if catches_all && watched.last() == Some(&true) {
                wrong.push(format!("{}:{number}", source.path));
            }
            if text.ends_with('{') && (text.starts_with("match ") || text.contains(" match ")) {
                let of_text = text.contains("as_str") || text.contains("seconds") || text.contains("split_once");
                indents.push(indent);
                watched.push(!of_text);
            }
        }
    }
    none(&wrong, "a new event, phase or command must not fall into `_ =>`");
}

#[test]
fn nothing_is_left_to_be_done() {
    let mut wrong = Vec::new();
    let words = [["TO", "DO"].concat(), ["FIX", "ME"].concat()];
    for source in sources(&["src", "bin", "tests", "ops", "migrations", "build.rs"]) {
        if is_generated(&source.path) {
            continue;
        }
        for (index, line) in source.text.lines().enumerate() {
            if words.iter().any(|word| line.contains(word.as_str())) {
                wrong.push(format!("{}:{}", source.path, index + 1));
            }
        }
    }
    none(&wrong, "do it, or write it where plans are kept");
}
