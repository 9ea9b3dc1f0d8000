//! What is refused, in which words, and what is only warned of.

use super::*;

#[test]
fn all_problems_are_in_one_report_with_their_places() {
    let toml = "\
acl = [\"ok.example\", \"a@b/c\"]
bakcend = \"jwt\"
[http]
  listen = \"nowhere\"
requires_ttl = true
[delivery]
ack_timeout = \"6s\"
[htpp]
listen = \"secret stays unseen\"
[component]
port = 0
domain = \"user@example.org\"
";
    let env = [
        ("UNIFIED_PUSH_LIMITS__CONNECTIONS", "many"),
        ("UNIFIED_PUSH_COMPONENT_SECRET", "x"),
    ];
    assert_eq!(
        Files::new().report(toml, &env),
        r#"unified-push: the configuration (config.toml) has 10 problems

  bakcend (config.toml:2:1): is not a known option
    did you mean backend?
  http.requires_ttl (config.toml:5:1): is not a known option
    did you mean http.require_ttl?
  htpp (config.toml:8:2): is not a known section
    did you mean [http]?
  acl = ["ok.example", "a@b/c"] (config.toml:1:7): has a bad entry: "a@b/c" is neither a domain, a bare JID nor "*"
    expected: list of domains, "*.example.org", bare JIDs or "*"
  component.domain = "user@example.org" (config.toml:12:10): is not a domain
    expected: domain
  component.port = 0 (config.toml:11:8): is less than 1
    expected: number from 1 to 65535
  component.secret: is missing
    set it in the file as `secret_file = "..."` under [component], or in UNIFIED_PUSH_COMPONENT__SECRET_FILE
  http.listen = "nowhere" (config.toml:4:12): is neither an address with a port nor a Unix socket
    expected: "ADDRESS:PORT" or "unix:/PATH"
  delivery.ack_timeout = "6s" (config.toml:7:15): is more than 5s
    expected: duration such as "800ms", or a number of seconds; from "1ms" to "5s"
  limits.connections = "many" (UNIFIED_PUSH_LIMITS__CONNECTIONS): is not a whole number
    expected: number, at least 1

1 warning:

  UNIFIED_PUSH_COMPONENT_SECRET is not an option and is ignored; did you mean UNIFIED_PUSH_COMPONENT__SECRET?
"#
    );
}

#[test]
fn an_acl_of_the_components_own_accounts_is_refused() {
    let toml = "acl = [\"example.org\", \"up.example.org\"]\n";
    let env = [DOMAIN, SECRET];
    let text = Files::new().report(toml, &env);
    let what = "has an entry that matches nobody: \"up.example.org\", since the component has no";
    assert!(text.contains(what), "{text}");
}

#[test]
fn nothing_set_names_both_required_options() {
    let text = Files::new().report("", &[]);
    assert!(text.contains("has 2 problems"), "{text}");
    assert!(text.contains("component.domain: is missing"), "{text}");
    assert!(text.contains("UNIFIED_PUSH_COMPONENT__DOMAIN"), "{text}");
    assert!(text.contains("component.secret: is missing"), "{text}");
}

#[test]
fn a_syntax_error_shows_line_and_column_but_not_the_line() {
    let text = report("acl = []\nsecret = hunter2\n", &[]);
    assert!(text.contains("config.toml:2:10: is not TOML: "), "{text}");
    assert!(!text.contains("hunter2"), "{text}");
}

#[test]
fn bad_values_are_refused() {
    for (path, bad) in [
        ("acl", "5"),
        ("acl", "[5]"),
        ("acl", "{ example = 1 }"),
        ("acl", r#"["*example.org"]"#),
        ("acl", r#"["example.*"]"#),
        ("backend", r#""opaque""#),
        ("registration_ttl", "0"),
        ("registration_ttl", "-1"),
        ("registration_ttl", r#""0s""#),
        ("registration_ttl", r#""999ms""#),
        ("registration_ttl", r#""7 fortnights""#),
        ("registration_ttl", "36500.5"),
        ("registration_ttl", r#""40000d""#),
        ("state_dir", r#""""#),
        ("state_dir", "5"),
        ("component.host", r#""127.0.0.1:5347""#),
        ("component.host", r#""[::1]""#),
        ("component.host", r#""a b""#),
        ("component.port", "65536"),
        (
            "component.port",
            "99999999999999999999999999999999999999999",
        ),
        ("component.port", "true"),
        ("http.listen", r#""8080""#),
        ("http.listen", r#""localhost:8080""#),
        ("http.listen", r#""127.0.0.1:65536""#),
        ("http.listen", r#""unix:relative""#),
        ("http.public_url", r#""up.example.org""#),
        ("http.public_url", r#""ftp://up.example.org""#),
        ("http.public_url", r#""https://""#),
        ("http.public_url", r#""https:///path""#),
        ("http.public_url", r#""https://up.example.org:port""#),
        ("http.public_url", r#""https://up.example.org:99999""#),
        ("http.public_url", r#""https://user@up.example.org""#),
        ("http.public_url", r#""https://up.example.org?a=b""#),
        ("http.public_url", r#""https://up.example.org/#x""#),
        ("http.public_url", r#""https://up.example.org/a b""#),
        ("http.require_ttl", r#""yes""#),
        ("http.require_ttl", "1"),
        ("http.trusted_proxies", r#"["proxy"]"#),
        ("http.trusted_proxies", r#"["10.0.0.0/33"]"#),
        ("admin.listen", r#""127.0.0.1:8080""#),
        ("delivery.ack_timeout", "0"),
        ("delivery.ack_timeout", r#""5001ms""#),
        ("delivery.default_ttl", "0"),
        ("delivery.default_ttl", r#""29d""#),
        ("delivery.min_ttl", r#""29d""#),
        ("delivery.min_ttl_urgency", r#""urgent""#),
        ("delivery.max_ttl", r#""1h""#),
        ("delivery.max_queued_per_endpoint", "0"),
        ("delivery.max_queued_per_jid", "0"),
        ("delivery.max_queued_per_jid", "4294967296"),
        ("delivery.max_queued_bytes", r#""1023KiB""#),
        ("limits.endpoint_rate", r#""0/s""#),
        ("limits.endpoint_rate", "5"),
        ("limits.registrations_per_jid", "0"),
        ("limits.registrations_per_jid", "4294967296"),
        ("limits.in_flight_memory", "0"),
        ("limits.in_flight_memory", r#""1 fathom""#),
        ("limits.connections", "0"),
        ("log.level", r#""loud""#),
        ("log.format", r#""xml""#),
        ("http", r#""127.0.0.1:8080""#),
    ] {
        let text = report(&format!("{path} = {bad}"), &[]);
        assert!(text.contains("has 1 problem\n"), "{path} = {bad}: {text}");
    }
    let long = format!("https://up.example.org/{}", "a".repeat(200));
    let text = report("", &[("UNIFIED_PUSH_HTTP__PUBLIC_URL", &long)]);
    assert!(text.contains("is longer than 200 bytes"), "{text}");
}

#[test]
fn a_variable_that_is_not_utf_8_is_refused() {
    use std::os::unix::ffi::OsStringExt;
    let mut env = variables(&[DOMAIN, SECRET]);
    let latin = OsString::from_vec(vec![0xe4]);
    env.push(("UNIFIED_PUSH_STATE_DIR".into(), latin));
    let files = Files::new();
    let path = files.write("config.toml", "");
    let text = load(Some(&path), env).unwrap_err().to_string();
    assert!(text.contains("(UNIFIED_PUSH_STATE_DIR): is not"), "{text}");
}

#[test]
fn the_public_url_loses_its_trailing_slash_and_may_have_a_path() {
    let url = |text| {
        let env = [("UNIFIED_PUSH_HTTP__PUBLIC_URL", text)];
        load_with("", &env)
            .unwrap()
            .config
            .http
            .public_url
            .to_string()
    };
    assert_eq!(url("https://up.example.org/"), "https://up.example.org");
    assert_eq!(url("https://[::1]:8443/a/b/"), "https://[::1]:8443/a/b");
}

#[test]
fn what_is_probably_not_meant_is_warned_of() {
    for (path, value, warned) in [
        ("registration_ttl", "172799", "phones with Conversations"),
        ("registration_ttl", "172800", ""),
        ("component.host", r#""192.0.2.1""#, "not encrypted"),
        ("component.host", r#""2001:db8::1""#, "not encrypted"),
        ("component.host", r#""::ffff:192.0.2.1""#, "not encrypted"),
        ("component.host", r#""10.1.2.3""#, ""),
        ("component.host", r#""100.64.0.1""#, ""),
        ("component.host", r#""fd00::1""#, ""),
        ("component.host", r#""::1""#, ""),
        ("component.host", r#""prosody""#, ""),
        ("component.host", r#""unix:/run/x""#, ""),
        (
            "http.public_url",
            r#""http://up.example.org""#,
            "does not use https",
        ),
        ("acl", "[]", "nobody can register"),
    ] {
        let text = warnings(&format!("{path} = {value}"), &[]);
        assert_eq!(text.is_empty(), warned.is_empty(), "{path}: {text}");
        assert!(text.contains(warned), "{path}: {text}");
    }
    let jwt = [
        ("UNIFIED_PUSH_BACKEND", "jwt"),
        ("UNIFIED_PUSH_SECRET", LONG),
    ];
    assert!(warnings("", &jwt).contains("readable JIDs"));
}

#[test]
fn jwt_needs_a_configured_secret_even_when_more_is_wrong() {
    let env = [
        ("UNIFIED_PUSH_BACKEND", "jwt"),
        ("UNIFIED_PUSH_LOG__LEVEL", "loud"),
    ];
    let text = report("", &env);
    assert!(text.contains("has 2 problems"), "{text}");
    assert!(
        text.contains("secret: is missing, and backend = \"jwt\""),
        "{text}"
    );
}

#[test]
fn tls_that_cannot_be_meant_is_refused() {
    let files = Files::new();
    let empty = files.write("empty.pem", "no certificate");
    let empty = empty.to_str().unwrap();
    for (options, what) in [
        ("tls_name = 'a.example'", "component.tls is not"),
        ("tls_ca_file = '/nonexistent'", "component.tls is not"),
        ("tls = true\nhost = 'unix:/run/x'", "is a Unix socket"),
        (
            "tls = true\nhost = 'a..b'",
            "no name that a certificate can bear",
        ),
        (
            "tls = true\ntls_name = 'unix:/run/x'",
            "neither a name nor an address",
        ),
        (
            "tls = true\ntls_ca_file = '/nonexistent'",
            "let the user who runs",
        ),
        (
            &format!("tls = true\ntls_ca_file = '{empty}'"),
            "holds no certificate",
        ),
        ("host = 'unix:run/x'", "without an absolute path"),
    ] {
        let text = report(&format!("[component]\n{options}"), &[]);
        assert!(text.contains("has 1 problem\n"), "{options}: {text}");
        assert!(text.contains(what), "{options}: {text}");
    }
}

#[test]
fn a_reload_reads_the_authorities_again() {
    let files = Files::new();
    let authorities = [1, 2].map(|_| testbed::Authority::new("authority"));
    let trusted = |authority: &testbed::Authority| {
        files.write("ca.pem", fs::read(authority.path()).unwrap());
        let toml = "[component]\ntls = true\nhost = '10.0.0.1'\ntls_ca_file = 'ca.pem'";
        let loaded = files.load(toml, &[DOMAIN, SECRET]).unwrap();
        loaded.config.component.tls.unwrap()
    };
    let [before, after] = authorities.each_ref().map(trusted);
    assert_eq!(before.name, after.name);
    assert_ne!(before.authorities, after.authorities);
}

#[test]
fn the_verdict_names_the_file_and_lists_the_warnings() {
    let files = Files::new();
    let loaded = files.load("acl = []", &[DOMAIN, SECRET]).unwrap();
    let file = files.0.path().join("config.toml");
    assert_eq!(
        loaded.verdict(),
        format!(
            "unified-push: the configuration ({}) is valid\n\n1 warning:\n\n  \
             acl: is empty, so nobody can register\n",
            file.display()
        )
    );
}

#[test]
fn what_surrounds_a_domain_is_named() {
    for (domain, what) in [
        ("\"up.example.org\"", "is in quotation marks"),
        (" up.example.org", "begins with a blank"),
        ("up.example.org\n", "ends with an empty line"),
        ("\u{feff}up.example.org", "begins with a byte order mark"),
    ] {
        let env = [("UNIFIED_PUSH_COMPONENT__DOMAIN", domain), SECRET];
        let text = Files::new().report("", &env);
        assert!(text.contains(what), "{text}");
        assert!(text.contains("has 1 problem\n"), "{text}");
    }
}

#[test]
fn a_domain_in_other_letters_gives_a_url_in_ascii() {
    let domain = ("UNIFIED_PUSH_COMPONENT__DOMAIN", "push.b\u{fc}cher.example");
    let loaded = Files::new().load("", &[domain, SECRET]).unwrap();
    let config = &loaded.config;
    assert_eq!(config.component.domain.to_string(), domain.1);
    assert_eq!(
        config.http.public_url.to_string(),
        "https://push.xn--bcher-kva.example"
    );

    let url = "https://b\u{fc}cher.example:8443/push";
    let text = report("", &[("UNIFIED_PUSH_HTTP__PUBLIC_URL", url)]);
    let remedy = "is not in ASCII; write it as \"https://xn--bcher-kva.example:8443/push\"";
    assert!(text.contains(remedy), "{text}");
}
