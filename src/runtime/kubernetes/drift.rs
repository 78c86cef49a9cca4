//! Whether an object is as it should be.

use std::fmt;

use kube::core::DynamicObject;
use serde_json::{Value, json};

/// The first thing that the object lacks.
pub fn lack(known: &DynamicObject, wanted: &Value) -> Option<String> {
    let meta = &known.metadata;
    let metadata = json!({ "name": meta.name, "namespace": meta.namespace, "labels": meta.labels });
    wanted.as_object()?.iter().find_map(|(field, wanted)| {
        let actual = match field.as_str() {
            // Objects of a list do not say it.
            "apiVersion" | "kind" => return None,
            "metadata" => &metadata,
            field => known.data.get(field).unwrap_or(&Value::Null),
        };
        Some(gap(actual, wanted)?.within(field).to_string())
    })
}

/// Where something that is wanted is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Gap<'a> {
    /// Like `spec.replicas`.
    place: String,
    actual: Option<&'a Value>,
    wanted: &'a Value,
}

/// The first thing that is wanted and not there. What else is there does not matter, except in lists whose items
/// have no names: those are owned as a whole.
fn gap<'a>(actual: &'a Value, wanted: &'a Value) -> Option<Gap<'a>> {
    let here = Gap { place: String::new(), actual: Some(actual), wanted };
    match (actual, wanted) {
        (Value::Object(actual), Value::Object(wanted)) => wanted.iter().find_map(|(key, wanted)| {
            let gap = match actual.get(key) {
                Some(actual) => gap(actual, wanted)?,
                // Kubernetes leaves out what is empty.
                None if is_empty(wanted) => return None,
                None => Gap { place: String::new(), actual: None, wanted },
            };
            Some(gap.within(key))
        }),
        (Value::Array(actual), Value::Array(wanted)) => match names(wanted) {
            Some(names) => names.into_iter().zip(wanted).find_map(|(name, wanted)| {
                let named = actual.iter().find(|actual| actual.get("name") == Some(name));
                let gap = match named {
                    Some(actual) => gap(actual, wanted)?,
                    None => Gap { place: String::new(), actual: None, wanted },
                };
                Some(gap.within(name.as_str().unwrap_or_default()))
            }),
            None if actual.len() != wanted.len() => Some(here),
            None => {
                let mut items = actual.iter().zip(wanted).enumerate();
                items.find_map(|(index, (actual, wanted))| Some(gap(actual, wanted)?.within(&index.to_string())))
            }
        },
        (actual, wanted) => (actual != wanted).then_some(here),
    }
}

impl Gap<'_> {
    fn within(mut self, key: &str) -> Self {
        self.place = if self.place.is_empty() { key.to_owned() } else { format!("{key}.{}", self.place) };
        self
    }
}

impl fmt::Display for Gap<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { place, actual, wanted } = self;
        let (actual, wanted) = (actual.map_or_else(|| "missing".to_owned(), short), short(wanted));
        write!(f, "{place} is {actual} and should be {wanted}")
    }
}

/// As much of it as fits a line.
fn short(value: &Value) -> String {
    const MOST: usize = 80;
    let text = value.to_string();
    if text.chars().count() <= MOST { text } else { text.chars().take(MOST).chain(['…']).collect() }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.values().all(is_empty),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

/// The names of the items, if all have one.
fn names(items: &[Value]) -> Option<Vec<&Value>> {
    if items.is_empty() { None } else { items.iter().map(|item| item.get("name")).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn covers(actual: &Value, wanted: &Value) -> bool {
        gap(actual, wanted).is_none()
    }

    #[test]
    fn what_kubernetes_adds_is_no_drift() {
        let wanted = json!({ "spec": { "replicas": 2, "template": { "spec": { "containers": [
            { "name": "worker", "image": "i", "env": [{ "name": "A", "value": "" }], "ports": [] }
        ]}}}});
        let actual = json!({ "metadata": { "uid": "1" }, "spec": { "replicas": 2, "template": { "spec": {
            "restartPolicy": "Always",
            "containers": [
                { "name": "sidecar", "image": "s" },
                { "name": "worker", "image": "i", "env": [{ "name": "A" }], "terminationMessagePath": "/dev/log" },
            ]
        }}}});
        assert!(covers(&actual, &wanted));
    }

    #[test]
    fn what_was_changed_or_taken_away_is_drift() {
        let wanted =
            json!({ "spec": { "replicas": 2, "automount": false, "policyTypes": ["Ingress", "Egress"] } });
        for actual in [
            json!({}),
            json!({ "spec": {} }),
            json!({ "spec": { "replicas": 3, "automount": false, "policyTypes": ["Ingress", "Egress"] } }),
            json!({ "spec": { "replicas": 2, "policyTypes": ["Ingress", "Egress"] } }),
            json!({ "spec": { "replicas": 2, "automount": false, "policyTypes": ["Ingress"] } }),
        ] {
            assert!(!covers(&actual, &wanted), "{actual}");
        }
    }

    #[test]
    fn a_gap_is_told_with_its_place() {
        let wanted =
            json!({ "spec": { "replicas": 2, "ports": [{ "name": "web", "port": 80 }], "rules": [{ "to": 1 }] } });
        for (actual, told) in [
            (json!({}), format!("spec is missing and should be {}", wanted["spec"])),
            (
                json!({ "spec": { "ports": [{ "name": "web", "port": 81 }], "replicas": 2, "rules": [{ "to": 1 }] } }),
                "spec.ports.web.port is 81 and should be 80".to_owned(),
            ),
            (
                json!({ "spec": { "ports": [{ "name": "web", "port": 80 }], "replicas": 2, "rules": [{ "to": 2 }] } }),
                "spec.rules.0.to is 2 and should be 1".to_owned(),
            ),
        ] {
            assert_eq!(gap(&actual, &wanted).expect("a gap").to_string(), told);
        }
    }

    #[test]
    fn a_rule_too_many_in_a_policy_is_drift() {
        let wanted = json!({ "ingress": [{ "from": [{ "podSelector": {} }] }] });
        assert!(!covers(&json!({ "ingress": [{ "from": [{ "podSelector": {} }] }, {}] }), &wanted));
        assert!(covers(&wanted, &wanted));
    }
}
