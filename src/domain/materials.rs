//! Course materials: a git repository and, after `@`, the branch, tag or commit to check out.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::ids::{Invalid, text_type};

/// A git repository over http(s), with an optional reference: `https://host/course.git@2026`.
///
/// Credentials in the address are refused, since events keep it for good.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Repository {
    url: String,
    reference: Option<String>,
}

const RULE: &str = "write https://host/path, and @branch, @tag or @commit if need be, at most 300 characters, \
                    without a user name or password";

impl Repository {
    pub fn url(&self) -> &str {
        &self.url
    }

    pub fn reference(&self) -> Option<&str> {
        self.reference.as_deref()
    }

    /// The folder it is cloned into: the last part of its path without `.git`.
    pub fn folder(&self) -> &str {
        let name = self.url.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
        name.strip_suffix(".git").unwrap_or(name)
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url)?;
        match &self.reference {
            Some(reference) => write!(f, "@{reference}"),
            None => Ok(()),
        }
    }
}

impl FromStr for Repository {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        parse(text).ok_or_else(|| Invalid::new("materials repository", text, RULE))
    }
}

fn parse(text: &str) -> Option<Repository> {
    if text.len() > 300 {
        return None;
    }
    let scheme = ["https://", "http://"].into_iter().find(|scheme| text.starts_with(scheme))?;
    let (authority, path) = text[scheme.len()..].split_once('/')?;
    let (path, reference) = match path.split_once('@') {
        Some((path, reference)) => (path, Some(reference)),
        None => (path, None),
    };
    let host_ok =
        !authority.is_empty() && authority.bytes().all(|b| b.is_ascii_alphanumeric() || b".-:[]".contains(&b));
    let path_ok = path.bytes().all(|b| b.is_ascii_alphanumeric() || b"._~/+%-".contains(&b))
        && path.split('/').all(|part| part != "..");
    // A leading hyphen would be an option to git, `..` a range.
    let reference_ok = reference.is_none_or(|r| {
        !r.is_empty()
            && !r.starts_with('-')
            && !r.contains("..")
            && r.bytes().all(|b| b.is_ascii_alphanumeric() || b"._/+-".contains(&b))
    });
    let repository =
        Repository { url: format!("{scheme}{authority}/{path}"), reference: reference.map(str::to_owned) };
    // Hidden folders hold settings, such as `.ipython`; `...git` would even be the parent folder.
    let named = path.bytes().any(|b| b != b'/');
    let folder_ok = named && !repository.folder().is_empty() && !repository.folder().starts_with(['-', '.']);
    (host_ok && path_ok && reference_ok && folder_ok).then_some(repository)
}

text_type!(Repository);
