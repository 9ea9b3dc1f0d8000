//! Who may register: domains, bare JIDs, or everybody. It never applies to application servers.

use std::{fmt, str::FromStr};

use jid::{BareJid, Jid};

/// One entry of `acl`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AclEntry {
    /// `*`: every account that can reach the component, on any server.
    Everybody,
    /// A bare JID; one without a local part, also written `*@example.org`, stands for all accounts
    /// of its domain.
    Jid(BareJid),
    /// `*.example.org`: all accounts of the domains below this one, which is not among them.
    Below(BareJid),
}

/// Why a text is no entry.
#[derive(Debug, thiserror::Error)]
pub enum AclError {
    #[error("{0:?} is neither a domain, a bare JID nor \"*\"")]
    NoJid(String),
    #[error(
        "{0:?} matches nobody: `*` may stand alone, for the subdomains of a domain as in \
         \"*.example.org\", or for its accounts as in \"*@example.org\""
    )]
    Wildcard(String),
}

impl FromStr for AclEntry {
    type Err = AclError;

    fn from_str(text: &str) -> Result<Self, AclError> {
        let no_jid = || AclError::NoJid(text.to_owned());
        // All accounts of something are meant without saying so.
        let (accounts, rest) = match text.strip_prefix("*@") {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        if rest == "*" {
            return Ok(Self::Everybody);
        }
        let (below, name) = match rest.strip_prefix("*.") {
            Some(name) => (true, name),
            None => (false, rest),
        };
        if name.contains('*') {
            return Err(AclError::Wildcard(text.to_owned()));
        }
        let jid = BareJid::new(name).map_err(|_| no_jid())?;
        let is_host = |c: char| c.is_alphanumeric() || "-._[:]".contains(c);
        if !jid.domain().as_str().chars().all(is_host)
            || (jid.node().is_some() && (accounts || below))
        {
            return Err(no_jid());
        }
        Ok(if below {
            Self::Below(jid)
        } else {
            Self::Jid(jid)
        })
    }
}

/// As it can be written.
impl fmt::Display for AclEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Everybody => f.write_str("*"),
            Self::Jid(jid) => jid.fmt(f),
            Self::Below(domain) => write!(f, "*.{domain}"),
        }
    }
}

impl AclEntry {
    fn permits(&self, sender: &Jid) -> bool {
        match self {
            Self::Everybody => true,
            Self::Jid(jid) => {
                jid.domain() == sender.domain()
                    && (jid.node().is_none() || jid.node() == sender.node())
            }
            Self::Below(domain) => {
                let above = sender.domain().as_str().strip_suffix(domain.as_str());
                above.is_some_and(|labels| labels.ends_with('.'))
            }
        }
    }

    /// Whether only accounts of this domain would match.
    fn is_within(&self, domain: &BareJid) -> bool {
        matches!(self, Self::Jid(jid) if jid.domain() == domain.domain())
    }
}

/// The entries of `acl`, of which any one lets an account in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acl(Vec<AclEntry>);

impl Acl {
    /// Without entries it permits nobody.
    pub fn new(entries: Vec<AclEntry>) -> Self {
        Self(entries)
    }

    /// As mod_unified_push: the component's parent domain, `example.org` for `up.example.org`.
    /// Nobody when the component has no parent.
    pub fn default_for(component: &BareJid) -> Self {
        let parent = component.domain().as_str().split_once('.');
        let parent = parent.and_then(|(_, parent)| BareJid::new(parent).ok());
        Self(parent.map(AclEntry::Jid).into_iter().collect())
    }

    /// In the order of the configuration.
    pub fn entries(&self) -> &[AclEntry] {
        &self.0
    }

    /// The entry that lets an account register; none when it may not. The resource does not count.
    pub fn rule(&self, sender: &Jid) -> Option<&AclEntry> {
        self.0.iter().find(|entry| entry.permits(sender))
    }

    /// Whether an account may register.
    pub fn permits(&self, sender: &Jid) -> bool {
        self.rule(sender).is_some()
    }

    /// The first entry that is for accounts of the component itself, which has none.
    pub fn within(&self, component: &BareJid) -> Option<&AclEntry> {
        self.0.iter().find(|entry| entry.is_within(component))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acl(entries: &[&str]) -> Acl {
        Acl::new(entries.iter().map(|e| e.parse().unwrap()).collect())
    }

    fn jid(text: &str) -> Jid {
        Jid::new(text).unwrap()
    }

    #[test]
    fn entries_are_compared_as_jids() {
        let acl = acl(&["Example.ORG", "Juliet@capulet.example"]);
        assert!(acl.permits(&jid("romeo@example.org/orchard")));
        assert!(acl.permits(&jid("JULIET@capulet.EXAMPLE/balcony")));
        assert!(!acl.permits(&jid("nurse@capulet.example/balcony")));
        assert!(!acl.permits(&jid("romeo@up.example.org/orchard")));
        assert!(!acl.permits(&jid("romeo@notexample.org")));
    }

    #[test]
    fn a_star_lets_everybody_in() {
        assert!(acl(&["*"]).permits(&jid("anyone@anywhere.example/x")));
        assert!(!acl(&[]).permits(&jid("anyone@anywhere.example/x")));
    }

    #[test]
    fn the_default_is_the_parent_domain() {
        let default = |domain| Acl::default_for(&BareJid::new(domain).unwrap());
        assert_eq!(default("up.example.org"), acl(&["example.org"]));
        assert_eq!(default("localhost"), acl(&[]));
    }

    #[test]
    fn a_star_before_a_domain_stands_for_those_below_it() {
        let acl = acl(&["*.Example.org"]);
        assert_eq!(acl.entries()[0].to_string(), "*.example.org");
        assert!(acl.permits(&jid("romeo@chat.example.org/orchard")));
        assert!(acl.permits(&jid("romeo@a.b.EXAMPLE.org")));
        for other in [
            "romeo@example.org",
            "romeo@notexample.org",
            "romeo@example.org.net",
        ] {
            assert!(!acl.permits(&jid(other)), "{other}");
        }
    }

    #[test]
    fn a_star_before_an_at_stands_for_all_accounts() {
        assert_eq!(acl(&["*@example.org"]), acl(&["example.org"]));
        assert_eq!(acl(&["*@*.example.org"]), acl(&["*.example.org"]));
        assert_eq!(acl(&["*@*"]), acl(&["*"]));
    }

    #[test]
    fn the_entry_that_decides_is_told() {
        let acl = acl(&["juliet@example.org", "example.org", "*"]);
        let rule = |sender| acl.rule(&jid(sender)).map(AclEntry::to_string);
        assert_eq!(
            rule("juliet@example.org/x").as_deref(),
            Some("juliet@example.org")
        );
        assert_eq!(rule("romeo@example.org").as_deref(), Some("example.org"));
        assert_eq!(rule("nurse@example.net").as_deref(), Some("*"));
    }

    #[test]
    fn accounts_of_the_component_are_nobody() {
        let component = BareJid::new("up.example.org").unwrap();
        for within in ["up.example.org", "romeo@UP.example.org"] {
            assert!(acl(&["*", within]).within(&component).is_some(), "{within}");
        }
        for good in ["example.org", "*.example.org", "*.up.example.org", "*"] {
            assert!(acl(&[good]).within(&component).is_none(), "{good}");
        }
    }

    #[test]
    fn a_star_that_would_match_nobody_is_refused() {
        for bad in [
            "*example.org",
            "example.*",
            "chat.*.org",
            "ro*@example.org",
            "**",
            "*.*.org",
        ] {
            let error = AclEntry::from_str(bad).unwrap_err();
            assert!(matches!(error, AclError::Wildcard(_)), "{bad:?}");
            assert!(error.to_string().contains("matches nobody"));
        }
    }

    #[test]
    fn a_full_jid_or_nonsense_is_refused() {
        for bad in [
            "",
            "romeo@example.org/orchard",
            "@example.org",
            "a b@c",
            "*.",
            "*@",
            "*@romeo@example.org",
            "*.romeo@example.org",
            "*.example.org/x",
            "example.org,example.net",
            "https://example.org",
        ] {
            let error = AclEntry::from_str(bad).unwrap_err();
            assert!(matches!(error, AclError::NoJid(_)), "{bad:?}");
        }
    }
}
