//! `unified-push demo`: the whole thing on loopback, with a simulated XMPP server and phone.

use std::{
    fs::{self, DirBuilder},
    net::Ipv4Addr,
    os::unix::fs::DirBuilderExt,
    path::PathBuf,
};

use jid::{BareJid, Jid};

use super::{
    error::{CliError, Exit},
    send,
};
use crate::{
    app::{App, Failed, Sockets, StartError},
    config,
    demo::{Phone, Server},
    http::Listener,
    model::{
        listen::Listen,
        random::{Random, SystemRandom},
        secret::Secret,
    },
    runtime::lifecycle,
    token::gen_secret,
};

const DOMAIN: &str = "up.demo.example";
const PHONE: &str = "you@demo.example/phone";

/// Sends a first push and shows each that arrives, until it is stopped.
pub async fn run() -> Result<Exit, CliError> {
    let shutdown = lifecycle::shutdown_signal().map_err(StartError::Signals)?;
    let state = StateDir::make(&SystemRandom)?;
    let secret = gen_secret(&SystemRandom);
    let domain = BareJid::new(DOMAIN).expect("the constant is a JID");
    let server = Server::start(domain, Secret::new(secret.clone()))
        .await
        .map_err(CliError::DemoServer)?;
    let mut phone = server.phone(Jid::new(PHONE).expect("the constant is a JID"));

    let app = build(&state, &server, &secret).await?;
    let daemon = tokio::spawn(app.run(shutdown.clone(), None));
    let shown = tokio::select! {
        shown = show(&mut phone) => shown,
        () = shutdown.cancelled() => Ok(()),
    };
    shutdown.cancel();
    daemon.await.unwrap_or(Err(Failed))?;
    shown.map(|()| Exit::Done)
}

/// The daemon as `serve` runs it, on ports that are free.
async fn build(state: &StateDir, server: &Server, secret: &str) -> Result<App, CliError> {
    let free_port = Listen::Tcp((Ipv4Addr::LOCALHOST, 0).into());
    let http = Listener::bind(&free_port).await?;
    let admin = Listener::bind(&free_port).await?;
    let file = state.0.join("config.toml");
    let toml = format!(
        "state_dir = \"{}\"\n\
         http.public_url = \"http://{}\"\n\
         [component]\ndomain = \"{DOMAIN}\"\nport = {}\nsecret = \"{secret}\"\n",
        state.0.display(),
        http.address().map_err(CliError::DemoServer)?,
        server.port(),
    );
    fs::write(&file, toml).map_err(|source| CliError::TemporaryFile {
        path: file.clone(),
        source,
    })?;
    let config = config::load(Some(&file), [])?.config;
    let sockets = Sockets {
        http: Some(http),
        admin: Some(admin),
    };
    Ok(App::build(config, sockets).await?)
}

async fn show(phone: &mut Phone) -> Result<(), CliError> {
    let endpoint = phone
        .register("demo", "first")
        .await
        .map_err(|refused| CliError::DemoRefused(refused.condition))?
        .url;
    println!("The simulated phone {PHONE} has registered an app and got this endpoint:\n");
    println!("  {endpoint}\n");
    println!("Push to it from another terminal:\n");
    println!("  curl --data 'Hello' -H 'TTL: 60' {endpoint}\n");
    println!("Ctrl+C ends the demo. A first push:\n");
    let push = tokio::task::spawn_blocking(move || {
        send::post(&endpoint, &[("TTL", 60.into())], b"Hello from the demo")
    });
    let status = push.await.map_err(|_| Failed)??.status();
    if status == 201 {
        show_next(phone).await;
    }
    println!("its sender was answered {status}");
    loop {
        show_next(phone).await;
    }
}

async fn show_next(phone: &mut Phone) {
    let push = phone.push().await;
    println!("push arrived: {}", String::from_utf8_lossy(&push.payload));
}

/// Removed with what is in it.
struct StateDir(PathBuf);

impl StateDir {
    fn make(random: &dyn Random) -> Result<Self, CliError> {
        let mut suffix = [0; 8];
        random.fill(&mut suffix);
        let name = format!("unified-push-demo-{:016x}", u64::from_be_bytes(suffix));
        let path = std::env::temp_dir().join(name);
        let made = DirBuilder::new().mode(0o700).create(&path);
        match made {
            Ok(()) => Ok(Self(path)),
            Err(source) => Err(CliError::TemporaryDirectory { path, source }),
        }
    }
}

impl Drop for StateDir {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            eprintln!("{} could not be removed: {error}", self.0.display());
        }
    }
}
