//! The Grafana dashboard's own expressions, asked of a real Prometheus after some traffic. With
//! `UNIFIED_PUSH_TEST_PICTURES=DIRECTORY` the traffic takes two minutes, and what Prometheus answers is
//! drawn into `dashboard.svg` there. `docs/pictures/dashboard.svg` was made so.

mod draw;

use std::{env, fs, path::Path, process::Command, sync::Arc, time::Duration};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use testbed::{
    Bed, Behaviour, Daemon, Missing, PATIENCE, Pair, Process, bed::push, eventually, free_port,
    http::try_get,
};
use tokio::{
    task::spawn_blocking,
    time::{Instant, sleep},
};

use self::draw::{Panel, Series};

const PROMETHEUS: &str = "/usr/bin/prometheus";
const PICTURES: &str = "UNIFIED_PUSH_TEST_PICTURES";

const PHONE: &str = "juliet@example.org/phone";
const STRANGER: &str = "eve@example.net/x";
const APPLICATIONS: [&str; 3] = ["mail", "chat", "weather"];

/// What only an ill-behaved server shows.
const MAY_BE_EMPTY: &str = "Refused or ignored stanzas";

#[tokio::test]
async fn every_panel_of_the_dashboard_shows_what_happened() {
    if let Some(missing) = Missing::of(&[PROMETHEUS]) {
        return missing.leave_out();
    }
    let pictures = env::var_os(PICTURES);
    let seconds = if pictures.is_some() { 120 } else { 12 };
    let mut bed = Bed::new().await;
    bed.text("backend", "storage");
    let daemon = bed.start().await;
    let (_prometheus, url) = prometheus(&bed).await;
    // On a machine that is busy, Prometheus may have come too seldom to see all of it.
    let mut panels = Vec::new();
    for _ in 0..5 {
        traffic(&bed, &daemon, Duration::from_secs(seconds)).await;
        panels = ask_panels(&url, seconds as f64).await;
        if panels.iter().all(is_shown) {
            break;
        }
    }
    for panel in &panels {
        assert!(is_shown(panel), "{}", panel.title);
    }
    daemon.stop().await;
    if let Some(directory) = pictures {
        let picture = draw::picture(&panels, seconds as f64);
        fs::write(Path::new(&directory).join("dashboard.svg"), picture).unwrap();
    }
}

fn is_shown(panel: &Panel) -> bool {
    !panel.is_empty() || panel.title == MAY_BE_EMPTY
}

/// What each panel shows of the last seconds.
async fn ask_panels(url: &str, seconds: f64) -> Vec<Panel> {
    let now = &ask(url, "query?query=time()").await["data"]["result"][1];
    let now: f64 = now.as_str().unwrap().parse().unwrap();
    let start = now - seconds;
    let dashboard = fs::read_to_string("helm/files/dashboard.json").unwrap();
    let dashboard: Value = serde_json::from_str(&dashboard).unwrap();
    let mut panels = Vec::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        let mut series = Vec::new();
        for target in panel["targets"].as_array().unwrap() {
            let query = target["expr"].as_str().unwrap();
            let query = query
                .replace("$job", "unified-push")
                .replace("$__rate_interval", "10s");
            let query = utf8_percent_encode(&query, NON_ALPHANUMERIC);
            let path = format!("query_range?query={query}&start={start}&end={now}&step=1");
            let answer = ask(url, &path).await;
            assert_eq!(answer["status"], "success", "{answer}");
            let legend = target["legendFormat"].as_str().unwrap_or_default();
            let results = answer["data"]["result"].as_array().unwrap().iter();
            series.extend(results.map(|result| Series::of(result, legend, start)));
        }
        panels.push(Panel::of(panel, series));
    }
    panels
}

async fn prometheus(bed: &Bed) -> (Process, String) {
    let config = format!(
        "global: {{scrape_interval: 1s}}\nscrape_configs:\n- job_name: unified-push\n  \
         static_configs: [{{targets: [\"{}\"]}}]\n",
        bed.config.get("admin.listen")
    );
    let (file, port) = (bed.path("prometheus.yml"), free_port());
    fs::write(&file, config).unwrap();
    let mut command = Command::new(PROMETHEUS);
    command.env_clear().arg("--log.level=warn");
    command.arg(format!("--config.file={}", file.display()));
    command.arg(format!(
        "--storage.tsdb.path={}",
        bed.path("tsdb").display()
    ));
    command.arg(format!("--web.listen-address=127.0.0.1:{port}"));
    let process = Process::start(&mut command, &bed.path("prometheus.log")).unwrap();
    let url = format!("http://127.0.0.1:{port}");
    eventually("Prometheus is ready", PATIENCE, async || {
        let answer = try_get(&format!("{url}/-/ready")).await?;
        (answer.status == 200).then_some(())
    })
    .await;
    (process, url)
}

async fn ask(prometheus: &str, path: &str) -> Value {
    let url = format!("{prometheus}/api/v1/{path}");
    let asked = spawn_blocking(move || {
        let agent: ureq::Agent = ureq::Agent::config_builder().proxy(None).build().into();
        let mut answer = agent.get(&url).call().unwrap();
        // Long answers are chunked.
        answer.body_mut().read_to_string().unwrap()
    });
    serde_json::from_str(&asked.await.unwrap()).unwrap()
}

/// Pushes to a phone that is away for a while, and a link that is lost for a while.
async fn traffic(bed: &Bed, daemon: &Daemon, length: Duration) {
    let mut endpoints = Vec::new();
    for application in APPLICATIONS {
        endpoints.push(bed.register(application).await);
    }
    let mut stranger = bed.server.phone(STRANGER);
    let begun = Instant::now();
    let (mut away, mut down) = (false, false);
    for round in 0_usize.. {
        let part = begun.elapsed().as_secs_f64() / length.as_secs_f64();
        if part >= 1.0 {
            return;
        }
        if away != (0.25..0.5).contains(&part) {
            away = !away;
            let behaviour = match away {
                true => Behaviour::OFFLINE,
                false => Behaviour::Conversations,
            };
            bed.phone.behave(behaviour);
            bed.phone.announce();
        }
        if down != (0.65..0.75).contains(&part) {
            down = !down;
            match down {
                true => bed.server.stop(),
                false => {
                    // Everybody's session has ended with the server.
                    let known = APPLICATIONS.map(|it| Pair::of(PHONE, it)).to_vec();
                    bed.server.bind(PHONE, known, Arc::new(drop));
                    stranger = bed.server.phone(STRANGER);
                    bed.server.run();
                }
            }
        }
        let linked = !down && daemon.has_link().await;
        // More at some times than at others.
        let many = 1 + (4.0 * (1.0 + (part * 25.0).sin())) as usize;
        for number in 0..many {
            push(&endpoints[(round + number) % endpoints.len()]).await;
        }
        if round.is_multiple_of(8) {
            push(&format!("{}x", endpoints[0])).await;
        }
        if round.is_multiple_of(6) && linked && !away {
            bed.register("mail").await;
        }
        if round.is_multiple_of(15) && linked {
            let refused = stranger.register("app").await;
            assert!(refused.is_err());
        }
        sleep(Duration::from_millis(250)).await;
    }
}
