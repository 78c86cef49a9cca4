//! API, worker and proxy as processes of their own, which meet in one database only.

use std::collections::HashSet;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Child;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use super::http::Client;
use super::installation::{Installation, program, until};
use super::processes;
use super::student::Student;

#[tokio::test(flavor = "multi_thread")]
async fn three_processes_over_one_database_launch_through_the_proxy_as_the_writer() {
    // Its Postgres has room for another database.
    let mut installation = Installation::started("parts", &[]).await;
    let mut database = installation.database().await;
    sqlx::raw_sql("CREATE DATABASE parts").execute(&mut database).await.expect("another database");
    let url = slipway::up::database_url(&installation.data_dir).replacen("/postgres?", "/parts?", 1);
    installation.run(&["migrate", "--database-url", &url]);
    // None of them needs more than that role may.
    let url = format!("{url}&options=-c%20role%3Dslipway_writer");
    installation.run(&["migrate", "--database-url", &url]);

    let data_dir = installation.data_dir.join("parts").display().to_string();
    let key = "07".repeat(32);
    let start = |path: &str, options: &[&str]| {
        let mut command = program(path);
        command.args(["--data-dir", &data_dir, "--database-url", &url]).args(options).env("SLIPWAY_KEY", &key);
        command.env("RUST_LOG", "warn,slipway=info,slipway::spans=debug");
        command.stderr(std::fs::File::options().append(true).open(log()).expect("a log"));
        command.process_group(0).spawn().expect("it starts")
    };
    let places: Vec<String> = (0..3).map(|_| format!("127.0.0.1:{}", processes::free_port())).collect();
    let stack = installation.stack.display().to_string();
    let parts = [
        start(env!("CARGO_BIN_EXE_slipway-worker"), &["--stack", &stack]),
        start(env!("CARGO_BIN_EXE_slipway-api"), &["--listen", &places[0]]),
        start(
            env!("CARGO_BIN_EXE_slipway-proxy"),
            &["--listen", &places[1], "--admin-listen", &places[2], "--api", &places[0]],
        ),
    ];
    let client = Client::new(&format!("http://{}", places[1]));
    until("the API behind the proxy", async || {
        let answer = client.try_send("GET", "/api/session", None, "").await?;
        (answer.status == 200).then_some(())
    })
    .await;

    let student = Student::new(places[1].parse().expect("an address")).await;
    let id = student.launch(1).await;
    let mut kernel = student.kernel(&id).await;
    let computed = "from dask.distributed import Client; print(Client().submit(pow, 2, 5).result())";
    assert_eq!(kernel.run(computed).await, "32");
    let admin = Client::new(&format!("http://{}", places[2]));
    assert_eq!(admin.get("/api/routes").await.json().as_object().map(|routes| routes.len()), Some(3));
    until("one click to be told of by all three", async || {
        let steps = steps_of_the_launch_of(&id);
        let all = ["click", "append", "pass", "runtime", "ready", "routed", "first byte"];
        all.iter().all(|step| steps.contains(*step)).then_some(())
    })
    .await;
    drop(kernel);
    student.stop(&id).await;
    assert_eq!(admin.get("/api/routes").await.text, "{}");
    for part in parts {
        end(part).await;
    }
    drop(database);
    installation.stop().await;
}

fn log() -> PathBuf {
    processes::left_behind().join("parts.log")
}

/// What the three have logged under the correlation of this cluster's launch.
fn steps_of_the_launch_of(id: &str) -> HashSet<String> {
    let text = std::fs::read_to_string(log()).expect("their log");
    let lines: Vec<Value> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let all = |line: &Value, name: &str| -> Vec<String> {
        let spans = line["spans"].as_array().into_iter().flatten().chain([&line["span"], &line["fields"]]);
        spans.filter_map(|span| span[name].as_str().map(str::to_owned)).collect()
    };
    let launch = lines.iter().find(|line| {
        all(line, "events").iter().any(|events| events.contains("BecameReady"))
            && all(line, "cluster").iter().any(|cluster| cluster == id)
    });
    let Some(correlation) = launch.and_then(|line| all(line, "correlation").pop()) else { return HashSet::new() };
    let mine = lines.iter().filter(|line| all(line, "correlation").contains(&correlation));
    mine.flat_map(|line| [all(line, "name"), all(line, "message")].concat()).collect()
}

async fn end(mut part: Child) {
    kill(Pid::from_raw(part.id().cast_signed()), Signal::SIGTERM).expect("it runs");
    let status = until("a part to end", async || part.try_wait().expect("it can be waited for")).await;
    assert!(status.success(), "{status}");
}
