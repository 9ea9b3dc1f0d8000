//! The example file, which tests/options makes, loads as it is and with everything switched on.

use super::*;

const EXAMPLE: &str = include_str!("../../../unified-push.example.toml");

#[test]
fn the_example_changes_nothing_as_it_is() {
    let example = load_with(EXAMPLE, &[]).unwrap();
    let defaults = load_with("", &[]).unwrap();
    assert_eq!(example.warnings, Vec::<String>::new());
    assert_eq!(
        format!("{:?}", example.config),
        format!("{:?}", defaults.config)
    );
}

#[test]
fn the_example_loads_with_its_options_switched_on() {
    let files = Files::new();
    let path = files.write_private("secret", LONG);
    let authority = testbed::Authority::new("authority");
    let switched_on: String = EXAMPLE
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(option) if option.starts_with("secret = ") => String::new(),
            Some(option) if option.starts_with("previous_secrets = ") => String::new(),
            // Tests of its own have such keys.
            Some(option) if option.starts_with("import = ") => "import = []\n".to_owned(),
            Some(option) if option.starts_with("url_file = ") => String::new(),
            Some(option) if option.starts_with("secret_file = ") => {
                format!("secret_file = '{path}'\n")
            }
            Some(option) if option.starts_with("tls = ") => "tls = true\n".to_owned(),
            Some(option) if option.starts_with("tls_ca_file = ") => {
                format!("tls_ca_file = {:?}\n", authority.path())
            }
            Some(option) if !option.starts_with(' ') => format!("{option}\n"),
            _ => format!("{line}\n"),
        })
        .collect();
    let loaded = files.load(&switched_on, &[]).unwrap();
    assert_eq!(loaded.warnings, Vec::<String>::new());
}
