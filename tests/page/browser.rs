//! Chromium, driven by its own driver (W3C WebDriver) and its developer tools (CDP).

use std::{fs, process::Command};

use base64::{Engine, engine::general_purpose::STANDARD};
use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;
use testbed::{PATIENCE, Process, eventually, free_port, http};

pub const PROGRAMS: &[&str] = &["/usr/bin/chromium", "/usr/bin/chromedriver"];

/// A name that leads to this machine, and to which browsers do not give what they give to loopback.
pub const FAR: &str = "push.example.net";

/// How WebDriver writes an element down.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

pub const TAB: &str = "\u{e004}";
pub const ENTER: &str = "\u{e007}";

pub struct Browser {
    /// Of the session.
    url: String,
    driver: Process,
    _dir: TempDir,
}

/// A node of the accessibility tree, as a screen reader gets it.
#[derive(Debug)]
pub struct Node {
    pub role: String,
    pub name: String,
}

impl Browser {
    pub async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let port = free_port();
        let mut command = Command::new("/usr/bin/chromedriver");
        command.arg(format!("--port={port}"));
        command.env("HOME", dir.path()).env("TMPDIR", dir.path());
        let driver = Process::start(&mut command, &dir.path().join("log")).unwrap();
        let driver_url = format!("http://127.0.0.1:{port}");
        eventually("the driver is ready", PATIENCE, async || {
            let answer = http::try_get(&format!("{driver_url}/status")).await?;
            (answer.status == 200).then_some(())
        })
        .await;
        let resolve = format!("MAP {FAR} 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1");
        let options = json!({
            "binary": "/usr/bin/chromium",
            "args": [
                "--headless=new",
                // For root, and for containers, neither of which has one.
                "--no-sandbox",
                "--disable-dev-shm-usage",
                "--disable-gpu",
                "--no-first-run",
                // It asks nobody on the network for anything.
                "--disable-background-networking",
                "--disable-component-update",
                "--no-proxy-server",
                format!("--host-resolver-rules={resolve}"),
                format!("--user-data-dir={}", dir.path().join("profile").display()),
            ],
        });
        let wanted = json!({
            "browserName": "chrome",
            "goog:chromeOptions": options,
            "goog:loggingPrefs": {"browser": "ALL"},
        });
        let session = json!({"capabilities": {"alwaysMatch": wanted}});
        let session = ask(&format!("{driver_url}/session"), session).await;
        let id = session["sessionId"].as_str().expect("a session");
        Self {
            url: format!("{driver_url}/session/{id}"),
            driver,
            _dir: dir,
        }
    }

    /// Ends the browser, which outlives a driver that is killed.
    pub async fn close(mut self) {
        http::request("DELETE", &self.url, &[], b"").await;
        self.driver.signal(Signal::TERM);
        self.driver.exit(PATIENCE).await;
    }

    pub async fn open(&self, url: &str) {
        self.post("/url", json!({ "url": url })).await;
    }

    /// The value of a function's body; a promise is awaited.
    pub async fn script(&self, body: &str) -> Value {
        let script = json!({"script": body, "args": []});
        self.post("/execute/sync", script).await
    }

    /// A command of the developer tools.
    pub async fn cdp(&self, command: &str, parameters: Value) -> Value {
        let command = json!({"cmd": command, "params": parameters});
        self.post("/goog/cdp/execute", command).await
    }

    pub async fn click(&self, selector: &str) {
        let element = self.find(selector).await;
        self.post(&format!("/element/{element}/click"), json!({}))
            .await;
    }

    /// Pastes in place of what is there.
    pub async fn fill(&self, selector: &str, text: &str) {
        let empty = format!(
            "const field = document.querySelector({selector:?}); field.focus(); field.select(); \
             document.execCommand('delete');"
        );
        self.script(&empty).await;
        self.cdp("Input.insertText", json!({ "text": text })).await;
    }

    /// Presses a key, wherever the focus is.
    pub async fn press(&self, key: &str) {
        let presses = json!([
            {"type": "keyDown", "value": key},
            {"type": "keyUp", "value": key},
        ]);
        let keyboard = json!({"type": "key", "id": "keyboard", "actions": presses});
        self.post("/actions", json!({ "actions": [keyboard] }))
            .await;
    }

    /// Shown text.
    pub async fn text(&self, selector: &str) -> String {
        let element = self.find(selector).await;
        let url = format!("{}/element/{element}/text", self.url);
        let answer = http::get(&url).await;
        let answer: Value = serde_json::from_slice(&answer.body).unwrap();
        answer["value"].as_str().expect("a text").to_owned()
    }

    pub async fn width(&self, width: u32) {
        let size = json!({"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": false});
        self.cdp("Emulation.setDeviceMetricsOverride", size).await;
    }

    /// `light` or `dark`.
    pub async fn scheme(&self, scheme: &str) {
        let feature = json!({"name": "prefers-color-scheme", "value": scheme});
        self.cdp("Emulation.setEmulatedMedia", json!({"features": [feature]}))
            .await;
    }

    /// What the browser's user prefers.
    pub async fn languages(&self, languages: &str) {
        let agent = json!({"userAgent": "a test", "acceptLanguage": languages});
        self.cdp("Emulation.setUserAgentOverride", agent).await;
    }

    /// Whatever a screen reader does not pass over.
    pub async fn accessibility(&self) -> Vec<Node> {
        let tree = self.cdp("Accessibility.getFullAXTree", json!({})).await;
        let nodes = tree["nodes"].as_array().expect("a tree").iter();
        let nodes = nodes.filter(|node| node["ignored"] == false);
        let text = |value: &Value| value["value"].as_str().unwrap_or_default().to_owned();
        nodes
            .map(|node| Node {
                role: text(&node["role"]),
                name: text(&node["name"]),
            })
            .collect()
    }

    /// What the page complained about since it was last asked: scripts that fail, and what the
    /// policy forbids. Statuses that are no success are none.
    pub async fn complaints(&self) -> Vec<String> {
        let entries = self.post("/se/log", json!({"type": "browser"})).await;
        let entries = entries.as_array().expect("a list").iter();
        entries
            .filter(|entry| entry["source"] != "network")
            .map(Value::to_string)
            .collect()
    }

    /// Keeps a picture of the whole page for who wants to see it.
    pub async fn picture(&self, name: &str) {
        let Some(dir) = std::env::var_os("UNIFIED_PUSH_TEST_PICTURES") else {
            return;
        };
        let whole = json!({"format": "png", "captureBeyondViewport": true});
        let picture = self.cdp("Page.captureScreenshot", whole).await;
        let picture = STANDARD.decode(picture["data"].as_str().unwrap()).unwrap();
        fs::create_dir_all(&dir).unwrap();
        let path = std::path::Path::new(&dir).join(format!("{name}.png"));
        fs::write(path, picture).unwrap();
    }

    async fn find(&self, selector: &str) -> String {
        let how = json!({"using": "css selector", "value": selector});
        let found = self.post("/element", how).await;
        found[ELEMENT].as_str().expect("an element").to_owned()
    }

    async fn post(&self, path: &str, body: Value) -> Value {
        ask(&format!("{}{path}", self.url), body).await
    }
}

async fn ask(url: &str, body: Value) -> Value {
    let headers = [("Content-Type", "application/json")];
    let answer = http::post(url, &headers, body.to_string().as_bytes()).await;
    let json: Value = serde_json::from_slice(&answer.body).expect("JSON");
    assert_eq!(answer.status, 200, "{url}: {json}");
    json["value"].clone()
}
