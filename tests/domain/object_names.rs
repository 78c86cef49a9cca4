//! Names that Kubernetes would refuse are refused before it is asked.

use slipway::domain::object_names::{ImageReference, LabelKey, LabelValue, PriorityClass};

#[test]
fn names_that_kubernetes_takes_are_taken_as_they_are() {
    for key in ["pool", "example.org/pool", "kubernetes.io/os", "a_B.c-1"] {
        assert_eq!(key.parse::<LabelKey>().expect(key).to_string(), key);
    }
    for value in ["", "x", "2026.1_b"] {
        assert_eq!(value.parse::<LabelValue>().expect(value).to_string(), value);
    }
    for image in ["jupyter", "localhost/a:1.0", "registry.example.org:5000/a/b:2026", "name@sha256:0123abcd"] {
        assert_eq!(image.parse::<ImageReference>().expect(image).to_string(), image);
    }
    assert!("system-cluster-critical".parse::<PriorityClass>().is_ok());
}

#[test]
fn names_that_kubernetes_refuses_are_refused() {
    let long = "a".repeat(64);
    for key in ["", "-pool", "pool-", "a b", "a/b/c", "/pool", "Example.org/pool", "example.org/", &long] {
        assert!(key.parse::<LabelKey>().is_err(), "{key:?}");
    }
    for value in [" ", "-", "a/b", "ä", &long] {
        assert!(value.parse::<LabelValue>().is_err(), "{value:?}");
    }
    for image in ["", "a b", "A", "a//b", "/a", "a:", "a@", "https://x y"] {
        assert!(image.parse::<ImageReference>().is_err(), "{image:?}");
    }
    for class in ["", "High", "a..b", "-a"] {
        assert!(class.parse::<PriorityClass>().is_err(), "{class:?}");
    }
}
