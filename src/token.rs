//! The tokens in endpoint URLs: issued by the configured back end, opened by their form.

/// Which kind of token is issued. Tokens of every kind are opened whatever this says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    Paseto,
    Jwt,
    Storage,
}
