//! Who may use whom: domain <- {store, runtime} <- service <- {http, proxy} <- parts, up, cli, bin.

use super::{Source, none, sources};

/// What a layer may name of this crate beside itself, and which crates and parts of std it may not.
struct Layer {
    folder: &'static str,
    uses: &'static [&'static str],
    never: &'static [&'static str],
}

/// Effects and the outside world.
const WORLD: &[&str] = &[
    "sqlx",
    "kube",
    "k8s_openapi",
    "warp",
    "hyper",
    "hyper_util",
    "http",
    "tokio",
    "tracing",
    "rand",
    "nix",
    "anyhow",
    "clap",
    "tempfile",
    "uuid",
    "std::env",
    "std::fs",
    "std::process",
    "std::thread",
    "std::time",
    "std::io",
    "std::sync",
    "Utc::now",
    "Instant",
];

const LAYERS: &[Layer] = &[
    Layer { folder: "src/domain", uses: &[], never: WORLD },
    Layer {
        folder: "src/store",
        uses: &["domain", "error_chain"],
        never: &[
            "kube",
            "k8s_openapi",
            "warp",
            "hyper",
            "hyper_util",
            "http",
            "clap",
            "anyhow",
            "std::env",
            "std::fs",
        ],
    },
    Layer { folder: "src/runtime", uses: &["domain", "clock", "error_chain"], never: &["sqlx", "warp", "clap"] },
    Layer {
        folder: "src/service",
        uses: &["domain", "store", "runtime", "clock", "error_chain", "exposition", "spans"],
        never: &[
            "sqlx",
            "kube",
            "k8s_openapi",
            "warp",
            "hyper",
            "hyper_util",
            "http",
            "clap",
            "std::env",
            "std::fs",
        ],
    },
    Layer {
        folder: "src/http",
        uses: &["domain", "store", "service", "clock", "error_chain", "exposition", "spans"],
        never: &["sqlx", "kube", "k8s_openapi", "clap", "anyhow", "std::env", "std::fs"],
    },
    Layer {
        folder: "src/proxy",
        uses: &["domain", "error_chain", "exposition", "secret"],
        never: &["sqlx", "kube", "k8s_openapi", "warp", "utoipa", "clap", "anyhow", "rand", "std::env"],
    },
    Layer {
        folder: "src/chp",
        uses: &["domain", "proxy", "error_chain", "exposition", "secret", "shutdown"],
        never: &["sqlx", "kube", "k8s_openapi", "warp", "utoipa", "rand", "std::env"],
    },
    Layer {
        folder: "src/parts",
        uses: &[
            "chp",
            "clock",
            "domain",
            "error_chain",
            "http",
            "proxy",
            "runtime",
            "service",
            "shutdown",
            "spans",
            "store",
        ],
        never: &["sqlx", "warp", "clap", "std::env"],
    },
];

/// Modules outside of all layers, free of the layers themselves.
const BASE: &[&str] = &[
    "src/clock.rs",
    "src/error_chain.rs",
    "src/exposition.rs",
    "src/secret.rs",
    "src/shutdown.rs",
    "src/spans.rs",
];

/// The first names of all `crate::…` paths of a file, also within `crate::{…}`.
fn modules_named(source: &Source) -> Vec<(usize, String)> {
    let mut named = Vec::new();
    for (number, line) in source.code() {
        for (at, _) in line.match_indices("crate::") {
            if line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '$') {
                continue;
            }
            let rest = &line[at + "crate::".len()..];
            let rest = rest.trim_start_matches('{');
            let name: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            named.push((number, name));
        }
    }
    named
}

/// Whether the line names this crate, module or item as a whole word that a path goes through or ends at.
fn names(line: &str, wanted: &str) -> bool {
    let part_of_word = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(wanted).any(|(at, _)| {
        let (before, after) = (&line[..at], &line[at + wanted.len()..]);
        let whole = !before.ends_with(part_of_word) && !after.starts_with(part_of_word);
        // `crate::http` and `self::http` are modules of ours, `x.http` a field.
        let ours = before.ends_with('.') || (before.ends_with("::") && !wanted.contains("::"));
        let path = after.starts_with("::") || wanted.contains("::") || line.trim_start().starts_with("use ");
        whole && !ours && path
    })
}

#[test]
fn every_layer_uses_only_those_below_it() {
    let mut wrong = Vec::new();
    for layer in LAYERS {
        let itself = layer.folder.trim_start_matches("src/");
        for source in sources(&[layer.folder]).iter().filter(|source| source.has_extension(&["rs"])) {
            for (number, module) in modules_named(source) {
                if module != itself && !layer.uses.contains(&module.as_str()) {
                    wrong.push(format!("{}:{number} uses crate::{module}", source.path));
                }
            }
            for (number, line) in source.code() {
                if line.contains("super::super::super::") {
                    wrong.push(format!("{}:{number} climbs out of its layer", source.path));
                }
                for never in layer.never.iter().filter(|never| names(&line, never)) {
                    wrong.push(format!("{}:{number} names {never}", source.path));
                }
            }
        }
    }
    none(&wrong, "domain <- {store, runtime} <- service <- {http, proxy} <- bin; see ARCHITECTURE.md");
}

#[test]
fn what_everyone_uses_uses_no_layer() {
    let mut wrong = Vec::new();
    for source in sources(BASE) {
        wrong.extend(
            modules_named(&source)
                .iter()
                .map(|(number, module)| format!("{}:{number} uses crate::{module}", source.path)),
        );
    }
    none(&wrong, "clock, error_chain and shutdown stand below all layers");
}

#[test]
fn every_folder_of_the_crate_has_its_place_among_the_layers() {
    let known = ["chp", "cli", "domain", "http", "parts", "proxy", "runtime", "service", "store", "up"];
    let mut folders: Vec<String> = sources(&["src"])
        .iter()
        .filter_map(|source| Some(source.path.strip_prefix("src/")?.split_once('/')?.0.to_owned()))
        .collect();
    folders.dedup();
    assert_eq!(folders, known);
}

#[test]
fn sql_is_written_in_the_store_only() {
    let mut wrong = Vec::new();
    for source in sources(&["src", "bin"]) {
        if !source.path.starts_with("src/store/") {
            let lines = source.code().filter(|(_, line)| names(line, "sqlx") || line.contains("query!"));
            wrong.extend(lines.map(|(number, _)| format!("{}:{number}", source.path)));
        }
    }
    none(&wrong, "only src/store names sqlx");
}

#[test]
fn only_the_one_door_appends() {
    let mut wrong = Vec::new();
    for source in sources(&["src", "bin"]) {
        if !source.path.starts_with("src/store/") && source.path != "src/service/execute.rs" {
            let lines =
                source.code().filter(|(_, line)| line.contains(".append(Append") || names(line, "append::Append"));
            wrong.extend(lines.map(|(number, _)| format!("{}:{number}", source.path)));
        }
    }
    none(&wrong, "events are recorded by service::execute alone");
}

#[test]
fn the_words_are_found_where_they_are_and_only_there() {
    assert!(names("use tokio::time::sleep;", "tokio"));
    assert!(names("    tokio::spawn(x);", "tokio"));
    assert!(names("use std::time::Duration;", "std::time"));
    assert!(names("let now = chrono::Utc::now();", "Utc::now"));
    assert!(names("use tokio;", "tokio"));
    assert!(!names("let tokio_like = 1;", "tokio"));
    assert!(!names("crate::http::serve()", "http"));
    assert!(!names("let http = 1;", "http"));
    assert!(!names("hyper_util::x", "hyper"));
    let source = Source { path: "x.rs".to_owned(), text: "use crate::{store::x};\npub(crate) use a;".to_owned() };
    assert_eq!(modules_named(&source), [(1, "store".to_owned())]);
}
