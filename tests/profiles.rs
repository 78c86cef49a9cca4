//! The file of profiles: the example that ships, and what whoever made a mistake is told.

use slipway::cli::profile_file::{load, parse};
use slipway::domain::shape::{Effect, Extras, Toleration};
use slipway::domain::{Access, Port, Prefix, Shape};

fn example() -> std::path::PathBuf {
    concat!(env!("CARGO_MANIFEST_DIR"), "/ops/profiles.toml").into()
}

#[test]
fn the_example_means_what_its_comments_say() {
    let profiles = load(&example()).expect("the example is sound");
    let [tutorial, large] = &profiles[..] else { panic!("{profiles:?}") };

    assert_eq!((tutorial.name.as_str(), tutorial.title.as_str()), ("tutorial", "Dask tutorial"));
    assert_eq!((tutorial.workers.get(), tutorial.limits.workers.get()), (2, 16));
    assert_eq!((tutorial.limits.idle_seconds, tutorial.limits.lifetime_seconds), (3_600, 43_200));
    assert_eq!(tutorial.materials, ["https://github.com/dask/dask-tutorial.git@main".parse().expect("valid")]);
    assert_eq!(tutorial.shape, Shape::default());
    assert_eq!(tutorial.access, Access::Owner);

    assert_eq!((large.workers.get(), large.limits.workers.get()), (8, 100));
    assert_eq!((large.limits.idle_seconds, large.limits.lifetime_seconds), (3_600, 28_800));
    assert!(large.materials.is_empty());
    let shape = &large.shape;
    assert_eq!(shape.image, "registry.example.org/course/cluster:2026");
    assert_eq!(shape.engines, Extras { ipyparallel: true, spark: true });
    let ports = [("app", 8501, Prefix::Strip), ("tensorboard", 6006, Prefix::Keep)]
        .map(|(name, port, prefix)| (name.parse().expect("valid"), Port { port, prefix }));
    assert_eq!(shape.ports, ports.into());
    assert_eq!(shape.node_selector.iter().next(), Some((&"example.org/pool".to_owned(), &"students".to_owned())));
    let taint = Toleration {
        key: Some("dedicated".to_owned()),
        value: Some("students".to_owned()),
        effect: Some(Effect::NoSchedule),
    };
    assert_eq!(shape.tolerations, [taint]);
    assert_eq!(shape.priority_class.as_deref(), Some("students"));
    let amounts = [&shape.scheduler, &shape.worker].map(|part| {
        let [requests, limits] = [part.requests, part.limits];
        [requests.cpu.to_string(), requests.memory.to_string(), limits.cpu.to_string(), limits.memory.to_string()]
    });
    assert_eq!(amounts, [["500m", "2Gi", "2", "4Gi"], ["1", "8Gi", "2", "8Gi"]]);
}

#[test]
fn the_example_of_a_pool_means_what_its_comment_says() {
    let text = std::fs::read_to_string(example()).expect("the example is there");
    let tutorial = parse(&text.replacen("# pool = ", "pool = ", 1)).expect("sound").remove(0);
    let pool = tutorial.pool.expect("a pool");
    let wanted = |time: &str| pool.wanted(time.parse().expect("a time"));
    assert_eq!(wanted("2026-10-01T06:44:59Z"), 2);
    assert_eq!(wanted("2026-10-01T06:45:00Z"), 30, "a Thursday in summer");
    assert_eq!(wanted("2026-10-01T07:30:00Z"), 2);
    assert_eq!(wanted("2026-10-02T06:50:00Z"), 2);
    assert_eq!(parse(&text).expect("sound").remove(0).pool, None, "none by itself");
}

#[test]
fn a_pool_that_cannot_be_is_told() {
    for (line, hint) in [
        ("pool = { timezone = \"UTC\" }", "pool: missing field `ready`"),
        (
            "pool = 3",
            "pool: invalid type: integer `3`, expected a table like { ready = 2, timezone = \"Europe/Berlin\", schedule = [] }",
        ),
        ("pool = { ready = 1001 }", "a: pool: ready = 1001 is more than 1000: lower it"),
        (
            "pool = { ready = 1, timezone = \"Berlin\" }",
            "timezone: time zone \"Berlin\" is not known: write it like \"Europe/Berlin\" or \"UTC\"",
        ),
        (
            "pool = { ready = 1, schedule = [{ from = \"9\", to = \"10:00\", ready = 2 }] }",
            "from: time of day \"9\" is not valid: write it like \"08:45\"",
        ),
        (
            "pool = { ready = 1, schedule = [{ days = [], from = \"09:00\", to = \"10:00\", ready = 2 }] }",
            "a: pool: days is empty: name some, or leave it out for all",
        ),
    ] {
        assert_eq!(told(line), format!("line 4: {hint}"));
    }
}

#[test]
fn what_the_comments_call_defaults_is_what_is_left_out() {
    let text = std::fs::read_to_string(example()).expect("the example is there");
    let plain = "[[profile]]\nname = \"tutorial\"\ntitle = \"Dask tutorial\"\n";
    let [with, _] = parse(&text).expect("sound").try_into().expect("two profiles");
    let [without] = parse(plain).expect("sound").try_into().expect("one profile");
    assert_eq!((with.workers, with.limits, with.access), (without.workers, without.limits, without.access));
    assert_eq!(with.shape, without.shape);
}

#[test]
fn an_amount_that_is_left_out_is_the_default_one() {
    let text = "[[profile]]\nname = \"a\"\ntitle = \"A\"\n[profile.worker]\nlimits = { memory = \"4Gi\" }\n";
    let profile = parse(text).expect("sound").remove(0);
    let mut shape = Shape::default();
    shape.worker.limits.memory = "4Gi".parse().expect("valid");
    assert_eq!(profile.shape, shape);
}

#[test]
fn engines_are_those_that_are_named() {
    for (named, ipyparallel, spark) in
        [("[]", false, false), ("[\"spark\"]", false, true), ("[\"ipyparallel\"]", true, false)]
    {
        let text = format!("[[profile]]\nname = \"a\"\ntitle = \"A\"\nengines = {named}\n");
        assert_eq!(parse(&text).expect("sound").remove(0).shape.engines, Extras { ipyparallel, spark });
    }
}

/// Lines that follow a sound beginning of three lines.
fn told(more: &str) -> String {
    parse(&format!("[[profile]]\nname = \"a\"\ntitle = \"A\"\n{more}\n")).expect_err(more).to_string()
}

#[test]
fn a_mistake_is_told_with_its_line_its_key_and_what_to_write() {
    let mistakes = [
        ("image = \"No Image\"", "image \"No Image\" is not valid: write registry/name:tag or name@sha256:…"),
        (
            "workers = { default = 20, most = 16 }",
            "a: workers: default = 20 is more than most = 16: lower the one or raise the other",
        ),
        (
            "workers = { default = 0, most = 16 }",
            "default: worker count \"0\" is not valid: ask for 1 to 1000 workers",
        ),
        ("workers = { default = 2 }", "workers: missing field `most`"),
        ("access = \"all\"", "access \"all\" is not valid: write owner, class or public"),
        ("workers = 8", "workers: invalid type: integer `8`, expected a table like { default = 2, most = 16 }"),
        (
            "idle-limit = \"an hour\"",
            "idle-limit: time \"an hour\" is not valid: write it like \"90m\" or \"1h 30m\"; \"0s\": never",
        ),
        ("lifetime = 8", "lifetime: a time is a text: write it like \"90m\" or \"1h 30m\"; \"0s\": never"),
        (
            "materials = [\"https://example.org/a.git\", \"https://example.com/a\"]",
            "a: materials: at most 10 repositories can be cloned, each into a folder of its own: \
             name fewer, or such with different last parts",
        ),
        (
            "materials = [\"git@example.org:b.git\"]",
            "materials repository \"git@example.org:b.git\" is not valid: write https://host/path, and @branch, @tag \
             or @commit if need be, at most 300 characters, without a user name or password",
        ),
        ("engines = [\"ray\"]", "unknown variant `ray`, expected `ipyparallel` or `spark`"),
        (
            "node-selector = { \"the pool\" = \"x\" }",
            "label \"the pool\" is not valid: use up to 63 letters, digits or inner . _ -, maybe after a domain and \
             a slash, like example.org/pool",
        ),
        (
            "node-selector = { pool = \"a b\" }",
            "pool: label value \"a b\" is not valid: use up to 63 letters, digits or inner . _ -",
        ),
        (
            "tolerations = [{ value = \"x\" }]",
            "a: tolerations: a value needs its key: add key, or leave the value out",
        ),
        (
            "tolerations = [{ effect = \"Never\" }]",
            "effect: unknown variant `Never`, expected one of `NoSchedule`, `PreferNoSchedule`, `NoExecute`",
        ),
        (
            "priority-class = \"High\"",
            "priority-class: priority class \"High\" is not valid: use lower-case letters, digits or inner - and \
             dots, like students-low",
        ),
        (
            "worker = { limits = { cpu = \"100m\" } }",
            "a: worker: the cpu limit 100m is below the request 250m: raise limits or lower requests",
        ),
        (
            "scheduler = { requests = { memory = \"4GB\" } }",
            "amount of memory \"4GB\" is not valid: write it like 512Mi, 2Gi or 1.5Gi, up to 16Ti",
        ),
        ("title = \"B\"", "duplicate key"),
        ("workers = {", "unclosed inline table, expected `}`"),
    ];
    for (line, hint) in mistakes {
        assert_eq!(told(line), format!("line 4: {hint}"));
    }
    let unknown = told("imag = \"x\"");
    assert!(unknown.starts_with("line 4: unknown field `imag`, expected one of `name`, `title`"), "{unknown}");
}

#[test]
fn a_port_that_cannot_be_named_or_opened_is_told() {
    for (line, hint) in [
        (
            "ports = { \"9000\" = 8501 }",
            "port name \"9000\" is not valid: use 1 to 20 lower-case letters, digits or inner hyphens, beginning with \
             a letter, like app",
        ),
        (
            "ports = { app = 80 }",
            "app: a port from 1024 to 65535, or a table like { port = 8501, prefix = \"keep\" }",
        ),
    ] {
        assert_eq!(told(line), format!("line 4: {hint}"));
    }
}

#[test]
fn a_file_as_a_whole_is_told_what_it_lacks() {
    for (text, hint) in [
        ("", "line 1: there is no profile: begin one with [[profile]], then give it a name and a title"),
        ("\n[[profiles]]\nname = \"a\"\n", "line 2: unknown field `profiles`, expected `profile`"),
        ("# mine\n[[profile]]\nname = \"a\"\n", "line 2: missing field `title`"),
        ("[[profile]]\nname = \"a\"\ntitle = \" \"\n", "line 3: a: title: write 1 to 80 characters for the page"),
        (
            "[[profile]]\ntitle = \"A\"\nname = \"A b\"\n",
            "line 3: name: profile \"A b\" is not valid: use 1 to 40 lower-case letters, digits or inner hyphens",
        ),
        (
            "[[profile]]\nname = \"a\"\ntitle = \"A\"\n[[profile]]\nname = \"a\"\ntitle = \"B\"\n",
            "line 5: a: a profile above has this name: give it another",
        ),
    ] {
        assert_eq!(parse(text).expect_err(text).to_string(), hint);
    }
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = load("/nowhere/profiles.toml".as_ref()).expect_err("there is none");
    assert!(error.to_string().contains("/nowhere/profiles.toml"), "{error}");
}

#[test]
fn the_command_line_checks_a_file_and_takes_it_instead_of_the_options() {
    let run = |args: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_slipway"));
        let output = command.args(args).env_remove("SLIPWAY_PROFILES").output().expect("it runs");
        let told = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        (output.status.code(), told)
    };
    let file = example().display().to_string();
    let (code, told) = run(&["profiles", &file]);
    assert_eq!(code, Some(0), "{told}");
    assert!(told.contains("large") && told.contains("8 of 100") && told.contains("1 cpu, 8Gi"), "{told}");

    let folder = tempfile::tempdir().expect("a folder");
    let wrong = folder.path().join("wrong.toml");
    std::fs::write(&wrong, "[[profile]]\nname = \"a\"\n").expect("written");
    let (code, told) = run(&["profiles", &wrong.display().to_string()]);
    assert_eq!((code, told), (Some(1), format!("slipway: {}:1: missing field `title`\n", wrong.display())));

    let (code, told) = run(&["up", "--profiles", &file, "--max-workers", "3"]);
    assert_eq!(code, Some(2));
    assert!(told.contains("'--profiles <FILE>' cannot be used with '--max-workers <N>'"), "{told}");
}
