//! What the black-box tests of both kinds use: child processes and an HTTP client.

pub mod http;
pub mod process;
