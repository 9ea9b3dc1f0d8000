//! What the labels of metrics may be.

/// A label's values.
pub trait Label: Copy + 'static {
    const ALL: &'static [Self];

    fn name(self) -> &'static str;

    /// The position in `ALL`.
    fn index(self) -> usize;
}

/// Declares an enum whose variants are the values of a metric's label.
macro_rules! labels {
    ($(#[$doc:meta])* pub enum $enum:ident {
        $($(#[$variant_doc:meta])* $variant:ident = $name:literal,)*
    }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $enum { $($(#[$variant_doc])* $variant,)* }

        impl $crate::metrics::Label for $enum {
            const ALL: &'static [Self] = &[$(Self::$variant,)*];

            fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            fn index(self) -> usize {
                self as usize
            }
        }
    };
}

labels! {
    /// How a push ended.
    pub enum PushResult {
        Acknowledged = "acknowledged",
        Stored = "stored",
        Unanswered = "unanswered",
        SentUnanswered = "sent-unanswered",
        PhoneError = "phone-error",
        LinkDown = "link-down",
        Revoked = "revoked",
        BadToken = "bad-token",
        Guessing = "guessing",
        Gone = "gone",
        /// The gateway for Matrix was given another push server's endpoint.
        Foreign = "foreign",
        Unauthorized = "unauthorized",
        RateLimited = "rate-limited",
        MemoryFull = "memory-full",
        LinkBusy = "link-busy",
        StoreFailed = "store-failed",
        ClockWrong = "clock-wrong",
        AccountFull = "account-full",
        QueueFull = "queue-full",
        BadRequest = "bad-request",
        TooLarge = "too-large",
        /// The sender hung up before its answer, or its body did not come whole and in time.
        Abandoned = "abandoned",
    }
}

labels! {
    /// Why an HTTP connection was refused, or had to make room for others.
    pub enum ConnectionEnd {
        /// As many are open as there may be: those that were idle for longest give way.
        NoRoom = "no-room",
        /// Too much is being read: the requests that take longest are given up.
        Reading = "reading",
        /// One client has as many as it may.
        ClientsShare = "client",
    }
}

labels! {
    /// What the VAPID signature of a push is worth.
    pub enum SignatureResult {
        Absent = "absent",
        Bad = "bad",
        Good = "good",
        /// Good, but the endpoint was registered with another key.
        OtherKey = "other-key",
    }
}

labels! {
    /// How a registration ended, or the end of one.
    pub enum RegistrationResult {
        Accepted = "accepted",
        Forbidden = "forbidden",
        BadRequest = "bad-request",
        EndpointTooLong = "endpoint-too-long",
        TooMany = "too-many",
        RateLimited = "rate-limited",
        Busy = "busy",
        StoreFailed = "store-failed",
        ClockWrong = "clock-wrong",
    }
}

labels! {
    /// What happened to messages of the queue.
    pub enum QueueEvent {
        Stored = "stored",
        /// Its phone has it.
        Forwarded = "forwarded",
        /// By a later message with its topic.
        Replaced = "replaced",
        Expired = "expired",
        /// Its endpoint had more than it may.
        Evicted = "evicted",
        /// By its sender.
        Deleted = "deleted",
        /// With its registration.
        Revoked = "revoked",
        /// A late answer that found its queue full: its message is sent again.
        DroppedAnswer = "dropped-answer",
    }
}

labels! {
    /// Stanzas that were refused or ignored.
    pub enum OddStanza {
        TooLarge = "too-large",
        TooDeep = "too-deep",
        Malformed = "malformed",
        Unsupported = "unsupported",
        UnknownAnswer = "unknown-answer",
        ReplyDropped = "reply-dropped",
    }
}

labels! {
    /// The state of the XMPP link; while it is down, why.
    pub enum LinkState {
        Connecting = "connecting",
        Up = "up",
        /// Nothing listens there.
        ConnectionRefused = "connection-refused",
        /// The name does not resolve, or the host does not answer.
        Unreachable = "unreachable",
        /// The server's certificate is not believed, or one of the two sides speaks no TLS.
        TlsFailed = "tls-failed",
        /// The component secret is wrong.
        NotAuthorized = "not-authorized",
        /// The server has no such component.
        HostUnknown = "host-unknown",
        /// Another connection holds the component's name.
        Conflict = "conflict",
        /// The server closed the connection, or it was cut.
        ServerShutdown = "server-shutdown",
        /// No answer to a ping, or the server has stopped reading.
        DeadPeer = "dead-peer",
        /// The other side breaks the protocol, or ended the stream for another reason.
        StreamError = "stream-error",
    }
}
