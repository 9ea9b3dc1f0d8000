//! What the commands about accounts share: reading an account's name and printing lists.

use std::io::{self, ErrorKind, Write};

use jid::BareJid;

use super::error::{CliError, Exit};

/// One account, as the command line names it.
pub fn account(jid: &str) -> Result<BareJid, CliError> {
    let account = BareJid::new(jid).ok().filter(|jid| jid.node().is_some());
    account.ok_or_else(|| CliError::NoAccount {
        given: jid.to_owned(),
    })
}

/// A number of messages, in words.
pub fn messages(count: u64) -> String {
    match count {
        1 => "1 message".to_owned(),
        _ => format!("{count} messages"),
    }
}

/// Prints a list, a heading first.
pub fn print_list(lines: impl Iterator<Item = String>) -> Result<Exit, CliError> {
    let mut out = io::stdout().lock();
    for line in lines {
        match writeln!(out, "{line}") {
            Ok(()) => {}
            // `head` has seen enough.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => break,
            Err(error) => return Err(CliError::Output(error)),
        }
    }
    Ok(Exit::Done)
}
