//! Debian's Prosody, with its own mod_unified_push as an oracle beside our components.

use std::{fmt::Write, fs, path::Path, process::Command};

use super::{Account, CLIENT_STANZA_LIMIT, DOMAIN, HIBERNATION, Layout, Member};
use crate::authority::Certificate;

pub const PROGRAM: &str = "/usr/bin/prosody";

/// The component that is Prosody's own push service, with the jwt back end.
pub const ORACLE: &str = "oracle.example.test";
pub const ORACLE_SECRET: &str = "the-oracle-s-secret-of-more-than-32-bytes";

/// The same with the storage back end.
pub const KEEPER: &str = "keeper.example.test";

pub fn configure(layout: &Layout) {
    let own = files_of(&layout.dir);
    let (federation, modules, disabled) = match &layout.federated {
        Some(member) => (
            federated(member, &layout.dir),
            r#", "dialback", "tls""#,
            r#""offline""#,
        ),
        None => (String::new(), "", r#""s2s", "tls", "offline""#),
    };
    let Layout {
        clients,
        components,
        http,
        ..
    } = layout;
    let hibernation = HIBERNATION.as_secs();
    let mut config = format!(
        r#"
{own}{federation}
modules_enabled = {{ "roster", "saslauth", "disco", "ping", "smacks"{modules} }}
modules_disabled = {{ {disabled} }}
c2s_ports = {{ {clients} }}
component_ports = {{ {components} }}
http_ports = {{ {http} }}
https_ports = {{}}
c2s_stanza_size_limit = {CLIENT_STANZA_LIMIT}
c2s_require_encryption = false
allow_unencrypted_plain_auth = true
authentication = "insecure"
insecure_open_authentication = "Yes please, I know what I'm doing!"
smacks_hibernation_time = {hibernation}
http_default_host = "{ORACLE}"

VirtualHost "{DOMAIN}"

Component "{ORACLE}" "unified_push"
    unified_push_acl = {{ "{DOMAIN}" }}
    unified_push_backend = "jwt"
    unified_push_secret = "{ORACLE_SECRET}"
    http_external_url = "http://127.0.0.1:{http}/"

Component "{KEEPER}" "unified_push"
    unified_push_acl = {{ "{DOMAIN}" }}
    unified_push_backend = "storage"
"#
    );
    for Account { domain, secret } in Account::all(layout) {
        writeln!(
            config,
            r#"Component "{domain}" component_secret = "{secret}""#
        )
        .unwrap();
    }
    fs::write(layout.dir.join("prosody.cfg.lua"), config).unwrap();
}

/// What keeps it to a directory and to loopback.
pub fn files_of(dir: &Path) -> String {
    let dir = dir.display();
    format!(
        r#"run_as_root = true
data_path = "{dir}"
pidfile = "{dir}/prosody.pid"
certificates = "{dir}"
log = {{ {{ to = "file", filename = "{dir}/server.log", levels = {{ min = "info" }} }} }}
interfaces = {{ "127.0.0.1" }}
"#
    )
}

/// How it meets other servers. libunbound answers for `test` by itself unless it is told not to.
pub fn federated(member: &Member, dir: &Path) -> String {
    let Member {
        authority,
        certificate,
        domain,
        servers,
        dns,
    } = member;
    place(certificate, domain, dir);
    format!(
        r#"s2s_ports = {{ {servers} }}
s2s_secure_auth = true
ssl = {{ cafile = {authority:?} }}
unbound = {{
    resolvconf = false, hoststxt = false, forward = "127.0.0.1@{dns}",
    options = {{ ["local-zone:"] = "test. transparent" }}
}}
"#
    )
}

/// Prosody looks for them by the domain's name.
pub fn place(certificate: &Certificate, domain: &str, dir: &Path) {
    let place = |ending| dir.join(format!("{domain}.{ending}"));
    fs::copy(&certificate.certificate, place("crt")).unwrap();
    fs::copy(&certificate.key, place("key")).unwrap();
}

pub fn command(layout: &Layout) -> Command {
    let mut command = Command::new(&layout.program);
    command.arg("--config");
    command.arg(layout.dir.join("prosody.cfg.lua"));
    command.arg("-F");
    command
}
