//! What files and migrations are called.

use super::{none, sources};

#[test]
fn no_file_is_named_for_nothing_in_particular() {
    let banned = ["util", "utils", "common", "helper", "helpers", "types", "misc", "shared", "stuff"];
    let mut wrong = Vec::new();
    for source in sources(&["src", "bin", "tests", "ops", "migrations"]) {
        let mut parts = source.path.split('/').map(|part| part.split_once('.').map_or(part, |(stem, _)| stem));
        if parts.any(|part| part.split(['_', '-']).any(|word| banned.contains(&word))) {
            wrong.push(source.path.clone());
        }
    }
    none(&wrong, "a file is named for what it holds");
}

#[test]
fn migrations_are_numbered_without_gaps_and_named() {
    let mut wrong = Vec::new();
    for (index, source) in sources(&["migrations"]).iter().enumerate() {
        let name = source.path.trim_start_matches("migrations/");
        let rest = name.strip_prefix(&format!("{:04}_", index + 1)).and_then(|rest| rest.strip_suffix(".sql"));
        let named = rest.is_some_and(|word| {
            !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
        });
        if !named {
            wrong.push(source.path.clone());
        }
    }
    none(&wrong, "migrations are named NNNN_word.sql, one after the other");
}

#[test]
fn every_asset_of_the_page_is_served() {
    let page = sources(&["src/http/page.rs"]).remove(0).text;
    let files = sources(&["src/http/page"]);
    let wrong: Vec<_> = files
        .iter()
        .filter(|file| !page.contains(&format!("\"{}\":", file.path.trim_start_matches("src/http/page/"))))
        .map(|file| file.path.clone())
        .collect();
    none(&wrong, "src/http/page.rs lists every file of the page");
}
