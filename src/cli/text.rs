//! Words that operators write for each other.

/// One line of 1 to `MOST` characters, without the space around it.
pub(super) fn line<const MOST: usize>(text: &str) -> Result<String, String> {
    let text = text.trim();
    if (1..=MOST).contains(&text.chars().count()) && !text.chars().any(char::is_control) {
        Ok(text.to_owned())
    } else {
        Err(format!("write one line of 1 to {MOST} characters"))
    }
}
