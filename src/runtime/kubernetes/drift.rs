//! Whether an object is as it should be.

use serde_json::Value;

/// Whether everything that is wanted is there. What else is there does not matter, except in lists whose items
/// have no names: those are owned as a whole.
pub fn covers(actual: &Value, wanted: &Value) -> bool {
    match (actual, wanted) {
        (Value::Object(actual), Value::Object(wanted)) => {
            wanted.iter().all(|(key, wanted)| match actual.get(key) {
                Some(actual) => covers(actual, wanted),
                // Kubernetes leaves out what is empty.
                None => is_empty(wanted),
            })
        }
        (Value::Array(actual), Value::Array(wanted)) => match names(wanted) {
            Some(names) => names.iter().zip(wanted).all(|(name, wanted)| {
                actual.iter().any(|actual| actual.get("name") == Some(name) && covers(actual, wanted))
            }),
            None => {
                actual.len() == wanted.len()
                    && actual.iter().zip(wanted).all(|(actual, wanted)| covers(actual, wanted))
            }
        },
        (actual, wanted) => actual == wanted,
    }
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
    use serde_json::json;

    use super::*;

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
    fn a_rule_too_many_in_a_policy_is_drift() {
        let wanted = json!({ "ingress": [{ "from": [{ "podSelector": {} }] }] });
        assert!(!covers(&json!({ "ingress": [{ "from": [{ "podSelector": {} }] }, {}] }), &wanted));
        assert!(covers(&wanted, &wanted));
    }
}
