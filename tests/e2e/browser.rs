//! A headless Chromium.

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Stdio};

use fantoccini::{Client, ClientBuilder, Locator};
use serde_json::{Value, json};

use super::http;
use super::installation::{program, until};
use super::processes;

pub struct Browser {
    pub page: Client,
    folder: PathBuf,
    driver: Child,
    control: http::Client,
}

impl Browser {
    pub async fn open(name: &str) -> Self {
        let folder = processes::folder(&format!("chromium-{name}"));
        let port = processes::free_port();
        let mut command = program("chromedriver");
        command.arg(format!("--port={port}")).env("HOME", &folder).env("TMPDIR", &folder).current_dir(&folder);
        let driver = command.process_group(0).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let driver = driver.expect("chromedriver starts: apt install chromium-driver");
        let address = format!("http://127.0.0.1:{port}");
        let control = http::Client::new(&address);
        until("chromedriver", async || control.try_send("GET", "/status", None, "").await).await;
        let profile = format!("--user-data-dir={}/profile", folder.display());
        let mut arguments = vec![
            "--headless=new",
            "--disable-gpu",
            "--disable-quic",
            "--disable-dev-shm-usage",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--no-first-run",
            "--window-size=1200,1040",
            &profile,
        ];
        if nix::unistd::geteuid().is_root() {
            arguments.push("--no-sandbox");
        }
        let wanted = json!({
            "goog:chromeOptions": { "args": arguments },
            "goog:loggingPrefs": { "browser": "ALL" },
        });
        let wanted = wanted.as_object().expect("an object").clone();
        let page = ClientBuilder::new(hyper_util::client::legacy::connect::HttpConnector::new())
            .capabilities(wanted)
            .connect(&address)
            .await
            .expect("Chromium starts");
        Self { page, folder, driver, control }
    }

    pub async fn goto(&self, url: &str) {
        self.page.goto(url).await.expect("the page loads");
    }

    /// Waits until something that matches is shown, and tells its text.
    pub async fn shown(&self, selector: &str) -> String {
        until(&format!("{selector} to be shown"), async || {
            let element = self.page.find(Locator::Css(selector)).await.ok()?;
            if element.is_displayed().await.ok()? { element.text().await.ok() } else { None }
        })
        .await
    }

    pub async fn click(&self, selector: &str) {
        self.shown(selector).await;
        let element = self.page.find(Locator::Css(selector)).await.expect("it is there");
        element.click().await.unwrap_or_else(|error| panic!("{selector} cannot be clicked: {error}"));
    }

    pub async fn run(&self, script: &str) -> Value {
        self.page.execute(script, vec![]).await.expect("the script runs")
    }

    /// Waits until the script gives something true.
    pub async fn until(&self, what: &str, script: &str) -> Value {
        until(what, async || {
            let value = self.page.execute(script, vec![]).await.ok()?;
            let empty = value.is_null() || value == false || value == 0 || value == "" || value == json!([]);
            (!empty).then_some(value)
        })
        .await
    }

    pub async fn tab(&self) {
        let tab = self.page.new_window(true).await.expect("a new tab");
        self.page.switch_to_window(tab.handle).await.expect("the new tab");
    }

    /// What the page's requests to the API carry; it is kept from the clusters' pages.
    pub async fn cookie(&self, address: &str) -> String {
        self.goto(&format!("{address}/api/session")).await;
        let cookies = self.page.get_all_cookies().await.expect("cookies");
        let pairs: Vec<_> = cookies.iter().map(|cookie| format!("{}={}", cookie.name(), cookie.value())).collect();
        pairs.join("; ")
    }

    /// Errors that Chromium has told of since it was last asked, like requests that failed.
    pub async fn complaints(&self) -> Vec<String> {
        let session = self.page.session_id().await.expect("a session").expect("its id");
        let path = format!("/session/{session}/se/log");
        let answer = self.control.send("POST", &path, None, r#"{"type":"browser"}"#).await.json();
        let entries = answer["value"].as_array().expect("a list").iter();
        let severe = entries.filter(|entry| entry["level"] == "SEVERE");
        severe.map(|entry| entry["message"].to_string()).filter(|text| !text.contains("favicon")).collect()
    }

    pub async fn picture(&self, name: &str) {
        let png = self.page.screenshot().await.expect("a screenshot");
        std::fs::write(processes::left_behind().join(format!("{name}.png")), png).expect("it can be kept");
    }

    pub async fn close(self) {
        self.page.clone().close().await.expect("Chromium ends");
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.driver.kill();
        let _ = self.driver.wait();
        processes::kill_all(&self.folder);
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
