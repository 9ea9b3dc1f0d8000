//! What systemd is told, and the sockets that it hands over.

use std::{
    net::TcpListener,
    os::{fd::OwnedFd, unix::net::UnixListener},
    process::{Command, Stdio},
};

use rustix::process::Signal;
use testbed::{
    Bed, Daemon, MovedClock, PATIENCE,
    bed::push,
    clock, free_port,
    http::{get, try_get},
    program,
};
use tokio::{net::UnixDatagram, time::timeout};

use crate::patience;

/// The manager's end of `$NOTIFY_SOCKET`.
struct Manager(UnixDatagram);

impl Manager {
    fn listen(bed: &Bed, command: &mut Command) -> Self {
        let path = bed.path("notify.sock");
        command.env("NOTIFY_SOCKET", &path);
        Self(UnixDatagram::bind(path).unwrap())
    }

    /// The next word, but for those about a start that takes long on a busy machine.
    async fn told(&self) -> String {
        loop {
            let told = self.heard().await;
            if !told.starts_with("EXTEND_TIMEOUT_USEC=") {
                return told;
            }
        }
    }

    async fn heard(&self) -> String {
        let mut message = [0; 256];
        let length = timeout(PATIENCE, self.0.recv(&mut message)).await;
        let length = length.expect("a notification").unwrap();
        String::from_utf8_lossy(&message[..length])
            .trim()
            .to_owned()
    }
}

#[tokio::test]
async fn it_hears_of_readiness_watchdog_and_stop() {
    let mut bed = Bed::new().await;
    // Being ready does not depend on the link.
    bed.value("component.port", free_port());
    let mut command = bed.command(&["serve"]);
    let manager = Manager::listen(&bed, &mut command);
    command.env("WATCHDOG_USEC", "100000");
    let daemon = bed.spawn(command);
    assert_eq!(manager.told().await, "READY=1");
    assert_eq!(try_get(&bed.url("/")).await.unwrap().status, 200);
    assert_eq!(get(&daemon.admin("/readyz")).await.status, 200);
    for _ in 0..5 {
        assert_eq!(manager.told().await, "WATCHDOG=1");
    }

    // As Type=notify-reload wants it: when it began, and its end.
    let other = async || loop {
        let told = manager.told().await;
        if told != "WATCHDOG=1" {
            return told;
        }
    };
    daemon.signal(Signal::HUP);
    let begun = other().await;
    let since = begun.strip_prefix("RELOADING=1\nMONOTONIC_USEC=");
    assert!(
        since.is_some_and(|since| since.parse::<u64>().is_ok()),
        "{begun}"
    );
    assert_eq!(other().await, "READY=1");

    daemon.signal(Signal::TERM);
    assert_eq!(other().await, "STOPPING=1");
    assert_eq!(daemon.exit().await, Some(0));
}

#[tokio::test]
async fn it_hears_that_the_clock_is_waited_for() {
    if let Some(missing) = clock::missing() {
        return missing.leave_out();
    }
    let bed = Bed::new().await;
    let clock = MovedClock::new(&bed.path(""));
    clock.set_offset(-100 * 365 * 86_400);
    let mut command = bed.command(&["serve"]);
    clock.attach(&mut command);
    let manager = Manager::listen(&bed, &mut command);
    let daemon = bed.spawn(command);
    let status = manager.told().await;
    assert!(status.starts_with("STATUS=Waiting"), "{status}");
    assert!(status.ends_with("1970-01-01T00:00:00Z"), "{status}");
    // The start is over, lest systemd end it.
    assert_eq!(manager.told().await, "READY=1");
    clock.set_offset(0);
    assert_eq!(manager.told().await, "STATUS=");
    daemon.stop().await;
}

#[tokio::test]
async fn it_hears_that_a_start_takes_long() {
    let bed = Bed::new().await;
    bed.start().await.stop().await;
    let other = patience::holding(&bed.database());
    let mut command = bed.command(&["serve"]);
    let manager = Manager::listen(&bed, &mut command);
    let daemon = bed.spawn(command);
    // Before its patience ends, of a minute and a half by default.
    assert_eq!(manager.heard().await, "EXTEND_TIMEOUT_USEC=60000000");
    daemon.logged("still starting: at work on the store").await;
    other.execute_batch("COMMIT").unwrap();
    assert_eq!(manager.told().await, "READY=1");
    daemon.stop().await;
}

#[tokio::test]
async fn it_hears_nothing_of_a_start_that_fails() {
    let mut bed = Bed::new().await;
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    bed.text("admin.listen", &taken.local_addr().unwrap().to_string());
    let mut command = bed.command(&["serve"]);
    let manager = Manager::listen(&bed, &mut command);
    bed.run_with(command, b"").await.with(1);
    assert!(manager.0.try_recv(&mut [0; 256]).is_err());
}

#[tokio::test]
async fn without_a_manager_nothing_is_said() {
    let bed = Bed::new().await;
    let mut command = bed.command(&["serve"]);
    command.env("NOTIFY_SOCKET", bed.path("nobody.sock"));
    let daemon = bed.start_with(command).await;
    assert!(daemon.log().contains("cannot notify systemd"));
    daemon.stop().await;
}

/// Starts the daemon as systemd does, with these sockets from descriptor 3 on.
fn activated(bed: &Bed, names: Option<&str>, first: OwnedFd, second: Option<OwnedFd>) -> Daemon {
    let count = 1 + usize::from(second.is_some());
    let script = r#"exec 3<&0 4<&1 </dev/null >&2; LISTEN_PID=$$ exec "$@""#;
    let mut command = Command::new("sh");
    command.env_clear().args(["-c", script, "sh"]);
    command.arg(program()).args(["serve", "--config"]);
    command.arg(bed.config.file());
    command.env("LISTEN_FDS", count.to_string());
    command.envs(names.map(|names| ("LISTEN_FDNAMES", names)));
    command.stdin(Stdio::from(first));
    command.stdout(second.map_or_else(Stdio::null, Stdio::from));
    bed.spawn(command)
}

#[tokio::test]
async fn pushes_are_taken_at_the_socket_that_it_hands_over() {
    let mut bed = Bed::new().await;
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", socket.local_addr().unwrap());
    let configured = bed.url("/");
    bed.text("http.public_url", &url);
    // Nobody has said what it is for.
    let daemon = activated(&bed, None, socket.into(), None);
    daemon.link("up").await;
    assert_eq!(push(&bed.register("app").await).await, 201);
    assert!(try_get(&configured).await.is_none(), "in place of it");
    daemon.stop().await;
}

#[tokio::test]
async fn a_socket_named_admin_is_the_admin_listener() {
    for names in ["http:admin", "admin:http", "unified-push.socket:admin"] {
        let mut bed = Bed::new().await;
        let [http, admin] = [0, 0].map(|port| TcpListener::bind(("127.0.0.1", port)).unwrap());
        let address = |socket: &TcpListener| socket.local_addr().unwrap().to_string();
        bed.text("http.public_url", &format!("http://{}", address(&http)));
        bed.text("admin.listen", &address(&admin));
        let (first, second) = match names {
            "admin:http" => (admin, http),
            _ => (http, admin),
        };
        let daemon = activated(&bed, Some(names), first.into(), Some(second.into()));
        daemon.link("up").await;
        assert_eq!(push(&bed.register("app").await).await, 201);
        daemon.stop().await;
    }
}

#[tokio::test]
async fn a_unix_socket_does_as_well() {
    let bed = Bed::new().await;
    let path = bed.path("activated.sock");
    let socket = UnixListener::bind(&path).unwrap();
    let daemon = activated(&bed, None, socket.into(), None);
    daemon.link("up").await;
    let log = daemon.log();
    assert!(log.contains(&format!("unix:{}", path.display())), "{log}");
    daemon.stop().await;
}

#[tokio::test]
async fn what_is_no_listening_socket_is_refused() {
    let bed = Bed::new().await;
    let file = std::fs::File::open(bed.config.file()).unwrap();
    let daemon = activated(&bed, None, file.into(), None);
    assert_eq!(daemon.exit().await, Some(1));
    assert!(
        daemon.log().contains("a socket that systemd passed"),
        "{}",
        daemon.log()
    );
}

#[tokio::test]
async fn two_sockets_for_one_listener_are_refused() {
    let bed = Bed::new().await;
    for (names, option) in [
        (None, "http.listen"),
        (Some("http:https"), "http.listen"),
        (Some("admin:admin"), "admin.listen"),
    ] {
        let [first, second] = [0, 0].map(|port| TcpListener::bind(("127.0.0.1", port)).unwrap());
        let daemon = activated(&bed, names, first.into(), Some(second.into()));
        assert_eq!(daemon.exit().await, Some(1));
        let log = daemon.log();
        assert!(log.contains(&format!("two sockets for {option}")), "{log}");
    }
}
