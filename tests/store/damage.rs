//! What can happen to an exported log on its way.

use slipway::store::archive::Flaw;

/// What was done to the lines, where that shows, and how.
pub type Damage = (&'static str, fn(&mut Vec<String>), Option<u64>, fn(&Flaw) -> bool);

fn replace(line: &mut String, old: &str, new: &str) {
    assert!(line.contains(old), "{old} is in {line}");
    *line = line.replacen(old, new, 1);
}

pub const DAMAGES: &[Damage] = &[
    ("empty", |lines| lines.clear(), Some(0), |flaw| matches!(flaw, Flaw::CutOff)),
    ("no header", |lines| drop(lines.remove(0)), Some(1), |flaw| matches!(flaw, Flaw::Header)),
    ("two headers", |lines| lines.insert(1, lines[0].clone()), Some(2), |flaw| matches!(flaw, Flaw::Header)),
    (
        "a later format",
        |lines| replace(&mut lines[0], r#""format":1"#, r#""format":2"#),
        Some(1),
        |flaw| matches!(flaw, Flaw::Format(2)),
    ),
    ("cut off after a line", |lines| lines.truncate(5), Some(5), |flaw| matches!(flaw, Flaw::CutOff)),
    (
        "cut off within a line",
        |lines| {
            lines.truncate(5);
            lines[4].truncate(40);
        },
        Some(5),
        |flaw| matches!(flaw, Flaw::Unknown(_)),
    ),
    (
        "another owner",
        |lines| replace(&mut lines[1], r#""owner": "alice""#, r#""owner": "mallory""#),
        Some(2),
        |flaw| matches!(flaw, Flaw::Hash),
    ),
    (
        "another actor",
        |lines| replace(&mut lines[1], r#""actor":"alice""#, r#""actor":"mallory""#),
        Some(2),
        |flaw| matches!(flaw, Flaw::Hash),
    ),
    (
        "another time",
        |lines| replace(&mut lines[1], r#""recorded_at":"2"#, r#""recorded_at":"1"#),
        Some(2),
        |flaw| matches!(flaw, Flaw::Hash),
    ),
    (
        "an event of a newer slipway",
        |lines| replace(&mut lines[1], r#""type":"LaunchRequested""#, r#""type":"LaunchDreamtOf""#),
        Some(2),
        |flaw| matches!(flaw, Flaw::Event(_)),
    ),
    (
        "a newer schema",
        |lines| replace(&mut lines[1], r#""schema_version":1"#, r#""schema_version":2"#),
        Some(2),
        |flaw| matches!(flaw, Flaw::Event(_)),
    ),
    (
        "a field that is not known",
        |lines| replace(&mut lines[1], r#"{"position""#, r#"{"more":1,"position""#),
        Some(2),
        |flaw| matches!(flaw, Flaw::Unknown(_)),
    ),
    ("two streams in another order", |lines| lines.swap(1, 2), Some(3), |flaw| matches!(flaw, Flaw::Order { .. })),
    (
        "the same, with their positions",
        |lines| {
            let position = |line: &str| line.split('"').nth(5).expect("a position").to_owned();
            let (first, second) = (position(&lines[1]), position(&lines[2]));
            lines.swap(1, 2);
            replace(&mut lines[1], &second, &first);
            replace(&mut lines[2], &first, &second);
        },
        None,
        |flaw| matches!(flaw, Flaw::Digest),
    ),
    ("an event is missing", |lines| drop(lines.remove(3)), Some(4), |flaw| matches!(flaw, Flaw::Gap { .. })),
    (
        "a last event is missing",
        |lines| drop(lines.remove(lines.iter().position(|l| l.contains("Removed")).expect("one"))),
        None,
        |flaw| matches!(flaw, Flaw::Count { of: "events", .. }),
    ),
    (
        "a last route is missing",
        |lines| drop(lines.remove(lines.len() - 2)),
        None,
        |flaw| matches!(flaw, Flaw::Count { of: "changes of routes", .. }),
    ),
    (
        "another target of a route",
        |lines| {
            let at = lines.iter().position(|line| line.starts_with(r#"{"route""#)).expect("one");
            replace(&mut lines[at], "10.0.0.1", "10.0.0.2");
        },
        None,
        |flaw| matches!(flaw, Flaw::Hash),
    ),
    (
        "routes before events",
        |lines| {
            let at = lines.iter().position(|line| line.starts_with(r#"{"route""#)).expect("one");
            let route = lines.remove(at);
            lines.insert(1, route);
        },
        Some(3),
        |flaw| matches!(flaw, Flaw::Misplaced),
    ),
    (
        "something after the end",
        |lines| lines.push(lines.last().expect("an end").clone()),
        None,
        |flaw| matches!(flaw, Flaw::Misplaced),
    ),
];
