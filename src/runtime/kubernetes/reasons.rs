//! Kubernetes' own words: how they are passed on, and what is known of them.

/// Kubernetes' reason and message as one text of bearable length.
pub fn spoken(reason: &str, message: &str) -> String {
    const LONGEST: usize = 300;
    let message = message.trim();
    let text = match (reason.is_empty(), message.is_empty()) {
        (true, true) => "no reason is given".to_owned(),
        (true, false) => message.to_owned(),
        (false, true) => reason.to_owned(),
        (false, false) => format!("{message} ({reason})"),
    };
    if text.chars().count() <= LONGEST { text } else { text.chars().take(LONGEST).chain(['…']).collect() }
}

/// Whether a refusal is of the first moments of a namespace, while its controllers get to know it. Kubernetes has
/// one code for what will pass and what will not, and tells them apart in words only.
pub fn will_pass(message: &str) -> bool {
    ["status unknown for quota", "error looking up service account", "not yet ready to handle request"]
        .iter()
        .any(|words| message.contains(words))
}
