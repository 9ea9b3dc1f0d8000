//! What a person at the terminal is told of keys and subscriptions.

use super::{encrypt::KeyError, subscription::SubscriptionError, vapid::SigningKeyError};

/// Why nothing can be sent.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    #[error("--{0}")]
    Key(#[from] KeyError),
    #[error("--subscription: {0}")]
    Subscription(#[from] SubscriptionError),
    #[error("{0}")]
    SigningKey(#[from] SigningKeyError),
    #[error("leave the endpoint out, or --subscription: it has an endpoint of its own")]
    TwoEndpoints,
    #[error("the subscription is read from standard input, so give the message as an argument")]
    TwoInputs,
}
