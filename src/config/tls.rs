//! TLS to the XMPP server, which three options describe.

use rustls::pki_types::ServerName;

use super::{
    key::About,
    options::component::{HOST, TLS, TLS_CA_FILE, TLS_NAME},
    secrets::place,
    settings::Settings,
};
use crate::{
    model::host::Host,
    tls::{self, Trust},
};

/// Some(None) for a link without TLS. None when an option is wrong.
pub fn of_component(settings: &mut Settings) -> Option<Option<Trust>> {
    if !settings.get(&TLS)? {
        for about in [&TLS_CA_FILE.about, &TLS_NAME.about] {
            if settings.is_set(about) {
                let what = "is set, but component.tls is not: the link would not be encrypted";
                settings.complain(
                    about,
                    what,
                    "set component.tls = true, or remove this option",
                );
                return None;
            }
        }
        return Some(None);
    }
    let host = match settings.get(&HOST)? {
        Host::Network(host) => host,
        Host::Unix(_) => {
            let what =
                "is true, but component.host is a Unix socket, which nobody can listen in on";
            settings.complain(&TLS.about, what, "remove component.tls");
            return None;
        }
    };
    let (about, name): (&About, _) = match settings.is_set(&TLS_NAME.about) {
        true => (&TLS_NAME.about, settings.get(&TLS_NAME)?),
        false => (&HOST.about, host),
    };
    let Ok(name) = ServerName::try_from(name) else {
        let remedy =
            "set component.tls_name to a name that the server's certificate is made out to";
        settings.complain(about, "is no name that a certificate can bear", remedy);
        return None;
    };
    let authorities = match settings.is_set(&TLS_CA_FILE.about) {
        true => {
            let path = place(settings, &settings.get(&TLS_CA_FILE)?).0;
            match tls::certificates(&path) {
                Ok(authorities) => Some(authorities),
                Err(error) => {
                    let what = format!("names a file that cannot be used: {error}");
                    let remedy = format!(
                        "write the certificate of the authority into {}, and let the user who runs \
                         unified-push read it",
                        path.display()
                    );
                    settings.complain(&TLS_CA_FILE.about, what, remedy);
                    return None;
                }
            }
        }
        false => None,
    };
    Some(Some(Trust { name, authorities }))
}
