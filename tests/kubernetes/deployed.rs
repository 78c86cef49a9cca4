//! slipway itself in the cluster, by the manifests of `ops/deploy`.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use sqlx::postgres::PgConnectOptions;
use tokio::net::{TcpListener, TcpStream, UnixStream};

use super::cluster::{get, kubectl, namespace_exists, node_address, pods};
use super::harness::database;
use super::house::{REAL, real_turn, within};
use super::processes;
use super::student::Student;

#[tokio::test(flavor = "multi_thread")]
async fn slipway_runs_in_the_cluster_itself() {
    let _turn = real_turn().await;
    super::cluster::as_worker().await;
    let (_, url) = database().await;
    let options: PgConnectOptions = url.parse().expect("a URL");
    let place = relay(node_address(), options.clone()).await;
    let database = options.get_database().expect("it has a name");
    let url = format!("postgres://{}@{place}/{database}?sslmode=disable", options.get_username());

    let folder = processes::folder("k8s-deployed");
    let profile = REAL.replace("title = ", "engines = []\ntitle = ");
    overlay(&folder, &profile);
    let key = format!("--from-literal=key={}", "5a".repeat(32));
    let url = format!("--from-literal=database-url={url}");
    kubectl(&["create", "secret", "generic", "slipway", "-n", "slipway", &key, &url]);
    kubectl(&["apply", "-k", &folder.display().to_string()]);
    for part in ["api", "worker", "proxy"] {
        kubectl(&["rollout", "status", "-n", "slipway", &format!("deployment/slipway-{part}"), "--timeout=180s"]);
        let selector = format!("app.kubernetes.io/component={part}");
        assert_eq!(get(&["pods", "-n", "slipway", "-l", &selector]).len(), 2, "{part}");
    }

    let service = get(&["service", "slipway", "-n", "slipway"]).pop().expect("it is there");
    let address: IpAddr = service["spec"]["clusterIP"].as_str().expect("an address").parse().expect("an address");
    let proxy = SocketAddr::new(address, 80);
    let student = Student::new(proxy).await;
    let (status, cluster) = student.press(None, 1).await;
    assert_eq!(status, 202, "{cluster}");
    let id = cluster["id"].as_str().expect("an id").to_owned();
    within(180, "a worker", async || (student.cluster(&id).await["workers"]["ready"] == 1).then_some(())).await;
    within(30, "both proxies to lead to the notebook", async || {
        let mut all = vec![];
        for _ in 0..6 {
            all.push(student.get(&format!("/{id}/api")).await);
        }
        all.iter().all(|status| *status == 200).then_some(())
    })
    .await;
    let mut kernel = student.kernel(&id).await;
    let computed = "from dask.distributed import Client; print(Client().submit(pow, 2, 5).result())";
    assert_eq!(kernel.run(computed).await, "32");
    drop(kernel);

    // One of the proxies and one of the workers are lost; whoever comes by the service notices nothing.
    for part in ["proxy", "worker"] {
        let selector = format!("app.kubernetes.io/component={part}");
        let pod = get(&["pods", "-n", "slipway", "-l", &selector]).swap_remove(0);
        let name = pod["metadata"]["name"].as_str().expect("a name");
        kubectl(&["delete", "pod", name, "-n", "slipway", "--wait=false"]);
    }
    within(60, "the proxy's successor", async || {
        (student.try_get(&format!("/{id}/api")).await? == 200).then_some(())
    })
    .await;
    assert_eq!(student.scale(&id, 2).await.0, 202);
    within(120, "another worker", async || (student.cluster(&id).await["workers"]["ready"] == 2).then_some(()))
        .await;
    assert_eq!(pods(&id, "workers").len(), 2);
    student.stop(&id).await;
    within(60, "the namespace to be gone", async || (!namespace_exists(&id)).then_some(())).await;

    // The namespace and its accounts stay, as other tests work under one of them.
    kubectl(&["delete", "deployments,services,configmaps,secrets,pdb,networkpolicies", "--all", "-n", "slipway"]);
    std::fs::remove_dir_all(folder).expect("the test's own folder");
}

/// An overlay as an operator would write it.
fn overlay(folder: &Path, profiles: &str) {
    let root: String = folder.components().skip(1).map(|_| "../").collect();
    let base = format!("{root}{}", env!("CARGO_MANIFEST_DIR").trim_start_matches('/'));
    std::fs::write(folder.join("profiles.toml"), profiles).expect("a file");
    let text = format!(
        "resources: [{base}/ops/deploy]\nnamespace: slipway\n\
         configMapGenerator: [{{name: slipway-profiles, behavior: replace, files: [profiles.toml]}}]\n"
    );
    std::fs::write(folder.join("kustomization.yaml"), text).expect("a file");
}

/// Pods reach the tests' Postgres, which has only a socket, at this address of the machine.
async fn relay(address: IpAddr, options: PgConnectOptions) -> SocketAddr {
    let listener = TcpListener::bind((address, 0)).await.expect("a port");
    let place = listener.local_addr().expect("its address");
    tokio::spawn(async move {
        while let Ok((mut pod, _)) = listener.accept().await {
            let options = options.clone();
            tokio::spawn(async move {
                let port = options.get_port();
                let socket = options.get_socket().map(|folder| folder.join(format!(".s.PGSQL.{port}")));
                let _ = match socket {
                    Some(socket) => match UnixStream::connect(socket).await {
                        Ok(mut server) => tokio::io::copy_bidirectional(&mut pod, &mut server).await,
                        Err(error) => Err(error),
                    },
                    None => match TcpStream::connect((options.get_host(), port)).await {
                        Ok(mut server) => tokio::io::copy_bidirectional(&mut pod, &mut server).await,
                        Err(error) => Err(error),
                    },
                };
            });
        }
    });
    place
}
