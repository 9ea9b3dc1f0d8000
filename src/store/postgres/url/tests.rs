//! What a URL means, and what is said of a wrong one.

use std::path::PathBuf;

use super::*;

fn url(text: &str) -> Result<PostgresUrl, PostgresUrlError> {
    text.parse()
}

#[test]
fn it_shows_where_and_neither_user_nor_password() {
    for (text, shown) in [
        (
            "postgres://up:hunter2@db.example:5433/push",
            "postgres://db.example:5433/push",
        ),
        (
            "postgresql://up:hunter2@%2Frun%2Fpostgresql/push?connect_timeout=1",
            "postgres:///run/postgresql/push",
        ),
        (
            "postgres:///push?host=/run/postgresql&user=up&password=hunter2",
            "postgres:///run/postgresql/push",
        ),
    ] {
        let url = url(text).unwrap();
        assert_eq!(url.to_string(), shown);
        assert_eq!(format!("{url:?}"), format!("PostgresUrl({shown})"));
    }
}

#[test]
fn what_is_wrong_is_said_without_the_password() {
    use PostgresUrlError::{NoHost, Scheme, Syntax, Tls, TlsWithoutName, UnknownOption, Value};
    use TlsOptionError::{AnybodyPasses, ClientPair, Mode, RelativePath, Unused};
    let unknown = |name: &str| UnknownOption(Some(name.to_owned()));
    for (text, expected) in [
        ("mysql://up:hunter2@db/push", Scheme),
        ("up:hunter2@db/push", Scheme),
        ("postgres:///push", NoHost),
        ("postgres://up:hunter2@db:port/push", Syntax),
        (
            "postgres://up:hunter2@db/push?password=hunter2&x=y",
            UnknownOption(None),
        ),
        (
            "postgres://up:hunter2@db/push?gssencmode=disable",
            unknown("gssencmode"),
        ),
        (
            "postgres://up:hunter2@db/push?ssl_mode=require",
            unknown("ssl_mode"),
        ),
        ("postgres://up:x@db?hunter2=@db/push", UnknownOption(None)),
        (
            "postgres://db/push?password=x&hunter=2",
            UnknownOption(None),
        ),
        ("postgres://up:hunter2@db/push?sslmode", Syntax),
        (
            "postgres://up:hunter2@db/push?connect_timeout=x",
            Value("connect_timeout"),
        ),
        ("postgres://up:hun@ter2@db/push", Syntax),
        ("postgres://up:hunter2@db/push?sslmode=prefer", Tls(Mode)),
        ("postgres://up:hunter2@db/push?sslmode=allow", Tls(Mode)),
        ("postgres://up:hunter2@db/push?sslmode=", Tls(Mode)),
        (
            "postgres://up:hunter2@db/push?sslmode=verify-ca",
            Tls(AnybodyPasses),
        ),
        (
            "postgres://up:hunter2@db/push?sslmode=verify-ca&sslrootcert=system",
            Tls(AnybodyPasses),
        ),
        (
            "postgres://up:hunter2@db/push?sslmode=disable&sslrootcert=/ca",
            Tls(Unused),
        ),
        (
            "postgres://up:hunter2@db/push?sslcert=/client",
            Tls(ClientPair),
        ),
        (
            "postgres://up:hunter2@db/push?sslrootcert=ca.pem",
            Tls(RelativePath),
        ),
        ("postgres:///push?host=/run&sslmode=require", TlsWithoutName),
        (
            "postgres:///push?hostaddr=127.0.0.1&sslmode=require",
            TlsWithoutName,
        ),
    ] {
        let error = url(text).unwrap_err();
        assert_eq!(error, expected, "{text}");
        let said = format!("{error} {error:?}");
        assert!(!said.contains("hunter") && !said.contains("ter2"), "{said}");
    }
    let said = unknown("gssencmode").to_string();
    for name in [
        "the option gssencmode",
        "known are",
        "sslrootcert",
        "target_session_attrs",
    ] {
        assert!(said.contains(name), "{name} in {said}");
    }
}

#[test]
fn tls_is_used_when_it_is_asked_for_and_then_verified() {
    let ca = Some(PathBuf::from("/ca file"));
    for (query, expected) in [
        ("", None),
        ("?sslmode=disable", None),
        ("?sslmode=require", Some((true, None))),
        ("?sslmode=verify-full", Some((true, None))),
        (
            "?sslmode=verify-full&sslrootcert=system",
            Some((true, None)),
        ),
        ("?sslrootcert=/ca%20file", Some((true, ca.clone()))),
        (
            "?connect_timeout=1&sslmode=verify-ca&sslrootcert=/ca%20file",
            Some((false, ca)),
        ),
        ("?sslmode=disable&sslmode=verify-full", Some((true, None))),
    ] {
        let url = url(&format!("postgres://up:hun?ter2@db/push{query}")).unwrap();
        let tls = url
            .tls()
            .map(|tls| (tls.checks_name, tls.authorities.clone()));
        let mode = match expected {
            Some(_) => SslMode::Require,
            None => SslMode::Disable,
        };
        assert_eq!(tls, expected, "{query}");
        assert_eq!(url.config().get_ssl_mode(), mode, "{query}");
        assert_eq!(
            url.config().get_password(),
            Some(&b"hun?ter2"[..]),
            "{query}"
        );
    }
}

#[test]
fn user_password_and_certificates_do_not_make_another_database() {
    let one = url("postgres://up:hunter2@db/push?sslmode=require").unwrap();
    let same = |text: &str| one.is_same_database(&url(text).unwrap());
    assert!(same("postgres://other:password@db/push"));
    assert!(same("postgres://db/push?sslmode=verify-ca&sslrootcert=/ca"));
    assert!(!same("postgres://up:hunter2@db/other"));
    assert!(!same("postgres://up:hunter2@db2/push"));
    assert!(!same("postgres://up:hunter2@db:5433/push"));

    let several = url("postgres://up:hunter2@a,b:5433/push").unwrap();
    let same = |text: &str| several.is_same_database(&url(text).unwrap());
    assert!(same("postgres://other:password@a,b:5433/push"));
    assert!(!same("postgres://up:hunter2@a/push"));
    assert!(!same("postgres://up:hunter2@a,c:5433/push"));
}

#[test]
fn a_plain_connection_to_a_public_address_is_noticed() {
    let exposed = |text: &str| url(text).unwrap().exposed().is_some();
    assert!(exposed("postgres://198.51.100.1/push"));
    assert!(exposed("postgres://[2001:db8::1]:5432/push"));
    assert!(exposed("postgres://db/push?hostaddr=198.51.100.1"));
    assert!(!exposed("postgres://198.51.100.1/push?sslmode=require"));
    assert!(!exposed("postgres://10.0.0.1/push"));
    assert!(!exposed("postgres://[::1]/push"));
    assert!(!exposed("postgres://db.example/push"));
    assert!(!exposed("postgres:///push?host=/run/postgresql"));
}
