//! Which layer wins, and what the environment's strings become.

use super::{super::layers::File, *};

/// Each option that is no secret, as a file and as a variable set it, to different values.
const SAMPLES: &[(&str, &str, &str)] = &[
    (
        "acl",
        r#"["a.example", "b@c.example"]"#,
        "x.example, y@z.example",
    ),
    ("backend", r#""storage""#, "paseto"),
    ("registration_ttl", "604801", "8d"),
    ("registration_grace", "0", "14d"),
    ("vapid", r#""off""#, "required"),
    ("state_dir", r#""/a""#, "/b"),
    ("component.domain", r#""a.example.org""#, "b.example.org"),
    ("component.host", r#""localhost""#, "::1"),
    ("store.connections", "4", "5"),
    ("store.require_synchronous", "true", "false"),
    ("component.port", "5348", "5349"),
    ("component.tls", "true", "false"),
    ("component.tls_name", r#""a.example""#, "b.example"),
    ("http.listen", r#""[::1]:1""#, "unix:/run/x"),
    (
        "http.public_url",
        r#""https://a.example""#,
        "https://b.example/push",
    ),
    ("http.require_ttl", "true", "false"),
    (
        "http.trusted_proxies",
        r#"["10.0.0.0/8"]"#,
        "10.0.0.1,fd00::/8",
    ),
    ("admin.listen", r#""unix:/run/a""#, "127.0.0.1:0"),
    ("delivery.ack_timeout", r#""5s""#, "800ms"),
    ("delivery.default_ttl", "60", "2d"),
    ("delivery.min_ttl", "60", "10min"),
    ("delivery.min_ttl_urgency", r#""high""#, "low"),
    ("delivery.max_ttl", r#""1day 1h""#, "90000000000"),
    ("delivery.max_queued_per_endpoint", "50", "200"),
    ("delivery.max_queued_per_jid", "500", "2000"),
    ("delivery.max_queued_bytes", r#""2GiB""#, "1048576"),
    ("limits.endpoint_rate", r#""1/min""#, "2/h, burst 9"),
    ("limits.client_guess_rate", r#""1/min""#, "2/h, burst 9"),
    ("limits.registrations_per_jid", "1", "2"),
    ("limits.registration_rate", r#""1/min""#, "2/h, burst 9"),
    ("limits.in_flight_memory", "65536", "1GiB"),
    ("limits.connections", "1", "2"),
    ("log.level", r#""trace""#, "error"),
    ("log.format", r#""json""#, "text"),
];

fn abouts() -> impl Iterator<Item = &'static About> {
    OPTIONS.iter().map(|option| option.about())
}

fn in_section(path: &str, literal: &str) -> String {
    match path.split_once('.') {
        Some((section, name)) => format!("[{section}]\n{name} = {literal}\n"),
        None => format!("{path} = {literal}\n"),
    }
}

#[test]
fn every_option_comes_from_every_layer_and_the_later_one_wins() {
    let described = |loaded: &Loaded| format!("{:?}", loaded.config);
    for key in abouts().filter(|about| !about.is_secret) {
        if key.name().ends_with("_file") {
            continue; // secret_files.rs
        }
        let sample = SAMPLES.iter().find(|(path, ..)| *path == key.path);
        let (path, literal, text) = sample.unwrap_or_else(|| panic!("no sample of {}", key.path));
        let toml = in_section(path, literal);
        let variable = key.variable();
        let env: &[_] = &[(variable.as_str(), *text)];
        let tls =
            (*path == "component.tls_name").then_some(("UNIFIED_PUSH_COMPONENT__TLS", "true"));
        let base: Vec<_> = [DOMAIN, SECRET]
            .into_iter()
            .chain(tls)
            .filter(|(name, _)| *name != variable)
            .collect();

        let files = Files::new();
        let default = files.load("", &[DOMAIN, SECRET]).unwrap();
        let from_file = files.load(&toml, &base).unwrap();
        let from_env = files.load("", &[&base, env].concat()).unwrap();
        let from_both = files.load(&toml, &[&base, env].concat()).unwrap();
        assert_ne!(described(&default), described(&from_file), "{path}");
        assert_ne!(described(&from_file), described(&from_env), "{path}");
        assert_eq!(described(&from_both), described(&from_env), "{path}");

        let printed = from_file.effective.toml;
        let line = format!("\n{} = {literal}  # ", key.name());
        assert!(format!("\n{printed}").contains(&line), "{printed}");
        let printed = from_both.effective.toml;
        assert!(printed.contains(&format!("  # {variable}\n")), "{printed}");
    }
}

#[test]
fn defaults_are_the_documented_ones() {
    let Loaded {
        config, warnings, ..
    } = load_with("", &[]).unwrap();
    assert_eq!(warnings, Vec::<String>::new());
    assert_eq!(
        config.acl.entries(),
        [crate::model::acl::AclEntry::Jid(
            "example.org".parse().unwrap()
        )]
    );
    assert_eq!(config.backend, Backend::Paseto);
    assert_eq!(config.registration_ttl, Duration::from_secs(604_800));
    assert_eq!(config.secret, None);
    assert_eq!(config.http.public_url.to_string(), "https://up.example.org");
    assert_eq!(config.http.trusted_proxies.len(), 2);
    assert_eq!(
        config.http.listen,
        Listen::Tcp("127.0.0.1:8080".parse().unwrap())
    );
    assert_eq!(config.delivery.ack_timeout, Duration::from_secs(1));
    assert_eq!(config.delivery.max_ttl.as_secs(), 28 * 86400);
    assert_eq!(config.delivery.max_queued_per_endpoint, 100);
    assert_eq!(config.delivery.max_queued_per_jid, 1000);
    assert_eq!(config.delivery.max_queued_bytes, 1 << 30);
    assert_eq!(config.limits.in_flight_memory, 64 << 20);
    assert_eq!(config.log.level, Level::Info);
}

#[test]
fn the_command_line_names_the_file_before_the_environment_does() {
    let files = Files::new();
    let by_env = files.write("env.toml", "state_dir = \"/env\"");
    let by_cli = files.write("cli.toml", "state_dir = \"/cli\"");
    let named = ("UNIFIED_PUSH_CONFIG", by_env.to_str().unwrap());
    let env = variables(&[DOMAIN, SECRET, named]);
    let state_dir = |cli: Option<&Path>| load(cli, env.clone()).unwrap().config.state_dir;
    assert_eq!(state_dir(None), Path::new("/env"));
    assert_eq!(state_dir(Some(&by_cli)), Path::new("/cli"));
}

#[test]
fn a_named_file_that_is_missing_is_an_error() {
    let missing = Path::new("/nonexistent/config.toml");
    let text = load(Some(missing), variables(&[DOMAIN, SECRET]))
        .unwrap_err()
        .to_string();
    assert!(
        text.contains("/nonexistent/config.toml (--config): cannot be read"),
        "{text}"
    );
    let named = ("UNIFIED_PUSH_CONFIG", "config-of-a-parent-directory.toml");
    let text = load(None, variables(&[DOMAIN, SECRET, named]))
        .unwrap_err()
        .to_string();
    assert!(text.contains("(UNIFIED_PUSH_CONFIG): cannot be"), "{text}");
}

#[test]
fn the_default_file_may_be_missing_and_is_named_then_too() {
    let chosen = File::choose(None, &variables(&[("UNIFIED_PUSH_CONFIG", "")]));
    assert_eq!(chosen.path, Path::new("/etc/unified-push/config.toml"));
    let missing = File {
        path: "/nonexistent/config.toml".into(),
        ..chosen
    };
    assert_eq!(
        missing.to_string(),
        "no file is named, and /nonexistent/config.toml does not exist"
    );
    assert!(missing.layer().is_ok_and(|layer| layer.is_empty()));
}

#[test]
fn a_misspelt_variable_is_a_warning_that_names_the_right_one() {
    let text = warnings(
        "",
        &[
            ("UNIFIED_PUSH_HTTP_LISTEN", "127.0.0.1:1"),
            ("UNIFIED_PUSH_BAKCEND", "jwt"),
            ("UNIFIED_PUSH_HOMEPAGE", "x"),
            ("UNIFIED_PUSHER", "x"),
            ("PATH", "/bin"),
        ],
    );
    assert_eq!(
        text,
        "UNIFIED_PUSH_HTTP_LISTEN is not an option and is ignored; did you mean UNIFIED_PUSH_HTTP__LISTEN?\n\
         UNIFIED_PUSH_BAKCEND is not an option and is ignored; did you mean UNIFIED_PUSH_BACKEND?\n\
         UNIFIED_PUSH_HOMEPAGE is not an option and is ignored"
    );
}

#[test]
fn one_underscore_for_two_is_seen_in_every_nested_variable() {
    for key in abouts().filter(|about| !about.section().is_empty()) {
        let right = key.variable();
        let text = warnings("", &[(&right.replace("__", "_"), "x")]);
        assert!(text.ends_with(&format!("did you mean {right}?")), "{text}");
    }
}

#[test]
fn service_variables_of_kubernetes_are_ignored() {
    let env = [
        ("UNIFIED_PUSH_PORT", "tcp://10.96.0.1:8080"),
        ("UNIFIED_PUSH_PORT_8080_TCP", "tcp://10.96.0.1:8080"),
        ("UNIFIED_PUSH_PORT_8080_TCP_ADDR", "10.96.0.1"),
        ("UNIFIED_PUSH_PORT_8080_TCP_PORT", "8080"),
        ("UNIFIED_PUSH_PORT_8080_TCP_PROTO", "tcp"),
        ("UNIFIED_PUSH_SERVICE_HOST", "10.96.0.1"),
        ("UNIFIED_PUSH_SERVICE_PORT", "8080"),
        ("UNIFIED_PUSH_SERVICE_PORT_HTTP", "8080"),
        ("UNIFIED_PUSH_ADMIN_PORT", "tcp://10.96.0.2:8081"),
        ("UNIFIED_PUSH_ADMIN_SERVICE_HOST", "10.96.0.2"),
    ];
    assert_eq!(warnings("", &env), "");
    // The same name without a Service's value is a mistake worth a word.
    let text = warnings("", &[("UNIFIED_PUSH_COMPONENT_PORT", "5347")]);
    assert!(text.contains("UNIFIED_PUSH_COMPONENT__PORT?"), "{text}");
}

#[test]
fn what_is_printed_can_be_loaded_again() {
    let files = Files::new();
    let secret_file = files.write_private("secret", LONG);
    let env = [
        SECRET,
        ("UNIFIED_PUSH_ACL", "*, ro\u{301}meo@example.org"),
        ("UNIFIED_PUSH_STATE_DIR", "/a \"quoted\" \\ path # \t\n"),
        ("UNIFIED_PUSH_SECRET_FILE", &secret_file),
        ("UNIFIED_PUSH_COMPONENT__PORT", "5348"),
        ("UNIFIED_PUSH_HTTP__REQUIRE_TTL", "true"),
        ("UNIFIED_PUSH_REGISTRATION_TTL", "604801"),
    ];
    let toml = "[component]\ndomain = \"push.example.net\"\n[log]\nlevel = \"debug\"";
    let first = files.load(toml, &env).unwrap();
    let printed = first.effective.toml;
    let again = files.load(&printed, &[SECRET]).unwrap();
    assert_eq!(
        format!("{:?}", first.config),
        format!("{:?}", again.config),
        "{printed}"
    );
    let derived = "public_url = \"https://push.example.net\"  # default\n";
    assert!(printed.contains(derived), "{printed}");
}

#[test]
fn the_options_that_need_a_restart_are_those_that_say_so() {
    let base = [
        SECRET,
        DOMAIN,
        // These follow from the domain.
        ("UNIFIED_PUSH_ACL", "example.org"),
        ("UNIFIED_PUSH_HTTP__PUBLIC_URL", "https://example.org"),
        // Without it, its name would be of no use.
        ("UNIFIED_PUSH_COMPONENT__TLS", "true"),
    ];
    for about in abouts().filter(|about| !about.is_secret) {
        let Some((path, literal, _)) = SAMPLES.iter().find(|(path, ..)| *path == about.path) else {
            continue;
        };
        let variable = about.variable();
        let env = base.into_iter().filter(|(name, _)| *name != variable);
        let env: Vec<_> = env.collect();
        let started = load_with("", &base[2..]).unwrap().config;
        let changed = Files::new().load(&in_section(path, literal), &env);
        let changed = changed.unwrap().config.needs_restart(&started);
        let expected: &[&str] = match about.needs_restart {
            true => &[path],
            false => &[],
        };
        assert_eq!(changed, expected, "{path}");
    }
    let url = ("UNIFIED_PUSH_STORE__URL", "postgres://up@localhost/push");
    let secret = ("UNIFIED_PUSH_SECRET", LONG);
    let started = load_with("", &[secret]).unwrap().config;
    let changed = load_with("", &[secret, url]).unwrap().config;
    assert_eq!(changed.needs_restart(&started), ["store.url"]);
}
