//! What the log says about the link: each change of its state once, a lasting fault now and then.

use std::time::Duration;

use tracing::{debug, info, warn};

use super::{loss::Loss, socket::Peer};
use crate::metrics::LinkState;

/// A fault that lasts is repeated in the log after so many attempts.
const REPEAT: u32 = 20;

pub struct Reporter {
    domain: String,
    /// The fault that the last attempts met, and how many they were.
    fault: Option<(LinkState, u32)>,
    warned_of_plaintext: bool,
}

impl Reporter {
    pub fn new(domain: String) -> Self {
        Self {
            domain,
            fault: None,
            warned_of_plaintext: false,
        }
    }

    pub fn up(&mut self, peer: &Peer) {
        self.fault = None;
        info!(%peer, component = self.domain, "connected to the XMPP server");
        if peer.is_exposed() && !self.warned_of_plaintext {
            self.warned_of_plaintext = true;
            warn!(
                %peer,
                "the link to the XMPP server is not encrypted and leaves the private network; \
                 set component.tls, or tunnel it"
            );
        }
    }

    pub fn lost(&mut self, loss: &Loss, pause: Duration) {
        let state = loss.state();
        let attempts = match self.fault {
            Some((last, attempts)) if last == state => attempts + 1,
            _ => 1,
        };
        self.fault = Some((state, attempts));
        let millis = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
        let retry_in = humantime::format_duration(Duration::from_millis(millis));
        if attempts % REPEAT == 1 {
            warn!(attempts, %retry_in, "no link to the XMPP server: {loss}");
        } else {
            debug!(attempts, %retry_in, "still no link to the XMPP server: {loss}");
        }
    }
}
