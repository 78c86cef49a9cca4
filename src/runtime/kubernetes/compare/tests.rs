//! A cluster as it should be, and each way in which it is not.

use serde_json::{Value, json};

use super::super::manifest::{Plan, pods};
use super::super::mirror::Seen;
use super::super::settings::Tuning;
use super::*;
use crate::domain::{Endpoint, Keyring, Limits, Phase, Profile, Shape};

const ADDRESS: &str = "10.88.1.7";

fn settings() -> Settings {
    let profile = Profile {
        name: "small".parse().expect("a name"),
        title: String::new(),
        description: String::new(),
        workers: 2.try_into().expect("a number"),
        materials: vec![],
        limits: limits(),
        access: Default::default(),
        shape: Shape { ports: crate::domain::port::heard("app=8501"), ..Shape::default() },
        pool: None,
    };
    Settings::new(Keyring::new(vec![7; 32]).expect("long enough"), &[profile], Tuning::default())
}

fn limits() -> Limits {
    Limits { workers: 4.try_into().expect("a number"), idle_seconds: 0, lifetime_seconds: 0 }
}

fn running() -> Cluster {
    let ports = [
        (crate::domain::Engine::Notebook, 8888),
        (crate::domain::Engine::DaskScheduler, 8787),
        (crate::domain::Engine::DaskDashboard, 8787),
        (crate::domain::Engine::SparkUi, 8080),
    ];
    let endpoint = Endpoint {
        address: ADDRESS.parse().expect("an address"),
        ports: ports.into(),
        named: crate::domain::port::heard("app=8501"),
    };
    Cluster {
        id: ClusterId::from_number(678_343).expect("six digits"),
        owner: "alice".parse().expect("a subject"),
        profile: "small".parse().expect("a name"),
        workers: 2.try_into().expect("a number"),
        materials: vec![],
        limits: limits(),
        steps: vec![],
        phase: Phase::Running { endpoint, workers_ready: 2 },
        access: Default::default(),
        shares: Default::default(),
        claimed: false,
        parked: None,
    }
}

/// All objects of the cluster, as a list of Kubernetes has them.
struct There(Vec<(Kind, Value)>);

impl There {
    fn of(cluster: &Cluster) -> Self {
        let settings = settings();
        let Desired::Present(blueprint) = desired(cluster) else { panic!("it is wanted") };
        let shape = &settings.shapes[&blueprint.profile];
        let plan = Plan { blueprint: &blueprint, shape, settings: &settings };
        let mut all: Vec<_> = plan.lasting().into_iter().map(|manifest| (manifest.kind, manifest.body)).collect();
        let mut notebook = pods::scheduler(&plan).body;
        notebook["status"] = json!({ "podIP": ADDRESS, "conditions": [{ "type": "Ready", "status": "True" }] });
        all.push((Kind::Pod, notebook.clone()));
        for name in ["workers-1", "workers-2"] {
            let mut worker = notebook.clone();
            worker["metadata"]["name"] = name.into();
            worker["metadata"]["labels"][super::super::manifest::COMPONENT] = WORKERS.into();
            all.push((Kind::Pod, worker));
        }
        for (_, object) in &mut all {
            let fields = object.as_object_mut().expect("an object");
            fields.retain(|field, _| field != "apiVersion" && field != "kind");
        }
        Self(all)
    }

    fn one(&mut self, kind: Kind, name: &str) -> &mut Value {
        let mut all = self.0.iter_mut();
        let found = all.find(|(other, object)| *other == kind && object["metadata"]["name"] == name);
        &mut found.unwrap_or_else(|| panic!("there is no {kind:?} {name}")).1
    }

    fn without(mut self, kind: Kind, name: &str) -> Self {
        self.0.retain(|(other, object)| *other != kind || object["metadata"]["name"] != name);
        self
    }

    fn with(mut self, kind: Kind, name: &str, change: impl FnOnce(&mut Value)) -> Self {
        change(self.one(kind, name));
        self
    }

    fn differences(&self, clusters: &[Cluster]) -> Vec<String> {
        let mirror = Mirror::default();
        for (kind, object) in &self.0 {
            let object = object.clone();
            mirror.put(match kind {
                Kind::Pod => Seen::Pod(serde_json::from_value(object).expect("a pod")),
                kind => Seen::Object(*kind, serde_json::from_value(object).expect("an object")),
            });
        }
        compare(&settings(), clusters, &mirror).into_iter().map(|difference| difference.what).collect()
    }
}

#[test]
fn what_is_as_the_log_says_differs_in_nothing() {
    let cluster = running();
    assert!(There::of(&cluster).differences(&[cluster]).is_empty());
}

#[test]
fn each_difference_is_told() {
    let cluster = running();
    let there = || There::of(&cluster);
    let namespace = cluster.id.to_string();
    let delete = |object: &mut Value| object["metadata"]["deletionTimestamp"] = "2026-11-24T13:00:00Z".into();
    let unready = "its notebook's pod is not ready";
    for (there, told) in [
        (There(vec![]), "there is no such namespace of this installation"),
        (there().with(Kind::Namespace, &namespace, delete), "its namespace is being removed"),
        (there().without(Kind::NetworkPolicy, "nobody"), "the NetworkPolicy nobody is missing"),
        (
            there().with(Kind::NetworkPolicy, "neighbours", |policy| policy["spec"]["ingress"] = json!([{}])),
            r#"the NetworkPolicy neighbours: spec.ingress.0.from is missing and should be [{"podSelector":{}}]"#,
        ),
        (
            there().with(Kind::ReplicationController, WORKERS, |workers| workers["spec"]["replicas"] = 5.into()),
            "the ReplicationController workers: spec.replicas is 5 and should be 2",
        ),
        (
            there().with(Kind::ResourceQuota, "cluster", |quota| quota["spec"]["hard"]["pods"] = "99".into()),
            r#"the ResourceQuota cluster: spec.hard.pods is "99" and should be "7""#,
        ),
        (there().without(Kind::Pod, "scheduler"), "0 pods have its notebook, and one should"),
        (there().with(Kind::Pod, "scheduler", delete), "0 pods have its notebook, and one should"),
        (there().with(Kind::Pod, "scheduler", |pod| pod["status"]["conditions"] = json!([])), unready),
        (
            there().with(Kind::Pod, "scheduler", |pod| pod["status"]["podIP"] = "10.88.1.9".into()),
            "its notebook's pod has the address 10.88.1.9, and the log says 10.88.1.7",
        ),
        (there().without(Kind::Pod, "workers-2"), "workers ready: 1, and the log says 2"),
    ] {
        assert_eq!(there.differences(std::slice::from_ref(&cluster)), [told]);
    }
}

#[test]
fn what_the_log_does_not_want_should_not_be_there_unless_it_is_being_removed() {
    let cluster = running();
    let told = "it is there, and the log does not want it";
    assert_eq!(There::of(&cluster).differences(&[]), [told]);
    let mut stopping = cluster.clone();
    stopping.phase = Phase::Stopping { reason: crate::domain::StopReason::Owner };
    assert_eq!(There::of(&cluster).differences(&[stopping.clone()]), [told]);
    let namespace = cluster.id.to_string();
    let removed = There::of(&cluster).with(Kind::Namespace, &namespace, |object| {
        object["metadata"]["deletionTimestamp"] = "2026-11-24T13:00:00Z".into();
    });
    assert!(removed.differences(&[stopping]).is_empty());
    assert!(removed.differences(&[]).is_empty());
}

#[test]
fn a_second_controller_and_an_unknown_profile_are_told() {
    let mut cluster = running();
    let mut there = There::of(&cluster);
    let mut second = there.one(Kind::ReplicationController, WORKERS).clone();
    second["metadata"]["name"] = "more".into();
    there.0.push((Kind::ReplicationController, second));
    let told = "the ReplicationController more should not be there";
    assert_eq!(there.differences(std::slice::from_ref(&cluster)), [told]);
    cluster.profile = "huge".parse().expect("a name");
    let told = "there is no profile huge to compare it with";
    assert_eq!(There::of(&running()).differences(&[cluster]), [told]);
}
