//! A library on one side, a phone on the other: what is sent arrives, and can be decrypted.

use testbed::{
    Account, Config, Daemon, Kind, Pair, Phone, Registered, Server, app::NS, directory, free_port,
    tests,
};

use crate::{
    Test,
    front::{DEFAULT, Front},
    library::{Keys, Library, Sender},
};

const USER: &str = "orchard";

pub fn all() -> Vec<Test> {
    tests![
        what_it_sends_reaches_the_phone_now_and_later,
        only_the_registered_key_may_send,
    ]
}

/// Everything but the library.
struct Desk {
    server: Server,
    daemon: Daemon,
    _front: Front,
    keys: Keys,
    _dir: tempfile::TempDir,
}

impl Desk {
    /// Endpoints begin with `https://localhost` and this port.
    async fn new(port: u16) -> Self {
        let dir = directory("senders");
        let server = Server::prepare(Kind::Prosody, 1);
        server.start().await;
        let account: Account = server.component();
        let url = match port {
            DEFAULT => "https://localhost".to_owned(),
            port => format!("https://localhost:{port}"),
        };
        let upstream = free_port();
        let config = Config::new(dir.path(), &account, server.layout.components)
            .text("http.public_url", &url)
            .text("http.listen", &format!("127.0.0.1:{upstream}"))
            // Two of the libraries ask for a TTL of 0 unless told otherwise.
            .text("delivery.min_ttl", "10min")
            .text("delivery.ack_timeout", "300ms");
        let daemon = Daemon::new(&config);
        daemon.start_linked().await;
        let front = Front::new(dir.path(), [port, free_port()], upstream).await;
        Self {
            server,
            daemon,
            _front: front,
            keys: Keys::new(dir.path()),
            _dir: dir,
        }
    }

    async fn send(&self, library: Library, sender: Sender, endpoint: &str, text: &str) -> String {
        let mut command = library.command(&self.keys, sender, endpoint, text);
        let output = tokio::task::spawn_blocking(move || command.output()).await;
        let output = output.unwrap().unwrap();
        let told = String::from_utf8_lossy(&output.stdout);
        assert!(!told.is_empty(), "{library}: {output:?}");
        told.trim().to_owned()
    }

    /// Registers an app whose endpoint takes only what this key has signed.
    async fn register_with_key(&self, phone: &mut Phone, pair: &Pair, key: &str) -> Registered {
        phone.remember(pair);
        let (application, instance) = (&pair.application, &pair.instance);
        let register = format!(
            "<register xmlns='{NS}' application='{application}' instance='{instance}' \
             vapid='{key}'/>"
        );
        let answer = phone
            .iq("set", Some(self.daemon.service()), &register)
            .await;
        Registered::of(&answer).unwrap()
    }

    /// Awaits a push and reads it as the app does.
    async fn reads(&self, phone: &mut Phone) -> String {
        let push = phone.push().await;
        self.keys.decrypt(&push.payload)
    }
}

async fn what_it_sends_reaches_the_phone_now_and_later(library: Library) {
    let desk = Desk::new(free_port()).await;
    let pair = Pair::of(USER, "the app");
    let mut phone = Phone::log_in(&desk.server, USER).await;
    let registered = phone.register(desk.daemon.service(), &pair).await.unwrap();
    let endpoint = &registered.endpoint;

    let told = desk
        .send(library, Sender::Registered, endpoint, "now")
        .await;
    assert_eq!(told, library.tells(201));
    assert_eq!(desk.reads(&mut phone).await, library.delivered("now"));

    phone.log_out().await;
    let told = desk
        .send(library, Sender::Registered, endpoint, "later")
        .await;
    assert_eq!(told, library.tells(201));
    desk.daemon
        .becomes("unified_push_pushes_total", "result=\"stored\"", 1.0)
        .await;
    let mut phone = Phone::log_in_again(&desk.server, USER, &pair).await;
    phone.announce(desk.daemon.service()).await;
    assert_eq!(desk.reads(&mut phone).await, library.delivered("later"));
    phone.log_out().await;
}

async fn only_the_registered_key_may_send(library: Library) {
    for port in [free_port(), DEFAULT] {
        let desk = Desk::new(port).await;
        let pair = Pair::of(USER, "the app");
        let mut phone = Phone::log_in(&desk.server, USER).await;
        let registered = desk
            .register_with_key(&mut phone, &pair, &desk.keys.public)
            .await;
        let endpoint = registered.endpoint;
        // Each library makes its `aud` of these in its own way.
        let mut forms = vec![
            endpoint.clone(),
            endpoint.replace("https://localhost", "https://LocalHost"),
        ];
        if port == DEFAULT {
            forms.push(endpoint.replace("https://localhost", "https://localhost:443"));
        }
        for (number, form) in forms.iter().enumerate() {
            let text = format!("form {number}");
            let told = desk.send(library, Sender::Registered, form, &text).await;
            assert_eq!(told, library.tells(201), "{form}");
            assert_eq!(desk.reads(&mut phone).await, library.delivered(&text));
        }
        let told = desk.send(library, Sender::Other, &endpoint, "forged").await;
        assert_eq!(told, library.tells(401));
        let told = desk
            .send(library, Sender::Registered, &endpoint, "last")
            .await;
        assert_eq!(told, library.tells(201));
        // Nothing came of the forged one.
        assert_eq!(desk.reads(&mut phone).await, library.delivered("last"));
        phone.log_out().await;
    }
}
