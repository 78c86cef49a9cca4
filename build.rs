//! Unpacks `sqlx-data.json`, the one reviewable file of checked queries, into the folder of files that
//! sqlx's macros read. Does nothing where DATABASE_URL is set: the macros then ask the database.

#![expect(clippy::disallowed_methods, reason = "cargo speaks to a build script through the environment")]

use std::path::Path;
use std::{env, fs, io};

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=sqlx-data.json");
    println!("cargo::rerun-if-changed=migrations");
    println!("cargo::rerun-if-env-changed=DATABASE_URL");
    println!("cargo::rerun-if-env-changed=SQLX_OFFLINE_DIR");
    if env::var_os("DATABASE_URL").is_some_and(|url| !url.is_empty()) {
        return Ok(());
    }
    let out = env::var_os("OUT_DIR").ok_or_else(|| io::Error::other("cargo sets OUT_DIR"))?;
    let folder = Path::new(&out).join("sqlx");
    // Emptied first: a query that was deleted must not build from what an older file left.
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    let queries: serde_json::Map<String, serde_json::Value> =
        serde_json::from_slice(&fs::read("sqlx-data.json")?)?;
    for (hash, query) in queries {
        fs::write(folder.join(format!("query-{hash}.json")), serde_json::to_vec(&query)?)?;
    }
    println!("cargo::rustc-env=SQLX_OFFLINE_DIR={}", folder.display());
    println!("cargo::rustc-env=SQLX_OFFLINE=true");
    Ok(())
}
