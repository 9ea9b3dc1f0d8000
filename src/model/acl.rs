//! Who may register: domains, bare JIDs, or everybody. It never applies to application servers.

use std::{fmt, str::FromStr};

use jid::{BareJid, Jid};

/// One entry of `acl`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AclEntry {
    /// `*`: every account that can reach the component, on any server.
    Everybody,
    /// A bare JID; one without a local part stands for all accounts of its domain.
    Jid(BareJid),
}

/// A text that is no entry.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is neither a domain, a bare JID nor \"*\"")]
pub struct AclError(String);

impl FromStr for AclEntry {
    type Err = AclError;

    fn from_str(text: &str) -> Result<Self, AclError> {
        if text == "*" {
            return Ok(Self::Everybody);
        }
        let jid = BareJid::new(text).map_err(|_| AclError(text.to_owned()))?;
        Ok(Self::Jid(jid))
    }
}

/// As it is written.
impl fmt::Display for AclEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Everybody => f.write_str("*"),
            Self::Jid(jid) => jid.fmt(f),
        }
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

    /// Whether an account may register. The resource does not count; an empty list permits nobody.
    pub fn permits(&self, sender: &Jid) -> bool {
        let sender = sender.to_bare();
        self.0.iter().any(|entry| match entry {
            AclEntry::Everybody => true,
            AclEntry::Jid(jid) if jid.node().is_none() => jid.domain() == sender.domain(),
            AclEntry::Jid(jid) => *jid == sender,
        })
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
    fn a_full_jid_or_nonsense_is_refused() {
        for bad in ["", "romeo@example.org/orchard", "@example.org", "a b@c"] {
            assert!(AclEntry::from_str(bad).is_err(), "{bad:?}");
        }
    }
}
