//! The documented backup, taken while the daemon runs.

use std::{fs, process::Command, rc::Rc};

use testbed::{Pair, Phone, http::push, tests};

use crate::{Test, bed::Bed};

const SQLITE: &str = "/usr/bin/sqlite3";

pub fn on_prosody() -> Vec<Test> {
    let mut tests = tests![a_backup_of_a_running_daemon_keeps_its_endpoints];
    for test in &mut tests {
        test.needs = &[SQLITE];
    }
    tests
}

async fn a_backup_of_a_running_daemon_keeps_its_endpoints(bed: Rc<Bed>) {
    let server = bed.server().await;
    let [present, restored] = ["present", "restored"].map(|name| bed.dir().join(name));
    let settings = bed.config(&server).text("backend", "storage");
    let settings = settings.text("state_dir", &present.display().to_string());
    let daemon = bed.start_linked(&settings).await;
    let mut phone = Phone::log_in(&server, &bed.user("romeo")).await;
    let pair = Pair::of(&phone.jid, "app");
    let registered = phone.register(daemon.service(), &pair).await.unwrap();

    fs::create_dir(&restored).unwrap();
    let copy = restored.join("unified-push.db");
    let mut sqlite = Command::new(SQLITE);
    sqlite.arg(present.join("unified-push.db"));
    let output = sqlite
        .arg(format!(".backup {}", copy.display()))
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    daemon.stop().await;

    let settings = settings.text("state_dir", &restored.display().to_string());
    let _daemon = bed.start_linked(&settings).await;
    assert_eq!(push(&registered.endpoint, b"hello").await.status, 201);
    assert_eq!(phone.push().await.payload, b"hello");
}
