//! Senders that push without a pause while the daemon is stopped, killed and started: none is ever told
//! that its subscription has ended. And no push is sent elsewhere in a way that makes it a GET.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
};

use rustix::process::Signal;
use testbed::{Daemon, PATIENCE, bed::DOMAIN, eventually, tests};

use crate::{
    Test,
    front::{Answer, Front},
    program::Program,
};

/// Senders follow these, but with a GET, and the push is lost.
const BECOMES_A_GET: [u16; 3] = [301, 302, 303];

const VERSIONS: [&str; 2] = ["--http1.1", "--http2"];

pub fn all() -> Vec<Test> {
    tests![
        no_restart_ends_a_subscription,
        no_push_becomes_a_get,
        below_a_path_no_push_becomes_a_get,
    ]
}

/// How often each status came; None is a connection that was closed without an answer.
type Told = RefCell<BTreeMap<Option<u16>, u32>>;

async fn no_restart_ends_a_subscription(program: Program) {
    let mut front = Front::new(program).await;
    front.bed.text("limits.endpoint_rate", "1000/s");
    let daemon = front.bed.start().await;
    front.open().await;
    let endpoint = front.bed.register("app").await;
    let over = Cell::new(false);
    let told = [Told::default(), Told::default()];
    let [old, new] = [0, 1].map(|version| {
        let option = VERSIONS[version];
        push_until(&front, &endpoint, option, &over, &told[version])
    });
    tokio::join!(old, new, async {
        restart(daemon, &told).await;
        over.set(true);
    });
    for (version, told) in VERSIONS.into_iter().zip(told) {
        let told = told.into_inner();
        println!("{program} {version}: {told:?}");
        let harmless = |status: &Option<u16>| match status {
            // Apache, of a push that the daemon had when it was killed.
            Some(500) => program == Program::Apache,
            Some(status) => [201, 502, 503, 504].contains(status),
            None => true,
        };
        assert!(told.keys().all(harmless), "{version}: {told:?}");
    }
}

async fn push_until(front: &Front, endpoint: &str, option: &str, over: &Cell<bool>, told: &Told) {
    while !over.get() {
        let answer = front.post_with(&[option], endpoint, b"news").await;
        let status = answer.map(|answer| answer.status);
        *told.borrow_mut().entry(status).or_default() += 1;
    }
}

/// Stops, kills and starts it, each time until all senders have noticed.
async fn restart(daemon: Daemon, told: &[Told; 2]) {
    for signal in [Signal::TERM, Signal::KILL, Signal::TERM, Signal::KILL] {
        all_see(told, "a push is taken", |status| status == 201).await;
        daemon.signal(signal);
        daemon.exit().await;
        let passing = |status| (502..=504).contains(&status);
        all_see(told, "to try again", passing).await;
        daemon.start().await;
    }
    all_see(told, "a push is taken", |status| status == 201).await;
    daemon.stop().await;
}

/// Awaits that each kind of sender is told this, once more than now.
async fn all_see(told: &[Told; 2], what: &str, such: impl Fn(u16) -> bool) {
    let count = |told: &Told| {
        let told = told.borrow();
        let matching = told.iter().filter(|(status, _)| status.is_some_and(&such));
        matching.map(|(_, count)| count).sum::<u32>()
    };
    for told in told {
        let before = count(told);
        let seen = async || (count(told) > before).then_some(());
        eventually(what, PATIENCE, seen).await;
    }
}

async fn no_push_becomes_a_get(program: Program) {
    let mut front = Front::new(program).await;
    let _daemon = front.bed.start().await;
    front.open().await;
    let endpoint = front.bed.register("app").await;
    let path = endpoint.strip_prefix(&format!("https://{DOMAIN}")).unwrap();
    stays_a_push(
        &front,
        &[path, &format!("{path}/"), &format!("/{path}"), "/push"],
    )
    .await;

    // Without TLS, wherever it listens.
    let ports = front.ports();
    assert!(ports.contains(&front.site.port), "{ports:?}");
    let mut redirects = 0;
    for port in ports {
        let plain = format!("http://{DOMAIN}{path}");
        let connect = format!("::127.0.0.1:{port}");
        let arguments = [
            "--connect-to",
            &connect,
            "--data",
            "x",
            "--header",
            "TTL: 60",
        ];
        let answer = front.elsewhere(&[&arguments[..], &[&plain]].concat()).await;
        if let Some(answer) = answer.filter(|answer| (300..400).contains(&answer.status)) {
            assert!([307, 308].contains(&answer.status), "{port}: {answer:?}");
            let to = answer.header("location").unwrap();
            assert!(to.starts_with("https://") && to.ends_with(path), "{to}");
            redirects += 1;
        }
    }
    // Caddy has one by itself, so that this test sees what it looks for.
    assert_eq!(redirects, u32::from(program == Program::Caddy));
}

async fn below_a_path_no_push_becomes_a_get(program: Program) {
    let mut front = Front::new(program).await;
    front.site.more.push(crate::upstreams::below_up(program));
    let url = format!("https://{DOMAIN}/up");
    front.bed.text("http.public_url", &url);
    let _daemon = front.bed.start().await;
    // Not all of them have something at the root.
    front.launch();
    let endpoint = front.bed.register("app").await;
    let pushed = async || {
        let answer = front.post(&endpoint, b"x").await?;
        (answer.status == 201).then_some(())
    };
    eventually("a push is taken", PATIENCE, pushed).await;
    stays_a_push(&front, &["/up", "/up/", "/up/push", "//up/push/token"]).await;
}

async fn stays_a_push(front: &Front, paths: &[&str]) {
    for path in paths {
        for version in VERSIONS {
            let url = format!("https://{DOMAIN}{path}");
            let answer = front
                .post_with(&[version, "--path-as-is"], &url, b"x")
                .await;
            let redirected = |answer: &Answer| BECOMES_A_GET.contains(&answer.status);
            assert!(
                !answer.as_ref().is_some_and(redirected),
                "{path}: {answer:?}"
            );
        }
    }
}
