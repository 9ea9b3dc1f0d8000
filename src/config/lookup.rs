//! From a name in a file to the option or section that it means.

use super::{key::About, options::OPTIONS, report::nearest};

pub fn is_option(path: &str) -> bool {
    abouts().any(|about| about.path == path)
}

pub fn is_section(path: &str) -> bool {
    abouts().any(|about| about.section() == path)
}

/// The option that a wrong path probably means. It may be in the wrong section, or have the prefix
/// of mod_unified_push.
pub fn nearest_path(wrong: &str) -> Option<&'static str> {
    let name = wrong.rsplit('.').next().unwrap_or(wrong);
    let name = name.strip_prefix("unified_push_").unwrap_or(name);
    let mut same_name = abouts().filter(|about| about.name() == name);
    if let (Some(about), None) = (same_name.next(), same_name.next()) {
        return Some(about.path);
    }
    nearest(wrong, abouts().map(|about| about.path))
}

/// The section that a wrong one probably means.
pub fn nearest_section(wrong: &str) -> Option<&'static str> {
    nearest(wrong, abouts().map(About::section))
}

fn abouts() -> impl Iterator<Item = &'static About> {
    OPTIONS.iter().map(|option| option.about())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_nest_with_two_underscores() {
        let variable = |path| {
            abouts()
                .find(|about| about.path == path)
                .unwrap()
                .variable()
        };
        assert_eq!(variable("acl"), "UNIFIED_PUSH_ACL");
        assert_eq!(
            variable("component.secret_file"),
            "UNIFIED_PUSH_COMPONENT__SECRET_FILE"
        );
    }

    #[test]
    fn a_wrong_path_finds_the_right_one() {
        assert_eq!(nearest_path("bakcend"), Some("backend"));
        assert_eq!(nearest_path("http.require_tll"), Some("http.require_ttl"));
        assert_eq!(nearest_path("port"), Some("component.port"));
        assert_eq!(nearest_path("unified_push_acl"), Some("acl"));
        assert_eq!(nearest_path("database.engine"), None);
        assert_eq!(nearest_section("htpp"), Some("http"));
        assert_eq!(nearest_section("database"), None);
    }
}
