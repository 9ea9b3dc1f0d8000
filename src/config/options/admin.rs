//! The listener for those who operate the daemon.

use super::listen;
use crate::{
    config::{forms::As, key::Key},
    model::listen::Listen,
};

pub static LISTEN: Key<As<Listen>> = listen("admin.listen", r#""127.0.0.1:8081""#).means(
    "Where the daemon serves `/metrics`, `/healthz` and `/readyz`. Do not expose this address to \
         the public.",
);
