//! The daemon, its listener and its link. A daemon that runs is asked; only where none does, or where it
//! was turned away, the doctor tries for itself.

use std::net::TcpListener;

use super::{
    challenge::{Answer, Challenge},
    finding::Findings,
};
use crate::{
    app::login,
    cli::healthcheck::{READINESS, get},
    config::Config,
    model::{listen::Listen, secret::Secret},
    xmpp::{
        loss::Loss,
        trial::{log_in, reach},
    },
};

const DAEMON: &str = "daemon";
const LISTENER: &str = "http.listen";
const LINK: &str = "link";

/// What the running daemon says of itself.
#[derive(serde::Deserialize)]
pub struct Readiness {
    ready: bool,
    link: String,
    store: String,
    clock: String,
}

/// None when no daemon runs.
pub fn look(config: &Config, findings: &mut Findings) -> Option<Readiness> {
    let admin = &config.admin.listen;
    let (_, body) = match get(admin, READINESS) {
        Ok(answer) => answer,
        Err(error) => {
            let text = format!(
                "it does not run, or not with this configuration: nobody answers at admin.listen = \
                 {admin} ({error}). Start it, as with `systemctl start unified-push`"
            );
            findings.warning(DAEMON, text);
            return None;
        }
    };
    let Ok(readiness) = serde_json::from_str::<Readiness>(&body) else {
        let text = format!(
            "what answers at admin.listen = {admin} is another program. Stop that one, or set \
             `admin.listen` to another port"
        );
        findings.wrong(DAEMON, text);
        return None;
    };
    let Readiness {
        ready,
        store,
        clock,
        ..
    } = &readiness;
    if store != "ok" {
        let text = "its store fails; its log says why. Check the disk or the database";
        findings.wrong(DAEMON, text);
    } else if clock != "ok" {
        let text = "it waits for the system's clock to be set; see the line about the clock";
        findings.wrong(DAEMON, text);
    } else if !ready {
        findings.warning(DAEMON, "it is just stopping");
    } else {
        findings.ok(DAEMON, "it runs");
    }
    Some(readiness)
}

/// Where the proxy is to find the daemon.
pub fn listener(config: &Config, runs: bool, secret: Option<&Secret>, findings: &mut Findings) {
    let listen = &config.http.listen;
    if !runs {
        if let Listen::Tcp(address) = listen
            && let Err(error) = TcpListener::bind(address)
        {
            let text = format!(
                "cannot listen on {listen}: {error}. If no socket unit of systemd's holds it for the \
                 daemon, stop the program that does (`ss --listening --tcp --processes` names it), or \
                 set `http.listen`"
            );
            findings.warning(LISTENER, text);
        }
        return;
    }
    let challenge = Challenge::new(config, secret);
    match get(listen, &challenge.path).map(|(_, body)| challenge.judge(&body)) {
        Ok(Answer::Ours | Answer::Unproven) => {
            findings.ok(LISTENER, format!("the daemon answers at {listen}"));
        }
        Ok(Answer::Another) => {
            let text = format!(
                "the daemon at {listen} has another secret than the configuration. Reload it \
                 (`systemctl reload unified-push`) if the secret was changed; else another daemon runs"
            );
            findings.wrong(LISTENER, text);
        }
        Ok(Answer::Foreign) => {
            let text = format!(
                "what answers at {listen} is another program. Restart the daemon if `http.listen` was \
                 changed, or set it to a free port"
            );
            findings.wrong(LISTENER, text);
        }
        Err(error) => {
            let text = format!(
                "the daemon runs, but nobody answers at {listen} ({error}). Restart it if `http.listen` \
                 was changed"
            );
            findings.wrong(LISTENER, text);
        }
    }
}

/// `shared`: other daemons use the same store, and one of them may have the link.
pub async fn link(
    config: &Config,
    daemon: Option<&Readiness>,
    shared: bool,
    findings: &mut Findings,
) {
    let domain = &config.component.domain;
    let tried = match daemon.map(|daemon| &*daemon.link) {
        Some("up") => {
            findings.ok(LINK, format!("the daemon is logged in as {domain}"));
            return;
        }
        Some("connecting") => {
            let text = "the daemon is just connecting; ask again in a few seconds";
            findings.unknown(LINK, text);
            return;
        }
        // Whoever holds the name must keep it.
        Some("conflict") => Err(Loss::StreamError {
            condition: "conflict".to_owned(),
            text: None,
        }),
        None if shared => {
            match reach(&login(config)).await {
                Ok(server) => {
                    let text = format!(
                        "the server at {server} can be reached. The log-in was not tried, because another \
                         daemon has this store and may be logged in"
                    );
                    findings.ok(LINK, text);
                }
                Err(loss) => findings.wrong(LINK, loss.to_string()),
            }
            return;
        }
        Some(_) | None => log_in(domain, &login(config)).await,
    };
    match (tried, daemon) {
        (Ok(server), None) => {
            findings.ok(LINK, format!("the server at {server} accepts {domain}"));
        }
        (Ok(server), Some(daemon)) => {
            let text = format!(
                "the daemon's last state is {}, but the server at {server} accepts {domain} now. If the \
                 configuration was changed, have the daemon read it (`systemctl reload unified-push`)",
                daemon.link
            );
            findings.warning(LINK, text);
        }
        (Err(loss), _) => findings.wrong(LINK, loss.to_string()),
    }
}
