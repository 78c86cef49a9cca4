//! What may be written where a name, a number or a repository is asked for.

use slipway::domain::{ClusterId, Invalid, ProfileName, Repository, RoutePath, Subject, WorkerCount};
use slipway::store::events::Position;

fn repository(text: &str) -> Result<Repository, Invalid> {
    text.parse()
}

#[test]
fn a_cluster_id_is_its_prefix_and_six_to_twelve_digits() {
    for good in ["cluster-100000", "cluster-678343", "cluster-999999999999"] {
        let id: ClusterId = good.parse().expect(good);
        assert_eq!(id.to_string(), good);
        assert_eq!(ClusterId::from_number(id.number()), Some(id));
    }
    let wrong = [
        "",
        "cluster-",
        "678343",
        "cluster-99999",
        "cluster-099999",
        "cluster-0678343",
        "cluster-1000000000000",
        "Cluster-678343",
        "cluster_678343",
        "cluster-67834a",
        "cluster-+678343",
        "cluster--678343",
        " cluster-678343",
        "cluster-678343 ",
        "cluster-678343\n",
        "cluster-678343/..",
        "cluster-678343_9000",
        "cluster-６７８３４３",
        "cluster-99999999999999999999999999",
    ];
    for wrong in wrong {
        assert!(wrong.parse::<ClusterId>().is_err(), "{wrong:?}");
    }
    for number in [0, 99_999, 1_000_000_000_000, u64::MAX] {
        assert_eq!(ClusterId::from_number(number), None, "{number}");
    }
}

#[test]
fn a_subject_is_short_and_plain() {
    let longest = "a".repeat(64);
    for good in ["a", "keeper", "browser:1f0c", "cli:root", "token:a_b.c@d-e", &longest] {
        assert_eq!(good.parse::<Subject>().expect(good).as_str(), good);
    }
    let too_long = "a".repeat(65);
    for wrong in ["", " ", "a b", "a\n", "a\0", "é", "a;b", "a=b", "a/b", "a,b", "'", &too_long] {
        assert!(wrong.parse::<Subject>().is_err(), "{wrong:?}");
    }
}

#[test]
fn the_path_of_a_posted_route_has_one_slash_at_its_start_and_none_at_its_end() {
    let path = |text: &str| text.parse::<RoutePath>().map(|path| path.to_string());
    for (text, expected) in [
        ("", "/"),
        ("/", "/"),
        ("user/zoe", "/user/zoe"),
        ("/user/zoe@x,秘密/", "/user/zoe@x,秘密"),
        ("/a b/%2F", "/a b/%2F"),
        (&"/a".repeat(16), &"/a".repeat(16)),
    ] {
        assert_eq!(path(text).as_deref(), Ok(expected), "{text}");
    }
    for text in ["/a//b", "/a\nb", "/a\0", &"/a".repeat(17), &"a".repeat(2049)] {
        assert!(path(text).is_err(), "{text}");
    }
}

#[test]
fn a_profile_is_a_dns_label() {
    let longest = "a".repeat(40);
    for good in ["a", "default", "gpu-2", "2", &longest] {
        assert_eq!(good.parse::<ProfileName>().expect(good).as_str(), good);
    }
    let too_long = "a".repeat(41);
    for wrong in ["", "-a", "a-", "-", "A", "a_b", "a.b", "a b", "é", "a\n", &too_long] {
        assert!(wrong.parse::<ProfileName>().is_err(), "{wrong:?}");
    }
}

#[test]
fn a_worker_count_is_1_to_1000() {
    for good in [1, 2, 999, 1_000] {
        let count: WorkerCount = good.try_into().expect("it is within bounds");
        assert_eq!(i64::from(count), good);
        assert_eq!(good.to_string().parse(), Ok(count));
    }
    for wrong in [i64::MIN, -1, 0, 1_001, 65_536, 65_537, i64::MAX] {
        assert!(WorkerCount::try_from(wrong).is_err(), "{wrong}");
    }
    for wrong in ["", "two", "1.0", "1e3", "0x1", " 1", "1 ", "-0", "99999999999999999999"] {
        assert!(wrong.parse::<WorkerCount>().is_err(), "{wrong:?}");
    }
    for wrong in ["0", "-1", "1001", "2.5", "\"2\"", "null", "true", "1e30"] {
        assert!(serde_json::from_str::<WorkerCount>(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn what_is_wrong_is_quoted_but_never_at_length() {
    let error = "x".repeat(1_000_000).parse::<ClusterId>().expect_err("it is no id").to_string();
    assert!(error.starts_with("cluster id \"xxx") && error.len() < 300, "{error}");
}

#[test]
fn materials_are_a_web_address_and_maybe_a_reference() {
    let good = [
        ("https://example.org/course.git", None, "course"),
        ("https://example.org/course", None, "course"),
        ("https://example.org/a/b/course.git@2026", Some("2026"), "course"),
        ("http://127.0.0.1:8000/course.git", None, "course"),
        ("http://[::1]:8000/course.git", None, "course"),
        ("https://example.org/course/", None, "course"),
        ("https://example.org/course.git@feature/x-1.2_3+y", Some("feature/x-1.2_3+y"), "course"),
        ("https://example.org/~teacher/my%20course", None, "my%20course"),
        (
            "https://example.org/c@9fceb02d0ae598e95dc970b74767f19372d61af8",
            Some("9fceb02d0ae598e95dc970b74767f19372d61af8"),
            "c",
        ),
    ];
    for (text, reference, folder) in good {
        let parsed = repository(text).expect(text);
        assert_eq!((parsed.reference(), parsed.folder()), (reference, folder), "{text}");
        assert_eq!(parsed.to_string(), text);
        let url = text.strip_suffix(&reference.map_or_else(String::new, |r| format!("@{r}")));
        assert_eq!(Some(parsed.url()), url, "{text}");
    }
}

#[test]
fn materials_that_git_could_take_for_something_else_are_refused() {
    let wrong = [
        // no web address
        "",
        "course",
        "example.org/course",
        "git@example.org:course.git",
        "ssh://example.org/course",
        "file:///etc/passwd",
        "ext::sh -c id",
        "HTTPS://example.org/course",
        "ftp://example.org/course",
        "https:/example.org/course",
        "https://example.org",
        "https://example.org/",
        "https:///course",
        // options
        "--upload-pack=id",
        "-oProxyCommand=id",
        "https://example.org/--upload-pack=id",
        "https://example.org/-c",
        "https://example.org/course@--upload-pack=id",
        "https://example.org/course@-f",
        "https://-oProxyCommand=id/course",
        // credentials
        "https://user@example.org/course",
        "https://user:secret@example.org/course",
        "https://@example.org/course",
        // out of the folder
        "https://example.org/..",
        "https://example.org/../course",
        "https://example.org/a/../../b",
        "https://example.org/.",
        "https://example.org/.git",
        "https://example.org/a/.git/",
        "https://example.org/...git",
        "https://example.org/..git",
        "https://example.org/.ipython.git",
        "https://example.org/.git.git",
        "https://example.org//",
        // references
        "https://example.org/course@",
        "https://example.org/course@a..b",
        "https://example.org/course@a@b",
        "https://example.org/course@a b",
        "https://example.org/course@a^",
        "https://example.org/course@a~1",
        "https://example.org/course@a:b",
        "https://example.org/course@{u}",
        "https://example.org/course@é",
        // signs
        "https://example.org/my course",
        " https://example.org/course",
        "https://example.org/course ",
        "https://example.org/course\n",
        "https://example.org/\tcourse",
        "https://example.org/co\0urse",
        "https://example.org/course?x=1",
        "https://example.org/course#x",
        "https://example.org/cour\\se",
        "https://example.org/$(id)",
        "https://example.org/`id`",
        "https://example.org/a;b",
        "https://example.org/a'b",
        "https://exa mple.org/course",
        "https://example.org\\@evil.org/course",
        "https://exämple.org/course",
        "https://example.org/kurs-ä",
    ];
    for wrong in wrong {
        assert!(repository(wrong).is_err(), "{wrong:?}");
    }
}

#[test]
fn materials_have_300_characters_at_most() {
    let start = "https://example.org/";
    let text = |length: usize| format!("{start}{}", "c".repeat(length - start.len()));
    assert!(repository(&text(300)).is_ok());
    assert!(repository(&text(301)).is_err());
}

#[test]
fn materials_in_json_follow_the_same_rule() {
    assert!(serde_json::from_str::<Repository>(r#""https://example.org/course@x""#).is_ok());
    assert!(serde_json::from_str::<Repository>(r#""--upload-pack=id""#).is_err());
    assert!(serde_json::from_str::<Repository>(r#"{"url":"https://example.org/course"}"#).is_err());
}

#[test]
fn a_position_is_what_slipway_gave() {
    for good in ["0.0.0", "1.742.12", "32767.18446744073709551615.9223372036854775807"] {
        assert_eq!(good.parse::<Position>().expect(good).to_string(), good);
    }
    let wrong = [
        "",
        "1",
        "1.2",
        "1.2.",
        ".2.3",
        "1.2.3.4",
        "1.2.3 ",
        " 1.2.3",
        "-1.2.3",
        "1.-2.3",
        "1.2.-3",
        "a.b.c",
        "32768.1.1",
        "1.18446744073709551616.1",
        "1.1.9223372036854775808",
        "1,2,3",
        "1.2.3\n",
        "1.0x2.3",
    ];
    for wrong in wrong {
        assert!(wrong.parse::<Position>().is_err(), "{wrong:?}");
    }
}

#[test]
fn positions_are_ordered_by_epoch_then_transaction_then_place() {
    let ordered = ["0.9.9", "1.0.0", "1.1.9", "1.2.0", "1.2.1", "1.10.0", "2.0.0"];
    let positions: Vec<Position> = ordered.iter().map(|text| text.parse().expect(text)).collect();
    assert!(positions.is_sorted());
    assert_eq!(Position::default(), "0.0.0".parse().expect("it is valid"));
}
