//! `[[import]]`: keys as the other servers write them, and what is said of wrong ones.

use super::*;

const HEX: &str = "7070707070707070707070707070707070707070707070707070707070707070";

#[test]
fn keys_come_from_the_file_their_own_files_or_the_environment() {
    let files = Files::new();
    let prosody = format!(
        "return {{\n\t[\"paseto_v3_local_key\"] = \"secret-token:paseto.v3.local:{HEX}\";\n}};\n"
    );
    files.write_private("private.dat", prosody);
    let toml = "\
[component]
domain = \"up.example.org\"
secret = \"of the component\"
[[import]]
kind = \"prosody-paseto\"
key_file = \"private.dat\"
[[import]]
kind = \"prosody-jwt\"
key = \"a secret of thirty-two bytes and more\"
";
    let loaded = files.load(toml, &[]).unwrap();
    let peers: Vec<_> = loaded
        .config
        .imports
        .iter()
        .map(|import| import.peer().to_string())
        .collect();
    assert_eq!(peers, ["prosody-paseto", "prosody-jwt"]);
    assert_eq!(loaded.warnings, Vec::<String>::new());
    let shown = format!(
        "{}{}{:?}",
        loaded.effective.toml, loaded.effective.json, loaded.config
    );
    assert!(
        !shown.contains("thirty-two") && !shown.contains("7070"),
        "{shown}"
    );

    let text = r#"[{kind = "ejabberd", key = '{"kty": "oct", "k": "MDEyMzQ1Njc4OWFiY2RlZg"}'}]"#;
    let loaded = files.load(toml, &[("UNIFIED_PUSH_IMPORT", text)]).unwrap();
    assert_eq!(loaded.config.imports.len(), 1);
    let loaded = files.load(toml, &[("UNIFIED_PUSH_IMPORT", "")]).unwrap();
    assert!(loaded.config.imports.is_empty());
}

#[test]
fn a_wrong_entry_is_named_with_its_file_and_key() {
    let files = Files::new();
    files.write_private(
        "half.dat",
        "return {\n\t[\"paseto_v3_local_key\"] = \"secret-tok",
    );
    files.write_private("ec.json", r#"{"kty": "EC", "crv": "P-256"}"#);
    let report = |entry: &str| {
        let toml = format!("import = [{entry}]\n");
        files.report(&toml, &[DOMAIN, SECRET])
    };
    for (entry, said) in [
        (
            r#"{ kind = "prosody-paseto", key_file = "half.dat" }"#,
            "has a wrong key: entry number 1, of kind \"prosody-paseto\": half.dat is no whole file of Prosody's: it ends in the middle of line 2",
        ),
        (
            r#"{ kind = "ejabberd", key_file = "ec.json" }"#,
            "ec.json is a JWK of the kind \"EC\"",
        ),
        (
            r#"{ kind = "up", key_file = "absent" }"#,
            "absent cannot be read",
        ),
        (
            r#"{ kind = "up", key = "short" }"#,
            "of kind \"up\": `key` is neither",
        ),
        (
            r#"{ kind = "prosody", key = "x" }"#,
            "has an entry, number 1, whose `kind` is none that there is",
        ),
        (
            r#"{ kind = "prosody-storage" }"#,
            "`unified-push import prosody-storage DIRECTORY`",
        ),
        (
            r#"{ kind = "up" }"#,
            "has an entry, number 1, without `key_file`",
        ),
        (
            r#"{ kind = "up", key = "x", key_file = "y" }"#,
            "with both `key` and `key_file`",
        ),
        (
            r#"{ kind = "ejabberd", key_file = "ec.json", path = "/up/" }"#,
            "with `path`, which is not needed",
        ),
        (r#""up""#, "is not a list of tables"),
    ] {
        let report = report(entry);
        assert!(report.contains("import (config.toml:1:10): "), "{report}");
        assert!(report.contains(said), "{report}");
        assert!(!report.contains("secret-tok"), "{report}");
    }
}

#[test]
fn a_key_that_is_short_or_in_quotation_marks_is_taken_with_a_warning() {
    for (entry, said) in [
        (
            r#"{ kind = "prosody-jwt", key = "short" }"#,
            "is shorter than 32 bytes",
        ),
        (
            r#"{ kind = "ejabberd", key = '{"kty": "oct", "k": "AA"}' }"#,
            "is shorter than 32 bytes",
        ),
        (
            r#"{ kind = "prosody-jwt", key = "'a secret of thirty-two bytes and more'" }"#,
            "is in quotation marks, which counts as a part of the key",
        ),
    ] {
        let told = warnings(&format!("import = [{entry}]"), &[]);
        assert!(told.contains(said), "{told}");
        assert!(!told.contains("thirty-two"), "{told}");
    }
}
