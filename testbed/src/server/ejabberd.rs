//! Debian's ejabberd. It runs as an Erlang node without distribution, so that it needs no epmd and
//! any number of them run side by side.
//!
//! A component that connects to a listener with `hosts` gets the stanzas of all of them. Tests that
//! share the server need names of their own, so theirs has a password for any name; a second
//! listener knows one name only.

use std::{path::Path, process::Command};

use super::{
    Account, CLIENT_STANZA_LIMIT, COMPONENT_SECRET, DOMAIN, HIBERNATION, Layout, Member, Secure,
};
use crate::authority::Certificate;

pub const PROGRAM: &str = "/usr/sbin/ejabberdctl";

pub fn configure(layout: &Layout) {
    let Layout {
        clients,
        components,
        known_components,
        ..
    } = layout;
    let hibernation = HIBERNATION.as_secs();
    let Account { domain, secret } = Account::numbered(0);
    let socket = layout.socket();
    let (mut first, mut listeners) = (String::new(), String::new());
    if let Some(secure) = &layout.secure {
        listeners += &secure_listener(secure, &layout.dir);
    }
    let mut modules = "";
    if let Some(member) = &layout.federated {
        first += &certificates(member);
        listeners += &servers_listener(member);
        modules = "  mod_s2s_dialback: {}\n";
        use_dns(&layout.dir, member.dns);
    }
    let config = format!(
        r#"
{first}hosts: ["{DOMAIN}"]
loglevel: info
auth_method: [anonymous]
anonymous_protocol: login_anon
allow_multiple_connections: true
modules:
  mod_disco: {{}}
  mod_ping: {{}}
  mod_roster: {{}}
  mod_stream_mgmt:
    resume_timeout: {hibernation}
{modules}listen:
  - port: {clients}
    ip: "127.0.0.1"
    module: ejabberd_c2s
    max_stanza_size: {CLIENT_STANZA_LIMIT}
  - port: {components}
    ip: "127.0.0.1"
    module: ejabberd_service
    password: "{COMPONENT_SECRET}"
  - port: {known_components}
    ip: "127.0.0.1"
    module: ejabberd_service
    hosts:
      "{domain}":
        password: "{secret}"
  - port: "unix:{}"
    module: ejabberd_service
    password: "{COMPONENT_SECRET}"
{listeners}"#,
        socket.display()
    );
    std::fs::write(layout.dir.join("ejabberd.yml"), config).unwrap();
}

/// It has a certificate of its own, with the key in one file: ejabberd closes the connection without a
/// word where only the global `certfiles` are set.
fn secure_listener(secure: &Secure, dir: &Path) -> String {
    let Certificate { certificate, key } = &secure.certificate;
    let both = [certificate, key].map(|path| std::fs::read(path).unwrap());
    let file = dir.join("components.pem");
    std::fs::write(&file, both.concat()).unwrap();
    let components = secure.components;
    format!(
        r#"  - port: {components}
    ip: "127.0.0.1"
    module: ejabberd_service
    tls: true
    certfile: {file:?}
    password: "{COMPONENT_SECRET}"
"#
    )
}

fn servers_listener(member: &Member) -> String {
    let servers = member.servers;
    format!(
        r#"  - port: {servers}
    ip: "127.0.0.1"
    module: ejabberd_s2s_in
"#
    )
}

/// What it shows to other servers, to which it speaks only by TLS.
fn certificates(member: &Member) -> String {
    let Certificate { certificate, key } = &member.certificate;
    let authority = &member.authority;
    format!(
        "certfiles: [{certificate:?}, {key:?}]\nca_file: {authority:?}\ns2s_use_starttls: required\n"
    )
}

/// Erlang resolves names by this server alone.
fn use_dns(dir: &Path, port: u16) {
    let text = format!(
        "{{lookup, [dns]}}.\n{{resolv_conf, \"\"}}.\n{{hosts_file, \"\"}}.\n\
         {{nameserver, {{127,0,0,1}}, {port}}}.\n"
    );
    std::fs::write(dir.join("inetrc"), text).unwrap();
}

/// What `ejabberdctl foreground` would run, without its change of user.
pub fn command(layout: &Layout) -> Command {
    let mut command = Command::new("erl");
    // Ctrl-C ends it at once, as it ends the tests.
    command.args(["-noinput", "+Bd", "-start_epmd", "false"]);
    command.args(["-mnesia", "dir"]);
    command.arg(format!("\"{}\"", layout.dir.join("mnesia").display()));
    command.args(["-s", "ejabberd"]);
    command.env("HOME", &layout.dir);
    command.env("ERL_LIBS", libraries(&layout.program));
    let resolver = layout.dir.join("inetrc");
    if resolver.exists() {
        command.env("ERL_INETRC", resolver);
    }
    command.env("ERL_CRASH_DUMP", layout.dir.join("crash.dump"));
    command.env("EJABBERD_CONFIG_PATH", layout.dir.join("ejabberd.yml"));
    command.env("EJABBERD_LOG_PATH", layout.dir.join("server.log"));
    command
}

/// Debian's directory of the architecture, as its ejabberdctl names it.
fn libraries(ejabberdctl: &Path) -> String {
    let script = std::fs::read_to_string(ejabberdctl).unwrap();
    let line = script
        .lines()
        .find_map(|line| line.strip_prefix("ERL_LIBS='"));
    let path = line.and_then(|rest| rest.strip_suffix('\''));
    path.expect("ejabberdctl sets ERL_LIBS").to_owned()
}
