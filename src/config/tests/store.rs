//! Where the store is: SQLite unless a URL says otherwise, and the password is never shown.

use super::*;

const URL: &str = "postgres://up:hunter2@db.example/push";
const URL_VARIABLE: &str = "UNIFIED_PUSH_STORE__URL";
const WITH_SECRET: (&str, &str) = ("UNIFIED_PUSH_SECRET", LONG);

#[test]
fn sqlite_is_the_default() {
    for toml in ["", "[store]\nurl = \"sqlite\""] {
        let loaded = load_with(toml, &[]).unwrap();
        assert!(matches!(loaded.config.store, Store::Sqlite));
    }
}

#[test]
fn a_url_comes_in_place_or_from_a_file_and_is_never_shown() {
    let files = Files::new();
    let path = files.write_private("url", format!("{URL}\n"));
    let in_place = format!("[store]\nurl = \"{URL}\"");
    let in_file = format!("[store]\nurl_file = '{path}'");
    for toml in [in_place, in_file] {
        let env = [DOMAIN, SECRET, WITH_SECRET];
        let loaded = files.load(&toml, &env).unwrap();
        let Store::Postgres(url) = &loaded.config.store else {
            panic!("SQLite")
        };
        assert_eq!(url.to_string(), "postgres://db.example/push");
        let shown = format!("{loaded:?} {}", loaded.effective.toml);
        assert!(!shown.contains("hunter2"), "{shown}");
        assert_eq!(loaded.warnings, Vec::<String>::new());
    }
}

#[test]
fn a_wrong_url_is_a_problem_with_its_place_and_without_its_password() {
    let text = report("[store]\nurl = \"mysql://up:hunter2@db/push\"", &[]);
    assert!(
        text.contains("store.url (config.toml:2:7): does not start with postgres://"),
        "{text}"
    );
    assert!(!text.contains("hunter2"), "{text}");

    let url = format!("{URL}?sslmode=prefer");
    let text = report("", &[WITH_SECRET, (URL_VARIABLE, &url)]);
    assert!(
        text.contains("store.url (UNIFIED_PUSH_STORE__URL): has a sslmode that would verify"),
        "{text}"
    );
    assert!(!text.contains("hunter2"), "{text}");

    let url = format!("{URL}?gssencmode=disable");
    let text = report("", &[WITH_SECRET, (URL_VARIABLE, &url)]);
    let named =
        "store.url (UNIFIED_PUSH_STORE__URL): has the option gssencmode, which is not known";
    assert!(
        text.contains(named) && text.contains("sslrootcert"),
        "{text}"
    );
    assert!(!text.contains("hunter2"), "{text}");

    let url = format!("{URL}?sslrootcert=/no/such/file");
    let text = report("", &[WITH_SECRET, (URL_VARIABLE, &url)]);
    let named = "names by sslrootcert a file that cannot be used: /no/such/file";
    assert!(text.contains(named), "{text}");
    assert!(!text.contains("hunter2"), "{text}");

    let files = Files::new();
    let path = files.write_private("url", "postgres://up:hunter2@/push");
    let toml = format!("[store]\nurl_file = '{path}'");
    let text = files.report(&toml, &[DOMAIN, SECRET, WITH_SECRET]);
    assert!(text.contains("names a file whose content "), "{text}");
    assert!(!text.contains("hunter2"), "{text}");

    let toml = format!("{toml}\nurl = \"sqlite\"");
    let text = files.report(&toml, &[DOMAIN, SECRET, WITH_SECRET]);
    assert!(text.contains("keep only one of the two"), "{text}");
    assert!(text.contains("has 1 problem\n"), "{text}");
}

#[test]
fn postgres_needs_a_secret_that_all_share() {
    let text = report("", &[(URL_VARIABLE, URL)]);
    assert!(text.contains("must not each generate their own"), "{text}");
    assert!(load_with("", &[(URL_VARIABLE, URL), WITH_SECRET]).is_ok());
}

#[test]
fn a_plain_connection_to_a_public_address_is_warned_of() {
    let warned = |url: &str| warnings("", &[(URL_VARIABLE, url), WITH_SECRET]);
    let public = warned("postgres://up:hunter2@198.51.100.1/push");
    assert!(
        public.contains("store.url: 198.51.100.1 is a public"),
        "{public}"
    );
    assert_eq!(warned("postgres://198.51.100.1/push?sslmode=require"), "");
    assert_eq!(warned("postgres://10.0.0.1/push"), "");
}

#[test]
fn sqlite_on_a_network_file_system_is_warned_of() {
    let warned = |kind: &str, more: &[(&str, &str)]| {
        let mounts = format!("27 1 0:50 / / rw,relatime - {kind} host:/export rw\n");
        let files = Files::new();
        let path = files.write("config.toml", "state_dir = \"/no-such/state\"");
        let env = [&[DOMAIN, SECRET, WITH_SECRET], more].concat();
        let loaded = load_where(mounts, Some(&path), variables(&env)).unwrap();
        (loaded.warnings.join("\n"), loaded.verdict())
    };
    let (warning, verdict) = warned("nfs4", &[]);
    for words in [
        "state_dir: /no-such/state",
        "(nfs4)",
        "local disk",
        "`store.url`",
    ] {
        assert!(warning.contains(words), "{words} in {warning}");
        assert!(verdict.contains(words), "{words} in {verdict}");
    }
    assert_eq!(warned("ext4", &[]).0, "");
    assert_eq!(warned("nfs4", &[(URL_VARIABLE, URL)]).0, "");
}
