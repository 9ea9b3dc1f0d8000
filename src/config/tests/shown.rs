//! What is printed of the configuration, and that secrets are not.

use super::*;

#[test]
fn the_default_of_the_secret_is_printed_unless_a_file_is_set() {
    let files = Files::new();
    let default = "# secret: the file secret in state_dir  # default\n";
    let printed = |env: &[_]| {
        let loaded = files.load("", &[&[DOMAIN, SECRET], env].concat());
        loaded.unwrap().effective.toml
    };
    assert!(printed(&[]).contains(default));
    let path = files.write_private("secret", LONG);
    let text = printed(&[("UNIFIED_PUSH_SECRET_FILE", path.as_str())]);
    assert!(!text.contains(default), "{text}");
}

#[test]
fn no_secret_is_printed() {
    let old = "1".repeat(32);
    let loaded = load_with(
        "",
        &[
            ("UNIFIED_PUSH_SECRET", LONG),
            ("UNIFIED_PUSH_PREVIOUS_SECRETS", &old),
        ],
    )
    .unwrap();
    let text = format!("{} {loaded:?}", loaded.effective.toml);
    for secret in [LONG, &old, SECRET.1] {
        assert!(!text.contains(secret), "{text}");
    }
    assert!(
        text.contains("# secret is set; the value is not shown  # UNIFIED_PUSH_SECRET\n"),
        "{text}"
    );
}
